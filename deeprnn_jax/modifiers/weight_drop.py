"""Weight drop: DropConnect on the recurrent matrix."""

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import CellArgument, Rate
from deeprnn_jax.factories import factory
from deeprnn_jax.modifiers.lift import draw_of
from deeprnn_jax.types import Array, Cell, Noise, Params


@factory
def weight_drop(cell: CellArgument, rate: Rate, weights: tuple[str, ...] = ("w_h",)) -> Cell:
    """Drop single recurrent weights, the same ones at every step of a sequence.

        h_proj = (W_h ⊙ M / (1 - rate)) h_{t-1},    M ~ Bernoulli(1 - rate), once a call

    The mask is shared by the rows of a batch. Outside training the cell is unchanged.

    Args:
      cell: a cell with a parameter of one of the given names.
      rate: the probability that a weight is dropped.
      weights: the names of the parameters that are dropped.

    Returns:
      The cell, with the same parameters.

    Raises:
      ValueError: if the rate is not in [0, 1), or (from `init`) no such parameter.

    Example:
      >>> import deeprnn_jax as drnn
      >>> cell = drnn.weight_drop(drnn.lstm(8), 0.5)

    References:
      Merity et al. 2017, "Regularizing and optimizing LSTM language models",
      section 2. Kept weights are scaled by 1 / (1 - rate), as in their code.
    """
    if isinstance(weights, str) or not all(isinstance(name, str) for name in weights):
        raise ValueError(
            f'weight_drop: weights must be a tuple of names, got {weights!r}; for example ("w_h",)'
        )

    def is_dropped(path: tuple[object, ...]) -> bool:
        last = path[-1] if path else None  # a NamedTuple's field, or a dictionary's key
        return getattr(last, "name", getattr(last, "key", None)) in weights

    def init(key: Array, input_size: int) -> Params:
        params = cell.init(key, input_size)
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        if not any(map(is_dropped, paths)):
            raise ValueError(
                f"weight_drop: cell {cell.name!r} has no parameter named "
                f"{' or '.join(weights)}; name its recurrent weights in `weights`"
            )
        return params

    def draw(params: Params, key: Array, shape: tuple[int, ...]) -> tuple[Params, Noise]:
        k_cell, k_mask = jax.random.split(key)

        def drop(key: Array, leaf: Array) -> Array:
            keep = jax.random.bernoulli(key, 1 - rate, leaf.shape)
            return jnp.where(keep, leaf / (1 - rate), jnp.zeros_like(leaf))

        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        dropped = structure.unflatten(
            drop(jax.random.fold_in(k_mask, index), leaf) if is_dropped(path) else leaf
            for index, (path, leaf) in enumerate(leaves)
        )
        return draw_of(cell, dropped, k_cell, shape)

    return cell._replace(init=init, draw=draw, output=cell.output, state_map=cell.state_map)
