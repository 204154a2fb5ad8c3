"""Published residual blocks, each a `residual_block` around one of the library's cells.

A network is a list of them for `deep_rnn`; what differs from the papers stands in each.
In all of them: no biases in the block's own products, no norm after the last block; norms have
an ε of 1e-5 (Griffin's 1e-6); the first weights are `residual_block`'s and the cell's own, whose
outward products have 1/branches of the variance that keeps it (Griffin's 2/layers, xLSTM's
4/(5 blocks²) and 2/(5 D) inward); dropout is on the branches, behind their last product. A norm's
gain begins with 1, where theirs is 1 + w of a w that begins with 0: under weight decay it is
another one.

    >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
    >>> rnn = drnn.deep_rnn(griffin(16, num_heads=2, num_blocks=3), num_layers=3)
    >>> params = rnn.init(jax.random.key(0), input_size=16)
    >>> rnn.apply(params, jnp.ones((5, 2, 16)), lengths=jnp.array([5, 3]))[1].shape
    (5, 2, 16)
    >>> mixed = [xlstm_matrix(16, 2, num_blocks=2), xlstm_scalar(16, 2, num_blocks=2)]
    >>> rnn = drnn.deep_rnn(mixed)
    >>> params = rnn.init(jax.random.key(0), input_size=8)
    >>> rnn.apply(params, jnp.ones((5, 2, 8)))[1].shape
    (5, 2, 16)
"""

import jax

from deeprnn_jax import Cell
from deeprnn_jax.cells.mlstm import mlstm
from deeprnn_jax.cells.rg_lru import rg_lru
from deeprnn_jax.cells.slstm import slstm
from deeprnn_jax.modifiers import causal_conv, residual_block


def griffin(
    size: int, num_heads: int, num_blocks: int, inner_size: int | None = None, dropout: float = 0.0
) -> Cell:
    """Make Griffin's recurrent block: product, convolution and RG-LRU beside a GELU gate, a GLU.

    Args:
      size: D, the width of the stream of x.
      num_heads: blocks on the diagonal of the RG-LRU's gates; divides `inner_size`.
      num_blocks: how many blocks the network has.
      inner_size: the RG-LRU's width; D unless given.
      dropout: of each branch.

    References:
      De et al. 2024, "Griffin: mixing gated linear recurrences with local attention for
      efficient language models", section 2 and figure 2. Deviations: `rg_lru`'s; the
      convolution's first weights are not as small. Two of three blocks are of this kind there,
      the third one has local attention.
    """
    inner_size = inner_size or size
    return residual_block(
        causal_conv(rg_lru(inner_size, num_heads)),
        size,
        inner_size=inner_size,
        gate=jax.nn.gelu,
        dropout=dropout,
        num_blocks=num_blocks,
    )


def xlstm_matrix(size: int, num_heads: int, num_blocks: int, dropout: float = 0.0) -> Cell:
    """Make xLSTM's block of an mLSTM: between a product to twice D, with a gate, and one back.

    Args:
      size: D, the width of the stream of x.
      num_heads: the mLSTM's heads; divides 2 D.
      num_blocks: how many blocks the network has.
      dropout: of the branch.

    References:
      Beck et al. 2024, "xLSTM: Extended long short-term memory", figure 11. Deviations: values
      and gates are of the convolved input, as keys and queries, and all of full matrices; the
      mLSTM has an output gate besides; no learned skip around the mLSTM.
    """
    inner_size = 2 * size
    return residual_block(
        causal_conv(mlstm(inner_size, num_heads, output_norm="layer"), activation=jax.nn.silu),
        size,
        inner_size=inner_size,
        gate=jax.nn.silu,
        feed_forward=None,
        norm="layer",
        dropout=dropout,
        num_blocks=num_blocks,
    )


def xlstm_scalar(size: int, num_heads: int, num_blocks: int, dropout: float = 0.0) -> Cell:
    """Make xLSTM's block of an sLSTM, with a feed-forward of 4/3 D behind it.

    Args:
      size: D, the width of the stream of x, and of the sLSTM.
      num_heads: the sLSTM's heads; divides D.
      num_blocks: how many blocks the network has.
      dropout: of each branch.

    References:
      Beck et al. 2024, "xLSTM: Extended long short-term memory", figure 10. Deviations: all
      four gates are of the convolved input, not i and f alone, and of full matrices; a product
      W_o takes the place of the norm behind the sLSTM; the forget gates' biases are those of
      their first block; the GELU is tanh's. Their code rounds the feed-forward's width to 64.
    """
    return residual_block(
        causal_conv(slstm(size, num_heads), activation=jax.nn.silu),
        size,
        feed_forward_size=-(-4 * size // 3),
        norm="layer",
        dropout=dropout,
        num_blocks=num_blocks,
    )
