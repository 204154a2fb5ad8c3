"""A scan over time whose gradients are products over time.

    forward     what needs no carry, for all steps at once     one product over [T, *B]
                loop: the step                                 one product a step
    backward    loop: cotangents of the carry and of products  one product a step
                gradients of matrices                          one product over [T, *B]

The backward loop carries the carry's cotangent and no matrix's gradient. What is kept
of the forward pass, and what is computed again, is read off the step's own operations
(`program`), so that it is right for any step.

Derivatives: reverse mode, and anything over it (reverse over reverse, forward over
reverse). Plain forward mode needs the reference schedule.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax.schedules.backward import Known, run_backward, sum_over_time
from deeprnn_jax.schedules.chunks import recur_in_chunks, run_in_chunks
from deeprnn_jax.schedules.evaluation import (
    Fixed,
    compute_fixed,
    hoist,
    run_step,
    run_whole_step,
)
from deeprnn_jax.schedules.loop import put_batch_first, run_loop
from deeprnn_jax.schedules.operations import first_floating, is_floating
from deeprnn_jax.schedules.program import Program, trace
from deeprnn_jax.schedules.rules import project_in_loop, steps_in_a_block
from deeprnn_jax.schedules.stacks import choose_stacks
from deeprnn_jax.sequences import shift
from deeprnn_jax.types import Array

StepFn = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class Residuals(NamedTuple):
    """What the backward pass keeps of the forward pass."""

    params: Any
    carry: Any  # before the first step
    xs: Any
    flags: Any
    carries: list[Array]  # the carry of each step, [T, ...]; the rest likewise
    packs: list[Array]  # of each step's values, those that `Program.made` names
    shared: list[Array]  # likewise, but also outputs


def run_recurrence(
    step: StepFn,
    params: Any,
    carry: Any,
    xs: Any,
    flags: Any,
    *,
    reverse: bool = False,
    checkpoint_every: int | None = None,
) -> tuple[Any, Any]:
    """Do what `lax.scan` does with a step that has parameters.

    Args:
      step: `(params, carry, x_t, flags_t) -> (carry, outputs)`.
      params: a tree of floating arrays, the same at every step.
      carry: a tree of floating arrays.
      xs: a tree of floating arrays `[T, ...]`, T of 1 or more.
      flags: a tree of arrays `[T, ...]` that have no gradient.
      reverse: whether to go from the last step to the first.
      checkpoint_every: see `chunks`.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.
    """
    recur = partial(_recur, step, reverse)
    if checkpoint_every is None or checkpoint_every >= jax.tree.leaves(xs)[0].shape[0]:
        return recur(params, carry, xs, flags)
    return recur_in_chunks(recur, checkpoint_every, reverse, params, carry, xs, flags)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(
    step: StepFn, reverse: bool, params: Any, carry: Any, xs: Any, flags: Any
) -> tuple[Any, Any]:
    """Run the recurrence where no gradient is asked for."""
    if not project_in_loop():
        return _run(step, reverse, False, params, carry, xs, flags)[0]
    program, structure = _trace(step, params, carry, xs, flags)
    fixed = compute_fixed(program, jax.tree.leaves(params))
    start, inputs = jax.tree.leaves(carry), jax.tree.leaves((xs, flags))
    count = program.num_carry

    def one_step(leaves: list[Array], inputs: list[Array]) -> tuple[list[Array], list[Array]]:
        found = run_whole_step(program, fixed, [*leaves, *inputs])
        return found[:count], found[count:]

    def steps(leaves: list[Array], inputs: list[Array]) -> tuple[list[Array], list[Array]]:
        read, outputs = hoist(program, fixed, inputs), []
        order = range(inputs[0].shape[0])
        for index in reversed(order) if reverse else order:
            found, _ = run_step(program, fixed, [*leaves, *(leaf[index] for leaf in read)])
            leaves = found[:count]
            outputs.append(found[count:])
        stacked = zip(*(reversed(outputs) if reverse else outputs), strict=True)
        return leaves, [jnp.stack(leaf) for leaf in stacked]

    size = steps_in_a_block(sum(leaf.nbytes for leaf in (*fixed.hoisted_matrices, *fixed.matrices)))
    if size == 1:
        final, outputs = lax.scan(one_step, start, inputs, reverse=reverse)
    else:
        final, outputs = run_in_chunks(steps, start, inputs, size, reverse=reverse)
    given = (params, carry, xs, flags)
    return put_batch_first(jax.tree.unflatten(structure, [*final, *outputs]), given)


def _forward(step: StepFn, reverse: bool, *operands: Any) -> tuple[tuple[Any, Any], Residuals]:
    return _run(step, reverse, True, *operands)


def _trace(step: StepFn, params: Any, carry: Any, xs: Any, flags: Any) -> tuple[Program, Any]:
    """Take the step apart; also give the structure of the carry and the outputs."""
    structures = []

    def flat(*leaves: Array) -> list[Array]:
        found = step(*jax.tree.unflatten(jax.tree.structure(parts), leaves))
        structures.append(jax.tree.structure(found))
        return jax.tree.leaves(found)

    def one(leaf: Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)

    parts = (params, carry, *jax.tree.map(one, (xs, flags)))
    inputs = jax.tree.leaves(parts[2:])
    program = trace(flat, jax.tree.leaves(params), jax.tree.leaves(carry), inputs)
    return program, structures[0]


def _run(
    step: StepFn, reverse: bool, keep: bool, params: Any, carry: Any, xs: Any, flags: Any
) -> tuple[tuple[Any, Any], Residuals]:
    """Run the recurrence; with `keep`, also stack what the backward pass needs."""
    program, structure = _trace(step, params, carry, xs, flags)
    fixed = compute_fixed(program, jax.tree.leaves(params))
    count = program.num_carry
    chosen = choose_stacks(program, keep=keep)

    def body(fixed: Fixed, leaves: list[Array], read: list[Array]) -> tuple[list, tuple]:
        found, read_off = run_step(program, fixed, [*leaves, *read])
        return found[:count], (read_off(chosen.plain), chosen.pack(read_off))

    read = hoist(program, fixed, jax.tree.leaves((xs, flags)))
    final, (plain, packs) = run_loop(
        body,
        fixed,
        jax.tree.leaves(carry),
        read,
        num_steps=jax.tree.leaves((xs, flags))[0].shape[0],
        since=first_floating((read, carry)),
        reverse=reverse,
        ahead=True,
        spent=[var in chosen.spent for var in program.reads],
    )
    stack_of = {id(var): stack for var, stack in zip(chosen.plain, plain, strict=True)}

    def stacks_of(variables: Sequence[Any]) -> list[Array]:
        return [stack_of[id(var)] for var in variables]

    found = jax.tree.unflatten(structure, [*final, *stacks_of(program.jaxpr.outvars[count:])])
    found = put_batch_first(found, (params, carry, xs, flags))
    kept = (stacks_of(chosen.carry), packs, stacks_of(chosen.shared))
    return found, Residuals(params, carry, xs, flags, *kept)


def _backward(
    step: StepFn, reverse: bool, residuals: Residuals, cotangents: tuple[Any, Any]
) -> tuple[Any, ...]:
    """Give the cotangents of parameters, carry and inputs."""
    params, carry, xs, flags, carries, packs, shared = residuals
    program, _ = _trace(step, params, carry, xs, flags)
    leaves, inputs = jax.tree.leaves(params), jax.tree.leaves((xs, flags))
    fixed = compute_fixed(program, leaves)
    chosen = choose_stacks(program, keep=True)
    befores = [
        stack if var is begin else shift(first, stack, reverse=reverse)
        for var, begin, first, stack in zip(
            chosen.carry, program.carry, jax.tree.leaves(carry), carries, strict=True
        )
    ]
    # What was read and not kept is not computed again: only its shape counts.
    read = [
        None if is_floating(var) and var not in program.kept else leaf
        for var, leaf in zip(program.reads, hoist(program, fixed, inputs), strict=True)
    ]
    known = Known(befores, read, shared, packs)
    found = run_backward(
        program,
        chosen,
        fixed,
        known,
        *map(jax.tree.leaves, cotangents),
        num_steps=inputs[0].shape[0],
        reverse=not reverse,
    )
    d_matrices, d_addends = sum_over_time(program, chosen, fixed, known, found.deferred)

    def before_loop(leaves: list[Array], xs: Any) -> tuple:
        """Compute what is computed before the loop and gets a cotangent from it."""
        fixed: Fixed = compute_fixed(program, leaves)
        read = hoist(program, fixed, jax.tree.leaves((xs, flags)), for_vjp=True)
        shared = zip(fixed.shared, program.has_gradient, strict=True)
        in_loop = ([value for value, has in shared if has], fixed.matrices, fixed.addends)
        return in_loop, [value for value in read if is_floating(value)]

    _, pull = jax.vjp(before_loop, leaves, xs)
    d_leaves, d_xs = pull(((found.shared, d_matrices, d_addends), found.deferred.read))
    d_params = jax.tree.unflatten(jax.tree.structure(params), d_leaves)
    return d_params, jax.tree.unflatten(jax.tree.structure(carry), found.carry), d_xs, None


_recur.defvjp(_forward, _backward)
