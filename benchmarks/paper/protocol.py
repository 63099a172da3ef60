"""The paper's protocol, at one noise rate, and what a network made for speed does in a tenth of its arithmetic.

45,000 training images with noisy labels, 5,000 with clean ones, drawn class by class; both steps; test images scored
once. Runs that were cut go on from their last epoch. Says how much arithmetic was done, and in what time.

    python benchmarks/paper/protocol.py --budget gpu --data FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sklearn.model_selection import train_test_split
from torch.utils.flop_counter import FlopCounterMode

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import label_error_scores, recovery_accuracy

from cifar10n import FastNet
from harness import CPU, Budget, Result, Settings, Study, main, mean_over_seeds, panels

NOISY, VALIDATION = 45_000, 5_000  # images, of the paper's 50,000
RUNS = (("paper", "uniform_50"), ("fast", "uniform_50"), ("fast", "human_worse"))
NAMES = {"paper": "paper: PreAct ResNet-32", "fast": "defaults: network made for speed"}
LABELS = {"uniform_50": "half of the labels redrawn", "human_worse": "worst human labels"}
STATES = Path(__file__).parents[1] / ".cache" / "protocol"


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"settings": name, "labels": labels, "seed": seed} for seed in seeds for name, labels in RUNS]


def paper_settings(budget: Budget) -> dict[str, Any]:
    """Give the paper's own; with fewer epochs at the small budget, in its proportions, and its network of that size."""
    params = JointOptimizationClassifier.paper_params("symmetric", rate=0.5)
    for name in ("max_epochs", "begin", "retrain_epochs"):
        params[name] = max(1, round(params[name] * budget.epochs / 200))
    return params if budget.preact else params | {"module": budget.make_network}


def fast_settings(budget: Budget) -> dict[str, Any]:
    """Give the defaults, with 32 of the paper's 200 epochs: 2.4 of its 23.9 PFLOP."""
    return {
        "module": FastNet,
        "max_epochs": max(2, budget.epochs * 4 // 25),
        "batch_size": 512,
        "lr": 0.1,
        "net_params": {
            "optimizer__momentum": 0.9,
            "optimizer__nesterov": True,
            "optimizer__weight_decay": 5e-4,
        },
        "augment": "crop_flip",
    }


def run(settings: Settings, budget: Budget) -> Result:
    data, seed = budget.load(settings["labels"], settings["seed"]), settings["seed"]
    n_noisy = len(data.X) * NOISY // (NOISY + VALIDATION)
    split = {"train_size": n_noisy, "stratify": data.y_clean, "random_state": seed}
    X, X_valid, y_given, _, y_clean, y_valid = train_test_split(data.X, data.y_given, data.y_clean, **split)
    params = paper_settings(budget) if settings["settings"] == "paper" else fast_settings(budget)
    clf = JointOptimizationClassifier(**params, device=budget.device, random_state=seed, checkpoint=STATES)
    clf.fit(X, y_given)
    return {
        "validation": clf.score(X_valid, y_valid),
        "test_last": clf.score(data.X_test, data.y_test),
        "given_right": float(recovery_accuracy(y_clean, y_given)),
        "recovery": float(recovery_accuracy(y_clean, clf.corrected_labels_)),
        **label_error_scores(y_clean, y_given, clf.label_report()),
        "pflop": 1e-15 * len(X) * flop_of_an_image(clf),
        "fit_seconds": float(clf.history_["seconds"].sum()),
    }


def flop_of_an_image(clf: JointOptimizationClassifier) -> float:
    """Count the arithmetic of all epochs for an image: forward one part, backward two, where it is trained on."""
    network, n_networks = clf.net_.module_.eval(), max(1, clf.cross_fit)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 32, 32, device=clf.net_.device))
    forward = counter.get_total_flops()  # of all networks
    left_out = 1 / n_networks if n_networks > 1 else 0
    return forward * (clf.max_epochs * (3 - 2 * left_out) + 3 * clf.retrain_epochs)


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, (ax,) = panels(1, height=3.2)
    names = []
    for i, (name, labels) in enumerate(RUNS):
        test, recovery, pflop, seconds = (
            mean_over_seeds(done, key, settings=name, labels=labels)
            for key in ("test_last", "recovery", "pflop", "fit_seconds")
        )
        names.append(f"{NAMES[name]}\n{LABELS[labels]}\n{pflop:.2g} PFLOP, {seconds:,.0f} s")
        for place, share, color in ((i - 0.2, test, "C0"), (i + 0.2, recovery, "C1")):
            bar = ax.barh(place, 100 * share, height=0.35, color=color)
            ax.bar_label(bar, fmt="%.1f", padding=2, fontsize="small")
        print(f"{name:6} {labels:12} test {test:.1%}, labels right {recovery:.1%}, {pflop:.3g} PFLOP, {seconds:.0f} s")
    ax.set(xlim=(0, 110), xlabel="%", title=f"{budget.n_images:,} images")
    ax.set_yticks(range(len(RUNS)), names, fontsize="small")
    ax.invert_yaxis()
    figure.legend(ax.containers[:2], ["test accuracy", "labels right"], loc="outside lower center", ncols=2)
    return figure


if __name__ == "__main__":
    # the small budget shows that the script runs, and nothing else
    main(Study("protocol", runs, run, draw, cpu=CPU._replace(n_images=1_000, n_tested=1_000, epochs=10)))
