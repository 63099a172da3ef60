"""The decision: which labels to change, and what is said of all of them. From the judge's odds and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from ..files.states import check_like, check_numbers
from ..rows.storage import row_blocks
from .belief import Belief, Codes, Floats, form_belief
from .folds import hardly_seen
from .judge import ALIKE, FIT_FEATURES, Odds, Opinion, Setting, describe_fit, judge_rows, least_agreement, prior_for

__all__ = [
    "Bearings",
    "ExpectedGain",
    "Grounds",
    "Judgement",
    "choose_rows",
    "expected_gain",
    "interval_of",
    "judge",
    "judge_new_rows",
    "outwards",
]

_CAUTION = 0.18  # a label changes if a gain is expected by all but so many of the known data sets most alike
_LEAST_AGREEMENT = 0.02  # of witnesses with given labels, above chance: below, they know nothing and nothing is changed
_INTERVAL = (0.025, 0.975)
_WORTH_A_WORD = 0.05  # high end of the noise rate from which on it is explained why nothing is changed
_MOST_ODDS = 1e3  # logarithm, of what a file may say: beyond what floats can hold as odds
_ROUNDING = 1e-6
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


class Grounds(NamedTuple):
    """What a judgement was made from: enough to judge again when people have looked at some rows."""

    odds: Odds
    odds_alone: NDArray[np.float32]  # (n_samples,): log odds that labels are wrong, by the networks alone
    opinion: Opinion
    fixed: NDArray[np.bool_] | None  # (n_samples,): rows that no witness can judge
    knows: bool  # whether the witnesses know enough for any change


class Judgement(NamedTuple):
    """What is said of all labels, as class numbers."""

    soft_labels: NDArray[np.float32]  # (n_samples, n_classes): rows sum to 1
    corrected: Codes  # (n_samples,)
    noise_rate_interval: tuple[float, float]  # 95 %
    expected_gain: ExpectedGain
    refused: str | None  # why no label is changed
    transition_matrix: NDArray[np.float64]
    bearings: Bearings
    grounds: Grounds


def judge(
    witnesses: Sequence[Floats],
    given: Codes,
    sample_weight: Floats | None = None,
    fixed: NDArray[np.bool_] | None = None,
    margin: float = 0.0,
    folds: Codes | None = None,
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
        Rows that no witness can judge: they keep their labels, and tell nothing of the others.
    margin : float, default=0.0
        Gain that must be expected of a row, P(proposed right) - P(given right), beyond none.
    folds : ndarray of shape (n_samples,), int64, or None, default=None
        Fold of each row, of which a witness has learned none. Rows are fixed, too, where nearly all labels of their
        class in other folds seem wrong: then the witnesses have not seen the class either.

    Returns
    -------
    Judgement
    """
    heard, fixed = _hear_on_all_but_unseen(witnesses, given, sample_weight, fixed, folds)
    belief, setting, odds, opinion, any_heard = heard
    knows = any_heard and least_agreement(setting.features) >= _LEAST_AGREEMENT
    rows = choose_rows(given, odds, opinion, margin, fixed) if knows else np.arange(0)
    corrected = given.copy()
    corrected[rows] = odds.proposed[rows]
    interval = outwards(interval_of(opinion.total_shares(odds.wrong) / len(given), opinion))
    soft_labels = _soft_labels(belief, given, odds, opinion.mean_share(odds.wrong))
    refused = None if len(rows) else _reason(belief, given, setting, interval, any_heard)
    matrix, alone = belief.transition_matrix, (setting, odds, opinion)
    del heard, belief  # large, and as much is made again
    if len(witnesses) > 1:  # new rows have one
        alone = _hear(witnesses[:1], given, sample_weight, fixed, matrix)[1:4]
    setting_alone, odds_alone, opinion_alone = alone
    return Judgement(
        soft_labels,
        corrected,
        interval,
        expected_gain(odds, rows, opinion),
        refused,
        matrix,
        Bearings(matrix, setting_alone, opinion_alone, len(rows) > 0),
        Grounds(odds, odds_alone.wrong, opinion, fixed, bool(knows)),
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


def judgement_from(kept: Any, n_rows: int, n_classes: int) -> Judgement | None:
    """Give back a judgement that a file has kept as a tuple of tuples; raise a ValueError for one of other labels."""
    if kept is None:
        return None
    soft_labels, corrected, interval, gain, refused, matrix, bearings, grounds = kept
    check_numbers("the soft labels", soft_labels, "f4", [n_rows, n_classes], -1e-3, 1.001)
    check_numbers("the corrected labels", corrected, "i8", [n_rows], 0, n_classes - 1)
    check_like("the interval of the noise rate", tuple(interval), (0.0, 0.0))
    check_like("the expected gain", tuple(gain), (math.nan,) * 3)
    if not isinstance(refused, str | None):
        raise ValueError(f"the reason must be a text or None, got {type(refused).__name__}")
    return Judgement(
        soft_labels,
        corrected,
        tuple(interval),
        ExpectedGain(*gain),
        refused,
        _matrix_from(matrix, n_classes),
        _bearings_from(bearings, n_classes),
        _grounds_from(grounds, n_rows, n_classes),
    )


def _grounds_from(kept: Any, n_rows: int, n_classes: int) -> Grounds:
    (proposed, wrong, named), odds_alone, opinion, fixed, knows = kept
    check_numbers("the proposed labels", proposed, "i8", [n_rows], 0, n_classes - 1)
    for what, odds in (("wrong labels", wrong), ("proposed labels", named), ("wrong labels alone", odds_alone)):
        check_numbers(f"the odds of {what}", odds, "f4", [n_rows], -_MOST_ODDS, np.inf)
    if fixed is not None:
        check_numbers("rows that nobody can judge", fixed, "b", [n_rows])
    check_like("whether the witnesses know enough", knows, False)
    return Grounds(Odds(proposed, wrong, named), odds_alone, _opinion_from(opinion), fixed, knows)


def _opinion_from(kept: Any) -> Opinion:
    pairs, weights = kept
    check_numbers("the pairs of an opinion", pairs, "f8", [None, 2], -_MOST_ODDS, _MOST_ODDS)
    check_numbers("the weights of its pairs", weights, "f8", pairs.shape[:1], 0, 1)
    if not 0 < len(pairs) <= ALIKE or abs(weights.sum() - 1) > _ROUNDING:
        raise ValueError(f"an opinion must be 1 to {ALIKE} pairs with weights that sum to 1, got {len(pairs)}")
    return Opinion(pairs, weights)


def _matrix_from(kept: Any, n_classes: int) -> NDArray[np.float64]:
    check_numbers("the noise matrix", kept, "f8", [n_classes, n_classes], np.nextafter(0, 1), 1.001)
    matrix: NDArray[np.float64] = kept
    return matrix


def _bearings_from(kept: Any, n_classes: int) -> Bearings:
    matrix, (features, log_shares, usual), opinion, changes = kept
    check_numbers("the figures of the fit", features, "f8", [len(FIT_FEATURES)], -_MOST_ODDS, _MOST_ODDS)
    for what, odds in (("shares of labels", log_shares), ("usual odds", usual)):
        check_numbers(f"the {what}", odds, "f4", [n_classes], -_MOST_ODDS, _MOST_ODDS)
    check_like("whether labels were changed", changes, False)
    return Bearings(
        _matrix_from(matrix, n_classes), Setting(features, log_shares, usual), _opinion_from(opinion), changes
    )


def _hear_on_all_but_unseen(
    witnesses: Sequence[Floats],
    given: Codes,
    sample_weight: Floats | None,
    fixed: NDArray[np.bool_] | None,
    folds: Codes | None,
) -> tuple[_Heard, NDArray[np.bool_] | None]:
    """Hear witnesses; again without the rows of classes that, by what they say, they have hardly seen."""
    heard = _hear(witnesses, given, sample_weight, fixed)
    if folds is None:
        return heard, fixed
    seems_right = 1 - heard.opinion.mean_share(heard.odds.wrong)
    learned = None if sample_weight is None else sample_weight > 0
    unseen = hardly_seen(given, folds, witnesses[0].shape[1], learned, seems_right)
    known = np.zeros(len(given), bool) if fixed is None else fixed
    if not (unseen & ~known).any():
        return heard, fixed
    fixed = known | unseen
    return _hear(witnesses, given, sample_weight, fixed), fixed


class _Heard(NamedTuple):
    """What witnesses say of a data set, and what the judge makes of it."""

    belief: Belief
    setting: Setting
    odds: Odds
    opinion: Opinion
    knows: bool  # whether they know anything of a row that counts


def _hear(
    witnesses: Sequence[Floats],
    given: Codes,
    sample_weight: Floats | None,
    fixed: NDArray[np.bool_] | None,
    transition_matrix: NDArray[np.float64] | None = None,
) -> _Heard:
    """Hear witnesses on all rows but those that they know nothing of."""
    fixed = np.zeros(len(given), bool) if fixed is None else fixed
    weight = np.ones(len(given), np.float32) if sample_weight is None else sample_weight
    knows = bool((weight[~fixed] > 0).any())
    if not knows:
        witnesses = [np.full_like(witness, 1 / witness.shape[1]) for witness in witnesses]
    elif fixed.any():
        sample_weight = np.where(fixed, np.float32(0), weight)
    belief = form_belief(witnesses, given, sample_weight, transition_matrix)
    setting = describe_fit(witnesses, given, belief, sample_weight)
    prior = prior_for(len(witnesses))
    odds = judge_rows(prior, witnesses, given, belief, setting)
    if knows and fixed.any():  # what is known of them is how many others are wrong
        odds.wrong[fixed] = logit(expit(odds.wrong[~fixed]).mean())
        odds.named[fixed] = -np.log(max(witnesses[0].shape[1] - 2, float(_TINY)))
    return _Heard(belief, setting, odds, prior.opinion(odds.wrong, setting), knows)


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


def choose_rows(
    given: Codes, odds: Odds, opinion: Opinion, margin: float = 0.0, fixed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Choose the rows of which nearly all known sets expect a gain, the largest first where a class would lose many."""
    named, wrong, gain = expit(odds.named), opinion.mean_share(odds.wrong), _sure_gain(odds, opinion)
    candidates = np.flatnonzero((gain > margin) if fixed is None else (gain > margin) & ~fixed)
    order = candidates[np.argsort(-gain[candidates], kind="stable")]
    most = _most_to_lose(given, odds.proposed, wrong, wrong * named)
    chosen: NDArray[np.int64] = order[_rank_in_class(given[order]) < most[given[order]]]
    return chosen


def expected_gain(odds: Odds, rows: NDArray[np.int64], opinion: Opinion, known: int = 0) -> ExpectedGain:
    """Say what changing some rows is worth, where so many labels are right beside them that were not."""
    gains = opinion.total_shares(odds.wrong[rows], 1 + expit(odds.named[rows])) - len(rows) + known
    gains /= len(odds.wrong)
    return ExpectedGain(float(opinion.weights @ gains), *interval_of(gains, opinion))


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


def interval_of(values: NDArray[np.float64], opinion: Opinion) -> tuple[float, float]:
    """Give the interval that lies between the 2.5 and the 97.5 % quantile of what the pairs of an opinion say."""
    low, high = (float(opinion.quantiles(values[:, np.newaxis], share)[0]) for share in _INTERVAL)
    return low, high


def outwards(interval: tuple[float, float]) -> tuple[float, float]:
    """Round to whole percents, away from the middle: no finer than a share of wrong labels can be known."""
    low, high = interval
    return math.floor(100 * low) / 100, math.ceil(100 * high) / 100


def _reason(
    belief: Belief, given: Codes, setting: Setting, interval: tuple[float, float], any_heard: bool
) -> str | None:
    """Say why nothing is changed, unless there is nothing to change."""
    if not any_heard:
        return "no label can be judged: the networks that leave out the rows of a class have hardly seen it elsewhere"
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
