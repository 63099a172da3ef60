"""The decision: which labels to change, and what is said of all of them. From the judge's odds and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .belief import Belief, Codes, Floats, form_belief
from .judge import FIT_FEATURES, Odds, Opinion, Setting, describe_fit, judge_rows, least_agreement, prior_for
from .storage import row_blocks

__all__ = [
    "Bearings",
    "ExpectedGain",
    "Judgement",
    "bearings_from",
    "choose_rows",
    "interval_of",
    "judge",
    "judge_new_rows",
    "outwards",
]

_CAUTION = 0.18  # a label changes if a gain is expected by all but so many of the known data sets most alike
_LEAST_AGREEMENT = 0.02  # of witnesses with given labels, above chance: below, they know nothing and nothing is changed
_INTERVAL = (0.025, 0.975)
_WORTH_A_WORD = 0.05  # high end of the noise rate from which on it is explained why nothing is changed
_TINY = np.finfo(np.float32).tiny


class ExpectedGain(NamedTuple):
    """Share of labels that are right after the correction, less the share before: mean and 95 % interval."""

    mean: float
    low: float
    high: float


class Bearings(NamedTuple):
    """What a fit leaves behind for rows that were not in it, of which one witness speaks."""

    transition_matrix: NDArray[np.float64]
    setting: Setting
    opinion: Opinion
    changes: bool  # whether labels were changed in the fit


class Judgement(NamedTuple):
    """What is said of all labels, as class numbers."""

    soft_labels: NDArray[np.float32]  # (n_samples, n_classes): rows sum to 1
    corrected: Codes  # (n_samples,)
    noise_rate_interval: tuple[float, float]  # 95 %
    expected_gain: ExpectedGain
    refused: str | None  # why no label is changed
    bearings: Bearings


def judge(
    witnesses: Sequence[Floats],
    given: Codes,
    sample_weight: Floats | None = None,
    fixed: NDArray[np.bool_] | None = None,
    margin: float = 0.0,
) -> Judgement:
    """Judge all given labels by the unseen outputs of one witness or several.

    Parameters
    ----------
    witnesses : sequence of ndarray of shape (n_samples, n_classes), float32
        Probabilities, of models that have not seen the row's given label.
    given : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the rows.
    fixed : ndarray of shape (n_samples,), bool, or None, default=None
        Rows that no witness can judge, which keep their labels.
    margin : float, default=0.0
        Gain that must be expected of a row, P(proposed right) - P(given right), beyond none.

    Returns
    -------
    Judgement
    """
    belief = form_belief(witnesses, given, sample_weight)
    setting = describe_fit(witnesses, given, belief, sample_weight)
    odds, opinion = _hear(witnesses, given, belief, setting)
    choice = (
        choose_rows(given, odds, opinion, margin, fixed)
        if least_agreement(setting.features) >= _LEAST_AGREEMENT
        else Choice(np.arange(0), np.zeros(len(opinion.pairs)))
    )
    corrected = given.copy()
    corrected[choice.rows] = odds.proposed[choice.rows]
    interval = outwards(interval_of(opinion.total_shares(odds.wrong) / len(given)))
    if len(witnesses) > 1:  # new rows have one
        alone = form_belief(witnesses[:1], given, transition_matrix=belief.transition_matrix)
        setting_alone = describe_fit(witnesses[:1], given, alone, sample_weight)
        _, opinion_alone = _hear(witnesses[:1], given, alone, setting_alone)
    else:
        setting_alone, opinion_alone = setting, opinion
    return Judgement(
        _soft_labels(belief, given, odds, opinion.mean_share(odds.wrong)),
        corrected,
        interval,
        ExpectedGain(float(choice.gains.mean()), *interval_of(choice.gains)),
        None if len(choice.rows) else _reason(belief, given, setting, interval),
        Bearings(belief.transition_matrix, setting_alone, opinion_alone, len(choice.rows) > 0),
    )


def judge_new_rows(
    proba: Floats, given: Codes, bearings: Bearings, margin: float = 0.0
) -> tuple[NDArray[np.float32], Codes]:
    """Judge rows that were not in the fit: soft labels and corrected class numbers."""
    belief = form_belief([proba], given, transition_matrix=bearings.transition_matrix)
    odds = judge_rows(prior_for(1), [proba], given, belief, bearings.setting)
    changed = (_sure_gain(odds, bearings.opinion) > margin) & bearings.changes
    soft_labels = _soft_labels(belief, given, odds, bearings.opinion.mean_share(odds.wrong))
    return soft_labels, np.where(changed, odds.proposed, given)


def judgement_from(kept: Any) -> Judgement | None:
    """Give back a judgement that a file has kept as a tuple of tuples."""
    if kept is None:
        return None
    soft_labels, corrected, interval, gain, refused, bearings = kept
    return Judgement(soft_labels, corrected, tuple(interval), ExpectedGain(*gain), refused, bearings_from(bearings))


def bearings_from(kept: Any) -> Bearings:
    """Give back bearings; raise a TypeError where their parts do not fit each other."""
    matrix, (features, log_shares, usual), (pairs,), changes = kept
    n_classes = len(matrix)
    shapes = (matrix.shape, features.shape, log_shares.shape, usual.shape, pairs.shape[1:])
    if shapes != ((n_classes, n_classes), (len(FIT_FEATURES),), (n_classes,), (n_classes,), (2,)):
        raise TypeError(f"bearings of shapes {shapes}")
    setting = Setting(features.astype(np.float64), log_shares.astype(np.float32), usual.astype(np.float32))
    return Bearings(matrix.astype(np.float64), setting, Opinion(pairs.astype(np.float64)), bool(changes))


def _hear(witnesses: Sequence[Floats], given: Codes, belief: Belief, setting: Setting) -> tuple[Odds, Opinion]:
    prior = prior_for(len(witnesses))
    odds = judge_rows(prior, witnesses, given, belief, setting)
    return odds, prior.opinion(odds.wrong, setting)


def _soft_labels(belief: Belief, given: Codes, odds: Odds, wrong: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share each row out between the given class, the proposed one and, as the belief says, all others."""
    soft_labels = np.empty_like(belief.log_posterior)
    for block in row_blocks(*soft_labels.shape):
        rows = np.arange(len(given))[block]
        soft = np.exp(belief.log_posterior[block])
        at_given, at_proposed = (np.arange(len(rows)), given[block]), (np.arange(len(rows)), odds.proposed[block])
        soft[at_given] = soft[at_proposed] = 0
        named = np.where(soft.sum(axis=1) > 0, expit(odds.named[block]), 1)
        soft *= (wrong[block] * (1 - named) / np.maximum(soft.sum(axis=1), _TINY))[:, np.newaxis]
        soft[at_given], soft[at_proposed] = 1 - wrong[block], wrong[block] * named
        soft_labels[block] = soft
    return soft_labels


class Choice(NamedTuple):
    """Rows to change, and what is expected of it."""

    rows: NDArray[np.int64]
    gains: NDArray[np.float64]  # share of labels right after less before, by each pair of the opinion


def choose_rows(
    given: Codes, odds: Odds, opinion: Opinion, margin: float = 0.0, fixed: NDArray[np.bool_] | None = None
) -> Choice:
    """Choose the rows of which nearly all known sets expect a gain, the largest first where a class would lose many."""
    named, wrong, gain = expit(odds.named), opinion.mean_share(odds.wrong), _sure_gain(odds, opinion)
    candidates = np.flatnonzero((gain > margin) if fixed is None else (gain > margin) & ~fixed)
    order = candidates[np.argsort(-gain[candidates], kind="stable")]
    most = _most_to_lose(given, odds.proposed, wrong, wrong * named)
    rows = order[_rank_in_class(given[order]) < most[given[order]]]
    gains = opinion.total_shares(odds.wrong[rows], 1 + named[rows]) - len(rows)
    return Choice(rows, gains / len(given))


def _sure_gain(odds: Odds, opinion: Opinion) -> NDArray[np.float32]:
    """Give P(proposed right) - P(given right), both on average and as all but a few of the known sets expect.

    Rows of one set are wrong together: what is not known is how many there are, and the pairs of the opinion differ in
    that. So it is their quantile that is asked, not their mean alone.
    """
    wrong = np.minimum(opinion.mean_share(odds.wrong), opinion.cautious_share(odds.wrong, _CAUTION))
    gain: NDArray[np.float32] = wrong * (1 + expit(odds.named)) - 1
    return gain


def _most_to_lose(
    given: Codes, proposed: Codes, wrong: NDArray[np.float32], moved: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Say how many labels each class may lose: half of them, or what leaves it the rows that it is expected to have."""
    n_classes = int(max(given.max(), proposed.max())) + 1
    has = np.bincount(given, minlength=n_classes)
    expected = np.bincount(given, 1 - wrong, n_classes) + np.bincount(proposed, moved, n_classes)
    most: NDArray[np.float64] = np.maximum(has // 2, has - expected)
    return most


def _rank_in_class(classes: Codes) -> NDArray[np.int64]:
    """Number the rows of each class from 0, in order."""
    by_class = np.argsort(classes, kind="stable")
    sizes = np.bincount(classes)
    ranks = np.empty(len(classes), np.int64)
    ranks[by_class] = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return ranks


def interval_of(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Give the interval that 95 % of equally likely values lie in."""
    low, high = np.quantile(draws, _INTERVAL)
    return float(low), float(high)


def outwards(interval: tuple[float, float]) -> tuple[float, float]:
    """Round to whole percents, away from the middle: no finer than a share of wrong labels can be known."""
    low, high = interval
    return math.floor(100 * low) / 100, math.ceil(100 * high) / 100


def _reason(belief: Belief, given: Codes, setting: Setting, interval: tuple[float, float]) -> str | None:
    """Say why nothing is changed, unless there is nothing to change."""
    if interval[1] < _WORTH_A_WORD:
        return None
    if least_agreement(setting.features) < _LEAST_AGREEMENT:
        return (
            "the inputs tell next to nothing about the labels: of rows that were not learned, the given label is "
            "predicted hardly more often than if the most frequent label were said of all"
        )
    contradicted = float((belief.log_posterior.argmax(axis=1) != given).mean())
    if contradicted == 0:
        return None
    return (
        f"{contradicted:.1%} of the labels are contradicted, but in data like these such rows are more often unusual "
        "than wrongly labelled: no gain is expected from changing them"
    )
