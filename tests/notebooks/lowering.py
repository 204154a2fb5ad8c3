"""Whether what a notebook jits runs on a TPU, as far as a machine without one can tell.

In a notebook's kernel `watch()` puts another function in place of `jax.jit`. What that gives is
called, lowered and looked at as always; besides, the first call with arguments of new shapes
exports it for a TPU, and ends in an error where it holds float64, a dynamic shape or a call back
to Python.
"""

import functools
import re
import sys
from collections.abc import Callable
from typing import Any

import jax
from jax import export
from jax.core import Tracer

# In StableHLO a type is written tensor<4x8xf32>, tensor<f32>, tensor<?x8xf32> or complex<f32>.
FORBIDDEN = {
    "float64": re.compile(r"[<x]f64\b"),
    "a dynamic shape": re.compile(r"[<x]\?[x>]"),
    "a call back to Python": re.compile(r"callback|stablehlo\.(send|recv)\b"),
}
OURS = ("__main__", "experiments")  # modules whose functions are looked at

jax_jit = jax.jit
exported: list[str] = []  # names of all that was exported
calls: list[str] = []  # names of those that run now, one inside the other


class Watched:
    """What `jax.jit` gives, exported at the first call with each kind of arguments."""

    def __init__(self, fun: Callable[..., Any], options: dict[str, Any]):
        """Jit a function."""
        self.jitted = jax_jit(fun, **options)
        self.has_static = any(name.startswith("static") for name in options)
        self.seen: set[Any] = set()
        functools.update_wrapper(self, fun, updated=())

    def __call__(self, *args, **kwargs):
        """Call the function."""
        self.look(args, kwargs)
        calls.append(name_of(self.jitted))
        try:
            return self.jitted(*args, **kwargs)
        finally:
            calls.pop()

    def __get__(self, instance, owner=None):
        """Be a method, where a class has one."""
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name):
        """Give what else there is."""
        return getattr(self.jitted, name)

    def lower(self, *args, **kwargs):
        """Lower it, as always."""
        self.look(args, kwargs)
        return self.jitted.lower(*args, **kwargs)

    def trace(self, *args, **kwargs):
        """Trace it, as always."""
        self.look(args, kwargs)
        return self.jitted.trace(*args, **kwargs)

    def eval_shape(self, *args, **kwargs):
        """Give shapes, as always."""
        return self.jitted.eval_shape(*args, **kwargs)

    def look(self, args, kwargs):
        """Export it, if arguments of these shapes are new.

        Not inside another such function, which holds this one.
        """
        leaves, tree = jax.tree.flatten((args, kwargs))
        kind = (tree, *(self.kind(leaf) for leaf in leaves))
        if calls or kind in self.seen:
            return
        self.seen.add(kind)
        calls.append(name_of(self.jitted))
        try:
            export_for_tpu(self.jitted, *jax.tree.map(untraced, (args, kwargs)))
        finally:
            calls.pop()

    def kind(self, leaf):
        """Give what another program is compiled for, of an argument's leaf."""
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            return leaf.shape, leaf.dtype
        if isinstance(leaf, int | float | complex) and not self.has_static:
            return type(leaf)
        return leaf if getattr(leaf, "__hash__", None) else id(leaf)


def untraced(leaf):
    """Give the shape of what is traced, as in a gradient; anything else as it is."""
    if isinstance(leaf, Tracer):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return leaf


def name_of(jitted) -> str:
    """Give a function's name."""
    return getattr(jitted, "__name__", repr(jitted))


def export_for_tpu(jitted, args, kwargs) -> None:
    """Export a jitted function for a TPU, and look at the program.

    Raises:
      AssertionError: it cannot be, or holds what it should not.
    """
    name = name_of(jitted)
    try:
        text = export.export(jitted, platforms=["tpu"])(*args, **kwargs).mlir_module()
    except Exception as error:
        raise AssertionError(f"{name} cannot be exported for a TPU: {error}") from error
    for what, pattern in FORBIDDEN.items():
        found = pattern.search(text)
        if found is not None:
            line = text[text.rfind("\n", 0, found.start()) + 1 : text.find("\n", found.end())]
            raise AssertionError(f"{name} has {what}: {line.strip()[:300]}")
    exported.append(name)


def watched_jit(fun: Callable[..., Any] | None = None, /, **options):
    """Be `jax.jit`, and watch what our modules jit with it."""
    if fun is None:  # @jax.jit(static_argnames=...)
        return functools.partial(watched_jit_from, sys._getframe(1), **options)
    return watched_jit_from(sys._getframe(1), fun, **options)


def watched_jit_from(frame, fun, **options):
    """Jit for who called from a frame."""
    module = frame.f_globals.get("__name__", "")
    if module.split(".")[0] not in OURS:
        return jax_jit(fun, **options)
    return Watched(fun, options)


def watch() -> None:
    """Look at what is jitted from now on."""
    jax.jit = watched_jit
