r"""What people say of some rows, and what becomes of all labels by it: no training, and nothing is drawn.

Checked rows tell two things. Which of the known data sets this one is like: the opinion's pairs are weighed by how
likely each holds the answers, and every label is judged again. And, where the rows were drawn by `sampling`, how many
labels are wrong and how many changes right, whatever the judge thinks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm

from ..files.states import check_count, check_like, check_numbers, is_number, outline
from ..rows.storage import row_blocks
from .belief import Codes
from .decision import ExpectedGain, Judgement, choose_rows, expected_gain, interval_of, outwards
from .judge import Opinion
from .noise_matrix import CELL_COUNT, DIAGONAL_COUNT
from .sampling import WRONG_ANSWERS, Z, count, interval_of_share, looking_order, stratify

__all__ = [
    "ENOUGH",
    "MOST_CERTAIN",
    "NOTHING_JUDGED",
    "NO_CHECKS",
    "NO_CLASS",
    "UNKNOWN",
    "Checks",
    "ContradictionError",
    "Inquiry",
    "Promise",
    "describe_inquiry",
    "inquiry_from",
    "published",
]

MOST_SEEDS = 50  # whose orders are noted: each takes time whenever labels are settled
ENOUGH = 20  # answers to sampled rows from which on something is promised
UNKNOWN = -1  # in place of a class number: looked at, but nobody can tell
NO_CLASS = -2  # the given label is wrong, and the true one none of the classes
MOST_CERTAIN = 0.999  # that anybody may ask for
_SURE = 0.95  # of a bound
_LIKELY, _OPEN = 0.5, 0.1  # of P(wrong), where words change


class Checks(NamedTuple):
    """Rows that people have looked at: their numbers, each once, and the true class number or `UNKNOWN`."""

    rows: Codes
    labels: Codes

    def answered(self) -> Checks:
        """Leave out the rows that nobody can tell."""
        known = self.labels != UNKNOWN
        return Checks(self.rows[known], self.labels[known])


NO_CHECKS = Checks(np.empty(0, np.int64), np.empty(0, np.int64))


class Promise(NamedTuple):
    """What sampled rows prove with 95 % certainty, each statement for itself."""

    n_answers: int  # of sampled rows
    wrong: tuple[float, float]  # share of given labels that are wrong
    right_after: float  # share of labels that are right after the correction: at least
    changes: int  # labels that are changed
    changes_right: int  # of them, at least


@dataclass(frozen=True)
class Inquiry:
    """A judgement, and all that people have said of its rows.

    Parameters
    ----------
    given : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    judgement : Judgement
        What was said of them without anybody's help.
    margin : float
        Gain beyond none that a change must be expected to bring.
    groups : ndarray of shape (n_samples,), int64, or None
        Groups, over which rows to check are spread.
    checks : Checks
        Rows that were looked at, in any order.
    seeds : tuple of int
        Of the orders that were asked for.
    at_fit : Checks
        Those of the checks that it begins with.
    learned : bool
        Whether the judgement rests on those.
    guarantee : float or None
        Certainty with which changes must be no loss.
    """

    given: Codes
    judgement: Judgement
    margin: float = 0.0
    groups: Codes | None = None
    checks: Checks = NO_CHECKS
    seeds: tuple[int, ...] = (0,)
    at_fit: Checks = NO_CHECKS
    learned: bool = True
    guarantee: float | None = None

    @cached_property
    def wrong(self) -> NDArray[np.float32]:
        """Probabilities that labels are wrong, as the fit left them: what rows are drawn by."""
        grounds = self.judgement.grounds
        return grounds.opinion.mean_share(grounds.odds.wrong)

    @cached_property
    def strata(self) -> Codes:
        """Strata of the rows."""
        return stratify(self.wrong)

    @property
    def apart(self) -> Codes:
        """Rows that no sample stands for, since the judgement, and with it the order, rests on them."""
        return self.at_fit.rows if self.learned else NO_CHECKS.rows

    def rows_to_check(self, n: int, seed: int) -> Codes:
        """Give the next rows to look at, in order."""
        first = looking_order(self.wrong, self.strata, n + len(self.checks.rows), seed, self.groups)
        return first[~self._mark(self.checks.rows)[first]][:n]

    def reasons(self, rows: Codes) -> list[str]:
        """Say of each row why it is asked about."""
        return [_why(wrong) for wrong in self.wrong[rows].tolist()]

    def with_seed(self, seed: int) -> Inquiry:
        """Note that an order was asked for."""
        # rows of an order that is not noted count as chosen by somebody, which proves less but nothing wrong
        noted = seed in self.seeds or len(self.seeds) == MOST_SEEDS
        return self if noted else self._replace(seeds=(*self.seeds, seed))

    def ended(self, guarantee: float | None) -> Inquiry:
        """Forget the checks that came after the fit."""
        return self._replace(checks=self.at_fit, guarantee=guarantee)

    def after(self, new: Checks, guarantee: float | None) -> Inquiry:
        """Add checks.

        Raises
        ------
        ContradictionError
            If a row has another label than before, or none any more.
        """
        labels = np.full(len(self.given), UNKNOWN)
        labels[self.checks.rows] = self.checks.labels
        against = np.flatnonzero((labels[new.rows] != UNKNOWN) & (labels[new.rows] != new.labels))
        if len(against):
            raise ContradictionError(int(new.rows[against[0]]))
        labels[new.rows] = new.labels
        rows = np.union1d(self.checks.rows, new.rows)
        return self._replace(checks=Checks(rows, labels[rows]), guarantee=guarantee)

    def settled(self) -> tuple[Judgement, Promise | None]:
        """Judge all labels again in view of the checks."""
        known = self.checks.answered()
        if not len(known.rows) and self.guarantee is None:
            return self.judgement, None
        grounds = self.judgement.grounds
        opinion = grounds.opinion.after_checks(grounds.odds.wrong[known.rows], known.labels != self.given[known.rows])
        chosen, sample, refused = self._choose(known, opinion), self._sample(known), None
        if self.guarantee is not None and not (sample and sample.of_changes(chosen, _quantile(self.guarantee))[0] >= 0):
            chosen[:] = False
            refused = (
                f"{sample.n_answers if sample else 0} checked rows do not prove with {self.guarantee:.0%} "
                "certainty that changing others is no loss"
            )
        return self._conclude(known, opinion, chosen, sample, refused)

    def _choose(self, known: Checks, opinion: Opinion) -> NDArray[np.bool_]:
        """Mark the rows to change by the opinion; none where changes make more of the known rows wrong than right."""
        grounds, enough = self.judgement.grounds, len(known.rows) >= ENOUGH
        if not (grounds.knows or enough):
            return np.zeros(len(self.given), bool)
        chosen = self._mark(choose_rows(self.given, grounds.odds, opinion, self.margin, grounds.fixed))
        if enough and self._balance(known, chosen) < 0:  # the sets that the judge knows are no guide to this one
            chosen[:] = False
        return chosen

    def _balance(self, known: Checks, chosen: NDArray[np.bool_]) -> int:
        """Count what the changes would make right of the rows that are known, less what they would make wrong."""
        rows, labels = (part[chosen[known.rows]] for part in known)
        proposed = self.judgement.grounds.odds.proposed[rows]
        return int((proposed == labels).sum()) - int((self.given[rows] == labels).sum())

    def _conclude(
        self, known: Checks, opinion: Opinion, chosen: NDArray[np.bool_], sample: _Sample | None, refused: str | None
    ) -> tuple[Judgement, Promise | None]:
        grounds, n_rows = self.judgement.grounds, len(self.given)
        odds, wrong_there = grounds.odds, known.labels != self.given[known.rows]
        unknown = ~self._mark(known.rows)
        changed = np.flatnonzero(chosen & unknown)
        corrected = self.given.copy()
        corrected[changed] = odds.proposed[changed]
        corrected[known.rows] = np.where(known.labels == NO_CLASS, self.given[known.rows], known.labels)
        gain = expected_gain(odds, changed, opinion, int(wrong_there.sum()))
        if sample is None:
            totals = opinion.total_shares(odds.wrong[unknown]) + wrong_there.sum()
            interval, promise = outwards(interval_of(totals / n_rows, opinion)), None
        else:
            low, high = sample.gain(chosen)
            gain, promise = ExpectedGain(min(max(gain.mean, low), high), low, high), sample.promise(chosen)
            interval = promise.wrong
        if refused is None and not len(changed) and interval[1] > 0:
            refused = (
                f"{wrong_there.sum():,} of {len(known.rows):,} checked labels are wrong: no gain is expected from "
                "changing others"
            )
        soft_labels = self._soft_labels(opinion.mean_share(odds.wrong), known)
        alone = self.judgement.bearings.opinion.after_checks(grounds.odds_alone[known.rows], wrong_there)
        bearings = self.judgement.bearings._replace(opinion=alone, changes=len(changed) > 0)
        matrix = _matrix_of(soft_labels, self.given)
        return Judgement(soft_labels, corrected, interval, gain, refused, matrix, bearings, grounds), promise

    def _soft_labels(self, wrong: NDArray[np.float32], known: Checks) -> NDArray[np.float32]:
        """Share each row out anew between the given class and, in the proportions of before, all others."""
        soft_labels = self.judgement.soft_labels.copy()
        ratio = wrong / np.maximum(self.wrong, np.finfo(np.float32).tiny)
        for block in row_blocks(*soft_labels.shape):
            soft = soft_labels[block]
            soft *= ratio[block, np.newaxis]
            soft[np.arange(len(soft)), self.given[block]] = 1 - wrong[block]
        named = known.labels != NO_CLASS
        soft_labels[known.rows[named]] = 0
        soft_labels[known.rows[named], known.labels[named]] = 1
        return soft_labels

    def _sample(self, known: Checks) -> _Sample | None:
        """Tell the rows that were drawn from those that somebody chose: all up to the first that was not looked at."""
        seen, drawn = self._mark(self.checks.rows), np.zeros(len(self.given), bool)
        for seed in self.seeds:
            order = looking_order(self.wrong, self.strata, len(self.checks.rows), seed, self.groups)
            drawn[order[: np.append(np.flatnonzero(~seen[order]), len(order))[0]]] = True
        apart = self._mark(self.apart)
        proposed = self.judgement.grounds.odds.proposed
        sample = _Sample(self.given, proposed, self.strata, known, drawn & ~apart, apart)
        return sample if sample.n_answers >= ENOUGH else None

    def _mark(self, rows: Codes) -> NDArray[np.bool_]:
        marks = np.zeros(len(self.given), bool)
        marks[rows] = True
        return marks

    def _replace(self, **changes: Any) -> Inquiry:
        """Give a copy with other fields, which keeps what was worked out from the judgement."""
        other = replace(self, **changes)
        other.__dict__.update({name: self.__dict__[name] for name in ("wrong", "strata") if name in self.__dict__})
        return other


class ContradictionError(ValueError):
    """A row that has another label than an earlier check says."""

    def __init__(self, row: int):
        super().__init__(f"row {row}")
        self.row = row


@dataclass(frozen=True)
class _Sample:
    """Answers, and which are to rows that were drawn: these stand for all rows, those that somebody chose do not.

    A drawn row stays in the sample if somebody has chosen it, too. Of what the sample says of all rows, what is known
    is taken off, whoever asked for it: the rest is what is left open.
    """

    given: Codes
    proposed: Codes
    strata: Codes
    known: Checks
    drawn: NDArray[np.bool_]
    apart: NDArray[np.bool_]  # rows that no sample stands for: those that the fit knew

    @property
    def n_answers(self) -> int:
        """Answers to rows that were drawn."""
        return int(self.drawn[self.known.rows].sum())

    def promise(self, chosen: NDArray[np.bool_]) -> Promise:
        """Say what is certain."""
        rows, labels = self.known
        n_rows, one_sided = len(self.given), _quantile(_SURE)
        low, high = self._beyond_known(~self.apart, labels != self.given[rows], Z, wrong_answers=WRONG_ANSWERS)
        low += max(self._n_wrong - self._n_mistaken, 0)
        right = np.where(chosen[rows], self.proposed[rows], self.given[rows]) == labels
        least_right = self._beyond_known(~self.apart, right, one_sided)[0] + len(rows) - self._n_mistaken
        changes = ~self.apart & chosen
        right_changes = self._beyond_known(changes, right, one_sided, wrong_answers=WRONG_ANSWERS)[0]
        return Promise(
            self.n_answers,
            outwards((low / n_rows, (high + self._n_wrong) / n_rows)),
            max(least_right, 0) / n_rows,
            int(changes.sum() - changes[rows].sum()) + self._n_wrong,
            math.floor(right_changes + max(self._n_wrong - self._n_mistaken, 0) + 1e-6),
        )

    def gain(self, chosen: NDArray[np.bool_]) -> tuple[float, float]:
        """Give the interval of the share of labels that the correction makes right, less those it makes wrong."""
        low, high = self.of_changes(chosen, Z)
        least = max(self._n_wrong - 2 * self._n_mistaken, -self._n_wrong)  # a right label that was called wrong is lost
        return float(low + least) / len(self.given), float(high + self._n_wrong) / len(self.given)

    def of_changes(self, chosen: NDArray[np.bool_], z: float) -> tuple[float, float]:
        """Give the interval of labels made right, less those made wrong, by changes of rows that nobody looked at."""
        rows, labels = self.known
        value = (labels == self.proposed[rows]) * 1.0 - (labels == self.given[rows])
        among = ~self.apart & chosen
        errors = {"wrong_answers": WRONG_ANSWERS, "missed": WRONG_ANSWERS}
        low, high = self._beyond_known(among, (value + 1) / 2, z, **errors)
        n_left = among.sum() - among[rows].sum()
        return 2 * low - n_left, 2 * high - n_left

    def _beyond_known(
        self, among: NDArray[np.bool_], found: NDArray[Any], z: float, **errors: float
    ) -> tuple[float, float]:
        """Give the interval of the number of rows with a property, of those that nobody has answered for."""
        in_sample, of_known = self.drawn[self.known.rows], among[self.known.rows]
        counts = count(self.strata, self.known.rows[in_sample], found[in_sample], among)
        n_among, n_found = among.sum(), found[of_known].sum()
        most = n_among - of_known.sum()
        low, high = (min(max(share * n_among - n_found, 0.0), most) for share in interval_of_share(counts, z, **errors))
        return float(low), float(high)

    @property
    def _n_mistaken(self) -> float:
        # some have twice as many as is usual; what the fit was told is taken for the truth
        return 2 * WRONG_ANSWERS * float((~self.apart[self.known.rows]).sum())

    @property
    def _n_wrong(self) -> int:
        return int((self.known.labels != self.given[self.known.rows]).sum())


def _why(wrong: float) -> str:
    if wrong >= _LIKELY:
        return f"probably wrong ({wrong:.0%})"
    if wrong >= _OPEN:
        return f"may be wrong ({wrong:.0%})"
    return f"seems right ({1 - wrong:.0%}): errors hide there, too"


def published(judgement: Judgement, given: Codes, classes: NDArray[Any]) -> dict[str, Any]:
    """Give the fitted attributes that a judgement sets."""
    at_given = judgement.soft_labels[np.arange(len(given)), given]
    return {
        "corrected_labels_": classes[judgement.corrected],
        "correction_refused_": judgement.refused,
        "expected_gain_": judgement.expected_gain,
        "noise_rate_": float(1 - at_given.mean(dtype=np.float64)),
        "noise_rate_interval_": judgement.noise_rate_interval,
        "soft_labels_": judgement.soft_labels,
        "transition_matrix_": judgement.transition_matrix,
    }


def describe_inquiry(inquiry: Inquiry) -> dict[str, Any]:
    """Give all but labels and judgement, for a file."""
    names = ("margin", "groups", "checks", "seeds", "at_fit", "learned", "guarantee")
    return {name: getattr(inquiry, name) for name in names}


def inquiry_from(given: Codes, judgement: Judgement, kept: dict[str, Any]) -> Inquiry:
    """Give back an inquiry; raise a ValueError where its parts do not fit each other."""
    n_rows, n_classes = judgement.soft_labels.shape
    checks, at_fit = (_checks_from(kept[name], n_rows, n_classes) for name in ("checks", "at_fit"))
    seeds, groups, guarantee = tuple(kept["seeds"]), kept["groups"], kept["guarantee"]
    if not 0 < len(seeds) <= MOST_SEEDS:
        raise ValueError(f"there must be 1 to {MOST_SEEDS} orders to look in, got {len(seeds)}")
    for seed in seeds:
        check_count("the seed of an order", seed, high=(1 << 32) - 1)
    if groups is not None:
        check_numbers("groups", groups, "i8", [n_rows], 0, n_rows - 1)
    check_like("whether the judgement rests on checks", kept["learned"], False)
    _check_within("margin", kept["margin"], 0, 1)
    if guarantee is not None:
        _check_within("guarantee", guarantee, 0.5, MOST_CERTAIN)
    return Inquiry(given, judgement, kept["margin"], groups, checks, seeds, at_fit, kept["learned"], guarantee)


def _check_within(what: str, value: Any, low: float, high: float) -> None:
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{what} must be a number from {low} to {high}, got {outline(value)}")


def _checks_from(kept: Any, n_rows: int, n_classes: int) -> Checks:
    rows, labels = kept
    check_numbers("checked rows", rows, "i8", [None], 0, n_rows - 1)
    check_numbers("their labels", labels, "i8", rows.shape, NO_CLASS, n_classes - 1)
    if len(np.unique(rows)) < len(rows):
        raise ValueError("each row must be checked once")
    return Checks(rows, labels)


NOTHING_JUDGED = dict.fromkeys(
    ("correction_refused_", "expected_gain_", "noise_rate_interval_", "_bearings_", "_inquiry_", "_promise_")
)


def _matrix_of(soft_labels: NDArray[np.float32], given: Codes) -> NDArray[np.float64]:
    """Count T from the labels as they are judged."""
    n_rows, n_classes = soft_labels.shape
    rows = sparse.csr_matrix((np.ones(n_rows, np.float32), (given, np.arange(n_rows))), (n_classes, n_rows))
    counts = (rows @ soft_labels).T.astype(np.float64)
    counts += CELL_COUNT + (DIAGONAL_COUNT - CELL_COUNT) * np.eye(n_classes)
    matrix: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return matrix


def _quantile(certainty: float) -> float:
    return float(norm.ppf(certainty))
