"""What a schedule is: given a network and a sequence, in which order the work is done."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.schedules.rules import Rules
from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, State, exported


class Options(NamedTuple):
    """How a network is run, whatever the schedule."""

    checkpoint_every: int | None = None  # see `recurrence.chunks`
    want_states: bool = False  # whether to give states and gates of every step
    rules: Rules = Rules()


@exported
class LayerStates(NamedTuple):
    """What happened inside a layer; with two directions, a leading axis D."""

    state: State  # after each step, leaves [T, *B, ...]
    gates: Any  # the gates at each step, leaves [T, *B, H], or None; at masked steps of x = 0


class Ran(NamedTuple):
    """What a schedule makes of a sequence; states as the network holds them."""

    state: tuple[State, ...]  # after the last step
    y: Array  # [T, *B, O] of the last layer
    states: list[LayerStates] | None  # one entry a layer, if asked for


class RunFn(Protocol):
    """Runs a network's layers over a sequence."""

    def __call__(
        self,
        plan: Plan,
        params: tuple[Any, ...],
        x: Array,
        state: tuple[State, ...],
        steps: Steps,
        key: Array | None,
        options: Options,
    ) -> Ran:
        """Run the layers.

        Args:
          plan: the network, its cells of the network's dtypes.
          params: `DeepParams.layers`.
          x: the input `[T, *B, I]`, zero at masked steps.
          state: before the first step, as the network holds it.
          steps: the flags of every step, `[T, *B]`.
          key: a random key, or None outside training; layer l draws by `layer_key(key, l)`.
          options: see `Options`.
        """
        ...


class Schedule(NamedTuple):
    """One way of running a network: all give the same numbers."""

    name: str
    run: RunFn
    refuse: Callable[[Plan], str | None]  # why not, and what to use instead; None: it can
    num_steps: Callable[[Plan, int], int]  # of its loop, for a sequence of T: what chunks cut


def layer_key(key: Array | None, index: Any) -> Any:
    """Give a layer its own key, the same in every schedule; None where there is none."""
    return None if key is None else jax.random.fold_in(key, index)


def refuse_none(plan: Plan) -> None:
    """Run any network."""
    del plan


def num_steps(plan: Plan, length: int) -> int:
    """Give the steps of a loop over time."""
    del plan
    return length
