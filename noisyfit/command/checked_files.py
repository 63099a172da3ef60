"""From decisions in a file to final labels in another: what the commands `apply` and `export` do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._validation import check_number
from .._version import __version__
from ..files.images import list_images
from ..judgement.settling import ENOUGH, MOST_CERTAIN, NO_CLASS, UNKNOWN, Checks
from ..label_studio import export_tasks, labeling_config
from ..review.decision_files import read_decisions
from ..review.decisions import Decided, find_decided, with_decided
from ..review.keys import key_text
from ..verdict import Verdict
from .tables import Table, check_ending, check_named, labels_of, read_table
from .verdict_file import KeptVerdict, read_verdict

__all__ = [
    "DONE",
    "FAILED",
    "JUDGED",
    "NO_LABEL",
    "OVER",
    "apply_to_table",
    "export_for_people",
    "ids_of",
    "write_report",
]

DONE, FAILED, OVER = 0, 1, 4  # exit codes
JUDGED = ".noisyfit"  # ending of the file beside a page
NO_LABEL = ""  # what stands for a missing label on the review page, and in the decisions made there
_WITH_ID = "with --id: name that column here, too."
_WITHOUT_ID = "without --id, or with another: do the same here."


class _Judged(NamedTuple):
    """What was said of the labels of a table."""

    kept: KeptVerdict
    places: NDArray[np.int64]  # of its rows in this table


def write_report(path: Path, source: Path, judged: Any) -> None:
    """Write what was found for other programs."""
    promise, labels = judged._promise_, judged._training_labels_
    gain = judged.expected_gain_
    content = {
        "noisyfit": __version__,
        "input": source.name,
        "labels": len(labels.given),
        "classes": len(judged.classes_),
        "changed": int((labels.corrected != labels.given).sum()),
        "noise_rate": judged.noise_rate_,
        "noise_rate_interval": judged.noise_rate_interval_,
        "expected_gain": None if gain is None else gain._asdict(),
        "correction_refused": judged.correction_refused_,
        "checked": None if promise is None else promise._asdict(),
    }
    path.write_bytes((json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def apply_to_table(args: argparse.Namespace) -> int:
    """Put the decisions made on a review page into the column of the labels, and settle the other labels by them.

    What `clean` or `check` has found lies beside the page, in a file that ends in .noisyfit. Without it, or with
    --only-decided, the decided rows alone change. All else stays as it is in the table.
    """
    _check_apply(args)
    table = read_table(args.input, args.delimiter)
    labels = _labels_by_name(table, args)
    try:
        judged = _find_judged(args, labels)
        decided = _decided_in(args, labels, judged)
    except ValueError as error:
        raise ValueError(f"{args.decisions} does not fit {args.input}. {error}") from error
    if args.report is not None and judged is None:
        raise ValueError("--report needs the .noisyfit file that was written beside the page: name it with --judged.")
    final = with_decided(labels, decided)
    verdict = None
    if judged is not None and not args.only_decided:
        verdict = _settle(judged, decided, args.guarantee)
        # what was taken all at once on the page nobody has looked at: it is settled like any other row
        answered = {place for place, row in decided.items() if row.looked_at and row.is_known}
        others = np.array([place not in answered for place in judged.places.tolist()], bool)
        settled = verdict.label_report()["corrected_label"].to_numpy(dtype=object)
        final.iloc[judged.places[others]] = settled[others]
    new: dict[str, Sequence[Any]] = {args.label: [None if label == NO_LABEL else label for label in final]}
    args.outputs.write(args.out, lambda name: table.write(name, new, args.safe_cells))
    return _conclude(args, labels, final, verdict)


def _check_apply(args: argparse.Namespace) -> None:
    args.outputs.check((args.out, args.report), (args.input, args.decisions, *_judged_files(args)))
    check_ending(args.out, args.input)
    if args.guarantee is not None:
        check_number("--guarantee", args.guarantee, low=0.5, high=MOST_CERTAIN, hint="0.95 is usual.")
    if args.only_decided and (args.report, args.fail_over, args.guarantee) != (None, None, None):
        raise ValueError("--only-decided settles nothing: leave out --report, --fail-over and --guarantee.")


def _judged_files(args: argparse.Namespace) -> list[Path]:
    """Give the .noisyfit file that was named, or those beside table or decisions, the latest first."""
    if args.judged is not None:
        return [args.judged]
    files = [getattr(args, "decisions", args.input), args.input]
    folders = dict.fromkeys(file.absolute().parent for file in files)
    found = {path for folder in folders for path in folder.glob(f"*{JUDGED}") if path.is_file()}
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _find_judged(args: argparse.Namespace, labels: pd.Series[Any]) -> _Judged | None:
    """Find what was said of these very labels: the file that was named, or one beside table or decisions.

    One that knows the rows by other names than are given here would lead to wrong rows: an error, and not passed over.
    """
    otherwise = ""
    for path in _judged_files(args):
        try:
            kept = read_verdict(path)
        except ValueError:  # of another table, or another program's
            if args.judged is not None:
                raise
            continue
        places = _places(kept, labels, args)
        if places is not None and (kept.about.names is None) == (args.id is None):
            return _Judged(kept, places)
        if places is not None:
            otherwise = f"{path} was made {_WITHOUT_ID if kept.about.names is None else _WITH_ID}"
    if otherwise or args.judged is not None:
        about_others = f"{args.judged} is about other labels. Pass the file that was written beside the page."
        raise ValueError(otherwise or about_others)
    return None


def _places(kept: KeptVerdict, labels: pd.Series[Any], args: argparse.Namespace) -> NDArray[np.int64] | None:
    """Find the judged rows by their names, or by their places; None where these are other labels."""
    about = kept.about
    if (about.n_rows, about.column) != (len(labels), args.label or ""):
        return None
    places: NDArray[np.int64] = about.places
    if about.names is not None and args.id is not None:
        places = pd.Index(labels.index.map(str)).get_indexer(pd.Index(about.names))
    given = kept.verdict.label_report()["given_label"].to_numpy(dtype=object)
    are_these = (places >= 0).all() and (labels.to_numpy()[places] == given).all()
    return places if are_these else None


def _decided_in(args: argparse.Namespace, labels: pd.Series[Any], judged: _Judged | None) -> dict[int, Decided]:
    """Read what was decided about which place; raise where the page knew the rows by other names."""
    decisions = read_decisions(args.decisions)
    named = [decision for decision in decisions if key_text(decision.index) != str(decision.row)]
    if named and args.id is None:
        raise ValueError(f"It calls row {named[0].row} {named[0].index!r}. Name the column of these names with --id.")
    decided = find_decided(labels, decisions)
    if args.id is not None and judged is not None:
        places = dict(zip(judged.kept.about.places.tolist(), judged.places.tolist(), strict=True))
        if any(places.get(found.row, place) != place for place, found in decided.items()):
            raise ValueError(f"It has other rows under these names: it was made {_WITHOUT_ID}")
    return decided


def _settle(judged: _Judged, decided: dict[int, Decided], guarantee: float | None) -> Verdict:
    """Settle the judged rows by the answers; one that is none of the classes says that the given label is wrong."""
    verdict = judged.kept.verdict
    number = {label: code for code, label in enumerate(verdict.classes_.tolist())}
    found = [
        (i, number.get(decided[place].label, NO_CLASS) if decided[place].is_known else UNKNOWN)
        for i, place in enumerate(judged.places.tolist())
        if place in decided and decided[place].looked_at
    ]
    rows, codes = np.array(found, np.int64).reshape(-1, 2).T
    inquiry = verdict._inquiry_
    assert inquiry is not None
    verdict._take(inquiry.after(Checks(rows, codes), guarantee))
    return verdict


def _conclude(args: argparse.Namespace, labels: pd.Series[Any], final: pd.Series[Any], verdict: Verdict | None) -> int:
    """Write the report, and say what is certain."""
    if verdict is not None:
        print(verdict.summary())
    elif not args.only_decided:
        print("no .noisyfit file of this table was found: only decided labels are changed. Name it with --judged.")
    print(f"{(labels != final).sum():,} of {len(labels):,} labels changed")
    if args.report is not None and verdict is not None:
        args.outputs.write(args.report, lambda name: write_report(name, args.input, verdict))
    print("\n".join(args.outputs.told()))
    if args.outputs.failed:
        return FAILED
    promise = None if verdict is None else verdict._promise_
    if args.fail_over is None or (promise is not None and 100 * promise.wrong[0] <= args.fail_over):
        return DONE
    if promise is None:
        print(f"--fail-over {args.fail_over:g}: nothing is certain with fewer than {ENOUGH} rows checked in order")
        return DONE
    print(f"more than {args.fail_over:g} % of the labels are wrong, with 95 % certainty")
    return OVER


def ids_of(table: Table, column: str | None) -> pd.Index | None:
    """Give the column that names the rows."""
    if column is None:
        return None
    check_named(table, [column])
    values = table.values(column)
    for row, value in enumerate(values):
        if pd.api.types.is_list_like(value) or "\0" in str(value):
            raise ValueError(
                f"{table.path}, {table.place(row)}: column {column!r} must name each row, got {value!r:.200}. Use text "
                "without NUL characters, or numbers."
            )
    ids = pd.Index(values, name=column)
    if ids.hasnans or not ids.is_unique:
        row = int((ids.duplicated() | ids.isna()).argmax())
        raise ValueError(
            f"{table.path}, {table.place(row)}: column {column!r} must name each row, got {values[row]!r:.200} for "
            "several, or none."
        )
    return ids


def export_for_people(args: argparse.Namespace) -> int:
    """Write the rows to check as tasks for Label Studio, and beside them the labelling interface of a project.

    `noisyfit check` has to be run before. Export what people label as JSON, and hand it to `noisyfit apply`.
    """
    interface = args.label_studio.with_suffix(".xml")
    args.outputs.check((args.label_studio, interface), (args.input, *_judged_files(args)))
    labels, shown = _labels_and_rows(args)
    judged = _find_judged(args, labels)
    if judged is None:
        raise ValueError(f"No .noisyfit file of {args.input} was found. Run noisyfit check, or name it with --judged.")
    verdict = judged.kept.verdict
    rows = verdict.rows_to_check(args.rows)
    proposed = np.searchsorted(verdict.classes_, rows["proposed_label"].to_numpy(verdict.classes_.dtype))
    scores = verdict.soft_labels_[rows.index, proposed]
    rows.index = labels.index[judged.places[rows.index]]
    tasks: dict[str, Any] = {"y": labels, "scores": scores, "image_prefix": args.image_prefix, "overwrite": True}
    args.outputs.write(args.label_studio, lambda name: export_tasks(rows, shown, name, **tasks))
    config = labeling_config(verdict.classes_, "image" if args.input.is_dir() else "table")
    args.outputs.write(interface, lambda name: name.write_bytes(config.encode()))
    print("\n".join([f"{len(rows)} tasks, in the order in which to label", *args.outputs.told()]))
    return FAILED if args.outputs.failed else DONE


def _labels_and_rows(args: argparse.Namespace) -> tuple[pd.Series[Any], Any]:
    """Give labels, indexed by the rows' names, and what people see of the rows."""
    if args.input.is_dir():
        paths, found = list_images(args.input, args.follow_links)
        names = pd.Index([path.relative_to(args.input).as_posix() for path in paths], name="path")
        return pd.Series([NO_LABEL if label is None else label for label in found], names, dtype=object), paths
    if args.label is None:
        raise ValueError("--label is needed: the column of the labels.")
    table = read_table(args.input, args.delimiter)
    return _labels_by_name(table, args), table.frame().drop(columns=args.label, errors="ignore")


def _labels_by_name(table: Table, args: argparse.Namespace) -> pd.Series[Any]:
    labels = pd.Series([NO_LABEL if label is None else label for label in labels_of(table, args.label)], dtype=object)
    ids = ids_of(table, args.id)
    if ids is not None:
        labels.index = ids
    return labels
