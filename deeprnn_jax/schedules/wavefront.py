"""The diagonals as schedules: "wavefront", of single steps, and "pipeline", of blocks."""

from typing import Any

from deeprnn_jax.checks import check_size
from deeprnn_jax.schedules.diagonals import Diagonals, NumDiagonals, refuse
from deeprnn_jax.schedules.schedule import Schedule
from deeprnn_jax.schedules.stages import Stages


def pipeline(
    block_size: int | None = None, *, axis: str | None = None, mesh: Any = None
) -> Schedule:
    """Give a schedule that goes by diagonals of blocks, over devices if told so.

    A layer does K steps and hands its outputs to the layer above. With `axis` each device has
    its own of the stacked layers, `L / devices` of them, does their blocks at the same time as
    the others do theirs, and hands one block to its neighbour: a collective permutation of
    `[K, *B, H]` a diagonal, T/K + L - 1 times, and as many in the backward pass. In the end the
    last device's y `[T, *B, H]` goes to all. As anywhere in a `jax.shard_map`, loops then are
    those of `lax.scan`, without what `drnn.scan` does for gradients. Layers that
    are not stacked with others, as the first one, are run on every device. With the rows of a
    batch over another axis, weights' gradients are summed over that once a diagonal, where XLA
    does not move the sum out of the loop, as on CPU.

    Args:
      block_size: K; None: √(T / (L - 1)), which is best where handing on costs as much as a
        step. Where T is a symbol, in `jax.export`, it is 1.
      axis: the mesh's axis over which the layers of a network with `stack_layers=True` lie;
        None: they lie where the parameters are, and XLA decides, which it does worse: up to
        five collectives a diagonal.
      mesh: the mesh, of devices as `jax.set_mesh` has it if that is in use; None: that one, or
        that of the arrays where its axes are explicit.

    Returns:
      What `apply` and its like take as `schedule`.

    Raises:
      ValueError: if block_size is not an int of 1 or more; from the call, if there is no mesh
        with such an axis, or no layers that it divides.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.gru(8), num_layers=5, stack_layers=True)
      >>> params = rnn.init(jax.random.key(0), input_size=3)
      >>> mesh = jax.make_mesh((1,), ("stage",))
      >>> schedule = drnn.schedules.pipeline(block_size=16, axis="stage", mesh=mesh)
      >>> rnn.apply(params, jnp.ones((100, 32, 3)), schedule=schedule)[1].shape
      (100, 32, 8)

    References:
      Wu et al. 2016 (GNMT), section 3, has a layer a device; GPipe (Huang et al. 2019) cuts the
      batch where this cuts time.
    """
    if block_size is not None:
        check_size("pipeline", "block_size", block_size)
        block_size = int(block_size)
    if not isinstance(axis, str | None):
        raise ValueError(f"pipeline: axis must be the name of one axis, or None, got {axis!r}")
    settings = "" if block_size is None and axis is None else f"({block_size}, axis={axis!r})"
    stages = None if axis is None else Stages(axis, mesh)
    run, count = Diagonals(block_size, stages), NumDiagonals(block_size)
    return Schedule(f"pipeline{settings}", run, refuse, count)


WAVEFRONT = pipeline(1)._replace(name="wavefront")
PIPELINE = pipeline()
