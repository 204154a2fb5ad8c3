"""Pictures: what layers know, and which networks train. Readable in grey."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.intervals import over_seeds
from experiments.common.plots import figure
from experiments.depth.long import log2_of
from experiments.depth.summary import accuracy_of, baseline_of, found_in, seeds_of

_LINES = ("-", "--", "-.", ":")


def draw_refine(path: Path, record: Mapping[str, Any]) -> None:
    """Draw the probes' accuracy by layer, a picture a feature, and the layers' similarity."""
    names = found_in(record)
    columns = 4
    rows = -(-(len(names) + 1) // columns)
    picture, axes = figure(columns, rows, size=(2.6, 2.1), squeeze=False)
    for one, name in zip(axes.flat[: len(names)], names, strict=True):
        for kind, style in (("trained", "-"), ("untrained", "--")):
            means, halves = _by_layer(accuracy_of(record, name, kind))
            layers = np.arange(len(means))
            one.errorbar(layers, means, halves, ls=style, color="0", capsize=2, label=kind)
        one.axhline(baseline_of(record, name), color="0.5", ls=":", label="shuffled labels")
        one.set(title=name, xticks=range(len(layers)))
    for one in axes[-1]:
        one.set_xlabel("layer (0: the input)")
    for one in axes.flat[: len(names) : columns]:
        one.set_ylabel("% correct, held out")
    axes[0, 0].legend(fontsize="x-small", frameon=False)
    alike = np.mean([row["trained"]["similarity"] for row in seeds_of(record)], axis=0)
    for empty in axes.flat[len(names) + 1 :]:
        empty.set_axis_off()
    last = axes.flat[len(names)]
    image = last.imshow(alike, vmin=0, vmax=1, cmap="Greys")
    last.set(title="similarity (CKA)", ylabel="layer", xlabel="layer")
    last.set(xticks=range(len(alike)), yticks=range(len(alike)))
    picture.colorbar(image, ax=last)
    picture.savefig(path, dpi=110)


def draw_trainable(path: Path, record: Mapping[str, Any]) -> None:
    """Draw the share that reached the bar, and the gradients' norms, by depth."""
    cells = list(dict.fromkeys(row["cell"] for row in record["rows"].values()))
    picture, axes = figure(2, len(cells), size=(4.6, 3.2), squeeze=False)
    for (share, norms), cell in zip(axes, cells, strict=True):
        rows = [row for row in record["rows"].values() if row["cell"] == cell]
        helps = list(dict.fromkeys(row["helped_by"] for row in rows))
        for i, helped_by in enumerate(helps):
            style = _style(i, len(helps)) | {"label": helped_by}
            of = {row["num_layers"]: row for row in rows if row["helped_by"] == helped_by}
            shares = [100 * np.mean(row["reached"]) for row in of.values()]
            share.plot(list(of), shares, marker="o", **style)
            deepest = of[max(of)]["gradient_norms"]
            norms.plot(1 + np.arange(len(deepest)), deepest, marker=".", **style)
        of_all = np.size(rows[0]["reached"])
        share.set(xlabel="layers", ylabel=f"% of {of_all} that reach the bar", title=cell)
        share.set(ylim=(-5, 105))
        norms.set(xlabel="layer, of the deepest", ylabel="gradient norm, first step", title=cell)
        norms.set_yscale("log")
        share.legend(fontsize="small", frameon=False)
    picture.savefig(path, dpi=110)


def draw_long(path: Path, record: Mapping[str, Any]) -> None:
    """Draw the longest lag learned by depth, for each task and width: each seed, and their mean."""
    lags = record["settings"]["lags"]
    groups = list(dict.fromkeys((r["task"], r["equal"]) for r in record["rows"].values()))
    picture, axes = figure(len(groups), size=(3.6, 3.2), squeeze=False, sharey=True)
    for one, group in zip(axes[0], groups, strict=True):
        rows = [row for row in record["rows"].values() if (row["task"], row["equal"]) == group]
        helps = list(dict.fromkeys(row["helped_by"] for row in rows))
        for i, helped_by in enumerate(helps):
            of = {row["num_layers"]: row for row in rows if row["helped_by"] == helped_by}
            seeds = [log2_of(row["longest"], lags) for row in of.values()]
            style = _style(i, len(helps))
            one.plot(list(of), np.mean(seeds, axis=1), label=helped_by, **style)
            each = np.repeat(list(of), len(seeds[0]))
            one.plot(each, np.ravel(seeds), color=style["color"], ls="", marker="os^x"[i % 4])
        one.set(xlabel="layers", title=f"{group[0]}, equal {group[1]}")
        # Seeds on the two ends have learned none, or all: their own longest is not known.
        names = ["none", *map(str, lags[:-1]), f"≥ {lags[-1]}"]
        one.set_yticks(np.log2([lags[0] / 2, *lags]), names)
        one.grid(alpha=0.3)
    axes[0, 0].set_ylabel("longest lag learned (steps)")
    axes[0, 0].legend(fontsize="small", frameon=False)
    picture.savefig(path, dpi=110)


def _style(i: int, number: int) -> dict[str, Any]:
    return {"color": str(0.6 * i / number), "ls": _LINES[i % 4]}


def _by_layer(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Return means and halves of intervals; of a single seed 0."""
    found = [over_seeds(column) for column in values.T]
    return [f["mean"] for f in found], [f["half"] or 0.0 for f in found]
