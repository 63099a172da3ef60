"""The review page: one HTML file that needs no network and no server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from .._validation import check_number
from ..files.whole import check_may_write, write_atomically
from .noise_table import noise_table
from .questions import Questions, read_questions
from .ranking import RankedReport, rank_report
from .samples import samples_as_json

__all__ = ["save_review"]


def save_review(
    path: str | os.PathLike[str],
    report: pd.DataFrame,
    X: Any = None,
    *,
    transition_matrix: ArrayLike | None = None,
    title: str = "Labels to review",
    n_pictures: int = 2000,
    overwrite: bool = False,
    judged: Any = None,
    judged_rows: ArrayLike | None = None,
    n_checks: int = 50,
) -> Path:
    """Write a page on which people decide about suspicious labels, in any browser and without a server.

    The page shows the suspects first, those with the surest correction leading, then the other samples, those with
    the least likely label leading. A reader accepts the proposed label of a sample, keeps the given one, chooses
    another or skips it, by keys or by buttons. The browser keeps the progress, for each page its own: one that is
    written again as it was goes on where it was left, one that shows anything else begins anew. The page exports the
    decisions as CSV or JSON for `apply_decisions`, and imports the JSON of another reader. Texts are exported as they
    are: a spreadsheet takes one that begins with "=", "+", "-" or "@" for a formula.

    With `judged`, the page begins with rows to check first, a sample. From 20 answers on it says how many labels are
    wrong and what taking the proposals is worth, in the numbers that ``settle`` gives for the exported decisions, and
    takes all proposals at once.

    Parameters
    ----------
    path : str or path
        The HTML file to write, in a folder that exists. It holds the labels and what is shown of `X`.
    report : DataFrame of n_samples rows
        The table that `JointOptimizationClassifier.label_report` or `label_report` gives, with all its rows. Its
        index goes with the decisions. The proposed label of a row is the corrected label where it differs from the
        given one, else that of `judged`, else the predicted label.
    X : array, list, Series, DataFrame or None, default=None
        What to show beside the labels, n_samples of one of these kinds; None shows labels only:

        - images, an array or tensor of shape (n_samples, channels, height, width) or (n_samples, height, width
          [, channels]), uint8 or float. Floats between 0 and 1 go from black to white, others from their least to
          their greatest value;
        - image files (BMP, GIF, JPEG, PNG, TIFF, WebP of at most 64 million pixels), a list or Series of paths, or of
          strings that all end in .png, .jpg or the like; of several frames the first is shown;
        - texts, a list or Series of str;
        - rows of a table, a DataFrame or an array of shape (n_samples, n_features).
    transition_matrix : array-like of shape (n_classes, n_classes) or None, default=None
        Probability of the given label (columns) for each true class (rows), classes sorted; rows sum to one. None
        shows the counts of given and proposed labels instead.
    title : str, default="Labels to review"
        Heading of the page.
    n_pictures : int, default=2000
        How many rows of `X` the page holds, at least 0, whatever their kind: those to check, then the first to
        review. The other rows are not read; the page lists them without their sample.
    overwrite : bool, default=False
        Whether to replace a file that is there.
    judged : JointOptimizationClassifier, Verdict or None, default=None
        What gave the report: a fitted classifier, or the result of `judge_labels`. None leaves out the rows to check.
    judged_rows : array-like of shape (n_judged,), int, or None, default=None
        Places in the report of the rows that were judged, in their order, where the report has more; None for all.
    n_checks : int, default=50
        How many rows to check first, at least 1; on the page people can go on.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileExistsError
        If `path` is there and `overwrite` is False.
    FileNotFoundError, IsADirectoryError
        If the folder of `path` is missing, or if `path` is a folder.
    ImportError
        If images are to be shown and pillow is missing; ``pip install 'noisyfit[review]'`` brings it.
    TypeError
        If a parameter, or a row of `X`, is of a kind that is not listed here.
    ValueError
        If `report` lacks a column or holds wrong values, if `X` has another number of rows, if an image cannot be
        read, if `transition_matrix` has a wrong shape or wrong values, or if `judged` had nothing to judge by, or other
        rows or labels than the report.

    See Also
    --------
    apply_decisions : Labels with the decisions in them.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from noisyfit import save_review
    >>> report = pd.DataFrame(
    ...     {
    ...         "given_label": ["cat", "dog"],
    ...         "predicted_label": ["dog", "dog"],
    ...         "is_label_issue": [True, False],
    ...         "label_quality": [0.1, 0.8],
    ...         "corrected_label": ["dog", "dog"],
    ...         "confidence": [0.9, 0.8],
    ...     }
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_review(f"{folder}/review.html", report, ["It barks.", "It barks too."]).name
    'review.html'
    """
    target = _check_target(path, overwrite)
    if not isinstance(title, str):
        raise TypeError(f"`title` must be a str, got {title!r} of type {type(title).__name__}.")
    check_number("n_pictures", n_pictures, low=0, integer=True)
    check_number("n_checks", n_checks, low=1, integer=True)
    questions = None
    if judged is not None:
        questions = read_questions(judged, judged_rows, len(report), n_checks)
    elif judged_rows is not None:
        raise ValueError("`judged_rows` says which rows `judged` has judged. Pass `judged`, too.")
    ranked = rank_report(report, questions and questions.proposals)
    data = ranked.as_json()
    if questions is not None:
        data["inquiry"] = questions.as_json(ranked)
    data["samples"] = _samples(X, ranked, questions, n_pictures)
    table = noise_table(ranked, transition_matrix)
    # under this the browser keeps the progress: pages of equal labels may show other samples, or ask about other rows
    data["page"] = hashlib.sha256(json.dumps([title, data, table], allow_nan=False).encode()).hexdigest()[:32]
    html = _render(title, data, table)
    # a lone surrogate in the title, which UTF-8 cannot hold, becomes a question mark
    write_atomically(target, html.encode(errors="replace"), overwrite)
    return target


def _check_target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be a str or a path, got {path!r} of type {type(path).__name__}.")
    if not isinstance(overwrite, bool):
        raise TypeError(f"`overwrite` must be True or False, got {overwrite!r} of type {type(overwrite).__name__}.")
    target = Path(path)
    check_may_write(target, overwrite, "Pass overwrite=True, or another name.")
    return target


def _samples(X: Any, ranked: RankedReport, questions: Questions | None, n_pictures: int) -> dict[str, Any]:
    """Give the first samples to review; where rows are to be checked these before all, and the ranks of all."""
    if questions is None:
        return samples_as_json(X, ranked.rows[:n_pictures], len(ranked.rows))
    to_check = np.argsort(ranked.rows)[questions.asked()][:n_pictures]
    others: NDArray[np.int64] = np.setdiff1d(np.arange(len(ranked.rows)), to_check)
    ranks = np.sort(np.append(to_check, others[: n_pictures - len(to_check)]))
    return {**samples_as_json(X, ranked.rows[ranks], len(ranked.rows)), "ranks": ranks.tolist()}


def _render(title: str, data: dict[str, Any], table: dict[str, Any]) -> str:
    loader = jinja2.PackageLoader("noisyfit.review")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    # a browser reads every line end as \n, and so must the hashes
    style, checks, app = (
        loader.get_source(environment, name)[0].replace("\r\n", "\n") for name in ("style.css", "checks.js", "app.js")
    )
    script = checks + app
    return environment.get_template("page.html").render(
        title=title,
        data=data,
        table=table,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(source: str) -> str:
    """Give the form by which a Content-Security-Policy allows this text and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
