"""What a page needs to ask about rows and to judge all labels by the answers, as Python would."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ..judgement.sampling import looking_order
from ..judgement.settling import Inquiry
from .ranking import Proposals, RankedReport

__all__ = ["Questions", "read_questions"]

_AHEAD = 500  # rows to check that a page has at least, so that people can go on after the first ones
_REMEDY = "Pass the object that gave the report."


class Questions(NamedTuple):
    """An inquiry, and the places of its rows in the report."""

    inquiry: Inquiry
    classes: NDArray[Any]
    rows: NDArray[np.int64]
    n_checks: int

    @property
    def proposals(self) -> Proposals:
        """Give the label that is right in each row if the given one is not."""
        return Proposals(self.rows, self.classes, self.inquiry.judgement.grounds.odds.proposed)

    def order(self, seed: int = 0) -> NDArray[np.int64]:
        """Give the rows of the inquiry to look at, also those that were settled: answers are counted along this."""
        inquiry = self.inquiry
        n = max(_AHEAD, self.n_checks) + len(inquiry.checks.rows)
        return looking_order(inquiry.wrong, inquiry.strata, n, seed, inquiry.groups)

    def asked(self) -> NDArray[np.int64]:
        """Give the places in the report of the rows that the page asks about."""
        order = self.order()
        return self.rows[order[~np.isin(order, self.inquiry.checks.rows)]]

    def as_json(self, ranked: RankedReport) -> dict[str, Any]:
        """Give all that the page reckons with; class numbers are those of the page."""
        inquiry, (odds, _, opinion, fixed, knows) = self.inquiry, self.inquiry.judgement.grounds
        codes, ranks = ranked.codes_of(self.classes), np.argsort(ranked.rows)[self.rows]
        self._check_labels(ranked.given[ranks] == codes[inquiry.given])
        labels = np.append(codes, inquiry.checks.labels.min(initial=0))  # -1 stays -1
        seeds = [0, *(seed for seed in inquiry.seeds if seed != 0)]  # the page asks along the first
        return {
            "rank": _packed(ranks, "<i4"),
            "proposed": _packed(codes[odds.proposed], "<i4"),
            "stratum": _packed(inquiry.strata, "u1"),
            "wrong": _packed(odds.wrong, "<f4"),
            # the share and not its log odds: a browser's exp need not round as NumPy's does in 32 bits
            "named": _packed(expit(odds.named), "<f4"),
            "fixed": None if fixed is None else _packed(fixed, "u1"),
            "pairs": _packed(opinion.pairs, "<f8"),
            "weights": _packed(opinion.weights, "<f8"),
            "margin": float(inquiry.margin),
            "knows": bool(knows),
            "classes": codes.tolist(),
            "reasons": inquiry.reasons(self.order()),
            "orders": [_packed(self.order(seed), "<i4") for seed in seeds],
            "checked": inquiry.checks.rows.tolist(),
            "labels": labels[inquiry.checks.labels].tolist(),
            "at_fit": inquiry.apart.tolist(),
            "n_checks": self.n_checks,
        }

    def _check_labels(self, is_same: NDArray[np.bool_]) -> None:
        if not is_same.all():
            row = int(self.rows[np.flatnonzero(~is_same)[0]])
            raise ValueError(
                f"`judged` must have judged the given labels of the report, but has another in place {row}. {_REMEDY}"
            )


def read_questions(judged: Any, judged_rows: ArrayLike | None, n_samples: int, n_checks: int) -> Questions:
    """Check what was judged, and which rows of the report these are."""
    if not (hasattr(judged, "_inquiry_") and hasattr(judged, "_training_labels_") and hasattr(judged, "classes_")):
        raise TypeError(
            "`judged` must be a fitted JointOptimizationClassifier or what judge_labels gives, got "
            f"{type(judged).__name__}. {_REMEDY}"
        )
    inquiry = judged._inquiry_
    if inquiry is None:
        raise ValueError(
            "`judged` had nothing to judge labels by. Fit with `cross_fit` of 2 or more, and `gamma` above 0, or pass "
            "judged=None."
        )
    rows = _check_rows(judged_rows, len(inquiry.given), n_samples)
    return Questions(inquiry, np.asarray(judged.classes_), rows, n_checks)


def _check_rows(judged_rows: ArrayLike | None, n_judged: int, n_samples: int) -> NDArray[np.int64]:
    if judged_rows is None:
        if n_judged != n_samples:
            raise ValueError(
                f"`judged` must have judged the {n_samples} rows of the report, got {n_judged}. {_REMEDY} Or pass "
                "`judged_rows`, the places of the judged rows."
            )
        return np.arange(n_samples)
    rows = np.asarray(judged_rows)
    if rows.dtype.kind not in "iu" or rows.shape != (n_judged,) or len(np.unique(rows)) < n_judged:
        raise ValueError(
            f"`judged_rows` must be the places of the {n_judged} judged rows in the report, each once; got "
            f"{rows.dtype} of shape {rows.shape}."
        )
    if rows.min() < 0 or rows.max() >= n_samples:
        raise ValueError(f"`judged_rows` must lie in [0, {n_samples - 1}], got {rows.min()} to {rows.max()}.")
    return rows.astype(np.int64)


def _packed(values: NDArray[Any], dtype: str) -> str:
    """Give the bytes of an array as text: exact, and a third of the length of its digits."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()
