"""What a factory was called with: how cells and initialisers are compared, hashed, pickled.

Two calls of `lstm(256)` make two sets of functions, which nothing tells from each other;
but a network must know that they are the same layer, and a compiled program that it is for
both. So a factory remembers its arguments.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, ParamSpec, TypeVar, get_type_hints

import jax

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


class Made(NamedTuple):
    """How something was made."""

    factory: Callable[..., Any]
    settings: tuple[tuple[str, Any], ...]  # all arguments
    args: tuple[Any, ...]  # as they were given
    kwargs: tuple[tuple[str, Any], ...]

    def __eq__(self, other: object) -> bool:
        """Compare what counts: the factory, and all of its arguments."""
        return isinstance(other, Made) and self._compared() == other._compared()

    def __ne__(self, other: object) -> bool:
        """Not equal."""
        return not self == other

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash(self._compared())

    def _compared(self) -> tuple[Any, ...]:
        return self.factory, _hashable(self.settings)

    def reduce(self) -> tuple[Any, ...]:
        """Give what `pickle` makes it again by."""
        args = tuple(map(_named, self.args))
        return _make_again, (self.factory, args, {k: _named(v) for k, v in self.kwargs})


class MadeFunction:
    """A function that a factory made: equal to another of the same factory and arguments."""

    __slots__ = ("function", "made")

    def __init__(self, function: Callable[..., Any], made: Made):
        """Put the two together."""
        self.function = function
        self.made = made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MadeFunction) and self.made == other.made

    def __hash__(self) -> int:
        return hash(self.made)

    def __reduce__(self) -> Any:
        return self.made.reduce()

    def __repr__(self) -> str:
        given = [*map(repr, self.made.args), *(f"{name}={one!r}" for name, one in self.made.kwargs)]
        return f"{self.made.factory.__name__}({', '.join(given)})"


def remember(
    factory: Callable[..., Any], finish: Callable[[Any, "Made | None", dict[str, Any]], Any]
) -> Callable[..., Any]:
    """Give the factory, of whose results each knows how it was made.

    Arguments are checked by their annotations: `Annotated[int, check]` has
    `check(function, argument, value)` called, which raises ValueError.

    Args:
      factory: makes something of hashable arguments, lists and dictionaries of them. If one
        is not hashable, its result is known by itself alone.
      finish: `(result, made, arguments) -> result` puts them together; made is None then.
    """
    signature = inspect.signature(factory)
    try:
        hints = get_type_hints(factory, include_extras=True)
    except NameError:  # names of another function's inside: nothing is checked by them
        hints = {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    checks = {
        name: _check_of(hints.get(name)) if one.kind not in several else None
        for name, one in signature.parameters.items()
    }

    @wraps(factory)
    def make(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            check = checks[name]
            if check is not None:
                check(factory.__name__, name, value)
        result = factory(*args, **kwargs)
        settings = tuple(bound.arguments.items())
        made = Made(make, settings, args, tuple(kwargs.items()))
        try:
            hash(made)
        except TypeError:
            made = None
        return finish(result, made, bound.arguments)

    return make


def made_function(factory: Callable[P, F]) -> Callable[P, F]:
    """Decorate a factory of functions: those made alike are equal, and can be pickled."""

    def finish(function: Any, made: Made | None, arguments: dict[str, Any]) -> Any:
        del arguments
        return function if made is None else MadeFunction(function, made)

    return remember(factory, finish)


def _check_of(annotation: Any) -> Callable[[str, str, Any], Any] | None:
    """Give the check that an annotation names, alone or beside None."""
    if hasattr(annotation, "__metadata__"):
        found: Any = next((one for one in annotation.__metadata__ if callable(one)), None)
        return found
    members = getattr(annotation, "__args__", ())
    if type(None) not in members:
        return None
    check = next((_check_of(one) for one in members if one is not type(None)), None)
    return check and (lambda function, name, value: value is None or check(function, name, value))


def _hashable(value: Any) -> Any:
    """Give what is compared: lists and dictionaries as tuples, and each value with its type.

    Else 1, 1.0 and True would make equal cells of different functions.
    """
    if isinstance(value, Mapping):
        return Mapping, frozenset((name, _hashable(one)) for name, one in value.items())
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value), tuple(map(_hashable, value))
    if isinstance(value, float):
        return float, math.copysign(1.0, value), value
    return type(value), value


class _Named(NamedTuple):
    """A function of a module, by its name: JAX's cannot be pickled."""

    module: str
    name: str


def _named(value: Any) -> Any:
    """Give the public name of one of JAX's functions; leave all else as it is."""
    name = getattr(value, "__name__", None)
    for module in (jax.nn, jax.numpy, jax.lax, jax.nn.initializers):
        if callable(value) and name and getattr(module, name, None) is value:
            return _Named(module.__name__, name)
    return value


def _make_again(factory: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    def found(value: Any) -> Any:
        if not isinstance(value, _Named):
            return value
        module: ModuleType = import_module(value.module)
        return getattr(module, value.name)

    return factory(*map(found, args), **{name: found(one) for name, one in kwargs.items()})
