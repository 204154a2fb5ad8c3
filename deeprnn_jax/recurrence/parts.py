"""A loop cut in parts, one after the other, with products between them for all steps at once.

A product can leave the loop in front, if it needs no carry: that is `analysis`. It can also
leave it at the back, if no carry needs it: a read-out C h_t, a feed-forward layer behind a
cell. And where it needs one part of the carry, and feeds another, there are two loops, with
the product between them: a window of earlier inputs, whose convolution a cell multiplies; two
layers in one step. Each part is a recurrence of its own, or none, where a part of the carry
is only handed on; so nothing else of the engine knows of parts.

    stage of a value    the loop that it can be computed in; of a product that can leave its
                        loop at the back, the stage after
    level of a carry    the stage of what ends it; carries that need each other have the same
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp

from deeprnn_jax.internals import ClosedJaxpr, JaxprEqn, Var, close, opened
from deeprnn_jax.recurrence.analysis import among, part, part_eqns
from deeprnn_jax.recurrence.jaxprs import (
    Env,
    is_number,
    is_var,
    make_jaxpr,
    num_bytes,
    reached,
    shape_of,
    variables_of,
)
from deeprnn_jax.recurrence.loop import shift
from deeprnn_jax.recurrence.products import is_product
from deeprnn_jax.recurrence.residuals import choose_residuals
from deeprnn_jax.types import Array

# A product leaves its loop at the back if what must be stacked for it is at most so many times
# as large as its result and x_t, which are stacks in any case.
_MOST_STACKED = 4


class Part(NamedTuple):
    """One part of a loop: a loop of its own, or what is done for all steps at once."""

    carry: tuple[int, ...]  # which of the carry it moves on; (): it is no loop
    step: ClosedJaxpr  # (*consts, *carry, *reads) -> (*ends, *stacked)
    consts: list[Var]
    reads: list[Var]  # stacks that are known by then
    stacked: list[Var]
    handed: int | None = None  # one of the carry that is known by then, and only handed on


class Parts(NamedTuple):
    """A loop in parts."""

    fixed: list[JaxprEqn]  # of consts alone
    invariant: set[Var]
    parts: list[Part]
    num_bytes: int  # of what is stacked for other parts, a step


@lru_cache(maxsize=256)
def cut(
    jaxpr: ClosedJaxpr, num_consts: int, num_carry: int, everywhere: bool = False
) -> Parts | None:
    """Cut a step in parts.

    Args:
      jaxpr: the step, of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.
      everywhere: whether carries that do not need each other are parts of their own; else only
        where a product gets out of a loop by it.

    Returns:
      The parts, or None where the whole is one.
    """
    step = opened(jaxpr)
    consts, carry, xs = part(step.invars, num_consts, num_carry)
    ends, ys = step.outvars[:num_carry], step.outvars[num_carry:]
    varying = reached(step.eqns, [*carry, *xs])
    eqns, fixed = part_eqns(step.eqns, varying)
    invariant = {*consts, *(var for eqn in fixed for var in eqn.outvars)}
    needs = _Needs(eqns, carry, ends)
    leaving = {id(eqn) for eqn in eqns if _can_leave(eqn, eqns, invariant, varying, xs, needs)}
    leaving -= _done_inside(step.eqns, leaving)
    if not leaving and not everywhere:
        return None
    levels = needs.ranks() if everywhere else _levels(needs, eqns, leaving)
    stages = _stages(eqns, leaving, dict(zip(carry, levels, strict=True)))
    inside = [eqn for eqn in eqns if id(eqn) not in leaving]
    known, parts, size = {*xs, *invariant}, [], 0

    def add(moved: Sequence[int], stacked: Iterable[Any]) -> None:
        """Add a part, unless it has nothing to do."""
        wanted = [var for var in dict.fromkeys(stacked) if is_var(var) and var not in known]
        if moved or wanted:
            parts.append(_part(moved, carry, ends, eqns, wanted, known, invariant))
            known.update(wanted)

    for level in range(max(levels, default=0) + 1):
        moved = [index for index, one in enumerate(levels) if one == level]
        mine = {var for var, stage in stages.items() if stage == level} - known
        later = [eqn for eqn in eqns if any(stages.get(v, 0) > level for v in eqn.outvars)]
        given, wanted = among(mine, ys), among(mine, *(eqn.invars for eqn in later))
        kept = choose_residuals(inside, wanted, varying, known | set(given))
        stacked = [*given, *(var for var in kept if var not in known)]
        size += sum(num_bytes(var) for var in stacked if var not in ys)
        # A product that a later part reads as well is done once, before both; and so is any,
        # where a part is solved by its step's value and its derivative, which both read it.
        others = [*(end for end, one in zip(ends, levels, strict=True) if one > level), *ys]
        again = None if everywhere else _upto(eqns, others, known | set(stacked))
        outputs = [*(ends[index] for index in moved), *stacked]
        ahead = _products(_upto(eqns, outputs, known), again, invariant)
        add([], (var for var in ahead if var not in mine))
        order = needs.in_turn(moved)
        if order is None:
            add(moved, stacked)
            continue
        for index in order:
            add([], [ends[index]])
            parts.append(_HAND_ON._replace(handed=index))
            known.add(carry[index])
        add([], stacked)
    add([], ys)
    return Parts(fixed, invariant, parts, size)


def _products(
    eqns: Sequence[JaxprEqn], again: Sequence[JaxprEqn] | None, invariant: set[Var]
) -> list[Var]:
    """Give the products among operations: those that are done again, or with None all."""
    here = {id(eqn) for eqn in (eqns if again is None else again)}
    return [eqn.outvars[0] for eqn in eqns if is_product(eqn, invariant) and id(eqn) in here]


_HAND_ON = Part((), close(make_jaxpr([], [], [])), [], [], [])


def _part(
    moved: Sequence[int],
    carry: Sequence[Var],
    ends: Sequence[Any],
    eqns: Sequence[JaxprEqn],
    stacked: list[Var],
    known: set[Var],
    invariant: set[Var],
) -> Part:
    """Put the operations of a part together."""
    own = [carry[index] for index in moved]
    outputs = [*(ends[index] for index in moved), *stacked]
    mine = _upto(eqns, outputs, known)
    read = among(known, *(eqn.invars for eqn in mine), outputs)
    consts = [var for var in read if var in invariant]
    reads = [var for var in read if var not in invariant]
    step = close(make_jaxpr([*consts, *own, *reads], mine, outputs))
    return Part(tuple(moved), step, consts, reads, stacked)


class _Needs:
    """Which of the carry a value needs, and which need each other."""

    def __init__(self, eqns: Sequence[JaxprEqn], carry: Sequence[Var], ends: Sequence[Any]):
        self.of: dict[Var, frozenset[int]] = {v: frozenset([i]) for i, v in enumerate(carry)}
        for eqn in eqns:
            found = frozenset().union(*(self.of.get(v, ()) for v in variables_of(eqn.invars)))
            self.of.update(dict.fromkeys(eqn.outvars, found))
        self.eqns, self.ends = eqns, ends
        # what ends a carry needs, at this step, and at any before it
        self.direct = [self.of.get(v, frozenset()) if is_var(v) else frozenset() for v in ends]
        self.all = list(self.direct)
        for _ in carry:
            self.all = [found.union(*(self.all[i] for i in found)) for found in self.all]

    def ranks(self) -> list[int]:
        """Give each of the carry a number, higher than of those that it needs.

        Those that need each other have the same.
        """
        groups = [
            frozenset(j for j in (*need, i) if j == i or i in self.all[j])
            for i, need in enumerate(self.all)
        ]
        order = sorted(set(groups), key=lambda one: (len(self.all[min(one)] | one), min(one)))
        return [order.index(one) for one in groups]

    def in_turn(self, indices: Sequence[int]) -> list[int] | None:
        """Put carries so that each needs only those before it; None if they need each other."""
        found: list[int] = []
        while len(found) < len(indices):
            rest = [index for index in indices if index not in found]
            ready = [index for index in rest if not self.direct[index] & set(rest)]
            if not ready:
                return None
            found += ready
        return found

    def fed_by(self, eqn: JaxprEqn) -> set[int]:
        """Give those of the carry whose ends need an operation."""
        reads = reached(self.eqns, eqn.outvars)
        return {i for i, end in enumerate(self.ends) if is_var(end) and end in reads}

    def closure(self, var: Var) -> frozenset[int]:
        """Give all of the carry that a value needs, at any step."""
        found = self.of.get(var, frozenset())
        return found.union(*(self.all[index] for index in found))


def _can_leave(
    eqn: JaxprEqn,
    eqns: Sequence[JaxprEqn],
    invariant: set[Var],
    varying: set[Var],
    xs: Sequence[Var],
    needs: _Needs,
) -> bool:
    """Tell whether a product needs some of the carry that does not need it, and pays there."""
    if not is_product(eqn, invariant) or not needs.of[eqn.outvars[0]]:
        return False
    if needs.closure(eqn.outvars[0]) & needs.fed_by(eqn):
        return False
    rows = [var for var in variables_of(eqn.invars) if var not in invariant]
    kept = choose_residuals(eqns, rows, varying, set(xs))
    if not all(map(is_number, kept)):
        return False
    there = sum(map(num_bytes, (*eqn.outvars, *xs)))
    return sum(num_bytes(var) for var in kept if var not in xs) <= _MOST_STACKED * there


def _done_inside(eqns: Sequence[JaxprEqn], leaving: set[int]) -> set[int]:
    """Give those of the operations that another one does, too, which stays in the loop.

    Gates that are looked at are computed beside the step that has them, and XLA does it once.
    """
    if not leaving:
        return set()
    values: dict[Any, Any] = {}  # equal ones of equal operations
    numbers: dict[Any, int] = {}
    inside, found = set(), {}
    for eqn in eqns:
        operands = tuple(values.get(v, v) if is_var(v) else str(v) for v in eqn.invars)
        key = (eqn.primitive.name, operands, str(eqn.params))
        number = numbers.setdefault(key, len(numbers))
        values.update((var, (number, place)) for place, var in enumerate(eqn.outvars))
        if id(eqn) in leaving:
            found[id(eqn)] = number
        else:
            inside.add(number)
    return {one for one, number in found.items() if number in inside}


def _levels(needs: _Needs, eqns: Sequence[JaxprEqn], leaving: set[int]) -> list[int]:
    """Give the level of every carry: the longest way to it over products that leave."""
    num = len(needs.ends)
    ways: list[dict[int, int]] = [dict.fromkeys(needs.direct[index], 0) for index in range(num)]
    for eqn in eqns:
        if id(eqn) in leaving:
            for index in needs.fed_by(eqn):
                ways[index] |= dict.fromkeys(needs.of[eqn.outvars[0]], 1)
    levels = [0] * num
    while True:
        found = [
            max([levels[index], *(levels[i] + more for i, more in ways[index].items())])
            for index in range(num)
        ]
        if found == levels:
            return levels
        levels = found


def _stages(eqns: Sequence[JaxprEqn], leaving: set[int], levels: dict[Var, int]) -> dict[Var, int]:
    """Give the stage of every value that needs some of the carry."""
    stages = dict(levels)
    for eqn in eqns:
        found = [stages[var] for var in variables_of(eqn.invars) if var in stages]
        if found:
            stages.update(dict.fromkeys(eqn.outvars, max(found) + (id(eqn) in leaving)))
    return stages


def _upto(eqns: Sequence[JaxprEqn], wanted: Iterable[Any], known: set[Var]) -> list[JaxprEqn]:
    """Give the operations that make the wanted variables of the known ones."""
    needed, found = set(variables_of(wanted)) - known, []
    for eqn in reversed(eqns):
        if any(var in needed for var in eqn.outvars):
            needed.update(var for var in variables_of(eqn.invars) if var not in known)
            found.append(eqn)
    return found[::-1]


def run_in_parts(
    parts: Parts,
    run_one: Callable[[Part, list[Array]], list[Array]],
    *operands: Array,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
) -> list[Array]:
    """Run a loop part by part.

    Args:
      parts: of `cut`.
      run_one: runs a part, `(part, operands) -> outputs`.
      *operands: consts, the first carry, and xs `[T, ...]`.
      jaxpr: the whole step.
      num_consts: of the operands.
      num_carry: of the operands.
      length: T.
      reverse: whether to go from the last step to the first.

    Returns:
      The last carry, and outputs `[T, ...]`.
    """
    step = opened(jaxpr)
    _, carry, _ = part(step.invars, num_consts, num_carry)
    env = Env(zip(step.invars, operands, strict=True))
    env.do(*parts.fixed)

    def over_time(operand: Any) -> Array:
        if is_var(operand) and operand not in parts.invariant:
            return env[operand]
        (value,) = env.read([operand])
        return jnp.broadcast_to(value, (length, *shape_of(operand)))

    finals: dict[int, Array] = {}
    for one in parts.parts:
        if one.handed is not None:
            end = over_time(step.outvars[one.handed])
            finals[one.handed] = end[0 if reverse else -1]
            (first,) = env.read([carry[one.handed]])
            env[carry[one.handed]] = shift(first, end, reverse=reverse)
            continue
        own = [carry[index] for index in one.carry]
        found = run_one(one, env.read([*one.consts, *own, *one.reads]))
        finals |= zip(one.carry, found, strict=False)
        env.assign(one.stacked, found[len(own) :])
    ends = (finals[index] for index in range(num_carry))
    return [*ends, *map(over_time, step.outvars[num_carry:])]
