"""The corpus as the judge sees it: features of rows and fits, and which labels were wrong.

`describe` makes it from the folder of `fit_corpus`; `read` and `write` keep it in one file of small numbers, so that
anyone can learn the weights again. Of each fit some rows are kept; what is said of it as a whole comes from all.
"""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from noisyfit.judgement.belief import form_belief
from noisyfit.judgement.judge import describe_fit, describe_rows

import corpus_data

PATH = Path(__file__).parent / "corpus.npz.xz"
# what the judge may be asked about: networks and trees, as fits have them, and any one model
WITNESSES = {
    "networks and trees": ("last", "trees"),
    "boosting and logistic": ("boosting", "logistic"),
    "trees and logistic": ("cleanlab_trees", "logistic"),
    "networks": ("last",),
    "trees": ("cleanlab_trees",),
    "logistic": ("logistic",),
    "boosting": ("boosting",),
}
ROWS = {"networks and trees": 280, "networks": 64}  # of a fit that are kept, and of the others
OTHER_ROWS = 32
_STEP = 1 / 12  # of a feature of a row, which lies between -8 and 8


class Fit(NamedTuple):
    """One set of witnesses on one set with one noise."""

    name: str
    noise: str
    witnesses: str
    rows: np.ndarray  # (n, n_row_features) float32
    setting: np.ndarray  # (n_fit_features,)
    wrong: np.ndarray  # (n,) bool: the given label is wrong
    named: np.ndarray  # (n,) bool: the proposed class is the true one
    given: np.ndarray  # (n,): class numbers
    proposed: np.ndarray
    n_classes: int

    @property
    def source(self) -> str:
        return corpus_data.source_of(self.name)

    def first(self, n_rows: int) -> Fit:
        """Give the fit with fewer rows."""
        of_rows = ("rows", "wrong", "named", "given", "proposed")
        return self._replace(**{name: getattr(self, name)[:n_rows] for name in of_rows})


def fits_in(folder: Path) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    """Give name, noise and arrays of each fit in the folder of `fit_corpus`."""
    for path in sorted(folder.glob("*.npz")):
        if path.stem.endswith(".rivals"):
            continue
        name, noise = path.stem.split("__")
        with np.load(path) as file:
            arrays = dict(file)
        rivals = path.with_suffix(".rivals.npz")
        if rivals.exists():
            with np.load(rivals) as file:
                arrays |= {key: file[key] for key in file.files if key != "seconds"}
        yield name, noise, arrays


def codes_of(arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    """Give labels as positions in the classes of the fit; -1 for a class that no given label has."""
    classes = arrays["classes"]
    found = np.searchsorted(classes, arrays[key]).clip(0, len(classes) - 1)
    return np.where(classes[found] == arrays[key], found, -1)


def witnesses_of(arrays: dict[str, np.ndarray], keys: tuple[str, ...]) -> list[np.ndarray]:
    outputs = [np.exp(arrays[key].astype(np.float32)) for key in keys]
    return [proba / proba.sum(axis=1, keepdims=True) for proba in outputs]


def describe(name: str, noise: str, kind: str, arrays: dict[str, np.ndarray], most_rows: int | None = None) -> Fit:
    """Give what the judge would see, of some rows or of all."""
    witnesses, given, true = witnesses_of(arrays, WITNESSES[kind]), codes_of(arrays, "given"), codes_of(arrays, "clean")
    belief = form_belief(witnesses, given)
    setting = describe_fit(witnesses, given, belief)
    proposed, rows = describe_rows(witnesses, given, belief, setting)
    chosen = np.arange(len(given))
    if most_rows is not None and len(given) > most_rows:
        seed = zlib.crc32(f"{name}/{noise}/{kind}".encode()) % 2**31
        chosen = np.random.RandomState(seed).permutation(len(given))[:most_rows]
    wrong, named = given != true, proposed == true
    n_classes = belief.log_proba.shape[1]
    of_rows = [values[chosen] for values in (wrong, named, given, proposed)]
    return Fit(name, noise, kind, rows[chosen], setting.features, *of_rows, n_classes)


def write(fits: list[Fit]) -> None:
    rows = np.concatenate([fit.rows for fit in fits])
    arrays: dict[str, Any] = {
        "names": np.array([(fit.name, fit.noise, fit.witnesses) for fit in fits]),
        "settings": np.stack([fit.setting for fit in fits]).astype(np.float32),
        "sizes": np.array([len(fit.rows) for fit in fits], np.int32),
        "n_classes": np.array([fit.n_classes for fit in fits], np.int16),
        "rows": np.rint(rows / _STEP).astype(np.int8).T,
        "given": np.concatenate([fit.given for fit in fits]).astype(np.uint8),
        "proposed": np.concatenate([fit.proposed for fit in fits]).astype(np.uint8),
        "outcome": np.concatenate([fit.wrong + 2 * fit.named for fit in fits]).astype(np.uint8),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    PATH.write_bytes(lzma.compress(buffer.getvalue(), preset=9))


def read() -> list[Fit]:
    with np.load(io.BytesIO(lzma.decompress(PATH.read_bytes()))) as file:
        arrays = dict(file)
    ends = np.cumsum(arrays["sizes"])
    fits = []
    for i, (start, end) in enumerate(zip(ends - arrays["sizes"], ends, strict=True)):
        name, noise, witnesses = map(str, arrays["names"][i])
        outcome = arrays["outcome"][start:end]
        rows = (arrays["rows"][:, start:end].T * _STEP).astype(np.float32)
        setting = arrays["settings"][i].astype(np.float64)
        wrong, named = (outcome & 1).astype(bool), outcome >= 2
        classes = [arrays[key][start:end].astype(np.int64) for key in ("given", "proposed")]
        fits.append(Fit(name, noise, witnesses, rows, setting, wrong, named, *classes, int(arrays["n_classes"][i])))
    return fits


def rivals_of(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Give the share of right labels, F1 and AUROC of the former rules and of cleanlab on three models."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    from noisyfit.metrics import label_error_scores

    given, true = codes_of(arrays, "given"), codes_of(arrays, "clean")
    figures = {"given": float((given == true).mean())}

    def note(name: str, corrected: np.ndarray, issue: np.ndarray, quality: np.ndarray) -> None:
        figures[f"right: {name}"] = float((corrected == true).mean())
        if (given != true).any():
            scores = label_error_scores(true, given, pd.DataFrame({"is_label_issue": issue, "label_quality": quality}))
            figures.update({f"{key}: {name}": scores[key] for key in ("f1", "auroc")})

    if "former" in arrays:  # of the rules that the judge has replaced
        former = codes_of(arrays, "former")
        note("former rules", former, former != given, arrays["former_quality"])
    for key, name in {"cleanlab_trees": "extra trees", "logistic": "logistic", "boosting": "boosting"}.items():
        if key in arrays:
            proba = witnesses_of(arrays, (key,))[0]
            issue = find_label_issues(given, proba, n_jobs=1)
            corrected = np.where(issue, proba.argmax(axis=1), given)
            note(f"cleanlab, {name}", corrected, issue, get_label_quality_scores(given, proba))
    return figures
