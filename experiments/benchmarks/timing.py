"""Samples of several calls, taken in turns.

One round takes one sample of each call, A B C, then the next round begins: a machine that
slows down or speeds up hits all alike, and what is compared are samples of one round. Each
round has another order, and a short call is first made once unseen: the one that came
after the large product took 1.1 to 1.5 times as long as itself elsewhere in the round
(3 and 10 ms, on two busy cores).
"""

import contextlib
import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Call = Callable[[], object]

# Worker threads of one library spin for a moment after its call, on the next one's cores:
# a call of 3 ms took 17 % longer right after torch's, 1 % after a rest of 10 ms (2 cores).
PAUSE = 0.01
LONG = 0.1  # seconds; a call of that length does not feel what ran before


class Samples(NamedTuple):
    """What interleaved rounds gave."""

    seconds: dict[str, list[float]]  # of one call, one entry a round
    repeats: dict[str, int]  # calls in a sample
    errors: dict[str, str]  # of the calls that failed


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect before, and not within."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def describe(error: BaseException) -> str:
    """Return an exception in one line."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}"[:300]


def interleave(
    calls: Mapping[str, Call],
    rounds: int,
    min_seconds: float = 0.01,
    pause: float = PAUSE,
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Sample calls in turns.

    Args:
      calls: by name; each returns when its work is done.
      rounds: samples of each.
      min_seconds: a call that is shorter is repeated within a sample until it lasts this.
      pause: seconds of rest before each sample.
      clock: gives seconds.

    Returns:
      The samples; a call that fails has an error in their place.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    durations: dict[str, float] = {}
    repeats: dict[str, int] = {}
    errors: dict[str, str] = {}
    order = random.Random(0)  # the same in every run

    def attempt(name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # one that fails must not stop the others
            errors[name] = describe(error)

    def calibrate(name: str) -> None:
        call = calls[name]
        call()
        start = clock()
        call()
        durations[name] = max(clock() - start, 1e-9)
        repeats[name] = max(1, math.ceil(min_seconds / durations[name]))

    def sample(name: str) -> None:
        call = calls[name]
        time.sleep(pause)
        if durations[name] < LONG:
            call()
        start = clock()
        for _ in range(repeats[name]):
            call()
        seconds[name].append((clock() - start) / repeats[name])

    for name in calls:
        attempt(name, lambda name=name: calibrate(name))
    with no_garbage_collection():
        for _ in range(rounds):
            for name in order.sample(list(calls), len(calls)):
                if name not in errors:
                    attempt(name, lambda name=name: sample(name))
    good = {name: values for name, values in seconds.items() if name not in errors}
    return Samples(good, {name: repeats[name] for name in good}, errors)
