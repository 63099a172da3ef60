"""Rows to check as tasks of Label Studio, and the labelling interface for them.

The way back is an export of its annotations: a JSON file that `apply_decisions` and ``settle`` read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ._validation import check_choice
from ._version import __version__
from .files.whole import check_may_write, write_atomically
from .review.decision_files import CANNOT_TELL, CHOICES_NAME
from .review.keys import find_place, json_key, json_label, label_text
from .review.samples import _names_a_picture, samples_as_json

__all__ = ["export_tasks", "labeling_config"]

_SAMPLE_NAME = "sample"
_TAGS = {"text": "Text", "html": "HyperText", "image": "Image", "table": "Table"}  # and the names in the tasks' data
_LIKELY = 0.5
_COLUMNS = ("given_label", "proposed_label", "reason")
_URL_BEGINNINGS = ("/", "http://", "https://")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def export_tasks(
    rows: pd.DataFrame,
    X: Any,
    path: str | os.PathLike[str],
    *,
    y: Any = None,
    kind: str | None = None,
    scores: ArrayLike | None = None,
    with_predictions: bool = True,
    image_prefix: str = "",
    overwrite: bool = False,
) -> Path:
    """Write rows to check as tasks that Label Studio imports.

    Set up the project with `labeling_config`, import the file, and let people label. Then export as JSON:
    `apply_decisions` and ``settle`` read that file.

    Parameters
    ----------
    rows : DataFrame
        What ``rows_to_check`` gives: ``given_label``, ``proposed_label`` and ``reason``. Tasks come in its order; leave
        the project's task sampling sequential, so that people may stop when they like.
    X : array, list, Series or DataFrame
        The samples given to ``fit``, all of them: texts, image files or URLs, rows of a table, or an array of images.
        The latter go into the file as thumbnails of at most 96 pixels a side.
    path : str or path
        The JSON file to write, in a folder that exists.
    y : ndarray, Series, list or None, default=None
        The labels given to ``fit``. Rows are found by its index, or else that of `X`, or else by their number. Needed
        where `y` had an index of its own.
    kind : {"text", "html", "image", "table"} or None, default=None
        What `X` holds. None takes files with the endings of pictures for images, other strings for texts.
    scores : array-like of shape (len(rows),) or None, default=None
        Probability that the proposed label is right, in [0, 1]. Where it is below one half the given label is
        predicted, with the rest, so that nobody is led to a change. None predicts the proposed label, without a score.
    with_predictions : bool, default=True
        Whether the predicted label is preselected. False lets people decide without a hint.
    image_prefix : str, default=""
        What stands before each image path, such as "/data/local-files/?d=" for Label Studio's local storage. Behind a
        prefix that begins with "/" or "http", paths are percent-encoded.
    overwrite : bool, default=False
        Whether to replace a file that is there.

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
        If `X` is an array of images and pillow is missing; ``pip install 'noisyfit[review]'`` brings it.
    TypeError
        If `rows`, or a row of `X`, is of another kind.
    ValueError
        If `rows` lacks a column, names a row that is unknown or ambiguous, or has other given labels than `y`; if a
        label is no choice that Label Studio can show; if `scores` are wrong.

    See Also
    --------
    labeling_config : The labelling interface for these tasks.

    Examples
    --------
    >>> import json, tempfile
    >>> from noisyfit import judge_labels
    >>> from noisyfit.label_studio import export_tasks
    >>> y = ["cat", "dog", "dog"]
    >>> verdict = judge_labels(y, [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = export_tasks(verdict.rows_to_check(3), ["It purrs.", "It barks.", "Meow!"], f"{folder}/tasks.json")
    ...     tasks = json.loads(file.read_text())
    >>> sorted(task["data"]["text"] for task in tasks)
    ['It barks.', 'It purrs.', 'Meow!']
    """
    target = Path(path)
    check_may_write(target, overwrite, "Pass overwrite=True, or another name.")
    _check_rows(rows)
    places = _places_of(rows, X, y)
    kind, samples = _samples_of(X, places, kind, image_prefix)
    tasks = _tasks(rows, places, kind, samples)
    if with_predictions:
        for task, score in zip(tasks, _checked_scores(scores, len(rows)), strict=True):
            task["predictions"] = [_prediction(task["data"], score)]
    content = json.dumps(tasks, ensure_ascii=False, indent=1, allow_nan=False)
    # of what UTF-8 cannot hold, a lone surrogate, this makes what JSON writes for it
    write_atomically(target, content.encode(errors="backslashreplace"), overwrite)
    return target


def labeling_config(classes: ArrayLike, kind: str = "text") -> str:
    """Give the labelling interface of a Label Studio project for the tasks of `export_tasks`.

    Paste it under Settings, Labeling Interface, Code. People choose one class, or "cannot tell".

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        The labels to choose from, `classes_` say.
    kind : {"text", "html", "image", "table"}, default="text"
        What the tasks show.

    Returns
    -------
    str
        XML.

    Raises
    ------
    ValueError
        If there are no classes, or `classes` has another shape; if two look the same, or one is no choice that Label
        Studio can show; if `kind` is another.

    See Also
    --------
    export_tasks : The tasks.

    Examples
    --------
    >>> from noisyfit.label_studio import labeling_config
    >>> print(labeling_config(["cat", "dog"]))
    <View>
      <Text name="sample" value="$text" />
      <Choices name="checked_label" toName="sample" choice="single" required="true">
        <Choice value="cat" />
        <Choice value="dog" />
        <Choice value="cannot tell" />
      </Choices>
    </View>
    """
    check_choice("kind", kind, tuple(_TAGS))
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, _TAGS[kind], name=_SAMPLE_NAME, value=f"${kind}")
    choices = ElementTree.SubElement(
        view, "Choices", name=CHOICES_NAME, toName=_SAMPLE_NAME, choice="single", required="true"
    )
    for text in [*_class_texts(classes), CANNOT_TELL]:
        ElementTree.SubElement(choices, "Choice", _choice_attributes(text))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def _class_texts(classes: ArrayLike) -> list[str]:
    # a list of several types would become an array of strings
    labels = np.asarray(classes, dtype=object if isinstance(classes, (list, tuple)) else None)
    if labels.ndim != 1 or not len(labels):
        raise ValueError(f"`classes` must have shape (n_classes,), at least 1, got {labels.shape}. Pass classes_, say.")
    texts = [_choice_text(label, "classes") for label in labels]
    again = [text for text in texts if texts.count(text) > 1]
    if again:
        raise ValueError(f"`classes` must differ as text, got {again[0]!r} twice. Rename one of them.")
    return texts


def _choice_text(label: Any, name: str) -> str:
    """Give a label as a choice, after checking that it can be one."""
    text = label_text(label)
    is_number = isinstance(label, (float, np.floating))
    if not text or text == CANNOT_TELL or _NOT_IN_XML.search(text) or (is_number and not np.isfinite(label)):
        raise ValueError(
            f"`{name}` must hold labels that Label Studio can show: finite numbers or text, not empty, without control "
            f"characters and other than {CANNOT_TELL!r}; got {json_label(label)!r}. Rename it."
        )
    return text


def _choice_attributes(text: str) -> dict[str, str]:
    if "$" not in text:
        return {"value": text}
    # Label Studio puts a field of the task in place of "$name", but takes an alias as it is; what keeps it from that
    # is a zero-width space, which nobody sees
    return {"value": text.replace("$", "$\u200b"), "alias": text}


def _check_rows(rows: Any) -> None:
    if not isinstance(rows, pd.DataFrame):
        raise TypeError(f"`rows` must be a DataFrame, got {type(rows).__name__}. Pass what rows_to_check() gives.")
    missing = [name for name in _COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(
            f"`rows` must have the columns {', '.join(_COLUMNS)}, but lacks {', '.join(missing)}. Pass what "
            "rows_to_check() gives."
        )
    if not len(rows):
        raise ValueError("`rows` must have at least one row, got none. There is nothing to check.")
    if not rows.index.is_unique:
        twice = rows.index[rows.index.duplicated()].tolist()[0]
        raise ValueError(f"`rows` must name each row once, got {twice!r} twice. Remove one of them.")


def _places_of(rows: pd.DataFrame, X: Any, y: Any) -> NDArray[np.int64]:
    """Give the place of each row in X."""
    if not hasattr(X, "__len__") or isinstance(X, (str, bytes)):
        raise TypeError(f"`X` must be an array, a list, a Series or a DataFrame, got {type(X).__name__}.")
    if y is not None and len(y) != len(X):
        raise ValueError(f"`y` must have the {len(X)} rows of `X`, got {len(y)}. Pass both as they were given to fit.")
    index = next((data.index for data in (y, X) if isinstance(data, (pd.Series, pd.DataFrame))), None)
    if index is None:
        index = pd.RangeIndex(len(X))
    places = np.array([_place_of(key, index) for key in rows.index], dtype=np.int64)
    if y is not None:
        _check_given(rows, y, places)
    return places


def _place_of(key: Any, index: pd.Index) -> int:
    unknown = (
        f"`rows` must name rows of `X`, got {key!r}, which is none of its {len(index)}. Pass X as it was given to fit, "
        "and y if that had an index."
    )
    ambiguous = f"`rows` must name one row each, but several have the index {key!r}. Give them other names."
    return find_place(key, index, unknown, ambiguous)


def _check_given(rows: pd.DataFrame, y: Any, places: NDArray[np.int64]) -> None:
    by_place = y.iloc if hasattr(y, "iloc") else y
    for key, label, place in zip(rows.index, rows["given_label"].array, places, strict=True):
        if label_text(by_place[int(place)]) != label_text(label):
            raise ValueError(
                f"`y` must hold the given labels of `rows`, got {json_label(by_place[int(place)])!r} for "
                f"{json_label(label)!r} in row {key!r}. Pass the y that was given to fit."
            )


def _samples_of(X: Any, places: NDArray[np.int64], kind: str | None, prefix: str) -> tuple[str, list[Any]]:
    """Give what the samples are, and the value of each for its task."""
    if kind is not None:
        check_choice("kind", kind, tuple(_TAGS))
    if len(getattr(X, "shape", (len(X),))) == 1:
        found, values = _texts_or_images(X, places, kind, prefix)
    else:
        samples = samples_as_json(X, places, len(X))
        found, values = "image", samples["values"]
        if samples["kind"] == "table":
            names = _different_names(samples["columns"])
            found, values = "table", [dict(zip(names, line, strict=True)) for line in values]
    if kind not in (None, found):
        raise ValueError(f"`kind` must be what `X` holds, got {kind!r}, but `X` is of kind {found!r}. Leave it out.")
    return found, values


def _texts_or_images(X: Any, places: NDArray[np.int64], kind: str | None, prefix: str) -> tuple[str, list[Any]]:
    if kind == "table":
        raise ValueError("`kind` must be what `X` holds, got 'table', but `X` has one value a row. Leave it out.")
    by_place = X.iloc if hasattr(X, "iloc") else X
    values = [by_place[int(place)] for place in places]
    for place, value in zip(places, values, strict=True):
        if not isinstance(value, (str, os.PathLike)):
            raise TypeError(
                f"`X` must hold texts or image files, got {type(value).__name__} in row {place}. Give every row a "
                "text, '' if it has none."
            )
    if kind is None:
        kind = "image" if all(isinstance(value, os.PathLike) or _names_a_picture(value) for value in values) else "text"
    if kind == "image":
        return kind, [_image_address(value, prefix) for value in values]
    return kind, [os.fspath(value) for value in values]


def _image_address(value: str | os.PathLike[str], prefix: str) -> str:
    address = Path(value).as_posix() if isinstance(value, os.PathLike) else value
    return prefix + (quote(address, errors="surrogateescape") if prefix.startswith(_URL_BEGINNINGS) else address)


def _different_names(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError(f"`X` must have columns whose names differ as text, got {names}. Rename them.")
    return names


def _tasks(rows: pd.DataFrame, places: NDArray[np.int64], kind: str, samples: Iterable[Any]) -> list[dict[str, Any]]:
    columns = [rows[name].array for name in _COLUMNS]  # a Series would give the items of float32 as Python's floats
    tasks = []
    for key, place, sample, given, proposed, reason in zip(rows.index, places, samples, *columns, strict=True):
        _choice_text(given, "rows['given_label']")
        _choice_text(proposed, "rows['proposed_label']")
        data = {
            kind: sample,
            "row": int(place),
            "index": json_key(key),
            "given_label": json_label(given),
            "proposed_label": json_label(proposed),
            "reason": str(reason),
        }
        tasks.append({"data": data})
    return tasks


def _checked_scores(scores: ArrayLike | None, n_rows: int) -> list[float | None]:
    if scores is None:
        return [None] * n_rows
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (n_rows,) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"`scores` must hold a probability in [0, 1] for each of the {n_rows} rows, got shape {values.shape} and "
            f"{values.ravel()[:5].tolist()}. Leave it out to write none."
        )
    return [float(value) for value in values]


def _prediction(data: dict[str, Any], score: float | None) -> dict[str, Any]:
    is_kept = score is not None and score < _LIKELY
    result = {
        "id": f"row{data['row']}",
        "from_name": CHOICES_NAME,
        "to_name": _SAMPLE_NAME,
        "type": "choices",
        "value": {"choices": [label_text(data["given_label" if is_kept else "proposed_label"])]},
    }
    prediction = {"model_version": f"noisyfit {__version__}", "result": [result]}
    return prediction if score is None else prediction | {"score": 1 - score if is_kept else score}
