"""Where a network's state stands still under a constant input, and whether it returns there."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deeprnn_jax import arguments
from deeprnn_jax.analysis.inputs import check_causal, check_run
from deeprnn_jax.analysis.vectors import identity, push, step_of, to_vector
from deeprnn_jax.checks import check_floating, check_size, is_number
from deeprnn_jax.deep import DeepRNN
from deeprnn_jax.parameters import DeepParams, DeepState
from deeprnn_jax.types import Array

_NEWTON_STEPS = 8


class FixedPoints(NamedTuple):
    """Points found, the slowest first; the entries past the last one say `is_fixed` False."""

    points: Array  # [P, N], states as vectors: see `to_state`
    speed: Array  # [P], q
    jacobian: Array  # [P, N, N], ∂F/∂s
    eigenvalues: Array  # complex [P, N], of the Jacobian, in order of falling modulus
    is_stable: Array  # bool [P], whether all |eigenvalue| < 1
    is_fixed: Array  # bool [P]


def fixed_points(
    rnn: DeepRNN,
    params: DeepParams,
    states: DeepState,
    x_t: Array,
    *,
    tolerance: float = 1e-10,
    distance: float = 1e-3,
    max_points: int = 100,
    max_steps: int = 1000,
    learning_rate: float = 0.05,
    outlier: float = 10.0,
) -> FixedPoints:
    """Find the states at which a network stands still under a constant input.

        q(s) = ½ ‖F(s, x) - s‖²

    is minimised from each of the given states, all at once: by Adam, its rate falling to zero as
    a cosine, until all are below the tolerance, then by Newton's steps, taken where they lower q.
    Give many states that the network visits: what is found lies near them. All in one program.

    Args:
      rnn: a network of one direction.
      params: its parameters.
      states: where to start, leaves `[*M, ...]`: of `inspect`, `tuple(s.state for s in layers)`.
      x_t: the input `[I]`, of images `[*image_shape, I]`.
      tolerance: the largest q of a fixed point; a larger one lets slow points in.
      distance: points nearer than that are one, the slowest of them; Euclidean.
      max_points: P; of more, the slowest. At most there are as many as starts.
      max_steps: of Adam.
      learning_rate: of Adam at first, about the size of a step in every number of the state.
      outlier: points are left out that lie so many times further from the starts' mean than the
        starts do on average.

    Returns:
      `FixedPoints`; `found.points[found.is_fixed]` are those found.

    Raises:
      ValueError: if an argument does not fit.
      NotImplementedError: on a TPU, where JAX has no eigenvalues of a matrix that is not symmetric;
        call it with arrays on the host, `jax.device_put(..., jax.devices("cpu")[0])`.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> rnn = drnn.deep_rnn(drnn.elman(1))
      >>> params = rnn.from_dict({"layer_0/cell/w_x": jnp.ones((1, 1)),
      ...     "layer_0/cell/w_h": jnp.full((1, 1), 2.0), "layer_0/cell/b": jnp.zeros(1)}, 1)
      >>> starts = rnn.initial_state(params, 20)[0]._replace(h=jnp.linspace(-1, 1, 20)[:, None])
      >>> found = drnn.analysis.fixed_points(rnn, params, (starts,), jnp.zeros(1))  # h = tanh(2 h)
      >>> sorted(round(float(h), 3) for h in found.points[found.is_fixed, 0])
      [-0.958, 0.0, 0.958]

    References:
      Sussillo and Barak 2013, "Opening the black box: low-dimensional dynamics in
      high-dimensional recurrent neural networks"; Golub and Sussillo 2018, "FixedPointFinder".
    """
    start = _check(
        rnn, params, states, x_t, tolerance, distance, max_points, max_steps, learning_rate, outlier
    )
    advance = step_of(rnn, params)

    def step(s: Array) -> Array:
        return advance(s, jnp.broadcast_to(x_t, (*s.shape[:-1], *x_t.shape)))[0]

    points = _descend(step, start, tolerance, max_steps, learning_rate)
    points = lax.map(lambda s: _newton(step, s), points)
    speed = _speed(step, points)
    kept = (speed <= tolerance) & _is_near(points, start, outlier)
    order = jnp.argsort(jnp.where(kept, speed, jnp.full_like(speed, jnp.inf)))
    points, speed, kept = points[order], speed[order], kept[order]
    kept = _first_of_each(points, kept, distance)
    (places,) = jnp.nonzero(kept, size=min(max_points, len(kept)), fill_value=0)
    is_fixed = jnp.arange(len(places)) < jnp.sum(kept)
    return _described(step, points[places], speed[places], is_fixed)


def _speed(step: Callable[[Array], Array], s: Array) -> Array:
    return 0.5 * jnp.sum(jnp.square(step(s) - s), axis=-1)


def _descend(
    step: Callable[[Array], Array],
    start: Array,
    tolerance: float,
    max_steps: int,
    learning_rate: float,
) -> Array:
    """Minimise q from all starts `[M, N]` by Adam."""
    import optax  # only now: importing the library must not load it

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, max_steps))

    def total(s: Array) -> tuple[Array, Array]:
        speed = _speed(step, s)
        return jnp.sum(speed), speed

    def descend(carry: Any) -> Any:
        s, memory, count, _ = carry
        slope, speed = jax.grad(total, has_aux=True)(s)
        with jax.numpy_dtype_promotion("standard"):  # optax keeps not to the strict one
            change, memory = optimizer.update(slope, memory)
        # what is still enough stays: Adam's steps do not get smaller by themselves
        is_moving = (speed > tolerance)[:, None]
        return jnp.where(is_moving, s + change, s), memory, count + 1, jnp.max(speed)

    def is_wanting(carry: Any) -> Array:
        return (carry[2] < max_steps) & (carry[3] > tolerance)

    carry = start, optimizer.init(start), 0, jnp.full((), jnp.inf, start.dtype)
    return lax.while_loop(is_wanting, descend, carry)[0]


def _newton(step: Callable[[Array], Array], s: Array) -> Array:
    """Go on from one point `[N]` by Newton's steps on F(s) - s, where they lower q."""
    eye = identity(s)

    def improve(_: int, s: Array) -> Array:
        value, columns = push(step, s, eye)
        better = s - jnp.linalg.solve(columns - eye, value - s)
        return jnp.where(_speed(step, better) < _speed(step, s), better, s)

    return lax.fori_loop(0, _NEWTON_STEPS, improve, s)


def _is_near(points: Array, start: Array, outlier: float) -> Array:
    """Tell which points are no further from the starts' mean than so many times these are."""
    mean = jnp.mean(start, axis=0, keepdims=True)
    usual = jnp.mean(jnp.linalg.norm(start - mean, axis=-1))
    return (usual == 0) | (jnp.linalg.norm(points - mean, axis=-1) <= outlier * usual)


def _first_of_each(points: Array, kept: Array, distance: float) -> Array:
    """Keep of points nearer than `distance` the first one."""

    def look(index: Array, kept: Array) -> Array:
        away = jnp.linalg.norm(points - points[index][None], axis=-1)
        is_again = (away < distance) & (jnp.arange(len(kept)) > index)
        return kept & ~(is_again & kept[index])

    return lax.fori_loop(0, len(kept), look, kept)


def _described(
    step: Callable[[Array], Array], points: Array, speed: Array, is_fixed: Array
) -> FixedPoints:
    """Put Jacobians and eigenvalues to points `[P, N]`."""
    jacobian = lax.map(lambda s: push(step, s, identity(s))[1], points)
    eigenvalues = jnp.linalg.eigvals(jacobian)
    order = jnp.argsort(-jnp.abs(eigenvalues), axis=-1)
    eigenvalues = jnp.take_along_axis(eigenvalues, order, axis=-1)
    is_stable = jnp.all(jnp.abs(eigenvalues) < 1, axis=-1)
    return FixedPoints(points, speed, jacobian, eigenvalues, is_stable & is_fixed, is_fixed)


def _check(
    rnn: Any, params: Any, states: Any, x_t: Any, tolerance: Any, distance: Any, max_points: Any,
    max_steps: Any, learning_rate: Any, outlier: Any,
) -> Array:  # fmt: skip
    """Check the arguments; give the starts as vectors `[M, N]`."""
    name = "fixed_points"
    check_causal(name, rnn)
    check_floating(name, "x_t", x_t)
    image_shape = rnn.plan.image_shape
    if x_t.shape[:-1] != image_shape or not x_t.shape:
        axes = ", ".join([*map(str, image_shape), "I"])
        raise ValueError(
            f"{name}: x_t must be [{axes}], one constant input, got shape {x_t.shape}; leave its "
            "batch axes out"
        )
    check_run(name, rnn, params, x_t[None])
    for argument, value in (("max_points", max_points), ("max_steps", max_steps)):
        check_size(name, argument, value)
    positive = {"tolerance": tolerance, "distance": distance, "learning_rate": learning_rate}
    for argument, value in (positive | {"outlier": outlier}).items():
        if not is_number(value) or value <= 0:
            raise ValueError(f"{name}: {argument} must be a number above 0, got {value!r}")
    start = to_vector(rnn, params, states)
    axes = start.shape[:-1]
    like = jax.eval_shape(lambda p: rnn.initial_state(p, axes), params)
    arguments.check_state(name, states, like)
    return start.reshape(-1, start.shape[-1])
