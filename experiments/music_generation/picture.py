"""Piano rolls as PNGs."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap

from experiments.common import plots
from experiments.music_generation.rolls import LOWEST_NOTE, NUM_KEYS, Roll

_COLOURS = ListedColormap(["white", (0.12, 0.38, 0.65), (0.9, 0.5, 0.1)])  # composed, given
_MOST_FRAMES = 512  # more would be lines thinner than a dot


def draw_roll(path: Path, roll: Roll, num_given: int, frame_beats: float, title: str) -> None:
    """Draw a roll, the given frames in another colour than those composed.

    Args:
      path: the PNG file to write.
      roll: `[T, 88]`; drawn are the frames around the end of what was given, 512 at most.
      num_given: the frames from the first on that were not composed.
      frame_beats: how long a frame lasts, in quarter notes.
      title: the picture's title.
    """
    first = max(0, min(num_given - _MOST_FRAMES // 4, len(roll) - _MOST_FRAMES))
    shown = roll[first : first + _MOST_FRAMES]
    used = np.flatnonzero(shown.any(axis=0))
    low, high = (used[0], used[-1]) if len(used) else (0, NUM_KEYS - 1)
    colours = shown.astype(int)
    colours[: max(num_given - first, 0)] *= 2
    edges = (first * frame_beats, (first + len(shown)) * frame_beats)
    picture, axes = plots.figure(size=(min(4 + 0.06 * len(shown), 24), 4.5))
    axes.imshow(
        colours.T,
        cmap=_COLOURS,
        vmin=0,
        vmax=2,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(*edges, LOWEST_NOTE - 0.5, LOWEST_NOTE + NUM_KEYS - 0.5),
    )
    if num_given > first:
        axes.axvline(num_given * frame_beats, color="0.4", linestyle="--", linewidth=1)
    axes.set_ylim(LOWEST_NOTE + low - 2.5, LOWEST_NOTE + high + 2.5)
    octaves = [note for note in range(12, 128, 12) if low <= note - LOWEST_NOTE <= high + 1]
    axes.set_yticks(octaves, [f"C{note // 12 - 1}" for note in octaves])
    axes.set(xlabel="quarter notes", ylabel="key", title=title)
    axes.grid(axis="y", alpha=0.4)
    picture.savefig(path, dpi=100)
