"""Every measurement's settings, and the presets by name.

Command:   python -m experiments.depth --preset NAME
Expected:  the page in this folder's README
Hardware:  2 CPU cores
"""

import dataclasses
from collections.abc import Mapping

from experiments.common.networks import CELLS
from experiments.common.settings import Count, Positive, as_stored, require
from experiments.depth.features import FEATURES
from experiments.depth.network import HELPS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refine:
    """What each layer knows: probes of a network that learned the next character."""

    data: str = "pydoc"
    data_dir: str | None = None
    cell: str = "lstm"
    num_layers: Count = 4
    hidden_size: Count = 128
    features: tuple[str, ...] = tuple(FEATURES)
    num_seeds: Count = 4
    steps: Count = 3000
    batch_size: Count = 32
    length: Count = 50
    learning_rate: Positive = 5e-3
    probe_rows: Count = 40
    probe_length: Count = 400
    """Characters of each of the validation text's rows; the first fifth is not probed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Long:
    """The longest lag that is learned: one network for each lag, from its first weights on."""

    cell: str = "lstm"
    tasks: tuple[str, ...] = ("copy", "adding")
    depths: tuple[int, ...] = (1, 2, 3, 4, 6)
    helps: tuple[str, ...] = ("none", "residual")
    widths: tuple[str, ...] = ("parameters", "units")
    """What is equal at all depths."""
    units: Count = 32
    """Of a layer; with equal parameters, those of two layers of so many."""
    lags: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    num_items: Count = 4
    num_seeds: Count = 3
    learning_rates: tuple[float, ...] = (1e-2, 3e-3)
    steps: Count = 1000
    batch_size: Count = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainable:
    """Which seeds and learning rates come below what a table of pairs of characters knows."""

    data: str = "pydoc"
    data_dir: str | None = None
    cells: tuple[str, ...] = ("elman", "lstm")
    depths: tuple[int, ...] = (1, 2, 4, 8, 16)
    helps: tuple[str, ...] = HELPS
    hidden_size: Count = 32
    num_seeds: Count = 4
    learning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    steps: Count = 600
    batch_size: Count = 16
    length: Count = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expressive:
    """The validation loss by depth, as a sweep of `text_generation`."""

    data: str = "tinyshakespeare"
    data_dir: str | None = None
    cells: tuple[str, ...] = ("elman", "lstm", "gru")
    depths: tuple[int, ...] = (1, 2, 3, 4)
    parameters: Count | None = 150_000
    """Of every network; None: `hidden_size` units a layer."""
    hidden_size: Count = 128
    num_seeds: Count = 3
    steps: Count = 2000
    batch_size: Count = 32
    length: Count = 50
    learning_rate: Positive = 4e-3
    published: bool = False
    """Train as Karpathy et al. 2015 did, but for fewer steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speech:
    """What each layer of a network trained on speech knows."""

    run: str | None = None
    """The folder of a run of `speech_recognition`; None: the newest one on AN4."""
    data_dir: str | None = None
    num_classes: Count = 16
    """Spectral classes."""


Settings = Refine | Long | Trainable | Expressive | Speech

PRESETS: Mapping[str, tuple[Settings, ...]] = {
    "default": (
        Refine(
            hidden_size=64,
            num_seeds=2,
            features=("kind", "place", "quoted", "word", "third", "next"),
            steps=600,
            batch_size=16,
            length=32,
            probe_rows=20,
            probe_length=250,
        ),
        Trainable(
            cells=("elman",),
            depths=(1, 8),
            helps=("none", "residual"),
            num_seeds=2,
            learning_rates=(3e-3, 1e-2, 3e-2),
            steps=200,
        ),
    ),
    "refine": (Refine(),),
    "refine_speech": (Speech(),),
    "long": (Long(),),
    "expressive": (Expressive(),),
    # Karpathy, Johnson and Fei-Fei 2015, section 3.2: one-hot inputs, sequences of 100 in
    # batches of 100, RMSprop at 2e-3, from the tenth epoch on times 0.95 in each, weights from
    # [-0.08, 0.08]. 8,000 steps are 31 epochs, where they had 50.
    "karpathy": (
        Expressive(
            data="warandpeace",
            cells=("lstm",),
            depths=(1, 2, 3),
            parameters=None,
            num_seeds=1,
            steps=8000,
            batch_size=100,
            length=100,
            learning_rate=2e-3,
            published=True,
        ),
    ),
    "trainable": (Trainable(),),
}


def checked(settings: Settings) -> Settings:
    """Return settings whose names and numbers can be.

    Raises:
      InputError: names the option, what it may be and what it is.
    """
    stored = as_stored(settings)
    for name, value in stored.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            require(value > 0, settings, name, "> 0")
        if isinstance(value, list):
            require(len(value) > 0, settings, name, "one or more")
    for name, allowed in (("cell", CELLS), ("cells", CELLS), ("helps", HELPS)):
        values = stored.get(name, [])
        values = values if isinstance(values, list) else [values]
        known = all(value in allowed for value in values)
        require(known, settings, name, f"of {', '.join(allowed)}")
    if "depths" in stored:
        require(1 in stored["depths"], settings, "depths", "with 1, which the others stand beside")
    return settings
