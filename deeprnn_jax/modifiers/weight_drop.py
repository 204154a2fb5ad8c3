"""Weight drop: DropConnect on the recurrent matrix."""

import jax
import jax.numpy as jnp

from deeprnn_jax.checks import check_cell, check_rate
from deeprnn_jax.modifiers.lift import modified_settings
from deeprnn_jax.types import Array, Cell, Params


def weight_drop(cell: Cell, rate: float, weights: tuple[str, ...] = ("w_h",)) -> Cell:
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
    check_cell("weight_drop", cell)
    check_rate("weight_drop", "rate", rate)
    if isinstance(weights, str) or not all(isinstance(name, str) for name in weights):
        raise ValueError(
            f'weight_drop: weights must be a tuple of names, got {weights!r}; for example ("w_h",)'
        )

    def is_dropped(path: tuple[object, ...]) -> bool:
        return getattr(path[-1], "name", None) in weights

    def init(key: Array, input_size: int) -> Params:
        params = cell.init(key, input_size)
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        if not any(map(is_dropped, paths)):
            raise ValueError(
                f"weight_drop: cell {cell.name!r} has no parameter named "
                f"{' or '.join(weights)}; name its recurrent weights in `weights`"
            )
        return params

    def prepare(params: Params, key: Array, batch_shape: tuple[int, ...]) -> Params:
        k_cell, k_mask = jax.random.split(key)

        def drop(key: Array, leaf: Array) -> Array:
            keep = jax.random.bernoulli(key, 1 - rate, leaf.shape)
            return jnp.where(keep, leaf / (1 - rate), jnp.zeros_like(leaf))

        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        dropped = structure.unflatten(
            drop(jax.random.fold_in(k_mask, index), leaf) if is_dropped(path) else leaf
            for index, (path, leaf) in enumerate(leaves)
        )
        if cell.prepare is None:
            return dropped
        return cell.prepare(dropped, k_cell, batch_shape)

    return cell._replace(
        name=f"weight_drop({cell.name})",
        settings=modified_settings(cell, rate=rate, weights=weights),
        init=init,
        prepare=prepare,
    )
