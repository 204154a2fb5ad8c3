"""A loop over time done for all steps at once, where each unit of the carry sees itself alone.

The step is cut where parts of the carry do not need each other (`parts`), and each part is
solved in turn. Its coefficients come of the step itself, by its derivative: where the step is
affine in the carry, h_t = a_t h_{t-1} + b_t with

    b_t = step(0, x_t),    a_t = ∂step / ∂h (0, x_t)

so that masks (a = 1, b = 0), resets (a = 0) and zoneout need no code of their own. Where it is
not affine, but elementwise, Newton's method: h is guessed for all steps, the step replaced by
its tangent there, and that solved,

    a_t = ∂step / ∂h (h_{t-1}, x_t),    h ← linear_scan(a, step(h_{t-1}, x_t) - a_t h_{t-1})

again and again until h_t = step(h_{t-1}, x_t) to within a tolerance; if it does not get there,
the loop is run. The derivative is that of the equation at its solution, one linear recurrence
more, however many passes it took.

References:
  Martin and Cundy 2018; Lim et al. 2024, "Parallelizing non-linear sequential models over the
  sequence length" (DEER).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deeprnn_jax.internals import close, opened
from deeprnn_jax.recurrence.analysis import part
from deeprnn_jax.recurrence.jaxprs import (
    accumulation_dtype,
    dtype_of,
    evaluate,
    is_inexact,
    is_var,
)
from deeprnn_jax.recurrence.linear_primitive import bind
from deeprnn_jax.recurrence.loop import lax_scan, shift
from deeprnn_jax.recurrence.parts import Part, cut
from deeprnn_jax.recurrence.primitive import bind_part, bind_parts
from deeprnn_jax.recurrence.swap import swap_scans
from deeprnn_jax.recurrence.units import Slopes, slopes_of
from deeprnn_jax.types import Array


class Newton(NamedTuple):
    """When to stop."""

    tolerance: float | None = None  # of |h - step(h_before)| / (1 + |h|), each; None: 16 ulp of 1
    max_passes: int = 50  # 0: none; the loop is run, and only its derivative is at once


class Passes(NamedTuple):
    """What Newton's method did in one part of a carry that is not affine."""

    number: Array  # passes, int32; `max_passes` or more: the loop was run
    residual: Array  # the largest |h - step(h_before)| / (1 + |h|) after them


class Solution(NamedTuple):
    """What the parallel way gives."""

    carry: Any
    ys: Any
    passes: list[Passes]  # one a part that is elementwise and not affine


def solve(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    *,
    function: str,
    newton: Newton = Newton(),
    method: str | None = None,
) -> Solution:
    """Scan a step for all steps at once.

    Args:
      f: the step, `(carry, x_t) -> (carry, y_t)`.
      init: the carry before the first step.
      xs: a tree of arrays `[T, ...]`, T of 1 or more.
      function: who asks, for error messages.
      newton: for what is not affine.
      method: of `linear_scan`.

    Raises:
      ValueError: if the step mixes units of the carry.
    """
    closed, shapes = jax.make_jaxpr(partial(lax_scan, f), return_shape=True)(init, xs)
    passes: list[Passes] = []

    def run_one(one: Part, operands: list[Array], params: dict[str, Any]) -> list[Array]:
        if not one.carry or not _is_inexact(one):
            return bind_part(one, operands, params)
        found, tried = _solve(one, operands, params, function, newton, method)
        passes.extend(tried)
        return found

    def run(operands: list[Array], **params: Any) -> list[Array]:
        counts = params["num_consts"], params["num_carry"]
        parts = cut(params["jaxpr"], *counts, everywhere=True)
        assert parts is not None
        return bind_parts(parts, operands, params, run_one)

    found = swap_scans(closed, jax.tree.leaves((init, xs)), run)
    carry, ys = jax.tree.unflatten(jax.tree.structure(shapes), found)
    return Solution(carry, ys, passes)


def _is_inexact(one: Part) -> bool:
    """Tell whether a part of the carry has a derivative; a counter is left to the loop."""
    return all(map(is_inexact, _operands(one)[1]))


def _operands(one: Part) -> tuple[list, list, list]:
    """Give the inputs of a part's step: consts, carry, what it reads."""
    return part(opened(one.step).invars, len(one.consts), len(one.carry))


def _solve(
    one: Part,
    operands: list[Array],
    params: dict[str, Any],
    function: str,
    newton: Newton,
    method: str | None,
) -> tuple[list[Array], list[Passes]]:
    """Give the outputs of a part, and what Newton's method did, if it was needed."""
    plan = slopes_of(one.step, len(one.consts), len(one.carry))
    if plan.mixing is not None:
        raise ValueError(
            f"{function}: schedule='parallel' needs a step that moves each unit of its state on "
            f"from that unit alone, but {plan.mixing} mixes them; use schedule='layerwise'"
        )
    consts, init, reads = part(operands, len(one.consts), len(one.carry))
    wide = [state.astype(accumulation_dtype(state.dtype)) for state in init]
    problem = _Problem(one, plan, params, method)
    passes: list[Passes] = []
    if plan.is_affine:
        slopes, offsets = problem.linear(consts, wide, reads)
        after = problem.scan(slopes, offsets, wide)
    else:
        after, tried = _newton(problem, newton, consts, wide, reads)
        passes.append(tried)
    last = 0 if params["reverse"] else -1
    finals = [ends[last].astype(h.dtype) for ends, h in zip(after, init, strict=True)]
    stacked = problem.stacked(consts, problem.begun(wide, after), after, reads)
    return [*finals, *stacked], passes


class _Problem(NamedTuple):
    """A part of a loop, to be solved for all its steps."""

    one: Part
    plan: Slopes
    params: dict[str, Any]  # of the recurrence that it is a part of
    method: str | None

    @property
    def carry(self) -> list[Any]:
        """The variables of the part's carry."""
        return _operands(self.one)[1]

    def given(self, states: Sequence[Array]) -> list[Array]:
        """Give states in the dtypes that the step has them in."""
        return [h.astype(dtype_of(var)) for h, var in zip(states, self.carry, strict=True)]

    def begun(self, init: Sequence[Array], after: Sequence[Array]) -> list[Array]:
        """Give the states that steps begin with, from those that they end with."""
        reverse = self.params["reverse"]
        return [shift(h, ends, reverse=reverse) for h, ends in zip(init, after, strict=True)]

    def scan(self, slopes: list[Array], offsets: Sequence[Array], init: list[Array]) -> list[Array]:
        """Give the states after every step of the linear recurrence."""
        return bind(slopes, offsets, init, reverse=self.params["reverse"], method=self.method)

    def whole(
        self, consts: list[Array], before: Sequence[Array], reads: list[Array]
    ) -> list[Array]:
        """Give what every step gives, begun with given states `[T, ...]`."""
        step = self.one._replace(carry=(), stacked=opened(self.one.step).outvars)
        return bind_part(step, [*consts, *self.given(before), *reads], self.params)

    def at(self, consts: list[Array], before: Sequence[Array], reads: list[Array]) -> list[Array]:
        """Give the states after every step, as wide as they are solved in."""
        ends = self.whole(consts, before, reads)
        return [end.astype(h.dtype) for end, h in zip(ends, before, strict=False)]

    def stacked(
        self,
        consts: list[Array],
        before: Sequence[Array],
        after: Sequence[Array],
        reads: list[Array],
    ) -> list[Array]:
        """Give what the part stacks, from the states before and after every step."""
        jaxpr, carry = opened(self.one.step), self.carry
        known = dict(zip(carry, before, strict=True))
        known |= {v: h for v, h in zip(jaxpr.outvars, after, strict=False) if is_var(v)}
        if all(var in known for var in self.one.stacked):
            return [known[var].astype(dtype_of(var)) for var in self.one.stacked]
        return self.whole(consts, before, reads)[len(carry) :]

    def linear(
        self, consts: list[Array], before: Sequence[Array], reads: list[Array]
    ) -> tuple[list[Array], list[Array]]:
        """Give the derivative at every step, and the value at 0 if the step is affine.

        Args:
          consts: of the part.
          before: the states that steps begin with, `[T, ...]`; if the step is affine, any.
          reads: of the part.
        """
        given = self.given(before)
        if self.plan.is_affine:  # they are not read
            given = [jnp.broadcast_to(h, (self.params["length"], *h.shape)) for h in given]
        outs = opened(self.plan.step).outvars
        varies = [var for var, same in zip(outs, self.plan.is_same, strict=True) if not same]
        fixed: list[Array] = []
        if any(self.plan.is_same):
            at_one = [one[0] for one in (*given, *reads)]
            values = evaluate(self.plan.step, [*consts, *at_one])
            fixed = [v[None] for v, same in zip(values, self.plan.is_same, strict=True) if same]
        jaxpr = opened(self.plan.step).replace(outvars=varies)
        step = self.one._replace(carry=(), stacked=varies, step=close(jaxpr))
        stacked = bind_part(step, [*consts, *given, *reads], self.params) if varies else []
        dtype, size = before[0].dtype, len(before) ** 2
        found = [(fixed if same else stacked).pop(0).astype(dtype) for same in self.plan.is_same]
        return found[:size], found[size:]

    def improve(
        self,
        ends: list[Array],
        before: Sequence[Array],
        consts: list[Array],
        reads: list[Array],
        init: list[Array],
    ) -> list[Array]:
        """Solve the step's tangent at given states, which it ends as `ends`."""
        slopes, size = self.linear(consts, before, reads)[0], len(init)
        rows = [slopes[row * size : (row + 1) * size] for row in range(size)]
        offsets = [
            end - sum((a * h for a, h in zip(row, before, strict=True)), jnp.zeros_like(end))
            for end, row in zip(ends, rows, strict=True)
        ]
        return self.scan(slopes, offsets, init)

    def loop(self, consts: list[Array], init: list[Array], reads: list[Array]) -> list[Array]:
        """Give the states after every step by the loop."""
        jaxpr = opened(self.one.step)
        ends = jaxpr.outvars[: len(init)]
        step = self.one._replace(step=close(jaxpr.replace(outvars=[*ends, *ends])), stacked=ends)
        found = bind_part(step, [*consts, *self.given(init), *reads], self.params)[len(init) :]
        return [end.astype(h.dtype) for end, h in zip(found, init, strict=True)]


def _newton(
    problem: _Problem, newton: Newton, consts: list[Array], init: list[Array], reads: list[Array]
) -> tuple[list[Array], Passes]:
    """Give the states after every step, and what it took."""
    length, begun = problem.params["length"], problem.begun
    tolerance = newton.tolerance
    if tolerance is None:
        tolerance = 16 * float(jnp.finfo(init[0].dtype).eps)

    def find(consts: list[Array], init: list[Array], reads: list[Array]) -> list[Any]:
        if not newton.max_passes:
            after = problem.loop(consts, init, reads)
            return [after, jnp.int32(0), _residual(after, after)]

        def better(found: tuple) -> tuple:
            count, after, ends, _ = found
            after = problem.improve(ends, begun(init, after), consts, reads, init)
            ends = problem.at(consts, begun(init, after), reads)
            return count + 1, after, ends, _residual(after, ends)

        def is_rough(found: tuple) -> Array:
            return (found[0] < newton.max_passes) & ~(found[3] <= tolerance)

        guess = problem.at(consts, [jnp.zeros((length, *h.shape), h.dtype) for h in init], reads)
        ends = problem.at(consts, begun(init, guess), reads)
        first = jnp.int32(0), guess, ends, _residual(guess, ends)
        count, after, _, residual = lax.while_loop(is_rough, better, first)
        after = lax.cond(
            residual <= tolerance, lambda: after, lambda: problem.loop(consts, init, reads)
        )
        return [after, count, residual]

    solved = jax.custom_jvp(find)

    @solved.defjvp
    def push(primals: Any, tangents: Any) -> Any:
        consts, init, reads = primals
        d_consts, d_init, d_reads = tangents
        after, count, residual = solved(consts, init, reads)
        before = begun(init, after)

        def ends(consts: list[Array], reads: list[Array]) -> list[Array]:
            return problem.at(consts, before, reads)

        forced = jax.jvp(ends, (consts, reads), (d_consts, d_reads))[1]
        slopes, _ = problem.linear(consts, before, reads)
        d_after = problem.scan(slopes, forced, d_init)
        none = np.zeros(count.shape, jax.dtypes.float0)
        return [after, count, residual], [d_after, none, jnp.zeros_like(residual)]

    after, number, residual = solved(consts, init, reads)
    return after, Passes(number, residual)


def _residual(after: Sequence[Array], ends: Sequence[Array]) -> Array:
    """Give the largest |h - step(h_before)| / (1 + |h|); NaN where there is one.

    Each number is measured by its own size: units and rows know nothing of one another, and one
    that grows must not make the others rough.
    """
    errors = [
        jnp.max(jnp.abs(h - end) / (1 + jnp.abs(h))) for h, end in zip(after, ends, strict=True)
    ]
    return jnp.max(jnp.stack(errors))
