"""What batch, layer and spectral normalisation do to the soft labels.

python benchmarks/paper/normalisation.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from harness import Budget, Result, Settings, Study, main, mean_over_seeds, panels
from joint import fit

BINS = np.linspace(0.1, 1, 19)


def batch(network: nn.Module) -> nn.Module:
    return network


def layer(network: nn.Module) -> nn.Module:
    """Replace batch normalisation by one over all channels and pixels of an image."""
    return replace_normalisation(network, lambda old: nn.GroupNorm(1, old.num_features))


def spectral(network: nn.Module) -> nn.Module:
    """Divide the weights of each layer by their largest singular value, without other normalisation."""
    network = no_normalisation(network)
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            spectral_norm(module)
    return network


def no_normalisation(network: nn.Module) -> nn.Module:
    return replace_normalisation(network, lambda old: nn.Identity())


def replace_normalisation(network: nn.Module, make: Callable[[nn.BatchNorm2d], nn.Module]) -> nn.Module:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, make(child))
    return network


KINDS = {"batch": batch, "layer": layer, "spectral": spectral, "none": no_normalisation}
RATES = (0.1, 0.02)  # the other studies' rate, at which only the first kind trains well, and one where all train


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [
        {"kind": kind, "lr": lr, "labels": "uniform_50", "seed": seed}
        for kind, lr in product(KINDS, RATES)
        for seed in seeds
    ]


def made(kind: str, budget: Budget) -> nn.Module:
    return KINDS[kind](budget.make_network())


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load(settings["labels"], settings["seed"])
    module = partial(made, settings["kind"], budget)
    clf, result = fit(budget, data, settings["seed"], module=module, lr=settings["lr"])
    soft = clf.soft_labels_.astype(np.float64)
    right = clf.corrected_labels_ == data.y_clean
    entropy = -(soft * np.log(np.maximum(soft, 1e-12))).sum(axis=1)
    return {
        **result,
        "entropy": float(entropy.mean()),
        "confidence_right": np.histogram(soft.max(axis=1)[right], BINS)[0].tolist(),
        "confidence_wrong": np.histogram(soft.max(axis=1)[~right], BINS)[0].tolist(),
    }


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, (recovery, right, wrong) = panels(3)
    for colour, kind in enumerate(KINDS):
        for lr, line in zip(RATES, (":", "-"), strict=True):
            curve = 100 * mean_over_seeds(done, "recovery_by_epoch", kind=kind, lr=lr)
            label = f"{kind}, rate {lr}: {curve[-1]:.1f} % at the end"
            recovery.plot(np.arange(1, len(curve) + 1), curve, line, color=f"C{colour}", label=label)
        for ax, key in ((right, "confidence_right"), (wrong, "confidence_wrong")):
            counts = mean_over_seeds(done, key, kind=kind, lr=RATES[1])
            ax.stairs(100 * counts / max(counts.sum(), 1), BINS, label=kind)
    recovery.set(xlabel="epoch", ylabel="%", ylim=(10, 100), title="right labels (recovery accuracy)")
    right.set(xlabel="largest soft label", ylabel="% of them", title=f"soft labels that are right, rate {RATES[1]}")
    wrong.set(xlabel="largest soft label", ylabel="% of them", title=f"soft labels that are wrong, rate {RATES[1]}")
    recovery.legend(fontsize="small", loc="upper right"), right.legend(fontsize="small")
    figure.suptitle("Normalisation and soft labels, half of the labels redrawn")
    return figure


if __name__ == "__main__":
    main(Study("normalisation", runs, run, draw))
