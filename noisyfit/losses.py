r"""The terms of the objective and their weighted sum, as pure functions of tensors.

The paper's objective (eq. 3) is

.. math:: L = L_c + \alpha L_p + \beta L_e

with the classification loss :math:`L_c` (eqs 4 and 5), the divergence of the class prior from the mean
prediction :math:`L_p` (eqs 8 and 9) and the entropy of the predictions :math:`L_e` (eq. 10).

Conventions: ``logits`` and ``labels`` have shape (n_batch, n_classes), ``class_prior`` has shape (n_classes,).
Every function returns a 0-d tensor in nats: the true value of its equation, no constant left out. Gradients
flow to the logits only.

References
----------
.. [1] D. Tanaka, D. Ikami, T. Yamasaki, K. Aizawa, "Joint Optimization Framework for Learning with Noisy
   Labels", CVPR 2018.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["class_prior_divergence", "joint_loss", "kl_classification_loss", "prediction_entropy"]

_SMALLEST_MEAN = 1e-30  # far above the smallest float32


def kl_classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Mean Kullback-Leibler divergence of the predictions from the labels.

    The term :math:`L_c` of [1]_, eqs 4 and 5:

    .. math:: L_c = \frac1n \sum_i \sum_j y_{ij} \log \frac{y_{ij}}{s_{ij}}

    For one-hot labels this is the cross entropy; for soft labels it is the cross entropy less the entropy of
    the labels, which no network parameter can change.

    Parameters
    ----------
    logits : Tensor of shape (n_batch, n_classes)
        Network outputs before the softmax.
    labels : Tensor of shape (n_batch, n_classes)
        Label distributions: entries in [0, 1], rows sum to 1. Constants: they get no gradient.

    Returns
    -------
    Tensor of shape ()
        In nats, at least 0, and 0 where the predictions equal the labels.

    Raises
    ------
    ValueError
        If the shapes differ or are not two-dimensional.

    References
    ----------
    .. [1] D. Tanaka et al., "Joint Optimization Framework for Learning with Noisy Labels", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.losses import kl_classification_loss
    >>> logits = torch.zeros(1, 4)  # four equally likely classes
    >>> labels = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> round(kl_classification_loss(logits, labels).item(), 4)  # log 4
    1.3863
    """
    _check_shapes(logits, labels=labels)
    logits, labels = _in_one_dtype(logits, labels)
    return _divergence_from_labels(torch.log_softmax(logits, dim=1), labels, _row_shares(logits, None))


def class_prior_divergence(logits: Tensor, class_prior: Tensor) -> Tensor:
    r"""Divergence of the class prior from the mean prediction.

    Keeps the learned labels from collapsing into few classes. The term :math:`L_p` of [1]_, eqs 8 and 9:

    .. math:: L_p = \sum_j p_j \log \frac{p_j}{\bar s_j}

    The mean :math:`\bar s` is over the mini-batch, an approximation of the mean over the training set.

    Parameters
    ----------
    logits : Tensor of shape (n_batch, n_classes)
        Network outputs before the softmax.
    class_prior : Tensor of shape (n_classes,)
        Assumed share of each class: entries in [0, 1], summing to 1. A class of share 0 is left out of the sum.

    Returns
    -------
    Tensor of shape ()
        In nats, at least 0. Finite for finite logits: the mean is taken in the log domain, so a class whose
        probabilities underflow still has a value and a gradient.

    Raises
    ------
    ValueError
        If `class_prior` does not have one entry per column of `logits`.

    References
    ----------
    .. [1] D. Tanaka et al., "Joint Optimization Framework for Learning with Noisy Labels", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.losses import class_prior_divergence
    >>> round(class_prior_divergence(torch.zeros(3, 2), torch.tensor([0.5, 0.5])).item(), 4)
    0.0
    """
    _check_shapes(logits, class_prior=class_prior)
    log_mean = _log_mean_proba(torch.log_softmax(logits, dim=1), None)
    return _divergence_from_prior(log_mean, class_prior)


def prediction_entropy(logits: Tensor) -> Tensor:
    r"""Mean entropy of the predictions.

    Drives soft labels towards certainty. The term :math:`L_e` of [1]_, eq. 10:

    .. math:: L_e = -\frac1n \sum_i \sum_j s_{ij} \log s_{ij}

    Parameters
    ----------
    logits : Tensor of shape (n_batch, n_classes)
        Network outputs before the softmax.

    Returns
    -------
    Tensor of shape ()
        In nats, between 0 and log(n_classes).

    Raises
    ------
    ValueError
        If `logits` is not two-dimensional.

    References
    ----------
    .. [1] D. Tanaka et al., "Joint Optimization Framework for Learning with Noisy Labels", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.losses import prediction_entropy
    >>> round(prediction_entropy(torch.zeros(5, 2)).item(), 4)  # log 2
    0.6931
    """
    _check_shapes(logits)
    log_proba = torch.log_softmax(logits, dim=1)
    return _entropy(log_proba, log_proba.exp(), _row_shares(logits, None))


def joint_loss(logits: Tensor, labels: Tensor, class_prior: Tensor, alpha: float, beta: float) -> Tensor:
    r"""Objective of joint optimisation, the weighted sum of the three terms.

    Eq. 3 of [1]_: :math:`L = L_c + \alpha L_p + \beta L_e`. Same value and gradient as adding up the three
    functions of this module, at less cost: one softmax serves all terms, and the gradient is worked out in closed
    form. It can be differentiated once, not twice, and not by `torch.func`.

    Parameters
    ----------
    logits : Tensor of shape (n_batch, n_classes)
        Network outputs before the softmax.
    labels : Tensor of shape (n_batch, n_classes)
        Label distributions: entries in [0, 1], rows sum to 1. Constants: they get no gradient.
    class_prior : Tensor of shape (n_classes,)
        Assumed share of each class: entries in [0, 1], summing to 1.
    alpha : float
        Weight of the class prior divergence, at least 0.
    beta : float
        Weight of the prediction entropy, at least 0.

    Returns
    -------
    Tensor of shape ()
        In nats, at least 0.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    References
    ----------
    .. [1] D. Tanaka et al., "Joint Optimization Framework for Learning with Noisy Labels", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.losses import joint_loss
    >>> logits = torch.zeros(3, 2, requires_grad=True)
    >>> labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    >>> loss = joint_loss(logits, labels, torch.tensor([0.5, 0.5]), alpha=1.2, beta=0.8)
    >>> loss.backward()
    >>> round(loss.item(), 4)
    1.0166
    """
    _check_shapes(logits, labels=labels, class_prior=class_prior)
    logits, labels, class_prior = _in_one_dtype(logits, labels.detach(), class_prior.detach())
    in_numpy = logits.is_cpu and logits.dtype == torch.float32
    worked_out = _loss_in_numpy(logits, labels, class_prior, alpha, beta) if in_numpy else None
    loss, gradient = worked_out or _loss_in_torch(logits, labels, class_prior, alpha, beta)
    slope = torch.dot(logits.flatten(), gradient.flatten())
    slope.detach().fill_(loss)  # the value of the one, the gradient of the other
    return slope


def _loss_in_torch(
    logits: Tensor, labels: Tensor, class_prior: Tensor, alpha: float, beta: float
) -> tuple[Tensor, Tensor]:
    """Give the joint loss and its gradient to the logits."""
    step = objective_gradient(logits, labels, class_prior, alpha, beta)
    divergence, imbalance, entropy = objective_terms(step, labels, class_prior)
    return divergence.add_(imbalance, alpha=alpha).add_(entropy, alpha=beta), step.gradient


def _loss_in_numpy(
    logits: Tensor, labels: Tensor, class_prior: Tensor, alpha: float, beta: float
) -> tuple[float, Tensor] | None:
    """Do the same by small operations of NumPy, which cost a third of torch's; None where a mean underflows."""
    log_proba = torch.log_softmax(logits.detach(), dim=1).numpy()
    y, prior = labels.numpy(), class_prior.numpy()
    n_rows, n_classes = y.shape
    alpha, beta = float(alpha), float(beta)  # numbers of NumPy would make all float64
    tiny, of_rows, of_classes = np.finfo(np.float32).tiny, np.ones(n_rows, np.float32), np.ones(n_classes, np.float32)
    proba = np.exp(log_proba)
    mean = (of_rows @ proba) / n_rows
    if not mean.min() > _SMALLEST_MEAN:
        return None
    ratio = alpha * prior / mean
    certainty = (proba * log_proba) @ of_classes  # less the entropy of each row
    # sum_k pull_ik as in `objective_gradient`, and then s_ij (sum_k pull_ik - ratio_j - beta log s_ij) - y_ij
    gradient = np.subtract.outer(y @ of_classes + beta * certainty + proba @ ratio, ratio)
    gradient -= beta * log_proba
    gradient *= proba
    gradient -= y
    gradient /= n_rows
    divergence = np.vdot(np.log(np.maximum(y, tiny)) - log_proba, y) / n_rows
    imbalance = np.vdot(prior, np.log(np.maximum(prior, tiny) / mean))
    loss = divergence + alpha * imbalance - beta * (certainty @ of_rows) / n_rows
    return float(loss), torch.from_numpy(gradient)


class RunningMean(NamedTuple):
    """Mean prediction over the batches so far: its logarithm (..., n_classes), and its share in the next mean."""

    log_mean: Tensor
    share: float


class ObjectiveStep(NamedTuple):
    """What a step down the objective needs."""

    gradient: Tensor  # (..., n_batch, n_classes): of the joint loss to the logits
    log_proba: Tensor  # (..., n_batch, n_classes): log softmax of the logits
    proba: Tensor  # (..., n_batch, n_classes): softmax of the logits
    log_mean: Tensor  # (..., n_classes): logarithm of the mean prediction that L_p compares


def objective_gradient(
    logits: Tensor,
    labels: Tensor,
    class_prior: Tensor,
    alpha: float,
    beta: float,
    sample_weight: Tensor | None = None,
    running: RunningMean | None = None,
) -> ObjectiveStep:
    """Give the gradient of the joint loss to the logits, without its value, which training asks for once an epoch.

    Logits of shape (..., n_batch, n_classes) are those of several networks, each with a loss of its own; labels,
    and weights of shape (..., n_batch), broadcast to them. With weights v the means over the batch are weighted means;
    a network whose weights are all 0 gets no gradient. Unlike the public functions it checks nothing: it runs once
    a batch.

    With row shares v (1/n without sample weights), r_ij = p_j s_ij / s_bar_j and H_i the entropy of row i, the gradient
    is

        dL/dz_ij = v_i [ s_ij - y_ij + alpha (s_ij sum_k r_ik - r_ij) - beta s_ij (log s_ij + H_i) ]

    With `running` the mean prediction of L_p is that of the earlier batches and this one. The gradient is an estimate
    of that of eq. 8 over all data: p_j / s_bar_j from the running mean, the derivative of s_bar_j from this batch. So
    `alpha` means the same with and without it.
    """
    log_proba = torch.log_softmax(logits.detach(), dim=-1)
    proba = log_proba.exp()
    shares = _row_shares(logits, sample_weight)
    mean = proba.sum(dim=-2).mul_(shares) if isinstance(shares, float) else (proba * shares).sum(dim=-2)
    # pull_ij = y_ij + alpha r_ij + beta s_ij log s_ij, with which the gradient is v_i [ s_ij sum_k pull_ik - pull_ij ]
    if running is None and not _may_underflow(mean):
        log_mean = mean.log()
        pull = torch.addcmul(
            labels, proba, torch.add((alpha * class_prior / mean).unsqueeze(-2), log_proba, alpha=beta)
        )
    else:
        log_mean = _log_mean_so_far(log_proba, sample_weight, running)
        ratio = (log_proba - log_mean.unsqueeze(-2)).exp_().mul_(class_prior)  # r_ij: s / s_bar survives underflow
        pull = torch.addcmul(labels + alpha * ratio, proba, log_proba, value=beta)
    gradient = pull.addcmul_(proba, pull.sum(dim=-1, keepdim=True), value=-1.0).mul_(-shares)
    return ObjectiveStep(gradient, log_proba, proba, log_mean)


def objective_terms(
    step: ObjectiveStep, labels: Tensor, class_prior: Tensor, sample_weight: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the values of L_c, L_p and L_e at a step, of shape (...) each."""
    shares = _row_shares(step.log_proba, sample_weight)
    return (
        _divergence_from_labels(step.log_proba, labels, shares),
        _divergence_from_prior(step.log_mean, class_prior),
        _entropy(step.log_proba, step.proba, shares),
    )


def sum_of_terms(
    log_proba: Tensor, labels: Tensor, weight: Tensor | None, log_means: Tensor, batch_weights: Tensor, prior: Tensor
) -> Tensor:
    """Add up L_c, L_p and L_e, each times its batch's weight, and these weights over batches and networks; shape (4,).

    `log_proba` (..., n, n_classes), `labels` (n, n_classes) and `weight` (..., n) are those of all batches;
    `log_means` (n_batches, ..., n_classes), `batch_weights` (n_batches, ...).
    """
    weights = 1.0 if weight is None else weight.unsqueeze(-1)
    divergence = _divergence_from_labels(log_proba, labels, weights).sum()
    entropy = _entropy(log_proba, log_proba.exp(), weights).sum()
    imbalance = (_divergence_from_prior(log_means, prior) * batch_weights).sum()
    return torch.stack([divergence, imbalance, entropy, batch_weights.sum()])


def _may_underflow(mean: Tensor) -> bool:
    """Whether a mean prediction may be too small for a quotient; always, where asking would wait for the device."""
    return not mean.is_cpu or not mean.min().item() > _SMALLEST_MEAN


def _log_mean_so_far(log_proba: Tensor, sample_weight: Tensor | None, running: RunningMean | None) -> Tensor:
    """Give the logarithm of the mean prediction that L_p compares, shape (..., n_classes)."""
    log_mean = _log_mean_proba(log_proba, sample_weight)
    if running is not None:
        log_mean = torch.logaddexp(running.log_mean + math.log(running.share), log_mean + math.log1p(-running.share))
    if sample_weight is None:
        return log_mean
    # without any weight in this batch the mean stays what it was
    otherwise = torch.zeros_like(log_mean) if running is None else running.log_mean
    return torch.where(sample_weight.sum(dim=-1, keepdim=True) > 0, log_mean, otherwise)


def _row_shares(logits: Tensor, sample_weight: Tensor | None) -> Tensor | float:
    """Share of each row in a mean over the batch: shape (..., n_batch, 1), or a number where all are equal."""
    if sample_weight is None:
        return 1.0 / logits.shape[-2]
    return _shares_of_weight(sample_weight).to(logits.dtype).unsqueeze(-1)


def _shares_of_weight(sample_weight: Tensor) -> Tensor:
    """Divide weights by their sum; leave them 0 where all are."""
    return sample_weight / sample_weight.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def _log_mean_proba(log_proba: Tensor, sample_weight: Tensor | None) -> Tensor:
    """log of the (weighted) mean prediction, shape (..., n_classes)."""
    if sample_weight is None:
        return torch.logsumexp(log_proba, dim=-2) - math.log(log_proba.shape[-2])
    log_shares = _shares_of_weight(sample_weight).log().to(log_proba.dtype)
    return torch.logsumexp(log_proba + log_shares.unsqueeze(-1), dim=-2)


def _divergence_from_labels(log_proba: Tensor, labels: Tensor, shares: Tensor | float) -> Tensor:
    log_labels = labels.clamp_min(torch.finfo(labels.dtype).tiny).log()  # 0 log 0 = 0; xlogy is three times as slow
    return _sum_of_products(log_labels - log_proba, labels, shares)


def _divergence_from_prior(log_mean: Tensor, class_prior: Tensor) -> Tensor:
    return (torch.xlogy(class_prior, class_prior) - class_prior * log_mean).sum(dim=-1)


def _entropy(log_proba: Tensor, proba: Tensor, shares: Tensor | float) -> Tensor:
    return _sum_of_products(log_proba, proba, shares).neg()


def _sum_of_products(first: Tensor, second: Tensor, shares: Tensor | float) -> Tensor:
    """Sum over rows and classes, each row by its share."""
    if not isinstance(shares, float):
        return (first * second * shares).sum(dim=(-2, -1))
    if first.shape == second.shape and first.ndim == 2:
        return torch.dot(first.flatten(), second.flatten()) * shares  # one pass instead of two
    return (first * second).sum(dim=(-2, -1)) * shares


def _in_one_dtype(logits: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Give tensors of the widest of their types: labels may be integers, or of NumPy's float64."""
    if all(other.dtype == logits.dtype for other in others):
        return (logits, *others)
    widest = functools.reduce(torch.promote_types, (other.dtype for other in others), logits.dtype)
    return tuple(tensor.to(widest) for tensor in (logits, *others))


def _check_shapes(logits: Tensor, *, labels: Tensor | None = None, class_prior: Tensor | None = None) -> None:
    if logits.ndim != 2 or logits.shape[0] == 0:
        raise ValueError(f"`logits` must have shape (n_batch, n_classes), n_batch >= 1; got {tuple(logits.shape)}.")
    if labels is not None and labels.shape != logits.shape:
        raise ValueError(
            f"`labels` must have the shape of `logits`, {tuple(logits.shape)}; got {tuple(labels.shape)}. "
            "Turn class numbers into rows with torch.nn.functional.one_hot."
        )
    if class_prior is not None and class_prior.shape != logits.shape[1:]:
        raise ValueError(
            f"`class_prior` must have one entry per class, shape ({logits.shape[1]},); got {tuple(class_prior.shape)}."
        )
