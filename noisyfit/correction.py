"""What becomes of the labels when training has ended: the evidence is weighed once more, at its full weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .anchors import Anchors, find_anchors
from .calibration import Calibration, calibrate
from .hindsight import pool_
from .labels import LabelStore
from .noise import NoiseMatrix, temper
from .refusal import Unseen, judge_unseen, reason_to_refuse
from .storage import row_blocks

__all__ = [
    "Evidence",
    "FirstLook",
    "ask_surest",
    "conclude",
    "damp_evidence",
    "evidence_weight",
    "keep_within_margin",
    "look_first",
    "weigh_evidence_",
]

_LEAST_WEIGHT = 0.5  # while training
_UNUSUAL = 0.019  # share of rows that may look like another class although their labels are right, at least
_UNUSUAL_MISSES = 0.57  # the same, as a share of the rows whose class the outputs miss
_STEEPNESS = 10  # of the steps between doubt and none
_MOST_DOUBT = 0.99  # below 1, so that the order of the suspects is kept
_LEAST_LEFT = 0.1  # of a doubt that the surest rows settle
_TOO_SURE = 2.5  # temperature of the outputs at which half is doubted
_AS_IN_TRAINING = 0.6  # share of the training's noise matrix and weight in the final ones, at most
# Contradictions of the surest rows, as a share of those of all, at which half is doubted, and how many standard errors
# below their count they are taken: to find no reason for doubt, and to overrule one that there is
_TO_TRUST, _ERRORS_TO_TRUST = 0.4, 1.0
_TO_OVERRULE, _ERRORS_TO_OVERRULE = 0.23, 3.0


class Evidence(NamedTuple):
    """How outputs become labels for rows that the network has not seen.

    `weight` is that of the given label, 0 for none; the outputs are tempered before it is taken into account.
    `doubt` is the share of the labels found wrong that are right all the same. `refused` says why no label should be
    changed.
    """

    weight: float
    temperature: float = 1.0
    doubt: float = 0.0
    refused: str | None = None

    def posterior(self, proba: Tensor, noise: NoiseMatrix) -> Tensor:
        """Weigh outputs (n_samples, n_classes) by the given labels that `noise` knows."""
        if self.weight == 0:
            return proba
        posterior = noise.posterior_(temper(proba, self.temperature), self.weight)
        return noise.mix_in_given_(posterior, self.doubt)


def evidence_weight(gamma: float | str, folds: Tensor | None, noise: NoiseMatrix) -> float:
    """Give the weight of the given labels in the next update, which `gamma` says or leaves to be found.

    Labels that are mostly right teach networks what they may keep; where many are wrong, what other networks have
    learned from a given label comes back as an output that confirms it.
    """
    if not isinstance(gamma, str):
        return gamma
    return 0.0 if folds is None else _weight_against_leak(noise)


def _weight_against_leak(noise: NoiseMatrix) -> float:
    return max(_LEAST_WEIGHT, 1.0 - noise.wrong_share())


def weigh_evidence_(outputs: Tensor, gamma: float | str, folds: Tensor | None, noise: NoiseMatrix) -> Tensor:
    """Turn averaged outputs (n_samples, n_classes), in place, into labels for the next epoch.

    The step for a `gamma` that is given is the exact one of the objective. One that is found damps the evidence as if
    the labels were noisier, so that no class gains by it.
    """
    weight = evidence_weight(gamma, folds, noise)
    return noise.posterior_(outputs, weight, normalised=isinstance(gamma, str)) if weight else outputs


class FirstLook(NamedTuple):
    """What outputs said before any label was changed: free of what networks learn from each other's labels."""

    unseen: Unseen
    found_wrong: float  # share of the labels that contradict them
    missed: float  # share of the rows whose class they are expected to miss
    anchors: Anchors

    def doubt(self) -> float:
        """Give the share of the labels found wrong that may be right, since nothing here says that labels are wrong.

        Where some are, the outputs mostly find more labels wrong than they miss classes, or the rows that they are
        surest of contradict their labels at least four tenths as often as all do. With few rows neither need be so.
        """
        contradiction = self.anchors.contradiction(_ERRORS_TO_TRUST)
        return min(_doubt(self.found_wrong, self.missed), _doubt(contradiction, _TO_TRUST))


def look_first(outputs: Tensor, given: Tensor, sample_weight: Tensor | None, generator: torch.Generator) -> FirstLook:
    """Keep what `conclude` will want to know of the first averaged outputs (n_samples, n_classes)."""
    calibrated = calibrate(outputs, given, sample_weight, generator, standard_errors=0.0)
    return FirstLook(
        judge_unseen(outputs, given, sample_weight),
        calibrated.noise.wrong_share(),
        _share_missed(outputs, sample_weight, calibrated.temperature),
        find_anchors(outputs, given, sample_weight),
    )


def conclude(
    labels: LabelStore,
    noise: NoiseMatrix,
    first: FirstLook,
    generator: torch.Generator,
    reason_to_train_on: str | None = None,
    learned: Callable[[], Tensor] | None = None,
) -> Evidence:
    """Calibrate the outputs of cross-fitted networks, and revise labels and noise matrix by them.

    New rows, which nobody has learned from, will be weighed by the noise matrix of the final labels at full weight.

    Parameters
    ----------
    labels : LabelStore
        Its memory of outputs is freed.
    noise : NoiseMatrix
        As of the last update.
    first : FirstLook
        What was kept before the first update.
    generator : Generator
        Draws the sample that the temperature is chosen on.
    reason_to_train_on : str or None, default=None
        Why training should have gone on: no label is changed then.
    learned : callable or None, default=None
        Gives the outputs (n_samples, n_classes) of networks that have learned a row's given label and no other.
    """
    outputs, sample_weight = labels.average_outputs(), noise.sample_weight
    labels.forget_outputs()
    found = calibrate(outputs, labels.given, sample_weight, generator)
    _temper_(outputs, found.temperature)
    refused = reason_to_train_on or reason_to_refuse(first.unseen, outputs, found.noise, labels.given, sample_weight)
    missed = _share_missed(outputs, sample_weight)
    # each count can mislead: the first where pair flips pass for overlap, the last where labels have drifted
    found_wrong = math.sqrt(first.found_wrong * found.noise.wrong_share())
    few, hard = _doubt(found_wrong, _UNUSUAL), _doubt(found_wrong, _UNUSUAL_MISSES * missed)
    damped, weight = damp_evidence(found, noise)
    damped, weight, hard = ask_surest(first, damped, weight, hard, found.temperature)
    doubt = max(few, hard)
    if learned is not None:
        pool_(outputs, _temper_(learned(), found.temperature), labels.given, sample_weight)
    labels.revise(noise.mix_in_given_(damped.posterior_(outputs, weight, normalised=True), doubt))
    noise.step(labels.soft_labels)
    if first.unseen.agrees and labels.share_corrected() == 0:
        refused = None  # there is nothing to refuse
    if refused:
        labels.train_on_given()
    return Evidence(1.0, found.temperature, doubt, refused)


def damp_evidence(found: Calibration, trained: NoiseMatrix) -> tuple[NoiseMatrix, float]:
    """Give a noise matrix and a weight of the given labels between the most likely ones and those of the training.

    The most likely matrix explains as much as it can by overlap of the classes: where people err on what is hard for
    networks, too, it finds too few labels wrong. That of the training takes what the networks say for the truth, their
    own errors as well, and so finds too many; its weight, below 1, allows for what other networks have learned from
    a given label and bring back in its row's output. Matrix and weight of the training count less, the further the
    outputs are from as sure as the given labels bear out; far from it the most likely matrix is all but alone.

    Parameters
    ----------
    found : Calibration
        That of the final outputs, with the most likely noise matrix.
    trained : NoiseMatrix
        As of the last update while training; left as it is.

    Returns
    -------
    damped : NoiseMatrix
        A copy with a mixture of both matrices.
    weight : float
        Of the given labels, in [0.7, 1].
    """
    share = _AS_IN_TRAINING / max(found.most_likely**2, 1.0 / found.most_likely)
    weight = 1.0 + share * (_weight_against_leak(trained) - 1.0)
    return trained.with_matrix(torch.lerp(found.noise.matrix, trained.matrix, share)), weight


def ask_surest(
    first: FirstLook, noise: NoiseMatrix, weight: float, doubt: float, temperature: float
) -> tuple[NoiseMatrix, float, float]:
    """Settle a doubt, and the noise matrix that goes with it, by the rows that the first outputs were surest of.

    Labels that look unusual because classes are hard mostly leave these rows alone; labels that are confused by class
    do not. So as far as there is doubt, it becomes theirs, and so do noise matrix and weight. Doubt stays where the
    final outputs have become far surer than the given labels bear out, as they do where classes overlap so much that
    no row is sure. The first look may doubt where the last outputs do not: that changes neither matrix nor weight.

    Parameters
    ----------
    first : FirstLook
        With the surest rows.
    noise : NoiseMatrix
        As found from all rows; left as it is.
    weight : float
        Of the given labels.
    doubt : float
        Share of the labels found wrong that may be right all the same.
    temperature : float
        Of the final outputs.

    Returns
    -------
    noise : NoiseMatrix
    weight : float
    doubt : float
    """
    matrix = torch.lerp(noise.matrix, first.anchors.matrix(noise.matrix), doubt)
    contradiction = first.anchors.contradiction(_ERRORS_TO_OVERRULE)
    left = max(1.0 - _step(contradiction / _TO_OVERRULE), _step(temperature / _TOO_SURE), _LEAST_LEFT)
    return noise.with_matrix(matrix), weight + doubt * (1.0 - weight), max(doubt, first.doubt()) * left


def _step(ratio: float) -> float:
    """Rise from 0 to 1, steeply around a ratio of 1."""
    return 1.0 / (1.0 + max(ratio, 1e-9) ** -_STEEPNESS)


def _doubt(found: float, limit: float) -> float:
    """Give the share of the labels found wrong that is taken to be right all the same: nearly all below the limit.

    In any data some rows look like another class although their label is right, the more, the worse outputs know the
    classes; nothing in such a row's outputs tells it from one with a wrong label. Where fewer signs of wrong labels are
    found than such rows may give all labels are given back, where clearly more are found hardly any.
    """
    return min(_MOST_DOUBT, 1.0 - _step(found / max(limit, 1e-9)))


def _temper_(outputs: Tensor, temperature: float) -> Tensor:
    for rows in row_blocks(*outputs.shape):
        outputs[rows] = temper(outputs[rows], temperature)
    return outputs


def _share_missed(outputs: Tensor, weight: Tensor | None, temperature: float = 1.0) -> float:
    """Give the share of the rows whose class outputs (n_samples, n_classes) are expected to miss."""
    missed = torch.cat([1.0 - temper(outputs[rows], temperature).amax(dim=1) for rows in row_blocks(*outputs.shape)])
    return float(missed.mean() if weight is None else (missed * weight).sum() / weight.sum())


def keep_within_margin(
    soft_labels: NDArray[np.float32], codes: NDArray[np.int64], given: NDArray[np.int64], margin: float
) -> NDArray[np.int64]:
    """Give the new class numbers where soft[new] - soft[given] exceeds `margin`, elsewhere the given ones.

    A margin of 0 gives the new ones as they are.
    """
    if margin == 0:
        return codes
    rows = np.arange(len(codes))
    return np.where(soft_labels[rows, codes] - soft_labels[rows, given] > margin, codes, given)
