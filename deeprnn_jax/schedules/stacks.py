"""What a recurrence stacks in its forward loop, and how.

The outputs, the carry and the values that the backward pass needs, each once. An LSTM's
step reads four gates' projections as one array and keeps four gates, and its backward
pass makes those gates' cotangents, again as one array. Packed, the three are one stack:
each loop writes where it has read.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import Var

from deeprnn_jax.schedules.operations import dtype_of, is_floating, num_bytes, shape_of
from deeprnn_jax.schedules.program import Program
from deeprnn_jax.schedules.rules import reads_ahead
from deeprnn_jax.types import Array


class Stacks(NamedTuple):
    """The arrays `[T, ...]` that a forward loop gives: `plain`, then `packs`."""

    plain: tuple[Any, ...]  # variables with a stack of their own
    packs: tuple[tuple[Var, ...], ...]  # side by side in one, along the last axis
    spent: tuple[Var, ...]  # what is read at each step, and whose place a pack takes
    carry: tuple[Any, ...]  # of `plain`, what tells how each step began, one each
    shared: tuple[Var, ...]  # of `plain`, what the program makes for the backward pass

    def pack(self, read: Any) -> list[Array]:
        """Give the packs at one step, from a function that reads variables' values."""
        return [
            jnp.concatenate(read(pack), axis=-1) if len(pack) > 1 else read(pack)[0]
            for pack in self.packs
        ]

    def unpack(self, packs: Sequence[Array], shared: Sequence[Array]) -> dict[Var, Array]:
        """Give what the program made, by variable; axes in front are left as they are."""
        values = dict(zip(self.shared, shared, strict=True))
        for pack, array in zip(self.packs, packs, strict=True):
            if len(pack) == 1:
                values[pack[0]] = array
                continue
            start = 0
            for var in pack:
                width = shape_of(var)[-1]
                values[var] = array[..., start : start + width]
                start += width
        return values


def choose_stacks(program: Program, *, keep: bool) -> Stacks:
    """Choose what the forward loop stacks.

    Args:
      program: the step.
      keep: whether there is a backward pass.
    """
    count = program.num_carry
    ends, outputs = program.jaxpr.outvars[:count], program.jaxpr.outvars[count:]
    if not keep:
        return Stacks(_each_once(outputs), (), (), (), ())
    # The backward pass wants the carry as each step began. Where it is an output as each
    # step ended, that stack is there already, and is shifted.
    is_output = {id(var) for var in outputs}
    carry = tuple(
        end if id(end) in is_output else begin
        for begin, end in zip(program.carry, ends, strict=True)
    )
    plain = _each_once([*outputs, *carry])
    own = {id(var) for var in plain}
    made = [var for var in program.made if id(var) not in own]
    read_later = {*program.kept, *program.inputs}  # by the backward pass, or by the caller
    free = [var for var in program.reads if var not in read_later and is_floating(var)]
    packs, spent = [], []
    if reads_ahead(sum(map(num_bytes, program.reads))):
        for read in free:
            pack = _fill(read, made)
            if pack:
                packs.append(pack)
                spent.append(read)
                made = [var for var in made if var not in pack]
    return Stacks(
        plain=plain,
        packs=(*packs, *((var,) for var in made)),
        spent=tuple(spent),
        carry=carry,
        shared=tuple(var for var in program.made if id(var) in own),
    )


def _fill(read: Var, made: Sequence[Var]) -> tuple[Var, ...]:
    """Choose, in order, what takes exactly as much room as the array read, or nothing."""
    if not shape_of(read):
        return ()
    *shape, room = shape_of(read)
    pack = []
    for var in made:
        alike = shape_of(var)[:-1] == tuple(shape) and dtype_of(var) == dtype_of(read)
        if alike and len(shape_of(var)) == len(shape) + 1 and shape_of(var)[-1] <= room:
            pack.append(var)
            room -= shape_of(var)[-1]
    return () if room else tuple(pack)


def _each_once(variables: Sequence[Any]) -> tuple[Any, ...]:
    return tuple({id(var): var for var in variables}.values())
