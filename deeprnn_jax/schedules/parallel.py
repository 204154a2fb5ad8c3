"""Layer by layer, each for all steps at once: cells whose units see their own past alone."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from deeprnn_jax.checks import check_callable, is_int, is_number
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.recurrence.chunks import scan_in_chunks
from deeprnn_jax.recurrence.parallel import Newton, Passes, solve
from deeprnn_jax.recurrence.scan import scan as engine_scan
from deeprnn_jax.schedules.layer_by_layer import run_layers
from deeprnn_jax.schedules.schedule import Options, Ran, Schedule, num_steps
from deeprnn_jax.sequences import Steps
from deeprnn_jax.types import Array, State


def parallel(
    *,
    tolerance: float | None = None,
    max_passes: int | None = None,
    report: Callable[[Passes], None] | None = None,
) -> Schedule:
    """Give a schedule that does all steps of a layer at once.

    For cells that declare their `state_map`. Of an affine one, h_t = a_t ⊙ h_{t-1} + b_t, the
    coefficients are computed for all steps, and the rest is one `linear_scan`, exact but for
    rounding. Of an elementwise one the same is done again and again by Newton's method, until
    each step's state is what the step makes of the state before it, to within `tolerance`; if
    it is not after `max_passes`, as where the recurrence does not contract, the loop is run.
    Gradients are those of the solution, however it was found.

    Args:
      tolerance: of |h_t - step(h_{t-1})| / (1 + |h_t|), in every unit of every row at every step;
        None: 16 times the dtype's epsilon.
      max_passes: how often Newton's method may try; with 0, or None on CPU, where that is the
        fastest, it does not: the loop is run, and its derivative alone is done for all steps at
        once. With `jax.vmap` all wait for the slowest.
      report: called with `Passes(number, residual)` for every layer that needed Newton's method,
        each time the network is run, as `print`.

    Returns:
      What `apply` and its like take as `schedule`; "parallel" is that without arguments.

    Raises:
      ValueError: if an argument is not one of those.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.independent(8), num_layers=2)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> schedule = drnn.schedules.parallel(max_passes=20)
      >>> rnn.apply(params, jnp.ones((100, 32, 3)), schedule=schedule)[1].shape
      (100, 32, 8)

    References:
      Martin and Cundy 2018; Lim et al. 2024 (DEER); Danieli et al. 2025 (ParaRNN).
    """
    if max_passes is not None and not is_int(max_passes, at_least=0):
        raise ValueError(f"parallel: max_passes must be an int of 0 or more, got {max_passes!r}")
    if tolerance is not None and not (is_number(tolerance) and tolerance > 0):
        raise ValueError(f"parallel: tolerance must be a number above 0, got {tolerance!r}")
    if report is not None:
        check_callable("parallel", "report", report, "print")
    settings = tolerance and float(tolerance), max_passes and int(max_passes), report
    name = "parallel" if settings == (None, None, None) else f"parallel{settings[:2]}"
    return Schedule(name, _Run(*settings), _refuse, num_steps)


class _Run(NamedTuple):
    """Runs a network; a named tuple, so that equal schedules are equal."""

    tolerance: float | None
    max_passes: int | None
    report: Callable[[Passes], None] | None

    def __call__(
        self,
        plan: Plan,
        params: tuple[Any, ...],
        x: Array,
        state: tuple[State, ...],
        steps: Steps,
        key: Array | None,
        options: Options,
    ) -> Ran:
        passes = options.rules.newton_passes if self.max_passes is None else self.max_passes
        scan = partial(_scan, Newton(self.tolerance, passes), self.report)
        each = partial(partial, scan)
        return run_layers(each, plan, params, x, state, steps, key, options)


def _scan(
    newton: Newton,
    report: Callable[[Passes], None] | None,
    every: int | None,
    f: Any,
    init: Any,
    xs: Any,
) -> tuple[Any, Any]:
    """Scan a layer, in chunks if told so."""

    def scan(f: Any, init: Any, xs: Any, *_: Any) -> tuple[Any, Any]:
        found = solve(f, init, xs, function="apply", newton=newton)
        if report is not None:
            for passes in found.passes:
                jax.debug.callback(report, passes)
        return found.carry, found.ys

    length = jax.tree.leaves(xs)[0].shape[0]
    return scan_in_chunks(scan, f, init, xs, length, False, 1, every, over=engine_scan)


def _refuse(plan: Plan) -> str | None:
    for index, cell in enumerate(plan.cells):
        if cell.state_map is None:
            return (
                f"the units of layer {index}, cell {cell.name!r}, read each other's past "
                "(state_map is None); use schedule='layerwise'"
            )
    return None


PARALLEL = parallel()
