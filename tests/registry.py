"""The cells, modifiers and networks that every contract test runs over.

A new cell or modifier is registered here once, with its oracle, and meets all of them.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import deeprnn_jax as drnn
from deeprnn_jax.schedules import SCHEDULES
from tests import oracle, oracle_gated, oracle_heads, oracle_linear
from tests.user_cells import deep_transition, leaky, oracle_deep_transition, oracle_leaky

T, B, IN, H = 6, 5, 3, 4
ANY_CELL = tuple(name for name in SCHEDULES if name != "parallel")  # schedules that run any cell
KEY = jax.eval_shape(lambda: jax.random.key(0))


class Entry(NamedTuple):
    """A cell, or a modifier, and its oracle."""

    make: Callable  # hidden_size -> Cell; or Cell -> Cell
    oracle: Callable  # () -> OracleCell; or OracleCell -> OracleCell


CELLS = {
    "elman": Entry(drnn.elman, oracle.elman),
    "elman_relu": Entry(
        lambda size: drnn.elman(size, jax.nn.relu),
        lambda: oracle.elman(lambda z: np.maximum(z, 0)),
    ),
    "lstm": Entry(drnn.lstm, oracle.lstm),
    "lstm_peepholes": Entry(lambda size: drnn.lstm(size, peepholes=True), oracle.lstm),
    "lstm_projection": Entry(lambda size: drnn.lstm(size, projection_size=3), oracle.lstm),
    "lstm_coupled": Entry(
        lambda size: drnn.lstm(size, coupled=True), lambda: oracle.lstm(coupled=True)
    ),
    "lstm_all": Entry(
        lambda size: drnn.lstm(size, coupled=True, peepholes=True, projection_size=3),
        lambda: oracle.lstm(coupled=True),
    ),
    "gru": Entry(drnn.gru, oracle.gru),
    "gru_before": Entry(
        lambda size: drnn.gru(size, reset_after=False), lambda: oracle.gru(reset_after=False)
    ),
    "minimal_gated": Entry(drnn.minimal_gated, oracle.minimal_gated),
    "independent": Entry(drnn.independent, oracle.independent),
    # Cells as a user writes them: with the split, and with `step` alone.
    "leaky": Entry(leaky, oracle_leaky),
    "deep_transition": Entry(deep_transition, oracle_deep_transition),
}
# The cells for long sequences: each in both directions with all modifiers that it can have.
# Five is a size, too, and the number of heads must divide it.
LONG = {
    "min_gru": Entry(drnn.min_gru, oracle_gated.min_gru),
    "min_lstm": Entry(drnn.min_lstm, oracle_gated.min_lstm),
    "qrnn": Entry(lambda size: drnn.qrnn(size, width=3), oracle_gated.qrnn),
    "sru": Entry(drnn.sru, oracle_gated.sru),
    "diagonal_gru": Entry(drnn.diagonal_gru, oracle_gated.diagonal_gru),
    "diagonal_lstm": Entry(drnn.diagonal_lstm, oracle_gated.diagonal_lstm),
    "lru": Entry(drnn.lru, oracle_linear.lru),
    "s5": Entry(lambda size: drnn.s5(size, state_size=6), oracle_linear.s5),
    "rg_lru": Entry(drnn.rg_lru, oracle_linear.rg_lru),
    "slstm": Entry(lambda size: drnn.slstm(size, 2 - size % 2), lambda: oracle_heads.slstm(2)),
    "mlstm": Entry(
        lambda size: drnn.mlstm(size, 2 - size % 2, key_size=3), lambda: oracle_heads.mlstm(2, 3)
    ),
    "mlstm_sigmoid": Entry(
        lambda size: drnn.mlstm(
            size, 2 - size % 2, key_size=3, input_gate="sigmoid", output_norm="rms"
        ),
        lambda: oracle_heads.mlstm(2, 3, "sigmoid", "rms"),
    ),
    "gated_delta": Entry(
        lambda size: drnn.gated_delta(size, 2 - size % 2, key_size=3, negative_eigenvalues=True),
        lambda: oracle_heads.gated_delta(2, 3, negative_eigenvalues=True),
    ),
    "linear_attention": Entry(
        lambda size: drnn.linear_attention(size, 2 - size % 2, decay="key"),
        lambda: oracle_heads.linear_attention(2, decay="key"),
    ),
}
SHORT = tuple(CELLS)
CELLS |= LONG


def same(cell):
    return cell


MODIFIERS = {
    "none": Entry(same, same),
    "layer_norm": Entry(drnn.layer_norm, oracle.layer_norm),
    "zoneout": Entry(lambda cell: drnn.zoneout(cell, 0.3), lambda cell: oracle.zoneout(cell, 0.3)),
    "zoneout_h": Entry(
        lambda cell: drnn.zoneout(cell, {"h": 0.4}),
        lambda cell: oracle.zoneout(cell, {"h": 0.4}),
    ),
    "variational_dropout": Entry(lambda cell: drnn.variational_dropout(cell, 0.3), same),
    "weight_drop": Entry(lambda cell: drnn.weight_drop(cell, 0.3), same),
    "learned_initial_state": Entry(drnn.learned_initial_state, oracle.learned_initial_state),
    "all": Entry(
        lambda cell: drnn.learned_initial_state(
            drnn.zoneout(
                drnn.weight_drop(drnn.layer_norm(drnn.variational_dropout(cell, 0.3)), 0.3), 0.3
            )
        ),
        lambda cell: oracle.learned_initial_state(oracle.zoneout(oracle.layer_norm(cell), 0.3)),
    ),
    "all_but_norm": Entry(
        lambda cell: drnn.variational_dropout(
            drnn.weight_drop(drnn.learned_initial_state(drnn.zoneout(cell, 0.3)), 0.3), 0.3
        ),
        lambda cell: oracle.learned_initial_state(oracle.zoneout(cell, 0.3)),
    ),
    "zoneout_and_learned": Entry(
        lambda cell: drnn.learned_initial_state(drnn.zoneout(cell, 0.3)),
        lambda cell: oracle.learned_initial_state(oracle.zoneout(cell, 0.3)),
    ),
}


def all_on(cell: str) -> str:
    """Give the modifier of all together that a cell can have: without a split, no norm."""
    for modifier in ("all", "all_but_norm", "zoneout_and_learned"):
        if fits(cell, modifier):
            return modifier
    return "learned_initial_state"


def fits(cell: str, modifier: str) -> bool:
    """Tell whether a cell has what a modifier asks for: the split, a field h, weights w_h, ..."""
    try:
        made = MODIFIERS[modifier].make(CELLS[cell].make(H))
        jax.eval_shape(lambda key: made.draw and made.draw(made.init(key, IN), key, (T, B)), KEY)
        jax.eval_shape(lambda key: made.init(key, IN), KEY)
    except ValueError:
        return False
    return True


class Network(NamedTuple):
    """A network to test; hashable, so that its programs are made once."""

    layers: tuple  # (cell, size, modifier) names, one a layer
    bidirectional: bool = False
    merge: str = "concat"
    skip: str | None = None
    layer_norm: bool = False
    output_size: int | None = None
    dropout: float = 0.0

    def build(self, **options) -> drnn.DeepRNN:
        """Make the library's network."""
        made = {
            layer: MODIFIERS[layer[2]].make(CELLS[layer[0]].make(layer[1]))
            for layer in set(self.layers)
        }
        return drnn.deep_rnn(
            [made[layer] for layer in self.layers],
            bidirectional=self.bidirectional,
            merge=product if self.merge == "product" else self.merge,
            skip=self.skip,
            normalize_inputs=self.layer_norm,
            output_size=self.output_size,
            dropout=self.dropout,
            **({"param_dtype": jnp.float64} | options),
        )

    def oracle(self) -> "OracleNetwork":
        """Give what the oracle knows the network by."""
        cells = [MODIFIERS[m].oracle(CELLS[c].oracle()) for c, _, m in self.layers]
        return OracleNetwork(
            cells, self.bidirectional, MERGES[self.merge], self.skip, self.layer_norm
        )

    @property
    def is_stochastic(self) -> bool:
        """Whether training draws anything."""
        draws = (MODIFIERS[m].make(CELLS[c].make(size)).draw for c, size, m in self.layers)
        return self.dropout > 0 or any(draws)


class OracleNetwork(NamedTuple):
    """The same network for `oracle.run`."""

    cells: list
    bidirectional: bool
    merge: Callable
    skip: str | None
    layer_norm: bool


def product(a, b):
    """Merge two directions by a function of the user's."""
    return a * b + a


MERGES = {
    "concat": lambda a, b: np.concatenate([a, b]),
    "sum": lambda a, b: a + b,
    "product": product,
}


def scheduled(causal: Network, both: Network) -> dict[str, Network]:
    """Give a network for each schedule; after "-both", one that runs in both directions."""
    plan = both.build(param_dtype=jnp.float32).plan
    runs_both = [name for name in ANY_CELL if SCHEDULES[name].refuse(plan) is None]
    return dict.fromkeys(ANY_CELL, causal) | {f"{name}-both": both for name in runs_both}


def stack_of(cell, modifier="none", depth=3, size=H, **options):
    return Network(((cell, size, modifier),) * depth, **options)


# Every cell in both directions. Three layers are the least in which one stands alone
# and others are stacked; what stacks them does not look at the cell, so few need three.
DEEP = ("elman", "lstm", "gru_before", "leaky", "deep_transition")
NETWORKS = {cell: stack_of(cell, depth=3 if cell in DEEP else 1) for cell in SHORT}
NETWORKS |= {
    f"{cell}-both": stack_of(cell, depth=1, bidirectional=True, output_size=2) for cell in SHORT
}
# Every modifier in both directions.
TOGETHER = {"all", "all_but_norm", "zoneout_and_learned"}
for modifier in sorted(MODIFIERS.keys() - {"none"} - TOGETHER):
    NETWORKS[f"{modifier}(lstm)"] = stack_of("lstm", modifier, depth=1)
    NETWORKS[f"{modifier}(gru_before)-both"] = stack_of(
        "gru_before", modifier, depth=1, bidirectional=True
    )
# All modifiers together on every cell, the directions in turn; of an LSTM's options, which
# modifiers do not look at, on none and on all.
LSTM_OPTIONS = {"lstm_peepholes", "lstm_projection", "lstm_coupled"}
for index, cell in enumerate(SHORT):
    if cell in LSTM_OPTIONS:
        continue
    modifier = all_on(cell)
    if index % 2:
        NETWORKS[f"{modifier}({cell})-both"] = stack_of(
            cell, modifier, depth=1, bidirectional=True, merge="sum"
        )
    else:
        NETWORKS[f"{modifier}({cell})"] = stack_of(cell, modifier, depth=1)
NETWORKS |= {
    f"{cell}, long": stack_of(cell, all_on(cell), depth=1, bidirectional=True, merge="sum")
    for cell in LONG
}
# Every option of the network.
NETWORKS |= {
    "all(lstm)-deep": stack_of("lstm", "all", depth=3, dropout=0.3),
    "residual": stack_of("gru", skip="residual", layer_norm=True, output_size=2, dropout=0.4),
    "highway": stack_of("minimal_gated", skip="highway", output_size=2),
    "dense": Network(
        (("lstm_projection", 4, "none"), ("gru", 3, "none"), ("gru", 3, "none")),
        skip="dense",
        layer_norm=True,
        output_size=2,
    ),
    "unequal": Network(
        (
            ("deep_transition", 4, "none"),
            ("lstm", 4, "all"),
            ("elman", 3, "zoneout"),
            ("elman", 3, "zoneout"),
        ),
        dropout=0.3,
    ),
    "residual-sum-both": stack_of(
        "gru_before", skip="residual", bidirectional=True, merge="sum", dropout=0.4
    ),
    "highway-concat-both": stack_of(
        "lstm", skip="highway", layer_norm=True, bidirectional=True, output_size=2
    ),
    "dense-product-both": stack_of(
        "elman", skip="dense", bidirectional=True, merge="product", depth=2
    ),
}


def seed_of(name: str) -> np.random.Generator:
    """Give a generator that is the name's own, the same on every run."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def shapes_of(rnn, input_size=IN, batch_shape=(B,)):
    """Give the shapes of a network's parameters and state, with nothing compiled."""
    params = jax.eval_shape(lambda: rnn.init(jax.random.key(0), input_size))
    return params, jax.eval_shape(lambda p: rnn.initial_state(p, batch_shape), params)


def fill(rng, shapes, scale=0.5, dtype=np.float64):
    """Draw normal values for a tree of shapes: zeros and ones would hide mistakes."""
    return jax.tree.map(lambda s: (scale * rng.normal(size=s.shape)).astype(dtype), shapes)


class Data(NamedTuple):
    """What a network is run on."""

    params: drnn.DeepParams
    x: np.ndarray  # [T, B, IN]
    state: tuple
    lengths: np.ndarray  # [B]
    mask: np.ndarray  # [T, B]
    resets: np.ndarray  # [T, B]


def every_edge():
    """Give lengths, mask and resets with each edge in a row of its own."""
    lengths = np.array([T, 0, 4, T, T])
    mask = np.ones((T, B), bool)
    resets = np.zeros((T, B), bool)
    resets[2:, 1] = True  # a row of no steps, with resets in its padding
    resets[[0, 3, 5], 2] = True  # at the first step, at the last, in the padding
    resets[:, 3] = True  # at every step
    mask[:, 4] = [False, True, True, False, True, False]  # padded before, amid and after
    resets[:, 4] = [True, True, False, True, True, True]
    return lengths, mask, resets


def data_for(network: Network, name: str = "", batch_shape=(B,)) -> Data:
    """Draw a network's parameters and what it is run on."""
    rng = seed_of(f"{network}{name}")
    params, state = shapes_of(network.build(), batch_shape=batch_shape)
    x = rng.normal(size=(T, *batch_shape, IN))
    return Data(fill(rng, params), x, fill(rng, state), *every_edge())
