"""`lax.scan`, trained faster."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from deeprnn_jax.arguments import choose_checkpoints
from deeprnn_jax.internals import opened
from deeprnn_jax.recurrence.chunks import scan_in_chunks
from deeprnn_jax.recurrence.loop import lax_scan
from deeprnn_jax.recurrence.swap import swap_scans


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    *,
    checkpoint_every: int | str | None = None,
    _whole: bool = False,
) -> tuple[Any, Any]:
    """Scan a function over leading axes while carrying state, with faster gradients.

    This is `jax.lax.scan`: the same call, the same results, for any step. What differs is
    the order of work, above all under `jax.grad`:

    - products of x_t with what `f` closes over are computed for all steps at once;
    - the gradient of a matrix that `f` closes over is one product after the backward loop,
      and is not summed within it;
    - no product is repeated for the gradient, and as little is kept for it as that allows.

    All of JAX's transformations apply, in any order: `grad` and `jvp` of any order, `vmap`,
    `jit`, `checkpoint`. What only looks into loops sees a single operation: a policy of
    `checkpoint` that goes by names in the step saves nothing of it, and `checkify` checks
    nothing within. A step with effects (`jax.debug.print`, a collective over a named axis), or
    arrays on a mesh with explicit axes, are run by `lax.scan` itself; `explain` says so.

    Args:
      f: the step, `(carry, x_t) -> (carry, y_t)`; it closes over its parameters.
      init: the carry before the first step: any tree of arrays.
      xs: a tree of arrays `[T, ...]`, or None.
      length: T; needed where xs is None.
      reverse: whether to go from the last step to the first.
      unroll: how many steps are written out in one turn of the loop, True or 0 for all;
        on CPU, only for all, and where `lax.scan` runs the loop.
      _split_transpose: as in `lax.scan`, where it is private; it changes no number.
      checkpoint_every: keep the carry only every so many steps, and compute the rest again
        for the gradient: an int, "sqrt" for √T, or None to keep all. Changes no number.
      _whole: private: whether the loop is never cut in parts, as where layers are to run side
        by side, each some steps behind the one below.

    Returns:
      The last carry, and the stacked outputs `[T, ...]` in the order of time.

    Raises:
      TypeError: as `lax.scan`, as where the carry changes its type.
      ValueError: likewise, as where lengths differ; if `checkpoint_every` is not one of those.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> def loss(w, x):
      ...     def step(h, x_t):
      ...         h = jnp.tanh(x_t @ w["x"] + h @ w["h"])
      ...         return h, h
      ...     return jnp.mean(drnn.scan(step, jnp.zeros((32, 64)), x)[1] ** 2)
      >>> w = {"x": jnp.ones((8, 64)), "h": jnp.eye(64)}
      >>> jax.tree.map(jnp.shape, jax.grad(loss)(w, jnp.ones((100, 32, 8))))
      {'h': (64, 64), 'x': (8, 64)}
    """
    plain = partial(lax_scan, f, length=length, reverse=reverse, unroll=unroll)
    if not _is_plain(init, xs):
        return plain(init, xs)
    if checkpoint_every is not None:
        # JAX checks the arguments, before they are cut
        eqns = opened(jax.make_jaxpr(plain)(init, xs)).eqns
        lengths = [eqn.params["length"] for eqn in eqns if eqn.primitive.name == "scan"]
        num_steps = next((length for length in lengths if length != 0), 1)
        every = choose_checkpoints("scan", checkpoint_every, num_steps)
        if num_steps > 1:
            one = partial(scan, _whole=_whole)
            return scan_in_chunks(one, f, init, xs, num_steps, reverse, unroll, every)
    return with_recurrences(plain, whole=_whole)(init, xs)


def with_recurrences(function: Callable[..., Any], **params: Any) -> Callable[..., Any]:
    """Run what a function does by `jax.lax.scan` as recurrences.

    JAX checks its arguments and traces its steps, and the engine runs what it found.

    Args:
      function: of trees of arrays; it may change nothing outside itself.
      **params: of `primitive.bind`, in place of those that a `lax.scan` has.

    Returns:
      The function, with the same results.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        config: Any = jax.config
        if config.jax_disable_jit:
            return function(*args, **kwargs)
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        found = swap_scans(closed, jax.tree.leaves((args, kwargs)), **params)
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return run


def _is_plain(init: Any, xs: Any) -> bool:
    """Tell whether all leaves are such as JAX traces; else `lax.scan` says what is wrong."""
    numbers = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)
    leaves = jax.tree.leaves(xs)
    return all(isinstance(leaf, numbers) for leaf in (*jax.tree.leaves(init), *leaves)) and all(
        np.ndim(leaf) > 0 for leaf in leaves
    )
