"""Learning rate and memorisation: test accuracy by epoch of plain training on half-wrong labels, at several rates.

The paper: at a low rate test accuracy rises and then falls as wrong labels are memorised; a high rate keeps it up.

    python benchmarks/paper/learning_rate.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

import plain
from harness import Budget, Result, Settings, Study, best_last, main, mean_over_seeds, panels

RATES = (0.005, 0.02, 0.1, 0.4)


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"lr": lr, "labels": "uniform_50", "seed": seed} for lr in RATES for seed in seeds]


def run(settings: Settings, budget: Budget) -> Result:
    data, tested, trained = budget.load(settings["labels"], settings["seed"]), [], []
    X_test, y_test = data.X_test[: budget.n_tested], data.y_test[: budget.n_tested]

    def score(network: Any, loss: float, accuracy: float) -> None:
        tested.append(float((plain.predict(network, X_test).argmax(axis=1) == y_test).mean()))
        trained.append(accuracy)

    schedule = {"schedule": "constant", "lr": settings["lr"]}
    plain.train(budget.make_network(), data.X, data.y_given, budget, settings["seed"], after_epoch=score, **schedule)
    return {**best_last(tested), "train_by_epoch": trained}


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, (test, train) = panels(2)
    for lr in RATES:
        for ax, key in ((test, "test_by_epoch"), (train, "train_by_epoch")):
            curve = mean_over_seeds(done, key, lr=lr)
            ax.plot(np.arange(1, len(curve) + 1), 100 * curve, label=f"learning rate {lr:g}")
    test.set(xlabel="epoch", ylabel="%", title="right on test images")
    train.set(xlabel="epoch", ylabel="%", title="given labels predicted, wrong ones too")
    test.legend()
    figure.suptitle("Plain training, half of the labels redrawn (45 % wrong)")
    return figure


if __name__ == "__main__":
    main(Study("learning_rate", runs, run, draw))
