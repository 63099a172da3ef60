"""From decisions in a file to final labels in another: what the commands `apply` and `export` do."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import __version__
from ._files import write_atomically
from ._validation import check_number
from .image_files import list_images
from .label_studio import export_tasks, labeling_config
from .review import apply_decisions
from .review.decisions import decided_rows
from .settling import ENOUGH, MOST_CERTAIN, NO_CLASS, UNKNOWN, Checks
from .tables import Table, check_ending, check_named, labels_of, read_table
from .verdict import Verdict
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
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def apply_to_table(args: argparse.Namespace) -> int:
    """Put the decisions made on a review page into the column of the labels, and settle the other labels by them.

    What `clean` or `check` has found lies beside the page, in a file that ends in .noisyfit. Without it, or with
    --only-decided, the decided rows alone change. All else stays as it is in the table.
    """
    _check_apply(args)
    table = read_table(args.input, args.delimiter)
    labels = _labels_by_name(table, args)
    try:
        final = apply_decisions(labels, args.decisions)
        kept = None if args.only_decided else _find_judged(args, labels)
        answers = {} if kept is None else decided_rows(labels, args.decisions)
    except ValueError as error:
        raise ValueError(f"{args.decisions} does not fit {args.input}. {error}") from error
    if args.report is not None and kept is None:
        raise ValueError("--report needs the .noisyfit file that was written beside the page: name it with --judged.")
    verdict = None if kept is None else _settle(kept, labels, answers, args.guarantee)
    if kept is not None and verdict is not None:
        # what was taken all at once on the page nobody has looked at: it is settled like any other row
        answered = {row for row, (_, is_known) in answers.items() if is_known}
        others = np.array([row not in answered for row in _places(kept, labels).tolist()], bool)
        settled = verdict.label_report()["corrected_label"].to_numpy(dtype=object)
        final.iloc[_places(kept, labels)[others]] = settled[others]
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


def _find_judged(args: argparse.Namespace, labels: pd.Series[Any]) -> KeptVerdict | None:
    """Find what was said of these very labels: the file that was named, or one beside table or decisions."""
    if args.judged is not None:
        kept = read_verdict(args.judged)
        if not _is_about(kept, labels, args.label or ""):
            raise ValueError(f"{args.judged} is about other labels. Pass the file that was written beside the page.")
        return kept
    for path in _judged_files(args):
        with contextlib.suppress(ValueError):  # of another table, or another program's
            kept = read_verdict(path)
            if _is_about(kept, labels, args.label or ""):
                return kept
    return None


def _is_about(kept: KeptVerdict, labels: pd.Series[Any], column: str) -> bool:
    if (kept.about.n_rows, kept.about.column) != (len(labels), column):
        return False
    places, given = _places(kept, labels), kept.verdict.label_report()["given_label"].to_numpy(dtype=object)
    return bool((places >= 0).all() and (labels.to_numpy()[places] == given).all())


def _places(kept: KeptVerdict, labels: pd.Series[Any]) -> Any:
    """Find the judged rows by their names, or by their places; -1 for one that is not there."""
    if kept.about.names is None or isinstance(labels.index, pd.RangeIndex):
        return kept.about.places
    return pd.Index(labels.index.map(str)).get_indexer(pd.Index(kept.about.names))


def _settle(
    kept: KeptVerdict, labels: pd.Series[Any], answers: dict[int, tuple[Any, bool]], guarantee: float | None
) -> Verdict:
    """Settle the judged rows by the answers; one that is none of the classes says that the given label is wrong."""
    number = {label: code for code, label in enumerate(kept.verdict.classes_.tolist())}
    place = {row: i for i, row in enumerate(_places(kept, labels).tolist())}
    found = {
        place[row]: number.get(label, NO_CLASS) if is_known else UNKNOWN
        for row, (label, is_known) in answers.items()
        if row in place
    }
    rows = np.array(sorted(found), np.int64)
    checks = Checks(rows, np.array([found[row] for row in rows.tolist()], np.int64))
    inquiry = kept.verdict._inquiry_
    assert inquiry is not None
    kept.verdict._take(inquiry.after(checks, guarantee))
    return kept.verdict


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
    kept = _find_judged(args, labels)
    if kept is None:
        raise ValueError(f"No .noisyfit file of {args.input} was found. Run noisyfit check, or name it with --judged.")
    verdict = kept.verdict
    rows = verdict.rows_to_check(args.rows)
    proposed = np.searchsorted(verdict.classes_, rows["proposed_label"].to_numpy(verdict.classes_.dtype))
    scores = verdict.soft_labels_[rows.index, proposed]
    rows.index = labels.index[_places(kept, labels)[rows.index]]
    tasks: dict[str, Any] = {"y": labels, "scores": scores, "image_prefix": args.image_prefix, "overwrite": True}
    args.outputs.write(args.label_studio, lambda name: export_tasks(rows, shown, name, **tasks))
    config = labeling_config(verdict.classes_, "image" if args.input.is_dir() else "table")
    args.outputs.write(interface, lambda name: write_atomically(name, config.encode()))
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
    return _labels_by_name(table, args), table.frame().drop(columns=args.label)


def _labels_by_name(table: Table, args: argparse.Namespace) -> pd.Series[Any]:
    labels = pd.Series([NO_LABEL if label is None else label for label in labels_of(table, args.label)], dtype=object)
    ids = ids_of(table, args.id)
    if ids is not None:
        labels.index = ids
    return labels
