"""Knowing when not to correct, from the given labels alone.

What the networks said of rows they had not seen, before any label was changed, must agree better with the given labels
than with the same labels shuffled; otherwise there is nothing to be learned. Then two explanations of the given labels
compete, each judged by the likelihood it gives them: these first outputs; and the corrected labels, seen through the
noise matrix. Correction is refused where the second is worse than the first (the labels have drifted away), or where
the first has something to say beside the second: given labels that follow the inputs within a class were not confused
by class, and errors that follow the inputs cannot be told from truth. And networks that have not finished learning miss
labels that are right: to them these look like wrong ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .calibration import TEMPERATURES
from .noise import NoiseMatrix, temper
from .storage import row_blocks

__all__ = ["Unseen", "judge_unseen", "reason_to_refuse", "reason_to_train_on"]

_STANDARD_ERRORS = 2.0
_STANDARD_ERRORS_OF_CHANCE = 3.0  # random labels pass one time in 700
_SMALLEST_SHARE = 0.1  # of labels better explained by the inputs alone that matters
_SMALLEST_GAIN = 1e-3  # in nats a row: with very many rows anything is beyond chance
_SMALLEST_RISE = 0.015  # of the agreement in an epoch that matters
_FLOOR = 1e-3  # share of the frequencies in every explanation, against probabilities of 0


class Unseen(NamedTuple):
    """What outputs say of the given labels of rows that no network has seen, before any label is changed."""

    agrees: bool  # better than with the same labels shuffled
    likely: Tensor  # (n_samples,): the given label's probability, at the temperature that makes all most likely


def judge_unseen(before: Tensor, given: Tensor, sample_weight: Tensor | None = None) -> Unseen:
    """Compare outputs for unseen rows, (n_samples, n_classes), with the given labels."""
    weight = _weights(given, sample_weight)
    return Unseen(_agrees_beyond_chance(before, given, weight), _tempered_at_given(before, given, weight))


def reason_to_refuse(
    unseen: Unseen, after: Tensor, noise: NoiseMatrix, given: Tensor, sample_weight: Tensor | None = None
) -> str | None:
    """Say why the given labels should be kept, or None where the correction has evidence on its side.

    Parameters
    ----------
    unseen : Unseen
        What was known just before labels were first updated.
    after : Tensor of shape (n_samples, n_classes)
        Final outputs, calibrated.
    noise : NoiseMatrix
        The noise matrix that goes with them.
    given : Tensor of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : Tensor of shape (n_samples,) or None, default=None
        Weights of the rows.

    Returns
    -------
    str or None
        The reason, a sentence for people.
    """
    if not unseen.agrees:
        return "on unseen rows the networks agree with the given labels no better than by chance"
    weight = _weights(given, sample_weight)
    rows = weight > 0
    corrected = noise.log_likelihoods(after).exp()[rows]
    before, given, weight = unseen.likely[rows], given[rows], weight[rows]
    by_frequency = _class_shares(given, weight, after.shape[1])[given]
    before = torch.lerp(before, by_frequency, _FLOOR)
    corrected = torch.lerp(corrected, by_frequency, _FLOOR)
    if _clearly_better(before, corrected, weight):
        return (
            "seen through the noise matrix, the corrected labels explain the given ones worse than the network did "
            "before any label was changed"
        )
    share = _best_share(before, corrected, weight)
    if share >= _SMALLEST_SHARE and _clearly_better(torch.lerp(corrected, before, share), corrected, weight):
        return (
            f"the given labels follow the inputs also within a class (about {share:.0%} of them), so that wrong labels "
            "cannot be told from unusual ones"
        )
    return None


def reason_to_train_on(share: float, rise: float, n_rows: int) -> str | None:
    """Say that networks were still learning, where their agreement with unseen labels rose in the last epoch.

    Parameters
    ----------
    share : float
        Share of the given labels that were predicted by networks which had not seen them, in the last epoch.
    rise : float
        By how much it was higher than in any epoch before; NaN where that is not known.
    n_rows : int
        Rows it was measured on.

    Returns
    -------
    str or None
        A sentence for people; None where they were not, or it was too little to tell.
    """
    by_chance = _STANDARD_ERRORS * math.sqrt(share * (1 - share) / max(n_rows, 1))
    if rise > max(by_chance, _SMALLEST_RISE):
        return (
            "the networks were still learning: on unseen rows their agreement with the given labels rose by "
            f"{100 * rise:.1f} points to {share:.1%} in the last epoch; train for more epochs"
        )
    return None


def _weights(given: Tensor, sample_weight: Tensor | None) -> Tensor:
    return torch.ones(len(given), device=given.device) if sample_weight is None else sample_weight


def _class_shares(given: Tensor, weight: Tensor, n_classes: int) -> Tensor:
    return torch.zeros(n_classes, device=given.device).index_add_(0, given, weight) / weight.sum()


def _agrees_beyond_chance(proba: Tensor, given: Tensor, weight: Tensor) -> bool:
    """Whether outputs at the given classes are higher than if these were shuffled, by a permutation test."""
    shares = _class_shares(given, weight, proba.shape[1])
    ahead = variance = 0.0
    for rows in row_blocks(*proba.shape):
        block = proba[rows]
        expected = block @ shares
        ahead += float((weight[rows] * (_at(block, given[rows]) - expected)).sum())
        variance += float((weight[rows] ** 2 * (block**2 @ shares - expected**2).clamp_min(0.0)).sum())
    return ahead > _STANDARD_ERRORS_OF_CHANCE * math.sqrt(variance)


def _tempered_at_given(proba: Tensor, given: Tensor, weight: Tensor) -> Tensor:
    """Give the outputs at the given classes, at the temperature that makes these most likely."""

    def tempered(temperature: float) -> Tensor:
        return torch.cat([_at(temper(proba[rows], temperature), given[rows]) for rows in row_blocks(*proba.shape)])

    return max(map(tempered, TEMPERATURES), key=lambda likely: float((weight * likely.clamp_min(1e-9).log()).sum()))


def _at(proba: Tensor, classes: Tensor) -> Tensor:
    return proba.gather(1, classes.unsqueeze(1)).squeeze(1)


def _clearly_better(likely: Tensor, than: Tensor, weight: Tensor) -> bool:
    """Whether one explanation's likelihood exceeds another's by more than chance, and enough to matter."""
    ahead = weight * (likely.log() - than.log())
    by_chance = _STANDARD_ERRORS * ahead.std(correction=0) * math.sqrt(len(ahead))
    return bool(ahead.sum() > max(by_chance, _SMALLEST_GAIN * weight.sum()))


def _best_share(first: Tensor, second: Tensor, weight: Tensor) -> float:
    """Give the share of the first explanation in the mixture of both that makes the given labels most likely."""
    shares = torch.linspace(0, 0.95, 20)
    likelihoods = [float((weight * torch.lerp(second, first, float(share)).log()).sum()) for share in shares]
    return float(shares[int(torch.tensor(likelihoods).argmax())])
