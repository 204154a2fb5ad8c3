"""A residual block around a cell: norm, cell, gate, and a feed-forward behind it."""

import math
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from deeprnn_jax.cells.units import normalize, scale_units
from deeprnn_jax.checks import Activation, CellArgument, Initializer, Rate, Size, one_of
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import draw_of, lift_params
from deeprnn_jax.types import (
    Array,
    Cell,
    Noise,
    Params,
    Projection,
    State,
    exported,
    given,
    read_input,
)

_EPSILON = 1e-5  # under a norm's root
FeedForward = Annotated[Literal["glu", "mlp"] | None, one_of("glu", "mlp", None)]
Norm = Annotated[Literal["rms", "layer"], one_of("rms", "layer")]
_FACTORS = {"glu": 3, "mlp": 4}  # width of the feed-forward's hidden layer, over D


@exported
class FeedForwardParams(NamedTuple):
    """Parameters of a block's feed-forward."""

    norm: Array  # [D]
    w_1: Array  # [D, F]
    w_2: Array | None  # [D, F]; None with "mlp"
    w_d: Array  # [F, D]


@exported
class ResidualBlockParams(NamedTuple):
    """Parameters of `residual_block`; those that its options leave out are None."""

    cell: Params
    w_x: Array | None  # [I, D]; None: I is D
    norm: Array  # [D]
    w_v: Array | None  # [D, V]
    w_g: Array | None  # [D, H]
    w_o: Array  # [H, D]
    feed_forward: FeedForwardParams | None


class BlockNoise(NamedTuple):
    """What the branches keep, and what the cell inside draws."""

    keep: tuple[Array, ...]  # one a branch, bool [T, *B, D]; none without dropout
    cell: Noise


@factory
def residual_block(
    cell: CellArgument,
    size: Size,
    *,
    inner_size: Size | None = None,
    gate: Activation | None = None,
    feed_forward: FeedForward = "glu",
    feed_forward_size: Size | None = None,
    activation: Activation = jax.nn.gelu,
    norm: Norm = "rms",
    dropout: Rate = 0.0,
    num_blocks: Size = 1,
    w_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Cell:
    """Put a cell into a residual block: what a deep network of it is made of.

        u = norm(x)                                            x ← x W_x first, if I ≠ D
        h = cell(u)                                            cell(u W_v) with `inner_size`
        h = h ⊙ gate(u W_g)                                    with `gate`
        x ← x + dropout(h W_o)
        v = norm(x)                                            with `feed_forward`
        x ← x + dropout((act(v W_1) ⊙ v W_2) W_d)              "mlp": act(v W_1) W_d

    Blocks are stacked by `deep_rnn(block, num_layers)`, with no `skip` of its own. A causal
    convolution before the recurrence is the cell's: `residual_block(causal_conv(cell), ...)`. In
    both directions, `merge=lambda a, b: (a + b) / 2` adds the mean of both to x, whereas "sum"
    would double x in each layer, and "concat" has the next block begin with W_x.

    Args:
      cell: any cell; it reads D features, or `inner_size`.
      size: D, the width of x in and between the blocks, and of the output.
      inner_size: V, the width that u is multiplied to for the cell; None: the cell reads u.
      gate: the gate's function, elementwise; None: no gate.
      feed_forward: "glu" or "mlp" behind the cell, with a norm and a sum of its own; None: none.
      feed_forward_size: F, the width inside it; 3 D with "glu", 4 D with "mlp" unless given.
      activation: act, elementwise, of the feed-forward.
      norm: "rms", v / √(mean v² + ε), or "layer", which first takes the mean from v; both with a
        scale for each feature and ε = 1e-5, and no shift.
      dropout: the probability that a feature of a branch is dropped, at each step, in training.
      num_blocks: how many blocks the network has. W_o and W_d are divided at initialisation by
        the root of the number of branches in all, 2 a block with a feed-forward, so that the sum
        of them is no larger than one of them would be.
      w_init: initialiser of each matrix of the block's own; variance 1/rows by default.

    Returns:
      The cell; parameters `ResidualBlockParams`, the state is the cell's own, output y = x
      `[*B, D]`.

    Raises:
      ValueError: if a size is not a positive int, or another argument does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
      >>> block = drnn.residual_block(drnn.lstm(64), 32, dropout=0.1, num_blocks=6)
      >>> rnn = drnn.deep_rnn(block, num_layers=6, output_size=10)
      >>> params = rnn.init(jax.random.key(0), input_size=8)
      >>> rnn.apply(params, jnp.ones((20, 4, 8)))[1].shape
      (20, 4, 10)

    References:
      De et al. 2024 (Griffin), sections 2.1-2.3, whose feed-forward is 3 D wide; Beck et al.
      2024 (xLSTM), figures 10-11. RMS norm: Zhang and Sennrich 2019; GLU: Shazeer 2020; an MLP
      of 4 D: Vaswani et al. 2017; initial scale: Radford et al. 2019 (GPT-2), section 2.3.
      Deviations: no biases; no norm after the last block, whose y is to be normalised before a
      readout. `experiments/blocks.py` has the blocks of both papers, and says where they differ.
    """
    hidden = cell.output_size
    num_branches = 1 if feed_forward is None else 2
    if feed_forward is None and feed_forward_size is not None:
        raise ValueError(
            f"residual_block: feed_forward_size must be None with feed_forward=None, got "
            f"{feed_forward_size}; choose 'glu' or 'mlp'"
        )
    if feed_forward is not None and feed_forward_size is None:
        feed_forward_size = _FACTORS[feed_forward] * size

    def init(key: Array, input_size: int) -> ResidualBlockParams:
        k_cell, *keys = jax.random.split(key, 8)

        def draw_matrix(index: int, rows: int, columns: int, exists: bool = True) -> Any:
            return w_init(keys[index], (rows, columns), jnp.float32) if exists else None

        shrink = 1 / math.sqrt(num_branches * num_blocks)
        behind = None
        if feed_forward_size is not None:
            behind = FeedForwardParams(
                norm=jnp.ones(size, jnp.float32),
                w_1=draw_matrix(4, size, feed_forward_size),
                w_2=draw_matrix(5, size, feed_forward_size, feed_forward == "glu"),
                w_d=draw_matrix(6, feed_forward_size, size) * shrink,
            )
        return ResidualBlockParams(
            cell=cell.init(k_cell, inner_size or size),
            w_x=draw_matrix(0, input_size, size, input_size != size),
            norm=jnp.ones(size, jnp.float32),
            w_v=draw_matrix(1, size, inner_size or size, inner_size is not None),
            w_g=draw_matrix(2, size, hidden, gate is not None),
            w_o=draw_matrix(3, hidden, size) * shrink,
            feed_forward=behind,
        )

    def enter(params: ResidualBlockParams, x: Array) -> tuple[Array, Array, Projection]:
        """Give x, D wide, its norm, and the cell's projection of that."""
        x = x if params.w_x is None else x @ params.w_x
        if x.shape[-1] != size:
            raise ValueError(
                f"residual_block: x must end in I={size} features, as the parameters were "
                f"initialised for, got {x.shape}"
            )
        u = scale_units(params.norm, normalize(norm, x, _EPSILON))
        v = u if params.w_v is None else u @ params.w_v
        return x, u, cell.project_input(params.cell, v)

    def add(x: Array, branch: Array, keep: Array | None) -> Array:
        if keep is not None:
            branch = jnp.where(keep, branch / (1 - dropout), jnp.zeros_like(branch))
        return x + branch

    def feed(params: FeedForwardParams, x: Array) -> Array:
        v = scale_units(params.norm, normalize(norm, x, _EPSILON))
        z = activation(v @ params.w_1)
        return (z if params.w_2 is None else z * (v @ params.w_2)) @ params.w_d

    def update(
        params: ResidualBlockParams,
        state: State,
        x: Array,
        h_proj: Projection,
        noise: BlockNoise | None = None,
    ) -> tuple[State, Array]:
        keep = noise.keep if noise is not None and noise.keep else (None, None)
        inner = None if noise is None else noise.cell
        x, u, x_proj = enter(params, x)
        state, h = cell.update(params.cell, state, x_proj, h_proj, *given(inner))
        if params.w_g is not None and gate is not None:
            h = h * gate(u @ params.w_g)
        x = add(x, h @ params.w_o, keep[0])
        if params.feed_forward is not None:
            x = add(x, feed(params.feed_forward, x), keep[1])
        return state, x

    def draw(
        params: ResidualBlockParams, key: Array, shape: tuple[int, ...]
    ) -> tuple[ResidualBlockParams, BlockNoise]:
        k_cell, *keys = jax.random.split(key, 1 + num_branches)
        params, noise = draw_of(lifted, params, k_cell, shape)
        keep = tuple(jax.random.bernoulli(k, 1 - dropout, (*shape, size)) for k in keys)
        return params, BlockNoise(keep if dropout > 0 else (), noise)

    cell_gates = cell.gates

    def gates(params: ResidualBlockParams, state: State, x: Array, h_proj: Projection) -> Any:
        assert cell_gates is not None
        return cell_gates(params.cell, state, enter(params, x)[2], h_proj)

    lifted = lift_params(cell)
    return lifted._replace(
        output_size=size,
        init=init,
        project_input=read_input,
        update=update,
        gates=cell_gates and gates,
        draw=None if cell.draw is None and dropout == 0 else draw,
        output=False,
        state_map=cell.state_map,
    )
