"""A step of a recurrence taken apart, so that a schedule knows what belongs in the loop.

A step is traced once, to a list of operations, and every one of them is sorted by what
it depends on:

    fixed       parameters alone                 once, before the loop
    hoisted     products of the step's input,    for all steps at once, before the loop
                and what comes with them
    varying     the carry too                    in the loop

Where a fixed and a varying value meet is where a parameter gets its gradient.

The meetings that are products, h W, are the dear ones. Their results are kept for the
backward pass, which never multiplies again: it computes the elementwise rest of the step
anew. In the backward loop a product costs one product, with W transposed beforehand;
its weight's gradient needs that product's left operands and the cotangents of its
results, stacked over time, and is one product after the loop. Nothing here knows a cell.

What is kept is pushed on through operations whose derivatives do not need their operands,
as long as it gets no larger: of an LSTM the four gates are kept, of a GRU r, z, n and the
recurrent part of n. A cotangent that is the same in two places, as those of the two terms
of a sum are, is one array.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend.core import Jaxpr, JaxprEqn, Var

from deeprnn_jax.schedules.choices import Merge, choose_hoisted, choose_kept, find_merges
from deeprnn_jax.schedules.matrices import Product, as_product
from deeprnn_jax.schedules.operations import is_floating, trace_inlined, variables_of
from deeprnn_jax.types import Array


class Program(NamedTuple):
    """A step `(parameters, carry, inputs) -> outputs` over flat lists of arrays."""

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    num_params: int
    num_carry: int
    fixed_eqns: tuple[JaxprEqn, ...]
    hoisted_eqns: tuple[JaxprEqn, ...]
    varying_eqns: tuple[JaxprEqn, ...]
    reads: tuple[Var, ...]  # what the loop reads at each step: hoisted results and inputs
    hoisted_shared: tuple[Var, ...]  # fixed values that hoisted operations use
    hoisted_products: tuple[Product, ...]
    shared: tuple[Var, ...]  # fixed values that the loop uses, but for products' matrices
    has_gradient: tuple[bool, ...]  # of `shared`: whether a gradient is summed in the loop
    products: tuple[Product, ...]
    additions: tuple[tuple[JaxprEqn, Var], ...]  # encounters that only add a fixed value
    kept: tuple[Var, ...]  # what the backward pass needs beside the carry
    merges: tuple[Merge, ...]

    @property
    def made(self) -> Sequence[Var]:
        """Those of `kept` that the step makes, and that are not its inputs."""
        return [var for var in self.kept if var not in self.varying]

    @property
    def params(self) -> Sequence[Var]:
        """The parameters."""
        return self.jaxpr.invars[: self.num_params]

    @property
    def carry(self) -> Sequence[Var]:
        """What one step hands to the next."""
        return self.jaxpr.invars[self.num_params : self.num_params + self.num_carry]

    @property
    def inputs(self) -> Sequence[Var]:
        """What a step is given of its own."""
        return self.jaxpr.invars[self.num_params + self.num_carry :]

    @property
    def varying(self) -> Sequence[Var]:
        """The carry and what the loop reads."""
        return [*self.carry, *self.reads]


def trace(
    step: Callable[..., Sequence[Array]],
    params: Sequence[Array],
    carry: Sequence[Array],
    inputs: Sequence[Array],
) -> Program:
    """Take a step apart.

    Args:
      step: `(*params, *carry, *inputs) -> outputs`, all flat.
      params: arrays (or their shapes) that are the same at every step.
      carry: what one step hands to the next.
      inputs: what a step reads of its own.

    Returns:
      The program; an operation that nothing needs is in it too, and XLA drops it.
    """
    jaxpr, consts = trace_inlined(step, [*params, *carry, *inputs])
    ops = _sort_operations(jaxpr, len(params))
    fixed, fixed_eqns = ops.fixed, ops.fixed_eqns
    given = jaxpr.invars[len(params) + len(carry) :]
    hoisted_eqns = choose_hoisted(ops.varying_eqns, fixed, fixed_eqns, given)
    hoisted_products = _products_among(hoisted_eqns, fixed, fixed_eqns)
    hoisted = {id(eqn) for eqn in hoisted_eqns}
    varying_eqns = [eqn for eqn in ops.varying_eqns if id(eqn) not in hoisted]
    made_before = {var for eqn in hoisted_eqns for var in eqn.outvars} | set(given)
    read = (*(eqn.invars for eqn in varying_eqns), jaxpr.outvars)
    reads = _among(made_before, *read)

    products = _products_among(varying_eqns, fixed, fixed_eqns)
    additions = _additions_among(varying_eqns, ops.roots)
    apart = {id(product.eqn) for product in products} | {id(eqn) for eqn, _ in additions}
    rest = (eqn.invars for eqn in varying_eqns if id(eqn) not in apart)
    shared = _among(fixed, *rest, jaxpr.outvars)
    multiplied = {id(product.eqn) for product in hoisted_products}
    not_multiplied = (eqn.invars for eqn in hoisted_eqns if id(eqn) not in multiplied)
    return Program(
        jaxpr=jaxpr,
        consts=tuple(consts),
        num_params=len(params),
        num_carry=len(carry),
        fixed_eqns=tuple(fixed_eqns),
        hoisted_eqns=tuple(hoisted_eqns),
        varying_eqns=tuple(varying_eqns),
        reads=reads,
        hoisted_shared=_among(fixed, *not_multiplied),
        hoisted_products=tuple(hoisted_products),
        shared=shared,
        has_gradient=tuple(var in ops.roots for var in shared),
        products=tuple(products),
        additions=tuple(additions),
        kept=choose_kept(jaxpr, varying_eqns, products, reads),
        merges=find_merges(
            jaxpr, hoisted_eqns, varying_eqns, hoisted_products, products, additions
        ),
    )


class _Sorted(NamedTuple):
    """Operations by what they depend on."""

    fixed: set[Var]  # depend on parameters and constants alone
    roots: set[Var]  # of those, what has a gradient
    fixed_eqns: list[JaxprEqn]
    varying_eqns: list[JaxprEqn]


def _sort_operations(jaxpr: Jaxpr, num_params: int) -> _Sorted:
    roots = set(jaxpr.invars[:num_params])
    fixed = roots | set(jaxpr.constvars)
    fixed_eqns, varying_eqns = [], []
    for eqn in jaxpr.eqns:
        operands = variables_of(eqn.invars)
        if not all(var in fixed for var in operands):
            varying_eqns.append(eqn)
            continue
        fixed_eqns.append(eqn)
        fixed.update(eqn.outvars)
        if any(var in roots for var in operands):
            roots.update(eqn.outvars)
    return _Sorted(fixed, {var for var in roots if is_floating(var)}, fixed_eqns, varying_eqns)


def _products_among(
    eqns: Sequence[JaxprEqn], fixed: set[Var], fixed_eqns: Sequence[JaxprEqn]
) -> list[Product]:
    found = (as_product(eqn, fixed, fixed_eqns) for eqn in eqns)
    return [product for product in found if product is not None]


def _additions_among(eqns: Sequence[JaxprEqn], roots: set[Var]) -> list[tuple[JaxprEqn, Var]]:
    """Give the additions of a fixed value that has a gradient to one that varies."""
    found = []
    for eqn in eqns:
        addends = [var for var in variables_of(eqn.invars) if var in roots]
        if eqn.primitive.name == "add" and len(addends) == 1:
            found.append((eqn, addends[0]))
    return found


def _among(wanted: set[Var], *operands: Sequence[Any]) -> tuple[Var, ...]:
    """Give those of the operands' variables that are wanted, each once, in order."""
    each = (var for some in operands for var in variables_of(some))
    return tuple(dict.fromkeys(var for var in each if var in wanted))
