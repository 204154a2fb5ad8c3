"""The contract: what a cell is, and the letters for the axes of every array.

    T  time steps          I  input size            L  layers
    B  batch, any rank     H  hidden size           D  directions (1 or 2)
    G  gates of a cell     O  output size

Everything is time-major, `x [T, *B, I]`, and returns the carry first, as
`jax.lax.scan` does: `(state, y)`. `*B` stands for any number of batch axes,
none included, so every function of a cell takes any leading axes.
"""

from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import jax
from jax import export

from deeprnn_jax.made import Made

Array = jax.Array
Kind = TypeVar("Kind", bound=type)
Params = Any  # a NamedTuple of arrays, the cell's own
State = Any  # a NamedTuple of arrays [*B, ...]
Projection = Any  # an array [*B, G*H], or a tree of arrays
Noise = Any  # what a cell draws for every step, leaves [T, *B, ...]; of one step, [*B, ...]


class InitFn(Protocol):
    """Draws a layer's parameters in float32."""

    def __call__(self, key: Array, input_size: int) -> Params: ...


class InitialStateFn(Protocol):
    """Gives the state before the first step, with leaves `[*B, ...]`."""

    def __call__(self, params: Params, batch_shape: tuple[int, ...]) -> State: ...


class ProjectInputFn(Protocol):
    """Gives what depends on the input alone, `[..., I] -> [..., G*H]`."""

    def __call__(self, params: Params, x: Array) -> Projection: ...


class ProjectStateFn(Protocol):
    """Gives the recurrent product, `[..., H] -> [..., G*H]`."""

    def __call__(self, params: Params, state: State) -> Projection: ...


class UpdateFn(Protocol):
    """Gives the next state and the output from the two projections.

    Where noise is drawn for the step, it comes as one more argument; outside training none is.
    """

    def __call__(
        self, params: Params, state: State, x_proj: Projection, h_proj: Projection, *noise: Noise
    ) -> tuple[State, Array]: ...


class GatesFn(Protocol):
    """Gives the gates' activations as a NamedTuple, to be looked at."""

    def __call__(
        self, params: Params, state: State, x_proj: Projection, h_proj: Projection
    ) -> Any: ...


class DrawFn(Protocol):
    """Draws what a sequence needs in training, for steps of shape `(T, *B)`.

    Gives the parameters of this sequence, and the noise of each step, leaves
    `[T, *B, ...]`, or None for none.
    """

    def __call__(
        self, params: Params, key: Array, shape: tuple[int, ...]
    ) -> tuple[Params, Noise]: ...


def exported(kind: Kind) -> Kind:
    """Decorate a NamedTuple of arrays, so that `jax.export` can serialise trees of it."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    export.register_namedtuple_serialization(kind, serialized_name=name)
    return kind


def given(noise: Noise) -> tuple[Noise, ...]:
    """Give the last arguments of `update`: the noise, if there is any."""
    return () if noise is None else (noise,)


def read_input(params: Params, x: Array) -> Array:
    """Give x as it is: the projection of a cell that has none."""
    del params
    return x


class _Functions(NamedTuple):
    """The fields of a `Cell`."""

    name: str  # for error messages
    output_size: int  # width of y
    init: InitFn
    initial_state: InitialStateFn
    update: UpdateFn
    project_input: ProjectInputFn = read_input
    project_state: ProjectStateFn | None = None  # None: `update` gets None for h_proj
    gates: GatesFn | None = None  # None: the cell has none to show
    draw: DrawFn | None = None  # None: the cell draws nothing
    image_shape: tuple[int, ...] = ()  # axes of x, state and y between `*B` and their features
    # Facts that the functions do not say. A modifier keeps those that it names, and no others.
    output: str | Literal[False] | None = None  # the state's field that y is; False: none
    state_map: Literal["affine", "elementwise"] | None = None  # next state, as a function of h
    made: Made | None = None  # by which factory; None: known by its functions alone


class Cell(_Functions):
    """One recurrent layer as pure functions, to be run by a schedule.

    A step is `update(params, state, project_input(params, x), project_state(params, state))`,
    and there is no other: whatever is replaced is what runs. A cell that does not split
    does all of it in `update`, with x for x_proj and None for h_proj. The split serves the
    modifiers, which reach into it, and whoever looks at gates; the engine finds the products
    in any step.

    Facts about the functions are declared: `output`, the field of the state that y is;
    `state_map`, how the next state depends on the state. Given x, and the fields that depend
    on no other field, as a window of earlier inputs: "elementwise", unit j of each field's next
    value is a function of unit j of the fields alone; "affine", one that is linear but for a
    constant. The fields may be coupled, as a real and an imaginary part are. `_replace` drops
    both unless it is given them again.

    Of a cell of images, `image_shape` is what stands between `*B` and the features in x, state
    and y: `x [T, *B, *image_shape, I]`, with `(height, width)` for one. Flags and lengths have
    no such axes, and `batch_shape` has none; they are not batch axes. `_replace` keeps it.

    Cells that a factory made (`drnn.factory`) are equal if the factory and its arguments
    are; others, if their functions are the same ones.
    """

    __slots__ = ()

    def _replace(self, **changes: Any) -> "Cell":  # pyright: ignore[reportIncompatibleMethodOverride]
        """Give the cell with other functions, known by them and by declared facts given anew."""
        fields: dict[str, Any] = self._asdict() | {"output": None, "state_map": None, "made": None}
        return Cell(**fields | changes)

    @property
    def settings(self) -> dict[str, Any]:
        """The factory's arguments; none if unknown."""
        return {} if self.made is None else dict(self.made.settings)

    def step(
        self, params: Params, state: State, x_proj: Projection, noise: Noise = None
    ) -> tuple[State, Array]:
        """Do one step: the next state and the output.

        Args:
          params: the cell's parameters, of this sequence.
          state: leaves `[*B, ...]`.
          x_proj: of this step's input.
          noise: of this step, if the cell draws any and is in training.
        """
        h_proj = None if self.project_state is None else self.project_state(params, state)
        return self.update(params, state, x_proj, h_proj, *given(noise))

    def __eq__(self, other: object) -> bool:
        """Compare how they were made, or else the functions."""
        if not isinstance(other, Cell):
            return False
        if self.made is None or other.made is None:
            return tuple.__eq__(self, other)
        return self.made == other.made

    def __ne__(self, other: object) -> bool:
        """Not equal."""
        return not self == other

    def __hash__(self) -> int:
        """Hash what is compared."""
        return tuple.__hash__(self) if self.made is None else hash(self.made)

    def __reduce__(self) -> Any:
        """Pickle the factory and its arguments, or else the functions."""
        return (Cell, tuple(self)) if self.made is None else self.made.reduce()
