r"""How far outputs can be trusted, found from the given labels alone.

Where true classes overlap, given labels differ from confident outputs near the class boundaries; where labels are
wrong, they differ everywhere alike. So the temperature :math:`\tau` and the noise matrix T that make the given labels
most likely, :math:`\sum_i \log \sum_j \mathrm{softmax}(\log s_i / \tau)_j T_{j, given(i)}`, tell the one from the
other, for outputs of networks that have not seen the given label. Likelihood alone would favour high temperatures too
much: labels that other networks have learned find their way back into outputs. So the outputs are changed no more than
needed: by the rule of standard errors, the temperature nearest to 1 is taken that is not clearly worse than the best.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .noise import NoiseMatrix, temper

__all__ = ["TEMPERATURES", "Calibration", "calibrate"]

TEMPERATURES = (0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.5, 3.0, 3.6, 4.3, 5.2)
_FIRST_STEPS, _STEPS = 30, 10  # of T, at the first temperature and at each of the others
_STANDARD_ERRORS = 2.0
_LARGEST_SAMPLE = 1 << 21  # outputs (rows times classes) looked at


class Calibration(NamedTuple):
    """A temperature, the noise matrix that goes with it, and the temperature of highest likelihood."""

    temperature: float
    noise: NoiseMatrix
    most_likely: float


def calibrate(
    proba: Tensor,
    given: Tensor,
    sample_weight: Tensor | None,
    generator: torch.Generator,
    standard_errors: float = _STANDARD_ERRORS,
) -> Calibration:
    """Find the temperature of outputs that have not seen the given labels.

    Parameters
    ----------
    proba : Tensor of shape (n_samples, n_classes)
        Outputs.
    given : Tensor of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : Tensor of shape (n_samples,) or None
        Weights of the rows.
    generator : torch.Generator
        Draws the rows to look at, where there are very many.
    standard_errors : float, default=2.0
        How far from the best a temperature may be that is nearer to 1; 0 takes the most likely one.

    Returns
    -------
    Calibration
        The temperature, a noise matrix for all rows, and the most likely temperature.
    """
    n_rows, n_classes = proba.shape
    sample = _sample(n_rows, n_classes, generator).to(proba.device)
    sample = sample[given[sample].argsort(stable=True)]  # which makes `refine` fast
    sampled, weight = proba[sample], None if sample_weight is None else sample_weight[sample]
    noise = NoiseMatrix(given[sample], n_classes, weight)
    noise.step(sampled)
    likelihoods, matrices = [], []
    for i, temperature in enumerate(TEMPERATURES):
        tempered = temper(sampled, temperature)
        for _ in range(_STEPS if i else _FIRST_STEPS):
            noise.refine(tempered)
        likelihoods.append(noise.log_likelihoods(tempered))
        matrices.append(noise.matrix)
    chosen, best = _nearest_not_clearly_worse(torch.stack(likelihoods), weight, standard_errors)
    temperature, all_rows = TEMPERATURES[chosen], NoiseMatrix(given, n_classes, sample_weight, matrices[chosen])
    for _ in range(_STEPS if len(sample) < n_rows else 1):  # T has many more entries to fit than the temperature
        all_rows.refine(proba, temperature)
    return Calibration(temperature, all_rows, TEMPERATURES[best])


def _sample(n_rows: int, n_classes: int, generator: torch.Generator) -> Tensor:
    """Draw the numbers of the rows to look at, or give all where these are not too many."""
    size = max(1, _LARGEST_SAMPLE // n_classes)
    return torch.arange(n_rows) if n_rows <= size else torch.randperm(n_rows, generator=generator)[:size]


def _nearest_not_clearly_worse(likelihoods: Tensor, weight: Tensor | None, standard_errors: float) -> tuple[int, int]:
    """Choose the temperature nearest to 1 whose likelihood is within so many standard errors of the best.

    `likelihoods` has shape (n_temperatures, n_samples). Gives the positions of the chosen one and of the best.
    """
    if weight is not None:
        likelihoods = likelihoods * weight
    best = int(likelihoods.sum(dim=1).argmax())
    behind = likelihoods[best] - likelihoods
    allowed = standard_errors * behind.std(dim=1, correction=0) * math.sqrt(behind.shape[1])
    candidates = (behind.sum(dim=1) <= allowed).nonzero().squeeze(1).tolist()
    return min(candidates, key=lambda i: abs(math.log(TEMPERATURES[i]))), best
