"""Noise rate and memorisation: a network fits labels of any noise rate, if one lets it.

The paper: the training loss goes to zero whatever the share of wrong labels, so it cannot tell which are wrong.

    python benchmarks/paper/memorisation.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

import plain
from harness import Budget, Result, Settings, Study, main, mean_over_seeds, panels

NOISE = (0, 10, 30, 50, 70, 90)


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"noise": noise, "seed": seed} for noise in NOISE for seed in seeds]


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load(f"uniform_{settings['noise']}", settings["seed"])
    losses, accuracies = [], []

    def note(network: Any, loss: float, accuracy: float) -> None:
        losses.append(loss)
        accuracies.append(accuracy)

    network = budget.make_network()
    plain.train(network, data.X, data.y_given, budget, settings["seed"], augment=False, after_epoch=note)
    predicted = plain.predict(network, data.X).argmax(axis=1)
    return {
        "loss_by_epoch": losses,
        "train_by_epoch": accuracies,
        "train_last": float((predicted == data.y_given).mean()),
        "test_last": float((plain.predict(network, data.X_test).argmax(axis=1) == data.y_test).mean()),
    }


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, (loss, accuracy) = panels(2)
    for noise in NOISE:
        losses, curve = (mean_over_seeds(done, key, noise=noise) for key in ("loss_by_epoch", "train_by_epoch"))
        epochs, at_end = np.arange(1, len(curve) + 1), mean_over_seeds(done, "train_last", noise=noise)
        loss.plot(epochs, losses)
        accuracy.plot(epochs, 100 * curve, label=f"{noise} % redrawn: {at_end:.1%} at the end")
    loss.set(xlabel="epoch", ylabel="nats", title="training loss")
    accuracy.set(xlabel="epoch", ylabel="%", title="given labels predicted, wrong ones too")
    accuracy.legend(fontsize="small")
    figure.suptitle("A network learns any labels by heart (without augmentation)")
    return figure


if __name__ == "__main__":
    main(Study("memorisation", runs, run, draw))
