"""The operations of a step, sorted by what they depend on.

    fixed       consts alone                     once, before the loop
    hoisted     x_t too: products, and what      for all steps at once, before the loop
                they need or make
    loop        the carry too                    in the loop

What needs no carry, but is no product and not made of one, stays in the loop.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import NamedTuple

from deeprnn_jax.internals import Jaxpr, JaxprEqn, Var
from deeprnn_jax.recurrence.jaxprs import is_random, is_var, live, reached, variables_of
from deeprnn_jax.recurrence.products import is_product

# Linear in all operands together, and no more than a pass through memory: left to the loop,
# where it costs nothing, if nothing else that is hoisted needs it.
CHEAP = frozenset(
    {
        *("add", "add_any", "sub", "neg", "split", "slice", "reshape", "squeeze"),
        *("expand_dims", "transpose", "broadcast_in_dim"),
    }
)


class Sorted(NamedTuple):
    """The operations of a step."""

    fixed: list[JaxprEqn]
    hoisted: list[JaxprEqn]
    loop: list[JaxprEqn]
    invariant: set[Var]  # consts, and what is made of them alone
    hoisted_vars: set[Var]  # what hoisted operations make


def sort_operations(jaxpr: Jaxpr, num_consts: int, num_carry: int, at_once: bool = False) -> Sorted:
    """Sort the operations of a step.

    Args:
      jaxpr: of consts, carry, x_t.
      num_consts: of its inputs, that are the same at every step.
      num_carry: of its inputs, that one step hands to the next.
      at_once: whether all that can be is hoisted.
    """
    consts, carry, xs = part(jaxpr.invars, num_consts, num_carry)
    varying = reached(jaxpr.eqns, [*carry, *xs])
    varying_eqns, fixed = part_eqns(jaxpr.eqns, varying)
    invariant = {*consts, *(var for eqn in fixed for var in eqn.outvars)}
    with_carry = reached(jaxpr.eqns, carry)
    # Bits drawn for all keys at once are not those of each key, for some kinds of keys.
    random = reached(jaxpr.eqns, (v for eqn in jaxpr.eqns if is_random(eqn) for v in eqn.outvars))
    by_step = with_carry | random
    free = [eqn for eqn in varying_eqns if by_step.isdisjoint(eqn.outvars)]
    hoisted = free if at_once else choose_hoisted(free, invariant, with_results=True)
    chosen = {id(eqn) for eqn in (*fixed, *hoisted)}
    return Sorted(
        fixed=fixed,
        hoisted=hoisted,
        loop=[eqn for eqn in jaxpr.eqns if id(eqn) not in chosen],
        invariant=invariant,
        hoisted_vars={var for eqn in hoisted for var in eqn.outvars},
    )


def choose_hoisted(
    eqns: Sequence[JaxprEqn], invariant: set[Var], *, with_results: bool
) -> list[JaxprEqn]:
    """Choose what is computed for all steps at once: products, and all that they need.

    Args:
      eqns: operations that do not need the carry.
      invariant: the variables that no step changes.
      with_results: whether what is made of products goes with them, if it is not cheap.
    """
    chosen, results = set(), set()
    for eqn in eqns:
        if is_product(eqn, invariant) or (with_results and is_among(results, eqn)):
            chosen.add(id(eqn))
            results.update(eqn.outvars)
    needed: set[Var] = set()
    for eqn in reversed(eqns):
        if any(var in needed for var in eqn.outvars):
            chosen.add(id(eqn))
        elif eqn.primitive.name in CHEAP:
            chosen.discard(id(eqn))
        if id(eqn) in chosen:
            needed.update(variables_of(eqn.invars))
    return [eqn for eqn in eqns if id(eqn) in chosen]


def spread(
    jaxpr: Jaxpr,
    num_consts: int,
    num_carry: int,
    flags: Sequence[bool],
    through: Callable[[Var], bool] | None = None,
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Tell which inputs and outputs of a step depend on marked inputs, round by the carry too.

    Args:
      jaxpr: the step, of consts, carry, x_t.
      num_consts: of its inputs.
      num_carry: of its inputs.
      flags: which inputs are marked.
      through: which variables count; None: all.

    Returns:
      Flags of the inputs, those of the carry that are reached with them, and of the outputs.
    """
    flags = list(flags)
    carry = slice(num_consts, num_consts + num_carry)
    while True:
        found = reached(jaxpr.eqns, compress(jaxpr.invars, flags), through)
        out = [is_var(var) and var in found for var in jaxpr.outvars]
        either = [a or b for a, b in zip(flags[carry], out[:num_carry], strict=True)]
        if either == flags[carry]:
            return tuple(flags), (*either, *out[num_carry:])
        flags[carry] = either


def part(items: Sequence, first: int, second: int) -> tuple[list, list, list]:
    """Part a list in three, as a step's inputs into consts, carry and x_t."""
    return list(items[:first]), list(items[first : first + second]), list(items[first + second :])


def part_eqns(
    eqns: Iterable[JaxprEqn], variables: set[Var]
) -> tuple[list[JaxprEqn], list[JaxprEqn]]:
    """Part operations into those that read one of the variables, and the others."""
    reading, others = [], []
    for eqn in eqns:
        (reading if is_among(variables, eqn) else others).append(eqn)
    return reading, others


def is_among(variables: set[Var], eqn: JaxprEqn) -> bool:
    """Tell whether an operation reads one of the variables."""
    return any(var in variables for var in variables_of(eqn.invars))


def among(wanted: Iterable[Var], *operands: Iterable) -> list[Var]:
    """Give those of the operands' variables that are wanted, each once, in order."""
    wanted = set(wanted)
    each = (var for some in operands for var in variables_of(some))
    return list(dict.fromkeys(var for var in each if var in wanted))


def inputs_of(eqns: Sequence[JaxprEqn], wanted: Iterable) -> list[Var]:
    """Give what must be known to get the wanted variables by these operations."""
    made = {var for eqn in eqns for var in eqn.outvars}
    needed = (eqn.invars for eqn in live(eqns, wanted))
    each = (var for some in (*needed, wanted) for var in variables_of(some))
    return list(dict.fromkeys(var for var in each if var not in made))
