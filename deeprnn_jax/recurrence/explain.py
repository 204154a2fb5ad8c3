"""What was found in a step, in words."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax

from deeprnn_jax.internals import ClosedJaxpr, JaxprEqn, Var, opened
from deeprnn_jax.meshes import automatic
from deeprnn_jax.recurrence.analysis import part, sort_operations
from deeprnn_jax.recurrence.backward import transpose
from deeprnn_jax.recurrence.jaxprs import (
    bodies_of,
    dtype_of,
    is_inexact,
    num_bytes,
    shape_of,
    variables_of,
)
from deeprnn_jax.recurrence.linear_primitive import linear_scan_p
from deeprnn_jax.recurrence.linearize import Linearized, linearize
from deeprnn_jax.recurrence.loop import lax_scan
from deeprnn_jax.recurrence.parts import Part
from deeprnn_jax.recurrence.primitive import parts_of, recurrence_p
from deeprnn_jax.recurrence.products import is_product
from deeprnn_jax.recurrence.swap import explain_refusal, recurrence_of


def explain(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
) -> str:
    """Say what `scan` does with a step, and with its gradient by all that it reads.

    Nothing is run.

    Args:
      f: the step, as `scan` takes it.
      init: the carry before the first step, or its shapes.
      xs: a tree of arrays `[T, ...]`, their shapes, or None.
      length: T; needed where xs is None.

    Returns:
      Some lines of text; of a loop that is cut, some about each part. Products are given by the
      shapes of what varies and of what does not, other operations by their names in JAX and how
      many there are.

    Example:
      An LSTM: one product of x for all steps, one of h in the loop. Kept are four gates, as
      one array where the product of x was, and c; h is an output, and there anyway. The
      backward loop has one product, and each matrix gets its gradient by one, after it.

      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> w_x, w_h, b = jnp.ones((64, 1024)), jnp.ones((256, 1024)), jnp.ones(1024)
      >>> def lstm(state, x):
      ...     h, c = state
      ...     i, f, g, o = jnp.split(x @ w_x + h @ w_h + b, 4, axis=-1)
      ...     c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
      ...     h = jax.nn.sigmoid(o) * jnp.tanh(c)
      ...     return (h, c), h
      >>> state, x = (jnp.ones((32, 256)),) * 2, jnp.ones((128, 32, 64))
      >>> print(drnn.explain(lstm, state, x))
      128 steps, carry 2 float32[32,256]
        once, before the loop
          broadcast_in_dim
        for all steps at once
          [32,64] · [64,1024]
        each step
          [32,256] · [256,1024]
          3 add, 3 logistic, 3 mul, split, 2 tanh
        kept for the gradient: 163,840 bytes a step
          4 float32[32,256] side by side, in the place of a hoisted product
          float32[32,256]
          there anyway: float32[32,64], inputs
          there anyway: float32[32,256], carry, from the outputs that end it
        backward, each step
          [32,1024] · [256,1024]
          add, 4 add_any, concatenate, 18 mul, 4 slice, 5 sub, tanh
        after the backward loop, for all steps at once
          cotangents [32,64]: [32,64] · [64,1024]
          gradient [64,1024]: [32,64] · [64,1024]
          gradient [256,1024]: [32,256] · [256,1024]
          sum float32[1,1024]

    """
    closed = jax.make_jaxpr(lambda init, xs: lax_scan(f, init, xs, length))(init, xs)
    (eqn,) = (eqn for eqn in opened(closed).eqns if eqn.primitive.name == "scan")
    refusal = explain_refusal(eqn)
    if refusal is not None:
        return f"Run by lax.scan: {refusal}."
    return "\n".join(_lines(recurrence_of(eqn)[1]))


def explain_all(closed: Any) -> str:
    """Say what was found in each recurrence of a traced program, equal ones once."""
    tell = {recurrence_p: _text, linear_scan_p: _linear_scan}
    eqns = (eqn for eqn in _operations_in(opened(closed)) if eqn.primitive in tell)
    with automatic(jax.sharding.get_abstract_mesh()):  # as in a network's loops
        texts = Counter(tell[eqn.primitive](eqn) for eqn in eqns)
    if not texts:
        return "No recurrence: all is run by lax.scan."
    return "\n\n".join(f"{count} x {text}" for text, count in texts.items())


def _operations_in(jaxpr: Any) -> Iterator[JaxprEqn]:
    """Give every operation, those inside others with them, but not those of recurrences."""
    for eqn in jaxpr.eqns:
        yield eqn
        if eqn.primitive is not recurrence_p:
            for body in bodies_of(eqn):
                yield from _operations_in(body)


def _text(eqn: JaxprEqn) -> str:
    """Say what was found in a recurrence."""
    return "\n".join(_lines(eqn.params))


def _linear_scan(eqn: JaxprEqn) -> str:
    """Say what a linear recurrence carries; there is nothing to be found in it."""
    length, starts = shape_of(eqn.outvars[0])[0], eqn.invars[-len(eqn.outvars) :]
    return f"{length} steps, {_carry(starts)}, by linear_scan"


def _lines(params: dict[str, Any]) -> Iterator[str]:
    """Give the lines about one recurrence, in parts if it is cut."""
    jaxpr, counts = params["jaxpr"], (params["num_consts"], params["num_carry"])
    _, carry, _ = part(opened(jaxpr).invars, *counts)
    head = f"{params['length']} steps, {_carry(carry)}"
    parts = parts_of(params)
    if parts is None:
        yield head
        yield from _one(jaxpr, *counts, params["at_once"])
        return
    yield f"{head}, in {len(parts.parts)} parts"
    yield from _section("once, before all parts", parts.fixed, parts.invariant)
    yield f"  stacked for other parts: {parts.num_bytes:,} bytes a step"
    for number, one in enumerate(parts.parts, 1):
        yield from (f"  {line}" for line in _lines_of_part(number, one, carry))


def _lines_of_part(number: int, one: Part, carry: Sequence[Var]) -> Iterator[str]:
    """Give the lines about one part of a loop."""
    if one.handed is not None:
        yield f"part {number}, {_carry([carry[one.handed]])}, only handed on"
        return
    yield f"part {number}, {_carry([carry[index] for index in one.carry])}"
    yield from _one(one.step, len(one.consts), len(one.carry), not one.carry)


def _one(jaxpr: ClosedJaxpr, num_consts: int, num_carry: int, at_once: bool) -> Iterator[str]:
    """Give the lines about one loop, or about what is done for all steps at once."""
    step = opened(jaxpr)
    ops = sort_operations(step, num_consts, num_carry, at_once)
    yield from _section("once" if at_once else "once, before the loop", ops.fixed, ops.invariant)
    yield from _section("for all steps at once", ops.hoisted, ops.invariant)
    yield from _section("each step", ops.loop, ops.invariant)
    active = tuple(is_inexact(var) for var in step.invars)
    if not any(active):
        return
    split = linearize(jaxpr, num_consts, num_carry, active)
    yield from _kept(split)
    yield from _backward(split, active, num_consts, num_carry, at_once)


def _kept(split: Linearized) -> Iterator[str]:
    """Say what is kept for the gradient."""
    size = sum(num_bytes(var) for group in split.joined for var in group)
    yield f"  kept for the gradient: {size:,} bytes a step"
    for group in split.joined:
        if len(group) > 1:
            yield f"    {_types(group)} side by side, in the place of a hoisted product"
    alone = [var for group in split.joined for var in group if len(group) == 1]
    if alone:
        yield f"    {_types(alone)}"
    kinds = {"x": "inputs", "y": "outputs", "before": "carry, from the outputs that end it"}
    for kind, name in kinds.items():
        pairs = zip(split.there, split.residuals, strict=False)
        some = [var for var, residual in pairs if residual.kind == kind]
        if some:
            yield f"    there anyway: {_types(some)}, {name}"


def _backward(
    split: Linearized, active: Sequence[bool], num_consts: int, num_carry: int, at_once: bool
) -> Iterator[str]:
    """Give the lines about the backward pass."""
    d_consts, _, d_xs = (sum(some) for some in part(active, num_consts, num_carry))
    consts, num_active = len(split.invariant) + d_consts, sum(split.active_carry)
    linear = [False] * len(opened(split.tangent).invars)
    linear[len(split.invariant) : consts] = [True] * d_consts
    linear[len(linear) - d_xs :] = [True] * d_xs
    plan = transpose(split.tangent, consts, num_active, tuple(linear), at_once)
    ops, counts = plan.tangent, (len(plan.consts), num_active + len(plan.summed))
    loop = sort_operations(opened(plan.step), *counts, at_once)
    again = [*plan.before, *loop.hoisted]
    yield from _section("backward, for all steps at once", again, loop.invariant | ops.invariant)
    yield from _section("backward, each step", loop.loop, loop.invariant)
    if plan.summed:
        yield f"    summed: {_types(plan.summed.values())}"
    after = [
        _gradient(eqn, ops.invariant, ops.linear)
        for eqn in ops.hoisted
        if is_product(eqn, ops.invariant)
    ]
    after += [f"sum {_types([var])}" for var in plan.reductions if var in plan.places]
    if after:
        title = "backward" if at_once and not loop.loop else "after the backward loop"
        yield f"  {title}, for all steps at once"
        yield from (f"    {line}" for line in after)


def _section(title: str, eqns: Sequence[JaxprEqn], invariant: set[Var]) -> Iterator[str]:
    """Give the lines about some operations: products, then how many there are of the rest."""
    lines = [_product(eqn) for eqn in eqns if is_product(eqn, invariant)]
    others = Counter(eqn.primitive.name for eqn in eqns if not is_product(eqn, invariant))
    if others:
        names = (name if n == 1 else f"{n} {name}" for name, n in sorted(others.items()))
        lines += textwrap.wrap(", ".join(names), 80)
    if lines:
        yield f"  {title}"
        yield from (f"    {line}" for line in lines)


def _product(eqn: JaxprEqn) -> str:
    sign = "·" if eqn.primitive.name == "dot_general" else "*"
    return f" {sign} ".join(_shape(var) for var in eqn.invars)


def _gradient(eqn: JaxprEqn, invariant: set[Var], linear: set[Var]) -> str:
    """Say what a product that was hoisted becomes: a matrix's cotangent, or that of rows."""
    target = next(var for var in variables_of(eqn.invars) if var in linear)
    kind = "gradient" if target in invariant else "cotangents"
    return f"{kind} {_shape(target)}: {_product(eqn)}"


def _carry(variables: Sequence[Any]) -> str:
    return f"carry {_types(variables)}" if variables else "no carry"


def _types(variables: Iterable[Any]) -> str:
    counted = Counter(f"{dtype_of(v)}{_shape(v)}" for v in variables)
    return ", ".join(name if n == 1 else f"{n} {name}" for name, n in counted.items())


def _shape(var: Any) -> str:
    return f"[{','.join(map(str, shape_of(var)))}]"
