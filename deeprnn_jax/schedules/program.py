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
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Jaxpr, JaxprEqn, Var

from deeprnn_jax.schedules.choices import Merge, choose_hoisted, choose_kept, find_merges
from deeprnn_jax.schedules.matrices import (
    Product,
    as_product,
    cast_down,
    multiply,
    multiply_stacked,
    multiply_stacked_for_vjp,
    precision_of,
    varying_operand,
)
from deeprnn_jax.schedules.operations import (
    bind,
    dtype_of,
    is_floating,
    operands_of,
    read_values,
    trace_inlined,
    variables_of,
)
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


class Fixed(NamedTuple):
    """What is computed once, before the loop."""

    shared: list[Array]
    matrices: list[Array]  # of the products, as wide as the parameters
    addends: list[Array]  # of the additions
    hoisted_shared: list[Array]
    hoisted_matrices: list[Array]


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
    """
    jaxpr, consts = trace_inlined(step, [*params, *carry, *inputs])
    num_params = len(params)
    roots = set(jaxpr.invars[:num_params])  # what depends on a parameter and has a gradient
    fixed = roots | set(jaxpr.constvars)
    fixed_eqns, varying_eqns = [], []
    for eqn in jaxpr.eqns:
        operands = variables_of(eqn.invars)
        if all(var in fixed for var in operands):
            fixed_eqns.append(eqn)
            fixed.update(eqn.outvars)
            if any(var in roots for var in operands):
                roots.update(eqn.outvars)
        else:
            varying_eqns.append(eqn)
    roots = {var for var in roots if is_floating(var)}
    given = jaxpr.invars[num_params + len(carry) :]
    hoisted_eqns = choose_hoisted(varying_eqns, fixed, fixed_eqns, given)
    hoisted_products = [
        product
        for product in (as_product(eqn, fixed, fixed_eqns) for eqn in hoisted_eqns)
        if product is not None
    ]
    hoisted = {id(eqn) for eqn in hoisted_eqns}
    varying_eqns = [eqn for eqn in varying_eqns if id(eqn) not in hoisted]
    made_before = {var for eqn in hoisted_eqns for var in eqn.outvars} | set(given)
    read = (*(eqn.invars for eqn in varying_eqns), jaxpr.outvars)
    reads = dict.fromkeys(
        var for operands in read for var in variables_of(operands) if var in made_before
    )

    products, additions, shared = [], [], {}
    for eqn in varying_eqns:
        product = as_product(eqn, fixed, fixed_eqns)
        if product is not None:
            products.append(product)
            continue
        addend = [var for var in variables_of(eqn.invars) if var in roots]
        if eqn.primitive.name == "add" and len(addend) == 1:
            additions.append((eqn, addend[0]))
            continue
        shared.update(dict.fromkeys(var for var in variables_of(eqn.invars) if var in fixed))
    shared.update(dict.fromkeys(var for var in variables_of(jaxpr.outvars) if var in fixed))
    matrices = {id(product.eqn) for product in hoisted_products}
    hoisted_shared = dict.fromkeys(
        var
        for eqn in hoisted_eqns
        if id(eqn) not in matrices
        for var in variables_of(eqn.invars)
        if var in fixed
    )
    return Program(
        jaxpr=jaxpr,
        consts=tuple(consts),
        num_params=num_params,
        num_carry=len(carry),
        fixed_eqns=tuple(fixed_eqns),
        hoisted_eqns=tuple(hoisted_eqns),
        varying_eqns=tuple(varying_eqns),
        reads=tuple(reads),
        hoisted_shared=tuple(hoisted_shared),
        hoisted_products=tuple(hoisted_products),
        shared=tuple(shared),
        has_gradient=tuple(var in roots for var in shared),
        products=tuple(products),
        additions=tuple(additions),
        kept=choose_kept(jaxpr, varying_eqns, products, tuple(reads)),
        merges=find_merges(
            jaxpr, hoisted_eqns, varying_eqns, hoisted_products, products, additions
        ),
    )


def compute_fixed(program: Program, params: Sequence[Array]) -> Fixed:
    """Compute all that depends on the parameters alone."""
    env = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    env.update(zip(program.params, params, strict=True))
    for eqn in program.fixed_eqns:
        env.update(zip(eqn.outvars, bind(eqn, env), strict=True))
    return Fixed(
        shared=[env[var] for var in program.shared],
        matrices=[env[product.matrix] for product in program.products],
        addends=[env[var] for _, var in program.additions],
        hoisted_shared=[env[var] for var in program.hoisted_shared],
        hoisted_matrices=[env[product.matrix] for product in program.hoisted_products],
    )


def hoist(
    program: Program, fixed: Fixed, inputs: Sequence[Array], *, for_vjp: bool = False
) -> list[Array]:
    """Compute what does not need the carry, for all steps at once.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      inputs: stacked `[T, ...]`.
      for_vjp: whether this is called inside `jax.vjp`; the products then have a reverse
        derivative of their own, and no forward one.

    Returns:
      The values of `program.reads`, stacked `[T, ...]`.
    """
    env = dict(zip(program.inputs, inputs, strict=True))
    shared = dict(zip(program.hoisted_shared, fixed.hoisted_shared, strict=True))
    indices = {id(product.eqn): index for index, product in enumerate(program.hoisted_products)}
    for eqn in program.hoisted_eqns:
        if id(eqn) in indices:
            index = indices[id(eqn)]
            product = program.hoisted_products[index]
            left = env[varying_operand(product)]
            multiply = multiply_stacked_for_vjp if for_vjp else multiply_stacked
            found = [multiply(product, left, fixed.hoisted_matrices[index])]
        else:
            stacked = [var for var in operands_of(eqn) if var in env]

            def one(*values: Array, eqn: JaxprEqn = eqn, stacked: list[Var] = stacked) -> list:
                return bind(eqn, {**shared, **dict(zip(stacked, values, strict=True))})

            found = jax.vmap(one)(*read_values(env, stacked))
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, program.reads)


def run_step(
    program: Program, fixed: Fixed, varying: Sequence[Array]
) -> tuple[list[Array], Callable[[Sequence[Any]], list[Array]]]:
    """Run the step; give its outputs, and a function that reads any variable's value."""
    env = start(program, fixed, varying)
    products = {id(product.eqn): index for index, product in enumerate(program.products)}
    sums = {id(eqn): index for index, (eqn, _) in enumerate(program.additions)}
    for eqn in program.varying_eqns:
        if id(eqn) in products:
            index = products[id(eqn)]
            found = [multiply(env, program.products[index], fixed.matrices[index])]
        elif id(eqn) in sums:
            addition = program.additions[sums[id(eqn)]]
            found = [add_fixed(env, addition, fixed.addends[sums[id(eqn)]])]
        else:
            found = bind(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, program.jaxpr.outvars), partial(read_values, env)


def run_whole_step(program: Program, fixed: Fixed, varying: Sequence[Array]) -> list[Array]:
    """Run the step with nothing computed before it but what is fixed; give its outputs.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      varying: the carry, and the step's inputs.
    """
    env = dict(zip(program.shared, fixed.shared, strict=True))
    env.update(zip(program.hoisted_shared, fixed.hoisted_shared, strict=True))
    env.update(zip([*program.carry, *program.inputs], varying, strict=True))
    matrices = {
        id(product.eqn): (product, matrix)
        for product, matrix in (
            *zip(program.hoisted_products, fixed.hoisted_matrices, strict=True),
            *zip(program.products, fixed.matrices, strict=True),
        )
    }
    addends = {
        id(eqn): addend for (eqn, _), addend in zip(program.additions, fixed.addends, strict=True)
    }
    variables = {id(eqn): var for eqn, var in program.additions}
    skipped, totals = set(), {}
    for merge in program.merges:
        skipped.add(id(program.hoisted_products[merge.hoisted].eqn))
        skipped.add(id(program.products[merge.product].eqn))
        if merge.bias is not None:
            skipped.add(id(merge.bias))
        totals[id(merge.total)] = merge
    for eqn in (*program.hoisted_eqns, *program.varying_eqns):
        if id(eqn) in skipped:
            continue
        if id(eqn) in totals:
            merge = totals[id(eqn)]
            x_product = program.hoisted_products[merge.hoisted]
            h_product = program.products[merge.product]
            lefts = read_values(env, [varying_operand(x_product), varying_operand(h_product)])
            rights = [
                cast_down(x_product, fixed.hoisted_matrices[merge.hoisted]),
                cast_down(h_product, fixed.matrices[merge.product]),
            ]
            found = lax.dot_general(
                jnp.concatenate(lefts, axis=-1),
                jnp.concatenate(rights, axis=0),  # does not change: XLA takes it out of the loop
                (((1,), (0,)), ((), ())),
                precision=precision_of(h_product),
                preferred_element_type=dtype_of(h_product.eqn.outvars[0]),
            )
            found = [found if merge.bias is None else found + addends[id(merge.bias)]]
        elif id(eqn) in matrices:
            found = [multiply(env, *matrices[id(eqn)])]
        elif id(eqn) in addends:
            found = bind(eqn, {**env, variables[id(eqn)]: addends[id(eqn)]})
        else:
            found = bind(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return read_values(env, program.jaxpr.outvars)


def start(program: Program, fixed: Fixed, varying: Sequence[Array]) -> dict[Var, Array]:
    """Give the values that the loop's operations begin with."""
    env = dict(zip(program.shared, fixed.shared, strict=True))
    env.update(zip(program.varying, varying, strict=True))
    return env


def add_fixed(env: dict, addition: tuple[JaxprEqn, Var], addend: Array) -> Array:
    """Do an addition of a fixed value."""
    eqn, var = addition
    return bind(eqn, {**env, var: addend})[0]
