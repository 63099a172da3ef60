"""Tables of any text go through the command line: what is not a label stays as it is, to the byte."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import NamedTuple

import numpy as np
import pytest

from noisyfit import JointOptimizationClassifier
from noisyfit.command import cli
from noisyfit.command.cli import DONE, FAILED, main

from fuzzing import n_cases
from stand_in import StandIn

PIECES = [
    *(
        "a",
        "b c",
        " ",
        "é",
        "日",
        "0",
        "1.5",
        "-2",
        "NA",
        "=1+1",
        "@x",
        "'",
        "\\",
        "😀",
        "x" * 300,
        '"',
        '""',
        ",",
        ";",
    ),
    *("\t", "|", "\n", "\r", "\r\n", "\n\n", "\0", "\x0b", "\x1c", "\x85", "\u2028", "\ufeff", "\ufffd"),
]
MARKS = ("label_given", "label_status", "label_confidence")


class Table(NamedTuple):
    """A table as it is written: cells with their quotes, and the end of each line; of a blank line no cells."""

    lines: list[tuple[list[str], str]]
    delimiter: str
    label: int  # place of its column
    encoding: str

    def content(self):
        return "".join(self.delimiter.join(cells) + end for cells, end in self.lines).encode(self.encoding)


def quick(random_state, **_):
    """Make the real one, as quick as may be."""
    params = {"max_epochs": 1, "cross_fit": 0, "gamma": 0.0, "begin": 1, "witness": None, "retrain_epochs": 0}
    return JointOptimizationClassifier(random_state=random_state, **params)


@pytest.fixture
def fast(monkeypatch):
    """Training has no part in what is looked at here, but for a few cases."""
    as_numbers = cli.as_numbers

    def use(real):
        monkeypatch.setattr(cli, "JointOptimizationClassifier", quick if real else StandIn)
        monkeypatch.setattr(cli, "as_numbers", as_numbers if real else lambda _, frame: np.zeros((len(frame), 1)))

    return use


def text(rng, longest=3):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, longest)))


def as_written(rng, value, delimiter, style):
    must = value.startswith('"') or any(mark in value for mark in (delimiter, "\r", "\n"))
    if must or style == "all" or (style == "some" and rng.random() < 0.5):
        return '"' + value.replace('"', '""') + '"'
    return value


def random_table(rng):
    delimiter, style = rng.choice(",;\t|"), rng.choice(["all", "some", "needed"])
    n_columns, n_rows, end = rng.randint(2, 6), rng.randint(6, 14), rng.choice(["\n", "\r\n", "\r"])
    names = [f"{text(rng)}{i}" for i in range(n_columns - 1)]
    label = rng.randrange(n_columns)
    names[0] = names[0].lstrip("\ufeff")  # it would be the mark of the encoding
    names.insert(label, "label")
    labels = ["".join(f"{text(rng)}{i}".split("\0")) for i in range(rng.randint(2, 3))]
    rows = [[text(rng) if rng.random() < 0.8 else str(rng.random()) for _ in names] for _ in range(n_rows)]
    for i, row in enumerate(rows):
        row[label] = labels[i % len(labels)] if i < 6 or rng.random() < 0.8 else rng.choice(["", " ", "\t "])
    rows = [names, *rows]
    lines = [([as_written(rng, value, delimiter, style) for value in row], end) for row in rows]
    for _ in range(rng.choice([0, 0, 2])):
        lines.insert(rng.randrange(len(lines)), ([], end))
    if rng.random() < 0.3:  # line ends of several kinds
        lines = [(cells, rng.choice(["\n", "\r\n"])) for cells, _ in lines]
    if rng.random() < 0.3:
        lines[-1] = (lines[-1][0], "")
    return Table(lines, delimiter, label, rng.choice(["utf-8", "utf-8-sig"]))


def read(content, table):
    """Read strictly by Python's own reader, blank lines left out."""
    decoded = content.decode(table.encoding)
    return [row for row in csv.reader(io.StringIO(decoded, newline=""), delimiter=table.delimiter, strict=True) if row]


def others(row, label):
    """Give the cells of a row that are no labels."""
    return row[:label] + row[label + 1 :]


def both_ways(value):
    return value, '"' + value.replace('"', '""') + '"'


def check_bytes(content, table, expected):
    """Go through the output: each cell of the input as it stood, label cells and added ones in one of two ways."""
    out, place = content.decode(table.encoding), 0
    for cells, end in table.lines:
        ways_of_cells = next(expected) if cells else [[""]]
        for i, ways in enumerate(ways_of_cells, start=1):
            behind = end if i == len(ways_of_cells) else table.delimiter
            found = [way + behind for way in ways if out.startswith(way + behind, place)]
            assert found, (ways, out[place : place + 100])
            place += len(found[0])
    assert place == len(out)


def with_label(cells, table, ways, more=()):
    """Give the ways in which each cell of a line may stand."""
    return [ways if i == table.label else [cell] for i, cell in enumerate(cells)] + [both_ways(value) for value in more]


def check_cleaned(table, before, after):
    given, found = read(before, table), read(after, table)
    raw = [cells for cells, _ in table.lines if cells]
    assert len(given) == len(found) == len(raw)
    assert found[0] == [*given[0], *MARKS]
    expected = [with_label(raw[0], table, [raw[0][table.label]], MARKS)]
    for cells, old, new in zip(raw[1:], given[1:], found[1:], strict=True):
        label, (given_label, status, confidence) = old[table.label], new[len(old) :]
        assert others(new[: len(old)], table.label) == others(old, table.label)
        assert given_label == (label if label.strip() else "")
        assert status in (["kept", "changed"] if label.strip() else ["proposed"])
        assert 0 <= float(confidence) <= 1
        assert (new[table.label] == label) == (status == "kept")
        stands = [cells[table.label]] if status == "kept" else both_ways(new[table.label])
        expected.append(with_label(cells, table, stands, new[len(old) :]))
    check_bytes(after, table, iter(expected))


def decide(rng, table, rows, path):
    """Write decisions for some rows; give the labels that they name."""
    labels = sorted({row[table.label] for row in rows if row[table.label].strip()})
    decided = {i: rng.choice(labels) for i in range(len(rows)) if rng.random() < 0.3}
    shown = [row[table.label] if row[table.label].strip() else "" for row in rows]
    decisions = [
        {"row": i, "index": i, "given_label": shown[i], "proposed_label": label, "decision": "other", "label": label}
        for i, label in decided.items()
    ]
    path.write_text(json.dumps({"format": "noisyfit decisions", "version": 1, "decisions": decisions}))
    return decided


def check_applied(table, before, after, decided):
    given, found = read(before, table), read(after, table)
    raw = [cells for cells, _ in table.lines if cells]
    expected = [[[cell] for cell in raw[0]]]
    for i, (cells, row) in enumerate(zip(raw[1:], given[1:], strict=True)):
        label = decided.get(i, row[table.label])
        row[table.label] = label
        expected.append(with_label(cells, table, both_ways(label) if i in decided else [cells[table.label]]))
    assert found == given
    check_bytes(after, table, iter(expected))


def outcome(folder, command, table, *more):
    """Run a command with the delimiter found out, and where that cannot be done with the delimiter named."""
    if main([*map(str, command), "--label", "label", *map(str, more)]) == DONE:
        return DONE
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(("out", "."))) == []
    return main([*map(str, command), "--label", "label", "--delimiter", table.delimiter, *map(str, more)])


@pytest.mark.parametrize("block", range(4))
def test_any_table_keeps_what_is_not_a_label(tmp_path, capsys, fast, block):
    for case in range(block, n_cases(10_000), 4):
        rng = random.Random(case)
        fast(real=case % 50 == 7)
        table, path, out = random_table(rng), tmp_path / "in.csv", tmp_path / "out.csv"
        before = table.content()
        path.write_bytes(before)
        clean, seed = ["clean", path, "--quiet"], ["--seed", case]
        assert outcome(tmp_path, clean, table, "--dry-run", *seed) == DONE, (case, capsys.readouterr().err)
        assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]
        assert outcome(tmp_path, clean, table, "--out", out, *seed) == DONE, (case, capsys.readouterr().err)
        check_cleaned(table, before, out.read_bytes())
        out.unlink()
        decisions = tmp_path / "decisions.json"
        decided = decide(rng, table, read(before, table)[1:], decisions)
        apply = ["apply", path, decisions]
        assert outcome(tmp_path, apply, table, "--out", out) == DONE, (case, capsys.readouterr().err)
        check_applied(table, before, out.read_bytes(), decided)
        assert path.read_bytes() == before
        for file in (path, out, decisions):
            file.unlink()
        capsys.readouterr()


def damaged(rng, table):
    """Write a table with some places gone, doubled or replaced: quotes, delimiters and line ends among them."""
    content = bytearray(table.content())
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content))
        piece = rng.choice(PIECES).encode() if rng.random() < 0.9 else bytes([rng.randrange(256)])
        pieces = [piece, b"", b'"', b"\n", b"\r", table.delimiter.encode()]
        content[start : start + rng.randint(0, 3)] = rng.choice(pieces)
    return bytes(content)


@pytest.mark.parametrize("block", range(2))
def test_a_damaged_table_keeps_what_is_not_a_label_or_is_refused(tmp_path, capsys, fast, block):
    fast(real=False)
    refused = 0
    for case in range(block, n_cases(10_000), 2):
        rng = random.Random(-1 - case)
        table, path, out = random_table(rng), tmp_path / "in.csv", tmp_path / "out.csv"
        before = damaged(rng, table)
        path.write_bytes(before)
        command = ["clean", str(path), "--label", "label", "--delimiter", table.delimiter, "--out", str(out), "--quiet"]
        code, said = main(command), capsys.readouterr().err
        assert path.read_bytes() == before
        if code == DONE:
            table = table._replace(encoding="utf-8-sig" if before.startswith(b"\xef\xbb\xbf") else "utf-8")
            given, found = read(before, table), read(out.read_bytes(), table)
            label = given[0].index("label")
            n_columns = len(given[0])
            assert [others(row[:n_columns], label) for row in found] == [others(row, label) for row in given], case
            out.unlink()
        else:
            refused += 1
            assert code == FAILED
            assert said.startswith(f"noisyfit: {path}"), (case, said)
        assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]
    assert 0 < refused < n_cases(10_000) / 2
