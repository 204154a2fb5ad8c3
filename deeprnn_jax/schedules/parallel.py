"""Layer by layer, each for all steps at once: cells whose units see their own past alone."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from deeprnn_jax.checks import check_callable, check_size, is_number
from deeprnn_jax.layers.plan import Plan
from deeprnn_jax.recurrence.chunks import scan_in_chunks
from deeprnn_jax.recurrence.parallel import Newton, Passes, solve
from deeprnn_jax.recurrence.scan import scan as engine_scan
from deeprnn_jax.schedules.layer_by_layer import ScanFn, run_layers
from deeprnn_jax.schedules.schedule import Schedule, num_steps


def parallel(
    *,
    tolerance: float | None = None,
    max_passes: int = 50,
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
      tolerance: of |h_t - step(h_{t-1})| / (1 + max |h|); None: 16 times the dtype's epsilon.
      max_passes: how often Newton's method may try. With `jax.vmap` all wait for the slowest.
      report: called with `Passes(count, residual)` for every layer that needed Newton's method,
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
    check_size("parallel", "max_passes", max_passes)
    if tolerance is not None and not (is_number(tolerance) and tolerance > 0):
        raise ValueError(f"parallel: tolerance must be a number above 0, got {tolerance!r}")
    if report is not None:
        check_callable("parallel", "report", report, "print")
    newton = Newton(None if tolerance is None else float(tolerance), int(max_passes))
    run = partial(run_layers, _Scans(newton, report))
    name = "parallel" if newton == Newton() and report is None else f"parallel{tuple(newton)}"
    return Schedule(name, run, _refuse, num_steps)


class _Scans(NamedTuple):
    """Gives what scans a layer; a named tuple, so that equal schedules are equal."""

    newton: Newton
    report: Callable[[Passes], None] | None

    def __call__(self, checkpoint_every: int | None) -> ScanFn:
        return partial(self._scan, checkpoint_every)

    def _scan(self, every: int | None, f: Any, init: Any, xs: Any) -> tuple[Any, Any]:
        length = jax.tree.leaves(xs)[0].shape[0]
        return scan_in_chunks(self._solve, f, init, xs, length, False, 1, every, over=engine_scan)

    def _solve(self, f: Any, init: Any, xs: Any, *_: Any) -> tuple[Any, Any]:
        found = solve(f, init, xs, function="apply", newton=self.newton)
        if self.report is not None:
            for passes in found.passes:
                jax.debug.callback(self.report, passes)
        return found.carry, found.ys


def _refuse(plan: Plan) -> str | None:
    for index, cell in enumerate(plan.cells):
        if cell.state_map is None:
            return (
                f"the units of layer {index}, cell {cell.name!r}, read each other's past "
                "(state_map is None); use schedule='layerwise'"
            )
    return None


PARALLEL = parallel()
