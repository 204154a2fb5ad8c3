"""What autodoc shows of the library: docstrings and signatures made readable."""

import inspect
import re
from importlib import import_module
from typing import Any

from docs.extensions.docstrings import definitions, rst_of
from docs.extensions.signatures import fields_of, signature_of

SUBMODULES = ("analysis", "decoding", "initializers", "interop", "schedules")
FLAX = {"linen": ("RNN", "DeepRNN", "ScannedRNN"), "nnx": ("RNN", "DeepRNN")}


def public_names() -> list[str]:
    """Give every public name by its path below the library: "lstm", "decoding.generate".

    Those of `__all__`, of the submodules that it names, and what those without an `__all__`
    define themselves.
    """
    library = import_module("deeprnn_jax")
    names = []
    for name in library.__all__:
        thing = getattr(library, name)
        if not inspect.ismodule(thing):
            names.append(name)
            continue
        for inner in getattr(thing, "__all__", None) or _own(thing):
            if not inspect.ismodule(getattr(thing, inner)):
                names.append(f"{name}.{inner}")
    names += [f"interop.{module}.{name}" for module, some in FLAX.items() for name in some]
    return [*names, "interop.haiku.dynamic_unroll", "interop.onnx.reverse_only"]


def _own(module: Any) -> list[str]:
    """Give what a module without an `__all__` defines for others."""
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]


def linked_names() -> dict[str, str]:
    """Give what code in a docstring may link to: "zoneout", "initializers.chrono"."""
    names = {name: f"deeprnn_jax.{name}" for name in public_names()}
    for name in [*names]:
        short = name.removeprefix("interop.")
        names.setdefault(short, names[name])
    methods = ("apply", "init", "initial_state", "inspect", "step", "explain", "stack", "unstack")
    for method in (*methods, "to_dict", "from_dict"):
        names[f"rnn.{method}"] = f"deeprnn_jax.DeepRNN.{method}"
    return names


BLOCK = re.compile(r"^```\{api\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def names_on(text: str) -> list[str]:
    """Give the full names that a page's `{api}` blocks list."""
    return [f"{found[1]}.{name}" for found in BLOCK.finditer(text) for name in found[2].split()]


def expanded(text: str) -> str:
    """Give a page with its `{api}` blocks as what autodoc reads.

    Such a block names a module and things of it; on the site it is a table of their first
    lines, and then each with its signature and docstring.
    """

    def expand(found: re.Match[str]) -> str:
        module, names = found[1], found[2].split()
        lines = [f".. currentmodule:: {module}", "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [*(f"   {name}" for name in names), ""]
        for name in names:
            lines += [*_directive(name, getattr(import_module(module), name)), ""]
        return "\n".join(["```{eval-rst}", *lines, "```"])

    return BLOCK.sub(expand, text)


def _directive(name: str, thing: Any) -> list[str]:
    """Give autodoc's directive for a thing, with the methods of a class that say something."""
    if not inspect.isclass(thing):
        return [f".. autofunction:: {name}"]
    methods = [
        name
        for name, method in vars(thing).items()
        if (name == "__call__" or not name.startswith(("_", "tree_")))
        and (inspect.isfunction(method) or isinstance(method, property))
        and method.__doc__
    ]
    members = [f"   :members: {', '.join(methods)}"] if methods else []
    return [f".. autoclass:: {name}", *members]


def setup(app: Any) -> dict[str, bool]:
    """Let autodoc show the library as above."""
    names = linked_names()

    def docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: Any) -> None:
        del app, options
        if not name.startswith("deeprnn_jax"):
            return
        lines[:] = rst_of(lines, names)
        fields = fields_of(thing) if what == "class" else []
        if fields:
            lines[:] = [*lines, "", *definitions("Fields", fields, names)]

    def signature(
        app: Any, what: str, name: str, thing: Any, options: Any, args: Any, result: Any
    ) -> tuple[str, str] | None:
        del app, what, options, args, result
        if name == "deeprnn_jax.DeepRNN":  # made by `deep_rnn`, not called
            return "", ""
        return signature_of(thing) if name.startswith("deeprnn_jax") else None

    def source_read(app: Any, docname: str, source: list[str]) -> None:
        del app
        if docname.startswith("api/"):
            source[0] = expanded(source[0])

    app.connect("source-read", source_read)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
