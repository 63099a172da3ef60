"""What becomes of a class that lies in one group: labels right, and right labels kept, by how much must have been seen.

    python benchmarks/judge/one_group.py

Digits, in 20 groups. Nine: all rows of it lie in one group; rare: so do its 40 rows; all: groups are the classes.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit import JointOptimizationClassifier, folds
from noisyfit.noise import corrupt_labels, symmetric_noise

from results import write_json

LEAST_SEEN = (0.0, 0.125, 0.25)
RATES = (0.2, 0.4)
SEEDS = range(1)


def layouts() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give inputs, true labels and groups."""
    X, y = load_digits(return_X_y=True)
    people = np.where(y == 9, 3, np.random.RandomState(0).randint(20, size=len(y)))
    few = (y != 9) | (np.cumsum(y == 9) <= 40)
    return {"nine": (X, y, people), "rare": (X[few], y[few], people[few]), "all": (X, y, y)}


def measure(layout: str, rate: float, seed: int, least_seen: float) -> dict[str, object]:
    X, y, groups = layouts()[layout]
    given = corrupt_labels(y, symmetric_noise(10, rate), random_state=seed)
    with mock.patch.object(folds, "_LEAST_SEEN", least_seen):
        clf = JointOptimizationClassifier(random_state=seed).fit(X, given, groups=groups)
    right, corrected = given == y, clf.corrected_labels_ == y
    alone = right & (y == 9) if layout != "all" else right
    return {
        "layout": layout,
        "rate": rate,
        "seed": seed,
        "least_seen": least_seen,
        "given": right.mean(),
        "corrected": corrected.mean(),
        "kept": corrected[right].mean(),
        "kept_of_class": corrected[alone].mean(),
        "accuracy": (clf.predict(X) == y).mean(),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    warnings.simplefilter("ignore")
    measured = []
    for least_seen in LEAST_SEEN:
        for layout in layouts():
            measured += [measure(layout, rate, seed, least_seen) for rate in RATES for seed in SEEDS]
        table = pd.DataFrame(measured)
        means = table.groupby(["layout", "rate", "least_seen"]).mean().drop(columns="seed")
        print((100 * means).round(1).to_string(), flush=True)
    write_json("one_group", {"measured": measured})


if __name__ == "__main__":
    main()
