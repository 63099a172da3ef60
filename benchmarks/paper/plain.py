"""Training on the labels as they are given: one loop for cross entropy and all corrections of it.

Each loss is written from the paper that it names, and takes logits and the given labels as class numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from noisyfit.algorithm.trainer import learning_rate_factor
from noisyfit.machine.devices import use_bfloat16

from harness import BATCH_SIZE, Budget

Loss = Callable[[Tensor, Tensor], Tensor]
cross_entropy = nn.functional.cross_entropy


def forward_correction(transition: Tensor) -> Loss:
    """Patrini et al. (CVPR 2017): the cross entropy of predictions carried through the noise matrix."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return nn.functional.nll_loss((logits.softmax(dim=1) @ transition).clamp_min(1e-12).log(), y)

    return loss


def backward_correction(transition: Tensor) -> Loss:
    """Patrini et al. (CVPR 2017): the losses of all labels carried through the inverse of the noise matrix."""
    inverse = torch.linalg.pinv(transition)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return -(inverse[y] * logits.log_softmax(dim=1)).sum(dim=1).mean()

    return loss


def soft_bootstrapping(logits: Tensor, y: Tensor, share: float = 0.95) -> Tensor:
    """Reed et al. (ICLR 2015 workshop): a share of the target is the network's own prediction."""
    log_proba = logits.log_softmax(dim=1)
    return share * nn.functional.nll_loss(log_proba, y) - (1 - share) * (log_proba.exp() * log_proba).sum(1).mean()


def hard_bootstrapping(logits: Tensor, y: Tensor, share: float = 0.8) -> Tensor:
    """Reed et al. (ICLR 2015 workshop): a share of the target is the network's most probable class."""
    return share * cross_entropy(logits, y) + (1 - share) * cross_entropy(logits, logits.argmax(dim=1))


def train(
    network: nn.Module,
    X: np.ndarray,
    y: np.ndarray,
    budget: Budget,
    seed: int,
    loss: Loss = cross_entropy,
    mixup: float = 0.0,
    epochs: int | None = None,
    lr: float | None = None,
    schedule: str = "decay",
    augment: bool = True,
    after_epoch: Callable[[nn.Module, float, float], None] = lambda network, loss, accuracy: None,
) -> nn.Module:
    """Train on uint8 images; tells `after_epoch` the mean loss and the accuracy on the given labels while training.

    With `mixup` the parameter of Zhang et al. (ICLR 2018), the two given labels of a mixed pair share the loss.
    """
    torch.manual_seed(seed)
    device, epochs, lr = torch.device(budget.device), epochs or budget.epochs, lr or budget.lr
    x, given = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    network = network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr, momentum=0.9, weight_decay=budget.weight_decay, fused=True)
    half = use_bfloat16("auto", device, X.shape[1:])
    mixing = torch.distributions.Beta(mixup, mixup) if mixup else None
    for epoch in range(1, epochs + 1):
        network.train()
        for group in optimizer.param_groups:
            group["lr"] = lr * learning_rate_factor(schedule, epoch, epochs)
        sums = torch.zeros(2, device=device)
        for rows in torch.randperm(len(x), device=device)[: len(x) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE):
            batch = x[rows].float().div_(255)
            batch = budget.augment(batch) if augment else batch
            share, other = (mixing.sample() if mixing else 1.0), rows.roll(1)
            batch = batch if mixing is None else share * batch + (1 - share) * batch.roll(1, 0)
            with torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext():
                logits = network(batch.contiguous(memory_format=torch.channels_last))
            value = share * loss(logits.float(), given[rows])
            if mixing is not None:
                value = value + (1 - share) * loss(logits.float(), given[other])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            sums += torch.stack([value.detach(), (logits.argmax(dim=1) == given[rows]).float().mean()])
        mean_loss, accuracy = (sums / (len(x) // BATCH_SIZE)).tolist()
        after_epoch(network, mean_loss, accuracy)
    return network


@torch.no_grad()
def predict(network: nn.Module, X: np.ndarray) -> np.ndarray:
    """Give the class probabilities (n, n_classes) of uint8 images."""
    device = next(network.parameters()).device
    network.eval()
    batches = torch.from_numpy(X).split(512)
    return torch.cat([network(x.to(device).float().div_(255)).softmax(dim=1).cpu() for x in batches]).numpy()


def estimate_transition(X: np.ndarray, y: np.ndarray, budget: Budget, seed: int) -> Tensor:
    """Patrini et al.: row i is the prediction for the image that is most clearly of class i.

    'Most clearly' is the 97th percentile. The network stops after a quarter of the epochs, before it memorises labels.
    """
    proba = predict(train(budget.make_network(), X, y, budget, seed, epochs=budget.epochs // 4), X)
    clearest = [np.argsort(column)[int(0.97 * len(column))] for column in proba.T]
    return torch.from_numpy(proba[clearest]).to(budget.device)
