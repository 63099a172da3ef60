"""The command line: from a file with doubtful labels to a cleaned one, and from decisions to a final one.

It reads what a fit found through its label report alone.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._version import __version__
from ..classifier import JointOptimizationClassifier
from ..files.images import list_images, load_images
from ..review import save_review
from .checked_files import DONE, FAILED, JUDGED, NO_LABEL, apply_to_table, export_for_people, ids_of, write_report
from .outputs import Outputs
from .tables import (
    Table,
    as_numbers,
    check_ending,
    check_named,
    check_values,
    choose_features,
    labels_of,
    read_table,
    write_csv,
)
from .verdict_file import KeptRows, write_verdict

__all__ = ["main"]

REFUSED, INTERRUPTED = 3, 130  # and DONE, FAILED and OVER; 2 is argparse's, for a wrong command line
KEPT, CHANGED, PROPOSED = "kept", "changed", "proposed"
MOST_IMAGES, MOST_ROWS = 2_000, 20_000  # on the review page
SMALLEST, SMALLEST_TO_CROP = 8, 32  # pixels: of smaller images too much would be cut off
_EXIT_CODES = """\
exit codes: 0 done; 1 a file or its data cannot be used, or a file was not written where it was to go; 2 wrong
command line; 3 the correction was refused, and all given labels were kept; 4 more labels are wrong than --fail-over
allows; 130 interrupted"""


class Cleaned(NamedTuple):
    """What was found: a label report of all rows, those without a label too, with a column `status`."""

    report: pd.DataFrame
    classifier: JointOptimizationClassifier


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give its exit code."""
    args = _parser().parse_args(arguments)
    args.outputs = Outputs(args.force)
    with _any_text_can_be_printed():
        try:
            code: int = args.run(args)
        except (OSError, ValueError, TypeError, ImportError) as error:
            print(f"noisyfit: {error}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            told = "; ".join(args.outputs.told()) or "nothing was written"
            print(f"noisyfit: interrupted, {told}", file=sys.stderr)
            return INTERRUPTED
        return code


@contextlib.contextmanager
def _any_text_can_be_printed() -> Iterator[None]:
    r"""Let a stream write as ``\udcff`` what its encoding lacks: names of files and labels may be of any characters."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    errors = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, before in zip(streams, errors, strict=True):
            stream.reconfigure(errors=before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noisyfit", description="Find wrong labels and give them back corrected.")
    parser.add_argument("--version", action="version", version=f"noisyfit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    form: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": _EXIT_CODES}
    clean = commands.add_parser(
        "clean", help="correct the labels of a table or a folder of images", **form, description=inspect.getdoc(_clean)
    )
    _add_fit_options(clean)
    _add_safe_cells(clean)
    clean.add_argument("--out", type=Path, metavar="FILE", help="where to write; not needed with --dry-run")
    clean.add_argument("--dry-run", action="store_true", help="say what would change, and write nothing")
    clean.set_defaults(run=_clean)
    check = commands.add_parser(
        "check", help="find out how many labels are wrong; change none", **form, description=inspect.getdoc(_check)
    )
    _add_fit_options(check)
    check.set_defaults(run=_check, out=None, dry_run=False, safe_cells=False)
    apply = commands.add_parser(
        "apply",
        help="settle labels by decisions of people",
        **form,
        description=inspect.getdoc(apply_to_table),
    )
    _add_apply_options(apply)
    export = commands.add_parser(
        "export", help="hand rows to check to Label Studio", **form, description=inspect.getdoc(export_for_people)
    )
    _add_export_options(export)
    return parser


def _add_fit_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("input", type=Path, help="CSV or Parquet file, or folder with one folder of images per label")
    add("--label", metavar="COLUMN", help="column of the labels; for tables")
    _add_delimiter(command)
    add(
        "--review", type=Path, metavar="FILE", help="HTML page on which people look at rows; a .noisyfit file beside it"
    )
    add("--report", type=Path, metavar="FILE", help="JSON file for what was found, in numbers")
    add("--id", metavar="COLUMN", help="column that names the rows on the page; not learned from")
    add("--drop", metavar="COLUMN", nargs="+", default=[], help="columns not to learn from")
    add("--keep", metavar="COLUMN", nargs="+", default=[], help="use, though it looks like an identifier")
    add("--size", type=int, default=32, help="images are cut to squares of so many pixels (default 32)")
    add("--follow-links", action="store_true", help="take in images behind symbolic links")
    add("--no-mirror", action="store_true", help="do not learn from mirrored and shifted images (digits)")
    add("--epochs", type=int, help="of training (default: the classifier's)")
    add("--seed", type=int, default=0, help="the same seed gives the same labels (default 0)")
    add("--force", action="store_true", help="write over files that are there")
    add("--quiet", action="store_true", help="no progress bars, no summary")


def _add_apply_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("input", type=Path, help="the table that was cleaned or checked, as it was before")
    add("decisions", type=Path, help="CSV or JSON file that the review page exported, or JSON of Label Studio")
    add("--label", metavar="COLUMN", required=True, help="column of the labels")
    _add_delimiter(command)
    add("--id", metavar="COLUMN", help="as for clean; rows may then be in another order")
    add("--out", type=Path, metavar="FILE", required=True, help="where to write")
    add(
        "--judged",
        type=Path,
        metavar="FILE",
        help="the .noisyfit file (default: looked for beside table and decisions)",
    )
    add("--only-decided", action="store_true", help="put in the decisions, and settle no other label")
    add("--guarantee", type=float, metavar="SHARE", help="change others only if that is no loss, so certainly: 0.95")
    add("--report", type=Path, metavar="FILE", help="JSON file for what was found, in numbers")
    add(
        "--fail-over",
        type=float,
        metavar="PERCENT",
        help="exit with 4 if certainly more of the labels are wrong (95 %%)",
    )
    _add_safe_cells(command)
    add("--force", action="store_true", help="write over files that are there")
    command.set_defaults(run=apply_to_table)


def _add_export_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("input", type=Path, help="the table or folder of images that was cleaned or checked")
    add(
        "--label-studio",
        type=Path,
        metavar="FILE",
        required=True,
        help="JSON file for the tasks, with an XML file",
    )
    add("--label", metavar="COLUMN", help="column of the labels; for tables")
    _add_delimiter(command)
    add("--id", metavar="COLUMN", help="as for check")
    add("--rows", type=int, default=50, help="number of tasks (default 50)")
    add("--judged", type=Path, metavar="FILE", help="the .noisyfit file (default: one beside the table)")
    add("--follow-links", action="store_true", help="as for check")
    add("--image-prefix", default="", metavar="TEXT", help="before each path, such as /data/local-files/?d=")
    add("--force", action="store_true", help="write over files that are there")
    command.set_defaults(run=export_for_people)


def _add_delimiter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--delimiter", type=_delimiter, metavar="CHARACTER", help="of a CSV file, or tab (default: found out)"
    )


def _delimiter(text: str) -> str:
    character = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(character) != 1 or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character, and no quote, or the word tab; got {text!r}")
    return character


def _add_safe_cells(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--safe-cells",
        action="store_true",
        help="write ' before cells of a CSV file that spreadsheets take for formulas, such as =1+1; without it all is "
        "written exactly, and such cells are warned of",
    )


def _clean(args: argparse.Namespace) -> int:
    """Correct the labels of a table (CSV, Parquet) or of a folder with one folder of images per label.

    A table keeps its columns, rows and order. The column of the labels holds the corrected ones; three columns are
    added: the given label, the status (kept, changed, or proposed where there was none) and the confidence.
    """
    _check_clean(args)
    if args.input.is_dir():
        return _clean_images(args)
    return _clean_table(args)


def _check(args: argparse.Namespace) -> int:
    """Find out how many labels of a table or a folder of images are wrong, and write a review page; no label changes.

    Look at the 50 rows that the page asks about, export the decisions, and run `noisyfit apply`.
    """
    if args.review is None:
        args.review = args.input.parent / f"{args.input.resolve().stem}-review.html"
    return _clean(args)


def _check_clean(args: argparse.Namespace) -> None:
    if args.out is None and not args.dry_run and args.run is _clean:
        raise ValueError("--out is needed: the file to write. Or look first, with --dry-run.")
    if not args.input.is_dir() and args.label is None:
        raise ValueError("--label is needed: the column of the labels.")
    if args.size < SMALLEST:
        raise ValueError(f"--size must be at least {SMALLEST} pixels, got {args.size}.")
    if args.epochs is not None and args.epochs < 1:
        raise ValueError(f"--epochs must be at least 1, got {args.epochs}.")
    if args.out is not None:
        check_ending(args.out, args.input)
    args.outputs.check(_files_to_write(args), (args.input,))


def _files_to_write(args: argparse.Namespace) -> list[Path]:
    if args.dry_run:
        return []
    beside = None if args.review is None else args.review.with_suffix(JUDGED)
    return [path for path in (args.out, args.review, beside, args.report) if path is not None]


def _clean_table(args: argparse.Namespace) -> int:
    table = read_table(args.input, args.delimiter)
    labels = labels_of(table, args.label)
    marks = [f"{args.label}_{mark}" for mark in ("given", "status", "confidence")]
    there = [mark for mark in marks if mark in table.columns]
    if there:
        raise ValueError(
            f"{table.path} has been cleaned before, it has the columns {there}. Clean the file it came from."
        )
    ids = ids_of(table, args.id)
    frame = table.frame()
    cleaned = _find_wrong_labels(_numbers_of(table, frame, args), labels, args)
    cleaned.report.index = pd.RangeIndex(len(table)) if ids is None else ids
    report = cleaned.report
    if args.out is not None and not args.dry_run:
        given = [None if label == NO_LABEL else label for label in report["given_label"]]
        found = [given, report["status"].tolist(), _rounded(report["confidence"])]
        columns: dict[str, Sequence[Any]] = {args.label: _new_labels(table, args.label, report)}
        columns |= dict(zip(marks, found, strict=True))
        args.outputs.write(args.out, lambda name: table.write(name, columns, args.safe_cells))
    return _finish(args, cleaned, frame.drop(columns=args.label, errors="ignore"))


def _numbers_of(table: Table, frame: pd.DataFrame, args: argparse.Namespace) -> Any:
    """Turn the columns that can be learned from into numbers, and say which are left out."""
    check_named(table, [*args.drop, *args.keep])
    not_learned = [args.label, *args.drop, *([args.id] if args.id else [])]
    check_values(table, frame.drop(columns=not_learned, errors="ignore"))  # an index of pandas is not in it
    features = choose_features(frame, not_learned, args.keep)
    if not args.quiet:
        for name, why in features.left_out.items():
            print(f"left out: column {name!r}, {why}")
        print(f"turning {len(features.used)} columns of {len(table):,} rows into numbers ...", flush=True)
    return as_numbers(features, frame)


def _rounded(shares: pd.Series[Any]) -> list[float]:
    return shares.astype(np.float64).round(4).tolist()  # of 32 bits they would have many digits again


def _clean_images(args: argparse.Namespace) -> int:
    paths, labels = list_images(args.input, args.follow_links)
    images = load_images(paths, args.size, args.quiet)
    augment = None if args.no_mirror or args.size < SMALLEST_TO_CROP else "crop_flip"
    cleaned = _find_wrong_labels(images, labels, args, augment=augment)
    report = cleaned.report
    report.index = pd.Index([path.relative_to(args.input).as_posix() for path in paths], name="path")
    if args.out is not None and not args.dry_run:
        columns: dict[str, Sequence[Any]] = {"path": report.index.tolist()}
        columns |= {name: report[name].tolist() for name in ("given_label", "corrected_label", "status")}
        columns |= {name: _rounded(report[name]) for name in ("confidence", "label_quality")}
        args.outputs.write(args.out, lambda name: write_csv(name, columns, args.safe_cells))
    return _finish(args, cleaned, paths)


def _find_wrong_labels(X: Any, labels: list[Any], args: argparse.Namespace, **params: Any) -> Cleaned:
    """Fit to the rows with a label; propose one for the others."""
    given = np.array([label is not None for label in labels])
    # an array would be as wide as the longest label
    y = [label for label in labels if label is not None]
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
    if not args.dry_run:
        _write_findings(args, cleaned, shown)
    if not args.quiet:
        print(clf.summary())
        if proposed:
            print(f"labels proposed for rows without one: {proposed:,}")
        print("\n".join(args.outputs.told()) or "nothing was written" + " (--dry-run)" * args.dry_run)
        if args.run is _check and clf._inquiry_ is not None:
            print("no label was changed: look at 50 rows on the page, export the decisions, then: noisyfit apply")
    if args.outputs.failed:
        return FAILED
    return REFUSED if clf.correction_refused_ and args.run is _clean else DONE


def _write_findings(args: argparse.Namespace, cleaned: Cleaned, shown: Any) -> None:
    """Write what people look at, and what their decisions will be settled by."""
    report, clf = cleaned
    judged = np.flatnonzero(report["status"] != PROPOSED)
    if args.review is not None:
        page: dict[str, Any] = {
            # it has no row for labels that are missing
            "transition_matrix": None if len(judged) < len(report) else clf.transition_matrix_,
            "title": f"Labels of {args.input.name}",
            "n_pictures": MOST_IMAGES if args.input.is_dir() else MOST_ROWS,
            "overwrite": True,
        } | ({} if clf._inquiry_ is None else {"judged": clf, "judged_rows": judged})
        args.outputs.write(args.review, lambda name: save_review(name, report.drop(columns="status"), shown, **page))
        if clf._inquiry_ is not None:
            names = None if args.id is None else report.index[judged].map(str).to_numpy(str)
            about = KeptRows(judged, len(report), args.label or "", names)
            args.outputs.write(args.review.with_suffix(JUDGED), lambda name: write_verdict(name, clf, about))
    if args.report is not None:
        args.outputs.write(args.report, lambda name: write_report(name, args.input, clf))


if __name__ == "__main__":
    sys.exit(main())
