"""The command line: from a file with doubtful labels to a cleaned one, and from decisions to a final one.

It reads what a fit found through its label report alone.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import __version__
from ._files import check_may_write, write_atomically
from .classifier import JointOptimizationClassifier
from .image_files import list_images, load_images
from .review import apply_decisions, save_review
from .tables import Table, as_numbers, choose_features, labels_of, read_table

__all__ = ["main"]

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 3, 130  # 2 is argparse's, for a wrong command line
KEPT, CHANGED, PROPOSED = "kept", "changed", "proposed"
MOST_IMAGES, MOST_ROWS = 2_000, 20_000  # on the review page
SMALLEST, SMALLEST_TO_CROP = 8, 32  # pixels: of smaller images too much would be cut off
NO_LABEL = ""  # what stands for a missing label on the review page, and in the decisions made there
_EXIT_CODES = """\
exit codes: 0 done; 1 a file or its data cannot be used; 2 wrong command line; 3 the correction was refused, and
all given labels were kept; 130 interrupted"""
_FORCE = "Name another file, or write over it with --force."


class Cleaned(NamedTuple):
    """What was found: a label report of all rows, those without a label too, with a column `status`."""

    report: pd.DataFrame
    classifier: JointOptimizationClassifier


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give its exit code."""
    args = _parser().parse_args(arguments)
    try:
        code: int = args.run(args)
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(f"noisyfit: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("noisyfit: interrupted, nothing was written", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noisyfit", description="Find wrong labels and give them back corrected.")
    parser.add_argument("--version", action="version", version=f"noisyfit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    form: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": _EXIT_CODES}
    clean = commands.add_parser(
        "clean", help="correct the labels of a table or a folder of images", **form, description=inspect.getdoc(_clean)
    )
    clean.add_argument("input", type=Path, help="CSV or Parquet file, or folder with one folder of images per label")
    clean.add_argument("--label", metavar="COLUMN", help="column of the labels; for tables")
    clean.add_argument("--out", type=Path, metavar="FILE", help="where to write; not needed with --dry-run")
    clean.add_argument("--review", type=Path, metavar="FILE", help="HTML page on which people accept or refuse")
    clean.add_argument("--id", metavar="COLUMN", help="column that names the rows on the page; not learned from")
    clean.add_argument("--drop", metavar="COLUMN", nargs="+", default=[], help="columns not to learn from")
    clean.add_argument(
        "--keep", metavar="COLUMN", nargs="+", default=[], help="use, though it looks like an identifier"
    )
    clean.add_argument("--size", type=int, default=32, help="images are cut to squares of so many pixels (default 32)")
    clean.add_argument(
        "--no-mirror", action="store_true", help="do not learn from mirrored and shifted images (digits)"
    )
    clean.add_argument("--epochs", type=int, help="of training (default: the classifier's)")
    clean.add_argument("--seed", type=int, default=0, help="the same seed gives the same labels (default 0)")
    clean.add_argument("--dry-run", action="store_true", help="say what would change, and write nothing")
    clean.add_argument("--force", action="store_true", help="write over files that are there")
    clean.add_argument("--quiet", action="store_true", help="no progress bars, no summary")
    clean.set_defaults(run=_clean)
    apply = commands.add_parser("apply", help="put the decisions of a review page into a table", **form,
                                description=inspect.getdoc(_apply))  # fmt: skip
    apply.add_argument("input", type=Path, help="the table that was cleaned, as it was before")
    apply.add_argument("decisions", type=Path, help="CSV or JSON file that the review page exported")
    apply.add_argument("--label", metavar="COLUMN", required=True, help="column of the labels")
    apply.add_argument("--id", metavar="COLUMN", help="as for clean; rows may then be in another order")
    apply.add_argument("--out", type=Path, metavar="FILE", required=True, help="where to write")
    apply.add_argument("--force", action="store_true", help="write over a file that is there")
    apply.set_defaults(run=_apply)
    return parser


def _clean(args: argparse.Namespace) -> int:
    """Correct the labels of a table (CSV, Parquet) or of a folder with one folder of images per label.

    A table keeps its columns, rows and order. The column of the labels holds the corrected ones; three columns are
    added: the given label, the status (kept, changed, or proposed where there was none) and the confidence.
    """
    _check_clean(args)
    if args.input.is_dir():
        return _clean_images(args)
    return _clean_table(args)


def _check_clean(args: argparse.Namespace) -> None:
    if args.out is None and not args.dry_run:
        raise ValueError("--out is needed: the file to write. Or look first, with --dry-run.")
    if not args.input.is_dir() and args.label is None:
        raise ValueError("--label is needed: the column of the labels.")
    if args.size < SMALLEST:
        raise ValueError(f"--size must be at least {SMALLEST} pixels, got {args.size}.")
    written = _files_to_write(args)
    for path in written:
        check_may_write(path, args.force, _FORCE)
    if len(set(written)) < len(written):
        raise ValueError("--out and --review must name two files.")


def _files_to_write(args: argparse.Namespace) -> list[Path]:
    return [] if args.dry_run else [path for path in (args.out, args.review) if path is not None]


def _clean_table(args: argparse.Namespace) -> int:
    table = read_table(args.input)
    labels = labels_of(table, args.label)
    marks = [f"{args.label}_{mark}" for mark in ("given", "status", "confidence")]
    there = [mark for mark in marks if mark in table.columns]
    if there:
        raise ValueError(
            f"{table.path} has been cleaned before, it has the columns {there}. Clean the file it came from."
        )
    ids = _ids(table, args.id)
    frame = table.frame()
    _check_named(table, [*args.drop, *args.keep])
    features = choose_features(frame, [args.label, *args.drop, *([args.id] if args.id else [])], args.keep)
    if not args.quiet:
        for name, why in features.left_out.items():
            print(f"left out: column {name!r}, {why}")
        print(f"turning {len(features.used)} columns of {len(table):,} rows into numbers ...", flush=True)
    cleaned = _find_wrong_labels(as_numbers(features, frame), labels, args)
    cleaned.report.index = pd.RangeIndex(len(table)) if ids is None else ids
    report = cleaned.report
    if not args.dry_run:
        given = [None if label == NO_LABEL else label for label in report["given_label"]]
        found = [given, report["status"].tolist(), report["confidence"].round(4).tolist()]
        columns = {args.label: _new_labels(table, args.label, report)}
        table.write(args.out, columns | dict(zip(marks, found, strict=True)))
    return _finish(args, cleaned, frame.drop(columns=args.label))


def _clean_images(args: argparse.Namespace) -> int:
    paths, labels = list_images(args.input)
    images = load_images(paths, args.size, args.quiet)
    augment = None if args.no_mirror or args.size < SMALLEST_TO_CROP else "crop_flip"
    cleaned = _find_wrong_labels(images, labels, args, augment=augment)
    report = cleaned.report
    report.index = pd.Index([path.relative_to(args.input).as_posix() for path in paths], name="path")
    if not args.dry_run:
        columns = ["given_label", "corrected_label", "status", "confidence", "label_quality"]
        text = report[columns].round({"confidence": 4, "label_quality": 4}).to_csv(lineterminator="\n")
        write_atomically(args.out, text.encode())
    return _finish(args, cleaned, paths)


def _find_wrong_labels(X: Any, labels: list[Any], args: argparse.Namespace, **params: Any) -> Cleaned:
    """Fit to the rows with a label; propose one for the others."""
    given = np.array([label is not None for label in labels])
    y = np.array([label for label in labels if label is not None])
    params |= {} if args.epochs is None else {"max_epochs": args.epochs}
    clf = JointOptimizationClassifier(random_state=args.seed, verbose=0 if args.quiet else 1, **params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the summary
        clf.fit(X[given], y)
    report = clf.label_report().set_axis(np.flatnonzero(given))
    report["status"] = np.where(report["is_label_issue"], CHANGED, KEPT)
    if not given.all():
        report = pd.concat([report, _proposals(clf, X[~given], np.flatnonzero(~given))]).sort_index()
    return Cleaned(report, clf)


def _proposals(clf: JointOptimizationClassifier, X: Any, rows: Any) -> pd.DataFrame:
    proba = clf.predict_proba(X)
    label = clf.classes_[proba.argmax(axis=1)]
    return pd.DataFrame(
        {
            "given_label": NO_LABEL,
            "predicted_label": label,
            "is_label_issue": True,
            "label_quality": np.float32(0),
            "corrected_label": label,
            "confidence": proba.max(axis=1),
            "status": PROPOSED,
        },
        index=rows,
    )


def _new_labels(table: Table, column: str, report: pd.DataFrame) -> list[Any]:
    """Give the labels to write: those that are kept as they stand in the file."""
    kept = report["status"] == KEPT
    corrected = report["corrected_label"].tolist()
    return [old if keep else new for old, new, keep in zip(table.values(column), corrected, kept, strict=True)]


def _finish(args: argparse.Namespace, cleaned: Cleaned, shown: Any) -> int:
    """Write the review page, and say what was found."""
    report, clf = cleaned
    proposed = int((report["status"] == PROPOSED).sum())
    if args.review is not None and not args.dry_run:
        save_review(
            args.review,
            report.drop(columns="status"),
            shown,
            transition_matrix=None if proposed else clf.transition_matrix_,  # it has no row for labels that are missing
            title=f"Labels of {args.input.name}",
            n_pictures=MOST_IMAGES if args.input.is_dir() else MOST_ROWS,
            overwrite=args.force,
        )
    if not args.quiet:
        print(clf.summary())
        if proposed:
            print(f"labels proposed for rows without one: {proposed:,}")
        written = _files_to_write(args)
        print("\n".join(f"written: {path}" for path in written) or "nothing was written (--dry-run)")
    return REFUSED if clf.correction_refused_ else DONE


def _apply(args: argparse.Namespace) -> int:
    """Put the decisions made on a review page into the column of the labels; all else stays as it is."""
    check_may_write(args.out, args.force, _FORCE)
    table = read_table(args.input)
    labels = pd.Series([NO_LABEL if label is None else label for label in labels_of(table, args.label)], dtype=object)
    ids = _ids(table, args.id)
    if ids is not None:
        labels.index = ids
    try:
        decided = apply_decisions(labels, args.decisions)
    except ValueError as error:
        raise ValueError(f"{args.decisions} does not fit {args.input}. {error}") from error
    table.write(args.out, {args.label: [None if label == NO_LABEL else label for label in decided]})
    print(f"{(labels != decided).sum():,} of {len(labels):,} labels changed\nwritten: {args.out}")
    return DONE


def _ids(table: Table, column: str | None) -> pd.Index | None:
    if column is None:
        return None
    _check_named(table, [column])
    ids = pd.Index(table.values(column), name=column)
    if ids.hasnans or not ids.is_unique:
        twice = ids[ids.duplicated() | ids.isna()][0]
        raise ValueError(f"{table.path}: column {column!r} must name each row, got {twice!r} for several, or none.")
    return ids


def _check_named(table: Table, columns: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise ValueError(f"{table.path} has no column {unknown[0]!r}. It has {', '.join(map(repr, table.columns))}.")


if __name__ == "__main__":
    sys.exit(main())
