"""The backward pass of a recurrence: a loop over cotangents, then products over time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.schedules.evaluation import Fixed
from deeprnn_jax.schedules.loop import run_loop
from deeprnn_jax.schedules.matrices import matrix_gradient
from deeprnn_jax.schedules.operations import first_floating, is_floating, zeros_of
from deeprnn_jax.schedules.program import Program
from deeprnn_jax.schedules.pullback import (
    addend_gradient,
    left_operands,
    pull_step,
    transpose_matrices,
)
from deeprnn_jax.schedules.stacks import Stacks
from deeprnn_jax.types import Array


class Known(NamedTuple):
    """What the backward pass has of each step: `[T, ...]`, or one step's part of it."""

    befores: list[Array]  # the carry that the step began with
    read: list[Array | None]  # of `Program.reads`; None where only the shape counts
    shared: list[Array]  # of `Stacks.shared`
    packs: list[Array]  # of `Stacks.packs`


class Deferred(NamedTuple):
    """Cotangents of every step `[T, ...]`, to be multiplied and summed after the loop."""

    read: list[Array]  # of `Program.reads`, those that are floating
    products: list[Array]  # of the products' results
    sums: list[Array]  # of the additions' results


class LoopCotangents(NamedTuple):
    """What the backward loop gives."""

    carry: list[Array]  # before the first step
    shared: list[Array]  # of those of `Fixed.shared` that have a gradient
    deferred: Deferred


def run_backward(
    program: Program,
    stacks: Stacks,
    fixed: Fixed,
    known: Known,
    d_final: list[Array],
    d_outputs: list[Array],
    *,
    num_steps: int,
    reverse: bool,
) -> LoopCotangents:
    """Run the loop.

    Args:
      program: the step.
      stacks: how the forward loop stacked what is known.
      fixed: from `compute_fixed`.
      known: of every step.
      d_final: cotangents of the last carry.
      d_outputs: of the outputs, `[T, ...]`.
      num_steps: T, 1 or more.
      reverse: whether this loop goes from the last step to the first.
    """
    places: list[int] = []  # of each cotangent, among those stacked

    def body(operands: tuple, sums: tuple, per_step: tuple) -> tuple[tuple, list[Array]]:
        fixed, transposed = operands
        d_after, d_shared = sums
        known_t, d_outputs = per_step
        varying, made = _values_of(program, stacks, known_t)
        pulled = pull_step(program, fixed, transposed, varying, made, [*d_after, *d_outputs])
        d_carry, d_read = (
            pulled.varying[: program.num_carry],
            pulled.varying[program.num_carry :],
        )
        deferred = [*d_read, *pulled.products, *pulled.sums]
        once = list({id(one): one for one in deferred}.values())  # equal ones are one array
        order = [id(one) for one in once]
        places[:] = [order.index(id(one)) for one in deferred]
        return (d_carry, jax.tree.map(jnp.add, d_shared, pulled.shared)), once

    has_gradient = zip(fixed.shared, program.has_gradient, strict=True)
    zeros = [jnp.zeros_like(value) for value, has in has_gradient if has]
    # Where a product's left operand is read off the packs after the loop, XLA keeps a copy.
    spent = jax.tree.map(lambda _: False, known)._replace(packs=[True] * len(known.packs))
    (d_carry, d_shared), once = run_loop(
        body,
        (fixed, transpose_matrices(program, fixed)),
        (d_final, zeros),
        (known, d_outputs),
        num_steps=num_steps,
        since=first_floating((d_outputs, d_final)),
        reverse=reverse,
        spent=(spent, [False] * len(d_outputs)),
    )
    stacked = [once[place] for place in places]
    num_read = sum(map(is_floating, program.reads))
    num_before_sums = num_read + len(program.products)
    deferred = Deferred(
        read=stacked[:num_read],
        products=stacked[num_read:num_before_sums],
        sums=stacked[num_before_sums:],
    )
    return LoopCotangents(d_carry, d_shared, deferred)


def sum_over_time(
    program: Program, stacks: Stacks, fixed: Fixed, known: Known, deferred: Deferred
) -> tuple[list[Array], list[Array]]:
    """Give the gradients of `Fixed.matrices` and of `Fixed.addends`."""

    def lefts_of(known: Known) -> list[Array]:
        return left_operands(program, fixed, *_values_of(program, stacks, known))

    lefts = jax.vmap(lefts_of)(known) if program.products else []
    d_matrices = [
        matrix_gradient(*operands)
        for operands in zip(program.products, lefts, deferred.products, strict=True)
    ]
    d_addends = [
        addend_gradient(var, d_sum)
        for (_, var), d_sum in zip(program.additions, deferred.sums, strict=True)
    ]
    return d_matrices, d_addends


def _values_of(program: Program, stacks: Stacks, known: Known) -> tuple[list[Array], list[Array]]:
    """Give the values of `Program.varying` and of `Program.made` at one step."""
    read = [
        zeros_of(var) if leaf is None else leaf
        for var, leaf in zip(program.reads, known.read, strict=True)
    ]
    values = stacks.unpack(known.packs, known.shared)
    return [*known.befores, *read], [values[var] for var in program.made]
