"""Which operations of a step go before the loop, and which values are kept for gradients."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.extend.core import Jaxpr, JaxprEqn, Var

from deeprnn_jax.schedules.matrices import Product, as_product, is_plain, precision_of
from deeprnn_jax.schedules.operations import (
    count_uses,
    dtype_of,
    is_floating,
    num_bytes,
    operands_of,
    variables_of,
)

# linear in all operands together: their derivatives need no values
LINEAR = frozenset(
    {
        "add",
        "sub",
        "neg",
        "split",
        "slice",
        "concatenate",
        "reshape",
        "squeeze",
        "expand_dims",
        "transpose",
        "broadcast_in_dim",
        "convert_element_type",
    }
)
# left to the loop where nothing else that goes before it needs them
CHEAP = LINEAR - {"convert_element_type", "concatenate"}
# what a result's cotangent is multiplied by, from the result alone
FROM_RESULT = {
    "tanh": lambda y: 1 - y * y,
    "logistic": lambda y: y * (1 - y),
    "exp": lambda y: y,
}


class Merge(NamedTuple):
    """Two products that are only added: [x, h] [W_x; W_h] in place of x W_x + h W_h."""

    hoisted: int  # the index of the one among the hoisted products
    product: int  # the index of the other
    bias: JaxprEqn | None  # an addition of a fixed value to the first
    total: JaxprEqn  # the addition of the two


def choose_hoisted(
    eqns: Sequence[JaxprEqn],
    fixed: set[Var],
    fixed_eqns: Sequence[JaxprEqn],
    inputs: Sequence[Var],
) -> list[JaxprEqn]:
    """Choose what is computed for all steps at once: the products of inputs.

    With them goes all that they need, and what is made of them without the carry. What
    is cheap and comes last, a bias that is added or a cut into gates, is left to the loop,
    where it costs nothing; over all steps it would be one more pass through memory.
    """
    given, candidates = set(inputs), []
    for eqn in eqns:
        if all(var in given or var in fixed for var in variables_of(eqn.invars)):
            candidates.append(eqn)
            given.update(eqn.outvars)
    made: set[Var] = set()  # of products, or of what is made of them
    chosen = set()
    for eqn in candidates:
        is_product = as_product(eqn, fixed, fixed_eqns) is not None
        if is_product or any(var in made for var in variables_of(eqn.invars)):
            made.update(eqn.outvars)
            chosen.add(id(eqn))
    needed: set[Var] = set()
    for eqn in reversed(candidates):
        if any(var in needed for var in eqn.outvars):
            chosen.add(id(eqn))
        elif eqn.primitive.name in CHEAP:
            chosen.discard(id(eqn))
        if id(eqn) in chosen:
            needed.update(variables_of(eqn.invars))
    return [eqn for eqn in candidates if id(eqn) in chosen]


def choose_kept(
    jaxpr: Jaxpr,
    eqns: Sequence[JaxprEqn],
    products: Sequence[Product],
    reads: Sequence[Var],
) -> tuple[Var, ...]:
    """Choose what the backward pass needs beside the carry.

    To begin with that is what the loop reads and the products' results. An operation that is
    linear, or whose derivative is known from its result, then replaces operands that
    nothing else reads by its result, if that is no larger.
    """
    uses = count_uses(eqns, jaxpr.outvars)
    floating = [var for var in reads if is_floating(var)]
    kept = dict.fromkeys([*floating, *(product.eqn.outvars[0] for product in products)])
    dear = {id(product.eqn) for product in products}
    needed: set[Var] = set()  # results that their own derivatives are computed from
    for eqn in eqns:
        name = eqn.primitive.name
        if id(eqn) in dear or not (name in LINEAR or name in FROM_RESULT):
            continue
        freed = [
            var for var in operands_of(eqn) if var in kept and uses[var] == 1 and var not in needed
        ]
        if (
            freed
            and all(is_floating(var) for var in eqn.outvars)
            and sum(map(num_bytes, eqn.outvars)) <= sum(map(num_bytes, freed))
        ):
            for var in freed:
                del kept[var]
            kept.update(dict.fromkeys(eqn.outvars))
            if name in FROM_RESULT:
                needed.update(eqn.outvars)
    return tuple(kept)


def find_merges(
    jaxpr: Jaxpr,
    hoisted_eqns: Sequence[JaxprEqn],
    eqns: Sequence[JaxprEqn],
    hoisted_products: Sequence[Product],
    products: Sequence[Product],
    additions: Sequence[tuple[JaxprEqn, Var]],
) -> tuple[Merge, ...]:
    """Find products x W_x and h W_h whose results are only added to each other."""
    uses = count_uses([*hoisted_eqns, *eqns], jaxpr.outvars)
    made_by: dict[Var, tuple[int, JaxprEqn | None]] = {}
    for index, product in enumerate(hoisted_products):
        if is_plain(product):
            made_by[product.eqn.outvars[0]] = (index, None)
    recurrent = {
        product.eqn.outvars[0]: index for index, product in enumerate(products) if is_plain(product)
    }
    biases = {id(eqn) for eqn, _ in additions}
    merges = []
    for eqn in eqns:
        if eqn.primitive.name != "add":
            continue
        operands = operands_of(eqn)
        if id(eqn) in biases:
            for var in operands:
                if var in made_by and uses.get(var) == 1 and made_by[var][1] is None:
                    made_by[eqn.outvars[0]] = (made_by[var][0], eqn)
            continue
        first = [var for var in operands if var in made_by and uses.get(var) == 1]
        second = [var for var in operands if var in recurrent and uses.get(var) == 1]
        if len(first) == len(second) == 1:
            index, bias = made_by[first[0]]
            pair = (hoisted_products[index], products[recurrent[second[0]]])
            dtypes = {dtype_of(var) for product in pair for var in product.eqn.invars}
            if len(dtypes) == 1 and precision_of(pair[0]) == precision_of(pair[1]):
                merges.append(Merge(index, recurrent[second[0]], bias, eqn))
    return tuple(merges)
