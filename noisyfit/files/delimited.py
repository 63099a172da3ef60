"""Delimited text in lines of cells, each as it stands in the file, so that what is not changed stays as it was.

A cell is in quotes, which are doubled inside it, or goes on to the next delimiter or line end, as Python, pandas and
PyArrow read it. A line ends with ``\\n``, ``\\r\\n`` or ``\\r``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = ["DelimitedText", "Line", "find_delimiter", "read_lines"]

_DELIMITERS = ",;\t|"
_LINES_TO_JUDGE_BY = 100
_LINE_END = re.compile(r"\r\n|\r|\n")
_BEGINS_FORMULA = tuple("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?[0-9.,]++([eE][+-]?[0-9]++)?%?")


class Line(NamedTuple):
    """One line, or several where a cell holds line ends."""

    number: int  # of its first line in the file, from 1
    cells: list[str]  # with their quotes
    end: str  # "" for the last line of a file that does not end with a line end

    @property
    def is_blank(self) -> bool:
        """Whether nothing stands in it."""
        return self.cells == [""]


class DelimitedText:
    """A header and rows of as many cells; blank lines count as rows in a table of one column alone.

    Raises a ValueError that begins with the line where that is not so.
    """

    def __init__(self, lines: Iterable[Line], delimiter: str):
        self.lines = list(lines)
        self.delimiter = delimiter
        head = next((place for place, line in enumerate(self.lines) if not line.is_blank), None)
        if head is None:
            raise ValueError("line 1: the file is empty. Its first line must hold the names of the columns.")
        self.columns = [_value(cell) for cell in self.lines[head].cells]
        one = len(self.columns) == 1
        self._places = [
            place for place, line in enumerate(self.lines) if place >= head and (one or not line.is_blank)
        ]  # of the header and the rows
        for line in self.rows:
            self._check_length(line)

    @classmethod
    def of(cls, columns: dict[str, Sequence[Any]]) -> DelimitedText:
        """Make a text of columns of values."""
        rows = itertools.chain([list(columns)], zip(*columns.values(), strict=True))
        cells = ([_cell(value, ",") for value in row] for row in rows)
        return cls([Line(number, row, "\n") for number, row in enumerate(cells, start=1)], ",")

    @property
    def rows(self) -> list[Line]:
        """The lines below the header."""
        return [self.lines[place] for place in self._places[1:]]

    def values(self, column: str) -> list[str]:
        """Give what the cells of a column say, without their quotes."""
        i = self.columns.index(column)
        return [_value(line.cells[i]) for line in self.rows]

    def with_columns(self, new_columns: dict[str, Sequence[Any]]) -> DelimitedText:
        """Give the text with some columns replaced or, at the end, added; cells that say the same stay as they stand.

        None is an empty cell, and says the same as one with nothing but space.
        """
        lines = [line._replace(cells=line.cells.copy()) for line in self.lines]
        for name, values in new_columns.items():
            if name in self.columns:
                i = self.columns.index(name)
                for place, value in zip(self._places[1:], values, strict=True):
                    lines[place].cells[i] = self._replaced(lines[place].cells[i], value)
            else:
                for place, value in zip(self._places, [name, *values], strict=True):
                    lines[place].cells.append(_cell(value, self.delimiter))
        return DelimitedText(lines, self.delimiter)

    def formulas(self) -> list[tuple[int, str, str]]:
        """Give line number, column and text of each cell that a spreadsheet may run."""
        return [
            (line.number, name, _value(cell))
            for line in (self.lines[place] for place in self._places)
            for name, cell in zip(self.columns, line.cells, strict=True)
            if _is_formula(_value(cell))
        ]

    def without_formulas(self) -> DelimitedText:
        """Give the text with ``'`` before each such cell, by which spreadsheets know text."""
        return DelimitedText(
            [line._replace(cells=[self._defused(cell) for cell in line.cells]) for line in self.lines], self.delimiter
        )

    def __str__(self) -> str:
        return "".join(self.delimiter.join(line.cells) + line.end for line in self.lines)

    def _check_length(self, line: Line) -> None:
        if len(line.cells) != len(self.columns):
            raise ValueError(
                f"line {line.number}: {len(line.cells):,} cells, but there are {len(self.columns):,} columns, divided "
                f"by {self.delimiter!r}. Is a delimiter in a cell not in quotes?"
            )

    def _replaced(self, cell: str, value: Any) -> str:
        old, new = _value(cell), "" if value is None else str(value)
        if old == new or not (old + new).strip():
            return cell
        alone = len(self.columns) == 1 and not new  # it would be a blank line, which many readers pass over
        return _cell(new, self.delimiter, in_quotes=cell.startswith('"') or alone)

    def _defused(self, cell: str) -> str:
        value = _value(cell)
        return _cell(f"'{value}", self.delimiter, in_quotes=cell.startswith('"')) if _is_formula(value) else cell


def read_lines(text: str, delimiter: str) -> Iterator[Line]:
    """Go through the lines of a text.

    Raises a ValueError that begins with the line where a quote is not closed, or where text stands behind one.
    """
    mark = re.escape(delimiter)
    cell = rf'(?>"[^"]*+(?:""[^"]*+)*+"|[^"{mark}\r\n][^{mark}\r\n]*+|)'
    whole, behind_mark = re.compile(rf"({cell}(?:{mark}{cell})*+)(\r\n|[\r\n]|\Z)"), re.compile(f"{mark}({cell})")
    place, number = 0, 1
    while place < len(text):
        match = whole.match(text, place)
        if match is None:
            good = re.compile(rf"{cell}(?:{mark}{cell})*+").match(text, place)
            assert good is not None  # it may be empty
            number += len(_LINE_END.findall(text, place, good.end()))
            raise ValueError(
                f"line {number}: a quote that is not closed, or text behind a closing one. "
                "Quotes inside a cell must be doubled, and the cell be in quotes."
            )
        line, end = match.groups()
        has_quotes = '"' in line
        yield Line(number, behind_mark.findall(delimiter + line) if has_quotes else line.split(delimiter), end)
        number += 1 + (len(_LINE_END.findall(line)) if has_quotes else 0)
        place = match.end()


def find_delimiter(text: str) -> str:
    """Find the delimiter that divides the first lines into the same number of cells, as many as possible.

    Of two that do so equally the comma is not it: it stands in numbers and names, too.
    """
    widths = {delimiter: _widths(text, delimiter) for delimiter in _DELIMITERS}
    fitting = [delimiter for delimiter, found in widths.items() if len(set(found)) == 1 and found[0] > 1]
    return max(fitting[::-1] or _DELIMITERS, key=lambda delimiter: widths[delimiter][0])


def _widths(text: str, delimiter: str) -> list[int]:
    widths = []
    try:
        for line in itertools.islice(read_lines(text, delimiter), _LINES_TO_JUDGE_BY):
            widths += [] if line.is_blank else [len(line.cells)]
    except ValueError:
        widths.append(0)
    return widths or [0]


def _value(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _cell(value: Any, delimiter: str, in_quotes: bool = False) -> str:
    text = "" if value is None else str(value)
    if in_quotes or delimiter in text or any(mark in text for mark in '"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _is_formula(value: str) -> bool:
    """Say whether a spreadsheet may run a text; a number, or a sign alone, is none."""
    return len(value) > 1 and value.startswith(_BEGINS_FORMULA) and not _NUMBER.fullmatch(value)
