"""Layer by layer, each by the engine; both directions in one loop."""

from functools import partial

from deeprnn_jax.recurrence import scan
from deeprnn_jax.schedules.layer_by_layer import ScanFn, run_layers
from deeprnn_jax.schedules.schedule import Schedule, num_steps, refuse_none


def _scan_of(checkpoint_every: int | None) -> ScanFn:
    return partial(scan, checkpoint_every=checkpoint_every)


LAYERWISE = Schedule("layerwise", partial(run_layers, _scan_of), refuse_none, num_steps)
