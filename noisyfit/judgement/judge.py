r"""P(the given label is wrong), learned from data sets whose truth is known.

A given label conflicts with unseen outputs because the model is ignorant, because classes overlap, or because the label
is wrong. Ignorance shows in witnesses that disagree; overlap and error cannot be told apart from the given labels
alone. What can be known about them beforehand is experience with other data. The weights in ``judge_weights.json`` are
that experience; the file says which command found them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..rows.storage import row_blocks
from .belief import Belief, Codes, Floats, log_floored

__all__ = [
    "ALIKE",
    "FIT_FEATURES",
    "ROW_FEATURES",
    "Odds",
    "Opinion",
    "Prior",
    "Setting",
    "describe_fit",
    "describe_rows",
    "judge_rows",
    "least_agreement",
    "opinion_of",
    "prior_for",
]

ROW_FEATURES = (
    "belief",  # log odds of the proposed against the given class, by the belief
    "witnesses",  # the same by the mean witness, without T
    "least",  # by the witness that is least for the proposed one
    "named",  # share of the witnesses whose most probable class is the proposed one
    "kept",  # share of those whose it is the given one
    "confused",  # log T[proposed, given] - log T[given, given]
    "sure",  # log probability of the proposed class
    "usual_proposed",  # log odds of the proposed class less those usual where it is given, as in confident learning
    "usual_given",  # the same of the given class
    "share_given",  # log of the given class's share of the labels, times the number of classes
    "share_proposed",
)
FIT_FEATURES = (
    "agreement",  # of witnesses with given labels, 0 for what naming the most frequent class would reach
    "least_agreement",
    "most_agreement",
    "between",  # share of rows for which all witnesses name the same class
    "contradicted",  # share of those where this class is not the given one
    "contradicted_fifth",  # of the fifth of the rows of which the pooled witnesses are surest
    "contradicted_half",
    "conflicts",  # share of rows where the belief contradicts the given label
    "sureness",  # mean probability of the most probable class, pooled
    "least_sureness",
    "most_sureness",
    "noise",  # mean belief that the given label is wrong
    "rows",  # log rows a class
    "classes",  # log number of classes
    "largest",  # share of the most frequent given class
)
_MOST_LOG_ODDS = 8.0
ALIKE = 200  # known sets that make up an opinion
_MARKS = [FIT_FEATURES.index(name) for name in ("agreement", "between", "contradicted_fifth")]
_GRID = np.linspace(-10, 10, 401)  # of log odds, for what is worked out for many pairs
_OF_SHARES = [i for i, name in enumerate(FIT_FEATURES) if name not in ("rows", "classes")]


class Setting(NamedTuple):
    """What the judge knows of a data set as a whole."""

    features: NDArray[np.float64]  # `FIT_FEATURES`
    log_shares: NDArray[np.float32]  # (n_classes,): of the given labels, times the number of classes
    usual: NDArray[np.float32]  # (n_classes,): log odds of the mean output for a class where it is given


def least_agreement(features: NDArray[np.float64]) -> float:
    """Give how far witnesses agree with unseen given labels above chance, two standard errors below what was counted.

    0 is what naming the most frequent class would reach, 1 full agreement.
    """
    figures = dict(zip(FIT_FEATURES, features, strict=True))
    above, largest = special.expit([figures["agreement"], figures["largest"]])
    n_rows = np.exp(figures["rows"] + figures["classes"])
    share = largest + above * (1 - largest)
    return float(above - 2 * np.sqrt(share * (1 - share) / n_rows) / max(1 - largest, 1e-9))


def describe_fit(
    witnesses: Sequence[Floats], given: Codes, belief: Belief, sample_weight: Floats | None = None
) -> Setting:
    """Describe a data set by some figures of what unseen outputs say of its given labels.

    Parameters
    ----------
    witnesses : sequence of ndarray of shape (n_samples, n_classes)
        Probabilities, of models that have not seen the row's given label.
    given : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    belief : Belief
        What was made of them.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the rows.

    Returns
    -------
    Setting
    """
    n_rows, n_classes = belief.log_proba.shape
    weight = np.full(n_rows, 1.0) if sample_weight is None else sample_weight.astype(np.float64)
    weight = weight / weight.sum()
    shares = np.bincount(given, weight, n_classes)
    named = np.stack([witness.argmax(axis=1) for witness in witnesses])
    agreement = (named == given) @ weight
    sureness = np.array([witness.max(axis=1) @ weight for witness in witnesses])
    unanimous = weight * (named == named[0]).all(axis=0)
    sure, contradicted = np.exp(belief.log_proba.max(axis=1)), belief.log_proba.argmax(axis=1) != given
    surest = np.argsort(-sure, kind="stable")
    passed = np.cumsum(weight[surest])
    at_given = belief.log_posterior[np.arange(n_rows), given]

    def of_surest(share: float) -> float:
        rows = surest[: np.searchsorted(passed, share) + 1]
        return float(contradicted[rows] @ weight[rows] / weight[rows].sum())

    above_chance = (agreement - shares.max()) / max(1 - shares.max(), 1e-9)
    features = [
        *(above_chance.mean(), above_chance.min(), above_chance.max()),
        unanimous.sum(),
        unanimous[named[0] != given].sum() / max(unanimous.sum(), 1e-9),
        *(of_surest(0.2), of_surest(0.5)),
        weight[belief.log_posterior.argmax(axis=1) != given].sum(),
        *(sure @ weight, sureness.min(), sureness.max()),
        1 - np.exp(at_given) @ weight,
        *(np.log(n_rows / n_classes), np.log(n_classes)),
        shares.max(),
    ]
    described = np.array(features, dtype=np.float64)
    described[_OF_SHARES] = _log_odds(described[_OF_SHARES])
    own = np.bincount(given, weight * np.exp(belief.log_proba[np.arange(n_rows), given]), n_classes)
    usual = _log_odds(own / np.maximum(shares, 1e-12))
    log_shares = np.log(np.maximum(shares, 0.5 / n_rows) * n_classes)
    return Setting(described, log_shares.astype(np.float32), usual.astype(np.float32))


def describe_rows(
    witnesses: Sequence[Floats], given: Codes, belief: Belief, setting: Setting
) -> tuple[Codes, NDArray[np.float32]]:
    """Give for each row the class that would be right if the given one is not, and `ROW_FEATURES`.

    Parameters
    ----------
    witnesses, given, belief
        As for `describe_fit`, or a part of their rows.
    setting : Setting
        The data set as a whole.

    Returns
    -------
    proposed : ndarray of shape (n_samples,), int64
        The most probable class but for the given one.
    features : ndarray of shape (n_samples, n_features), float32
    """
    rows = np.arange(len(given))
    others = belief.log_posterior.copy()
    others[rows, given] = -np.inf
    proposed = others.argmax(axis=1)
    logs = [log_floored(witness) for witness in witnesses]
    odds = np.stack([log[rows, proposed] - log[rows, given] for log in logs])
    named = np.stack([log.argmax(axis=1) for log in logs])
    matrix = belief.transition_matrix
    pooled = _log_odds(np.exp(belief.log_proba))
    features = [
        others[rows, proposed] - belief.log_posterior[rows, given],
        odds.mean(axis=0),
        odds.min(axis=0),
        (named == proposed).mean(axis=0),
        (named == given).mean(axis=0),
        np.log(matrix[proposed, given]) - np.log(matrix[given, given]),
        others[rows, proposed],
        pooled[rows, proposed] - setting.usual[proposed],
        pooled[rows, given] - setting.usual[given],
        setting.log_shares[given],
        setting.log_shares[proposed],
    ]
    return proposed, np.clip(np.stack(features, axis=1), -_MOST_LOG_ODDS, _MOST_LOG_ODDS).astype(np.float32)


class Trees(NamedTuple):
    """Boosted regression trees: nodes end to end, a leaf points to itself."""

    roots: NDArray[np.int64]  # (n_trees,)
    feature: NDArray[np.int64]  # (n_nodes,): column of the inputs
    threshold: NDArray[np.float32]  # inputs up to it go left
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float32]  # of a leaf, in log odds
    baseline: float
    depth: int

    def log_odds(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the sum of the trees' values, (n_samples,), for inputs (n_samples, n_features)."""
        node = np.broadcast_to(self.roots, (len(inputs), len(self.roots)))
        for _ in range(self.depth):
            goes_left = np.take_along_axis(inputs, self.feature[node], axis=1) <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
        found: NDArray[np.float32] = self.value[node].sum(axis=1) + np.float32(self.baseline)
        return found


class Opinion(NamedTuple):
    r"""Pairs of a shift a and a slope b, each as likely as its weight: the true log odds are :math:`a + e^b \eta_i`.

    Data sets differ by more than their figures tell. The pairs are those of the known sets that resemble this one most.
    """

    pairs: NDArray[np.float64]  # (n_pairs, 2)
    weights: NDArray[np.float64]  # (n_pairs,), sum to 1

    def shares(self, log_odds: Floats) -> NDArray[np.float64]:
        """Give the probabilities by each pair, (n_pairs, n_samples)."""
        return special.expit(self._shifted(log_odds))

    def mean_share(self, log_odds: Floats) -> NDArray[np.float32]:
        """Give the mean of the probabilities over the pairs, (n_samples,)."""
        return _along_grid(log_odds, self.weights @ self.shares(_GRID))

    def cautious_share(self, log_odds: Floats, caution: float) -> NDArray[np.float32]:
        """Give the probabilities that all but a share of the pairs exceed, (n_samples,)."""
        return _along_grid(log_odds, self.quantiles(self.shares(_GRID), caution))

    def total_shares(self, log_odds: Floats, weight: Floats | None = None) -> NDArray[np.float64]:
        """Give the sum of the probabilities over the rows, weighed, by each pair, (n_pairs,)."""
        cell = np.rint((np.asarray(log_odds) - _GRID[0]) / (_GRID[1] - _GRID[0])).clip(0, len(_GRID) - 1)
        totals: NDArray[np.float64] = self.shares(_GRID) @ np.bincount(cell.astype(np.int64), weight, len(_GRID))
        return totals

    def quantiles(self, values: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        """Give a quantile over the pairs of what each of them says, (n_pairs, n_values); NumPy's for equal weights."""
        order = np.argsort(values, axis=0)
        weights, usual = self.weights[order], 1 / len(self.pairs)
        passed = (np.cumsum(weights, axis=0) - weights / 2 - usual / 2) / max(1 - usual, usual)
        ordered = np.take_along_axis(values, order, axis=0)
        return np.array([np.interp(share, at, of) for at, of in zip(passed.T, ordered.T, strict=True)])

    def after_checks(self, log_odds: Floats, wrong: NDArray[np.bool_]) -> Opinion:
        """Weigh the pairs by how likely each holds what a person found at some rows, (n_checked,) each."""
        at_checks = self._shifted(log_odds)
        surprise = np.logaddexp(0, np.where(wrong, -at_checks, at_checks)).sum(axis=1)
        weights = self.weights * np.exp(surprise.min() - surprise)
        return self._replace(weights=weights / weights.sum())

    def _shifted(self, log_odds: Floats) -> NDArray[np.float64]:
        a, b = self.pairs.T[:, :, np.newaxis]
        shifted: NDArray[np.float64] = a + np.exp(b) * log_odds
        return shifted


def opinion_of(pairs: NDArray[np.float64]) -> Opinion:
    """Take all pairs for equally likely."""
    return Opinion(pairs, np.full(len(pairs), 1 / len(pairs)))


def _along_grid(log_odds: Floats, values: NDArray[np.float64]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.interp(log_odds, _GRID, values).astype(np.float32)
    return found


class Prior(NamedTuple):
    """Experience with data sets of so many witnesses."""

    wrong: Trees  # the given label is wrong
    named: Trees  # and where it is, the proposed one is right
    known: NDArray[np.float64]  # (n_sets, n_marks): what known sets are recognised by
    pairs: NDArray[np.float64]  # (n_sets, 2): their shifts and slopes

    def opinion(self, log_odds: Floats, setting: Setting) -> Opinion:
        """Give the shifts and slopes of the known sets that resemble a set most."""
        spread = self.known.std(axis=0) + 1e-9  # one witness is always of one mind
        distance = (((self.known - marks_of(log_odds, setting)) / spread) ** 2).sum(axis=1)
        return opinion_of(self.pairs[np.argsort(distance, kind="stable")[:ALIKE]])


def marks_of(log_odds: Floats, setting: Setting) -> NDArray[np.float64]:
    """Give the marks by which sets are alike: how many labels seem wrong and how clearly, and how much is known."""
    above = (np.asarray(log_odds) > 0).mean()
    of_rows = [*_log_odds(np.array([special.expit(log_odds).mean(), above])), np.std(log_odds)]
    return np.array([*of_rows, *setting.features[_MARKS]])


@cache
def prior_for(n_witnesses: int) -> Prior:
    """Give the prior for one witness, or for several."""
    text = resources.files(__package__).joinpath("judge_weights.json").read_text()
    learned = json.loads(text)["one" if n_witnesses == 1 else "several"]
    return Prior(
        _trees_from(learned["wrong"]),
        _trees_from(learned["named"]),
        np.array(learned["known"]),
        np.array(learned["pairs"]),
    )


class Odds(NamedTuple):
    """What the judge says of each row, before the data set's own shift and slope."""

    proposed: Codes  # (n_samples,): the class that is right if the given one is not
    wrong: NDArray[np.float32]  # (n_samples,): log odds that the given label is wrong
    named: NDArray[np.float32]  # (n_samples,): and that the proposed class is right where it is


def judge_rows(prior: Prior, witnesses: Sequence[Floats], given: Codes, belief: Belief, setting: Setting) -> Odds:
    """Give the odds for each row.

    Parameters
    ----------
    prior : Prior
        For as many witnesses.
    witnesses, given, belief
        As for `describe_rows`.
    setting : Setting
        The data set as a whole.

    Returns
    -------
    Odds
    """
    n_rows, n_classes = belief.log_posterior.shape
    odds = Odds(np.empty(n_rows, np.int64), *(np.empty(n_rows, np.float32) for _ in range(2)))
    for rows in row_blocks(n_rows, max(n_classes, len(prior.wrong.roots))):
        part = Belief(belief.log_proba[rows], belief.log_posterior[rows], belief.transition_matrix)
        of_part = [witness[rows] for witness in witnesses]
        odds.proposed[rows], features = describe_rows(of_part, given[rows], part, setting)
        of_fit = np.broadcast_to(setting.features.astype(np.float32), (len(features), len(FIT_FEATURES)))
        inputs = np.hstack([features, of_fit])
        odds.wrong[rows] = prior.wrong.log_odds(inputs)
        odds.named[rows] = np.inf if n_classes == 2 else prior.named.log_odds(inputs)
    return odds


def _trees_from(learned: dict[str, Any]) -> Trees:
    types = {"threshold": np.float32, "value": np.float32}
    arrays: Any = {name: np.array(learned[name], types.get(name, np.int64)) for name in Trees._fields[:6]}
    return Trees(**arrays | {name: learned[name] for name in Trees._fields[6:]})


def _log_odds(share: Floats) -> Floats:
    share = np.clip(share, 1e-3, 1 - 1e-3)
    odds: Floats = np.log(share / (1 - share))
    return odds
