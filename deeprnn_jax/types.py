"""The contract: what a cell is, and the letters for the axes of every array.

    T  time steps          I  input size            L  layers
    B  batch, any rank     H  hidden size           D  directions (1 or 2)
    G  gates of a cell     O  output size

Everything is time-major, `x [T, *B, I]`, and returns the carry first, as
`jax.lax.scan` does: `(state, y)`. `*B` stands for any number of batch axes,
none included, so every function of a cell takes any leading axes: the same
`project_state` serves one step `[*B, H]` and a whole sequence `[T, *B, H]`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Params = Any  # a NamedTuple of arrays, the cell's own
State = Any  # a NamedTuple of floating arrays [*B, size]; field `h` recurs
Projection = Any  # an array [*B, G*H], or a NamedTuple of arrays
Noise = Any  # what a modifier draws for every step, [T, *B, ...]
Activation = Callable[[Array], Array]


class InitFn(Protocol):
    """Draws a layer's parameters in float32."""

    def __call__(self, key: Array, input_size: int) -> Params: ...


class InitialStateFn(Protocol):
    """Gives the state before the first step, with leaves `[*B, size]`."""

    def __call__(self, params: Params, batch_shape: tuple[int, ...]) -> State: ...


class ProjectInputFn(Protocol):
    """Gives all that depends on the input alone, `[..., I] -> [..., G*H]`."""

    def __call__(self, params: Params, x: Array) -> Projection: ...


class ProjectStateFn(Protocol):
    """Gives the recurrent product, `[..., H] -> [..., G*H]`."""

    def __call__(self, params: Params, state: State) -> Projection: ...


class UpdateFn(Protocol):
    """Gives the next state and the output from the two projections."""

    def __call__(
        self, params: Params, state: State, x_proj: Projection, h_proj: Projection
    ) -> tuple[State, Array]: ...


class StepFn(Protocol):
    """Gives the next state and the output from the input's projection."""

    def __call__(self, params: Params, state: State, x_proj: Projection) -> tuple[State, Array]: ...


class GatesFn(Protocol):
    """Gives the gates' activations as a NamedTuple, to be looked at."""

    def __call__(
        self, params: Params, state: State, x_proj: Projection, h_proj: Projection
    ) -> Any: ...


class PrepareFn(Protocol):
    """Gives the parameters with what is drawn once a sequence; all leaves floating."""

    def __call__(self, params: Params, key: Array, batch_shape: tuple[int, ...]) -> Params: ...


class NoiseFn(Protocol):
    """Draws what is needed at every step; leaves `[*shape, ...]`, without gradient."""

    def __call__(self, params: Params, key: Array, shape: tuple[int, ...]) -> Noise: ...


class Noisy(NamedTuple):
    """An input projection with the step's noise; None outside training."""

    x_proj: Projection
    noise: Noise


class Cell(NamedTuple):
    """One recurrent layer as pure functions, to be run by a schedule.

    A schedule owns the two products. Because `project_input` does not need
    the state, it runs once over a whole sequence; because `update` gets the
    recurrent product as an argument, the gradient of the weights in
    `project_state` is one product over time after the backward loop.

    Most cells are made by `split_cell`. A cell that does not split gives
    `step` alone and leaves `project_state` and `update` None; its `gates` then
    gets None for h_proj.
    """

    name: str  # for error messages
    output_size: int  # width of y
    init: InitFn
    initial_state: InitialStateFn
    project_input: ProjectInputFn
    project_state: ProjectStateFn | None
    update: UpdateFn | None
    step: StepFn
    gates: GatesFn | None = None  # None: the cell has none to show
    prepare: PrepareFn | None = None  # None: nothing is drawn once a sequence
    noise: NoiseFn | None = None  # not None: `update` gets x_proj as `Noisy`
    settings: tuple[tuple[str, Any], ...] = ()  # the factory's arguments; () if unknown

    @property
    def is_stochastic(self) -> bool:
        """Whether training draws anything inside this cell."""
        return self.prepare is not None or self.noise is not None

    def is_same(self, other: "Cell") -> bool:
        """Whether the other is the same function: made by one factory alike."""
        if self.settings and other.settings:
            return (self.name, self.settings) == (other.name, other.settings)
        return self is other


def split_cell(
    name: str,
    output_size: int,
    init: InitFn,
    initial_state: InitialStateFn,
    project_input: ProjectInputFn,
    project_state: ProjectStateFn,
    update: UpdateFn,
    gates: GatesFn | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Cell:
    """Make a cell of the form update(state, project_input(x), project_state(h)).

    Args:
      name: what error messages call the cell.
      output_size: the width of y.
      init: draws the parameters, `(key, input_size) -> params`.
      initial_state: `(params, batch_shape) -> state`.
      project_input: `(params, x) -> x_proj`, any leading axes.
      project_state: `(params, state) -> h_proj`, any leading axes.
      update: `(params, state, x_proj, h_proj) -> (state, y)`, any leading axes.
      gates: `(params, state, x_proj, h_proj) -> gates`, a NamedTuple.
      settings: all that the functions close over, so that two cells made alike are
        known to be the same; values are hashable.

    Returns:
      The cell, its `step` composed of `project_state` and `update`.
    """

    def step(params: Params, state: State, x_proj: Projection) -> tuple[State, Array]:
        return update(params, state, x_proj, project_state(params, state))

    return Cell(
        name=name,
        output_size=output_size,
        init=init,
        initial_state=initial_state,
        project_input=project_input,
        project_state=project_state,
        update=update,
        step=step,
        gates=gates,
        settings=tuple((settings or {}).items()),
    )
