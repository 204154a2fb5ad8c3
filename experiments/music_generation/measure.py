"""What a finished run came to, beside the baselines."""

from typing import Any

from experiments.common.experiment import Trained
from experiments.music_generation.baselines import baselines
from experiments.music_generation.data import Data
from experiments.music_generation.evaluate import deviation, nll_of


def measure(trained: Trained, data: Data) -> tuple[dict[str, Any], None]:
    """Return the figures of a finished run.

    Args:
      trained: the models of the step whose mean validation NLL over the seeds is best;
        they alone see the test split.
      data: the music.

    Returns:
      For validation and test the NLL of each seed, its mean and deviation, the same by
      pieces, and the baselines.
    """
    figures: dict[str, Any] = {"seeds": list(trained.config.seeds)}
    for split, pieces in (("validation", data.valid), ("test", data.test)):
        nll = nll_of(trained.model, trained.params, pieces)
        figures |= {
            f"{split}_nll": float(nll.frames.mean()),
            f"{split}_nll_deviation": deviation(nll.frames),
            f"{split}_nll_of_seeds": nll.frames.tolist(),
            f"{split}_nll_by_pieces": float(nll.pieces.mean()),
            f"{split}_nll_by_pieces_of_seeds": nll.pieces.tolist(),
            f"{split}_frames": sum(len(piece) - 1 for piece in pieces),
            f"{split}_baselines": baselines(data.train, pieces),
        }
    return figures | {"test_oracle_nll": data.test_oracle_nll}, None
