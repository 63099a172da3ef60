"""What becomes of the labels when training has ended: the evidence is weighed once more, at its full weight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .calibration import calibrate, temper
from .labels import LabelStore
from .noise import NoiseMatrix
from .refusal import reason_to_refuse

__all__ = ["Evidence", "conclude", "keep_within_margin"]


class Evidence(NamedTuple):
    """How outputs become labels for rows that the network has not seen.

    `weight` is that of the given label, 0 for none; the outputs are tempered before it is taken into account.
    `refused` says why no label should be changed.
    """

    weight: float
    temperature: float = 1.0
    refused: str | None = None

    def posterior(self, proba: Tensor, noise: NoiseMatrix) -> Tensor:
        """Weigh outputs (n_samples, n_classes) by the given labels that `noise` knows."""
        if self.weight == 0:
            return proba
        return noise.posterior_(temper(proba, self.temperature), self.weight)


def conclude(
    labels: LabelStore, noise: NoiseMatrix, sample_weight: Tensor | None, generator: torch.Generator
) -> Evidence:
    """Calibrate the outputs of cross-fitted networks, and revise labels and noise matrix by them.

    While training the evidence may be given less weight than it has, because what other networks have learned from a
    given label finds its way back into its row's output. Here it has full weight.
    """
    outputs = labels.average_outputs()
    temperature, calibrated = calibrate(outputs, labels.given, sample_weight, generator)
    assert labels.first_outputs is not None
    after = temper(outputs, temperature)
    refused = reason_to_refuse(labels.first_outputs, after, calibrated, labels.given, sample_weight)
    evidence = Evidence(1.0, temperature, refused)
    labels.revise(calibrated.posterior_(after, evidence.weight))
    noise.step(labels.soft_labels)
    if refused:
        labels.train_on_given()
    return evidence


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
