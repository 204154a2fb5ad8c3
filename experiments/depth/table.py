"""The page: what is said of depth, and what was measured.

    python -m experiments.depth.table

It reads what measurements have left in experiments/results/depth/*/, and writes this folder's
README between its marks.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common import sweep
from experiments.common.errors import InputError
from experiments.common.records import read_json
from experiments.depth import expressive, summary

RESULTS = Path(__file__).parents[1] / "results" / "depth"
README = Path(__file__).parent / "README.md"


class Answer(NamedTuple):
    """What a kind of record says of a sentence."""

    record: str  # the file's name, without .json
    say: Callable[[Mapping[str, Any]], str]
    table: Callable[[Mapping[str, Any]], str] | None = None


CLAIMS: Mapping[str, Sequence[Answer]] = {
    "Each layer refines the representation.": [Answer("refine", summary.refines)],
    "Lower layers learn basic features, higher layers abstract ones.": [
        Answer("refine", summary.basic_and_abstract, summary.table_of_probes),
        Answer("speech", summary.basic_and_abstract, summary.table_of_probes),
    ],
    "Deep networks handle long dependencies better.": [
        Answer("long", summary.long_dependencies, summary.table_of_lags),
        Answer("refine", summary.horizons),
    ],
    "Deep networks are more expressive.": [
        Answer("expressive", summary.more_expressive, expressive.table)
    ],
    "Deep networks are harder to train.": [
        Answer("trainable", summary.harder_to_train, summary.table_of_shares)
    ],
}


def sections(folder: Path) -> Iterator[str]:
    """Yield a section of Markdown for each sentence that something was measured for."""
    for sentence, answers in CLAIMS.items():
        said = [part for answer in answers for part in _said(folder, answer)]
        if said:
            yield "\n\n".join([f"### {sentence}", *said])


def _said(folder: Path, answer: Answer) -> Iterator[str]:
    for file in sorted(folder.glob(f"*/{answer.record}.json")):
        record = read_json(file)
        yield f"{what(file, record)} {answer.say(record)}"
        if answer.table is not None:
            yield answer.table(record)
            name = f"{file.parent.name}/{file.stem}"
            yield f"![{name}](../results/depth/{name}.png)"


def what(file: Path, record: Mapping[str, Any]) -> str:
    """Return what a record is of."""
    settings = record["settings"]
    words = [file.parent.name, settings.get("data"), settings.get("cell")]
    if "num_layers" in settings:
        words.append(f"{settings['num_layers']} layers of {settings['hidden_size']}")
    if "num_seeds" in settings:
        words += [f"{settings['num_seeds']} seeds", f"{settings['steps']:,} steps"]
    return f"**{', '.join(word for word in words if word)}.**"


@dataclasses.dataclass(frozen=True)
class Page:
    """Answer the sentences from all records."""

    folder: Path = RESULTS
    """Where they are, a folder each."""
    readme: Path = README
    """The page that shows them between two marks."""


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    with sweep.command_line(Page, "depth.table", arguments) as page:
        text = "\n\n".join(sections(page.folder))
        if not text:
            raise InputError(f"table: there is no record in {page.folder}/*/; run a preset first")
        sweep.fill(page.readme, text)
        print(f"{text}\n\nfile: {page.readme}")


if __name__ == "__main__":
    main(sys.argv[1:])
