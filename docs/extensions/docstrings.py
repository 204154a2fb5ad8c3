"""This library's docstrings as reStructuredText, which is what autodoc reads.

They are Google's in form, with sections such as `Args`, and otherwise Markdown: code in single
backticks, what is indented by four columns as it stands. To reStructuredText a backtick, an
asterisk, a bar and an underscore at the end of a word mean something else, so each part is
written anew: equations as literal blocks, code as code (with a link, where it names something
public), and all else with its signs escaped.

    rst_of(lines, names) -> lines      `names`: what code may link to, by how it is written
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

Names = Mapping[str, str]

SECTION = re.compile(r"^(Args|Attributes|Example|Raises|References|Returns|Warns):$")
ITEM = re.compile(r"^  (\*{0,2}\w+(?:, \*{0,2}\w+)*): ?(.*)$")
FIELDS = {"Args": "param {}", "Raises": "raises {}"}
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
NUMBER = re.compile(r"^(\s*)(?=\(?(?:\w|\d+|[ivx]+)[.)](?:\s|$))", re.MULTILINE)  # "T." is no list
SIGNS = re.compile(r"([\\*|`]|(?<=\w)_(?!\w))")
BEFORE, AFTER = "'\"([{<-/:", "'\")]}>-/:.,;!?\\"  # what may stand beside code in reStructuredText


def rst_of(lines: Sequence[str], names: Names) -> list[str]:
    """Give a docstring as reStructuredText."""
    return [line for title, body in _sections(lines) for line in _section(title, body, names)]


def blocks_of(lines: Sequence[str], names: Names) -> list[str]:
    """Give a docstring, or a part of one, that has no sections."""
    return [*_blocks(lines, names)]


def definitions(title: str, items: Sequence[tuple[str, Sequence[str]]], names: Names) -> list[str]:
    """Give names and what they are, under a title: the fields of a record."""
    lines = [f".. rubric:: {title}", ""]
    for name, body in items:
        found = [line for line in _blocks(body, names) if line]
        lines += [f"``{name}``", *(f"    {line}" for line in found or ["\\ "])]
    return [*lines, ""]


def _sections(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Give the text before all sections, with no title, and each section, dedented."""
    title, body = "", []
    for line in lines:
        found = SECTION.match(line)
        if found:
            yield title, body
            title, body = found.group(1), []
        elif title and line and not line.startswith("  "):  # prose after a section
            yield title, body
            title, body = "", [line]
        else:
            body.append(line)
    yield title, body


def _section(title: str, body: list[str], names: Names) -> list[str]:
    if not title:
        return blocks_of(body, names)
    if title in ("Attributes", "Warns"):
        return definitions(title, [*_items(body)], names)
    if title == "Returns":
        return _field("returns", _dedented(body), names)
    if title in FIELDS:
        lines = []
        for name, text in _items(body):
            lines += _field(FIELDS[title].format(name.replace("*", r"\*")), text, names)
        return lines
    code = {"least": 2, "language": "python"} if title == "Example" else {}
    return [f".. rubric:: {title}", "", *_blocks(_dedented(body), names, **code), ""]


def _items(body: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Give each named item of a section with its text."""
    name, text = "", []
    for line in body:
        found = ITEM.match(line)
        if found:
            if name:
                yield name, text
            name, text = found.group(1), [found.group(2)]
        else:
            text.append(line[4:])
    if name:
        yield name, text


def _field(name: str, text: Sequence[str], names: Names) -> list[str]:
    first, *rest = [*_blocks(text, names)] or [""]
    return [f":{name}: {first}", *(f"    {line}" if line else "" for line in rest), ""]


def _dedented(lines: Sequence[str]) -> list[str]:
    return [line[2:] for line in lines]


def _blocks(
    lines: Sequence[str], names: Names, least: int = 4, language: str = "text"
) -> Iterator[str]:
    """Give prose, doctests and what is indented by so much, each as reStructuredText has it."""
    prose: list[str] = []
    after_blank, index = True, 0
    while index < len(lines):
        line = lines[index]
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith(">>> "):
            end = _end(lines, index, lambda one: not one.strip())
        elif after_blank and indent >= least and line.strip():
            end = _end(lines, index, lambda one: one.strip() and one[:least].strip())
        else:
            prose.append(line)
            after_blank, index = not line.strip(), index + 1
            continue
        yield from _prose(prose, names)
        is_doctest = line.lstrip().startswith(">>> ")
        margin = " " * indent if is_doctest and indent < least else ""
        yield from ("", f"{margin}.. code-block:: {'pycon' if is_doctest else language}", "")
        block = textwrap.dedent("\n".join(lines[index:end])).split("\n")
        yield from (f"{margin}    {one}".rstrip() for one in block)
        yield ""
        prose = []
        after_blank, index = True, end
    yield from _prose(prose, names)


def _end(lines: Sequence[str], start: int, is_end: Callable[[str], object]) -> int:
    """Give where a block ends, the blank lines behind it left out."""
    end = next((at for at in range(start + 1, len(lines)) if is_end(lines[at])), len(lines))
    while not lines[end - 1].strip():
        end -= 1
    return end


def _prose(lines: Sequence[str], names: Names) -> Iterator[str]:
    """Give prose with its code as code and its signs escaped."""
    text, done, at = "\n".join(lines), [], 0
    for found in CODE.finditer(text):
        done.append(_escaped(text[at : found.start()]))
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        done += [
            "" if not before or before.isspace() or before in BEFORE else "\\ ",
            _code(re.sub(r"\s*\n\s*", " ", found.group(2)), names),
            "" if not after or after.isspace() or after in AFTER else "\\ ",
        ]
        at = found.end()
    done.append(_escaped(text[at:]))
    yield from "".join(done).split("\n")


def _escaped(text: str) -> str:
    return NUMBER.sub(r"\1\\", SIGNS.sub(r"\\\1", text))


def _code(text: str, names: Names) -> str:
    """Give code, linked if it is a public name, or a call of one."""
    name = re.sub(r"\(.*\)$", "", text, flags=re.DOTALL).removeprefix("drnn.")
    name = name.removeprefix("deeprnn_jax.")
    if name in names and not set(text) & set("<>`"):
        return f":py:obj:`{text} <{names[name]}>`"
    return f"``{text}``"
