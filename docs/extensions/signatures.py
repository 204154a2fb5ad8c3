"""Signatures as they stand in the source, and the fields of records with their comments.

What Python says of a function at run time has lost what a reader wants: a default is printed as
`<function zeros at 0x7f...>`, `Size` as `Annotated[int, <function check_size>]`. And a factory's
own signature lies behind the decorator's.

    signature_of(thing) -> "(hidden_size: int, ...) -> Cell", None where there is none to show
    fields_of(kind) -> [("tokens", ["int32 `[*B, N]`", ...]), ...]
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

# Annotations that also check, as what they let through; see the API's first page.
PLAIN = {
    "Activation": "Callable",
    "Bias": "float | Initializer",
    "CellArgument": "Cell",
    "DecayOf": "Literal['head', 'key'] | None",
    "FeedForward": "Literal['glu', 'mlp'] | None",
    "Flag": "bool",
    "ForgetGate": "Literal['sigmoid', 'exp']",
    "ImageShape": "tuple[int, ...]",
    "InputGate": "Literal['exp', 'sigmoid']",
    "KernelSize": "int | tuple[int, ...]",
    "Norm": "Literal['rms', 'layer']",
    "OutputNorm": "Literal['rms', 'layer'] | None",
    "Rate": "float",
    "Size": "int",
}


# Names that an annotation links to; `~` shows the last part alone.
LINKED = {
    "Cell": "~deeprnn_jax.Cell",
    "DeepParams": "~deeprnn_jax.DeepParams",
    "DeepRNN": "~deeprnn_jax.DeepRNN",
    "Network": "~deeprnn_jax.DeepRNN",
    "Schedule": "~deeprnn_jax.schedules.Schedule",
}


class _Plain(ast.NodeTransformer):
    """Put in an annotation what is above."""

    def visit_Name(self, node: ast.Name) -> ast.expr:  # the name is ast's
        text = PLAIN.get(node.id, node.id)
        return ast.parse(LINKED.get(text, text), mode="eval").body


def source_of(thing: Any) -> Any:
    """Give the syntax tree of a function or class, or None."""
    try:
        source = inspect.getsource(inspect.unwrap(thing))
    except (OSError, TypeError):
        return None
    return ast.parse(textwrap.dedent(source)).body[0]


def signature_of(thing: Any) -> tuple[str, str] | None:
    """Give arguments and result as in the source, or None where they say nothing."""
    if isinstance(thing, property):
        return None
    if inspect.isclass(thing):
        return (_fields_signature(thing), "")
    node = source_of(thing)
    if not isinstance(node, ast.FunctionDef):
        return None
    args = node.args
    for some in (args.posonlyargs, args.args, args.kwonlyargs):
        for one in some:
            one.annotation = one.annotation and _Plain().visit(one.annotation)
    if args.args and args.args[0].arg == "self":
        args.args.pop(0)
    result = ast.unparse(_Plain().visit(node.returns)) if node.returns else ""
    return f"({ast.unparse(args)})", result


def _fields_signature(kind: type) -> str:
    """Give what a class is called with: its `__init__`, or a record's fields."""
    if "__init__" in vars(kind):
        found = signature_of(vars(kind)["__init__"])
        if found is not None:
            return found[0]
    lines = [
        f"{name}: {annotation}" + (f" = {default}" if default else "")
        for name, annotation, default, _ in _fields(kind)
    ]
    is_record = issubclass(kind, tuple) or dataclasses.is_dataclass(kind)
    return f"({', '.join(lines)})" if lines and is_record else ""


def fields_of(kind: Any) -> list[tuple[str, list[str]]]:
    """Give each field of a NamedTuple with the comment beside it, shapes as code."""
    if not inspect.isclass(kind) or not issubclass(kind, tuple):
        return []
    return [(name, [_with_shapes(comment)]) for name, _, _, comment in _fields(kind) if comment]


def _fields(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """Give name, annotation, default and comment of each field, a base's first."""
    for one in reversed(kind.__mro__):
        node = source_of(one) if one.__module__.startswith("deeprnn_jax") else None
        if node is None:
            continue
        lines = textwrap.dedent(inspect.getsource(one)).splitlines()
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                default = ast.unparse(field.value) if field.value else ""
                annotation = ast.unparse(_Plain().visit(field.annotation))
                _, _, comment = lines[(field.end_lineno or 1) - 1].partition("  # ")
                yield field.target.id, annotation, default, comment


def _with_shapes(comment: str) -> str:
    """Give a comment with its shapes, as [*B, N], in backticks."""
    parts = re.split(r"(`[^`]*`)", comment)
    parts[::2] = [re.sub(r"(\[[*\w][^\]]*\])", r"`\1`", one) for one in parts[::2]]
    return "".join(parts)
