"""What becomes of a class that lies in one group, by how much of it other networks must have seen to judge its labels.

    python benchmarks/judge/one_group.py --keel FOLDER [--data FOLDER]

Tables of the corpus with many classes, in 20 groups; all rows of one class, at most 40, lie in one group. The share is
also chosen with each set left out: by the labels right of the others, where these keep 99 % of the class's right ones.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit import JointOptimizationClassifier
from noisyfit.judgement import folds
from noisyfit.noise import corrupt_labels, symmetric_noise

import corpus_data
from results import write_json

SETS = ("digits", "optdigits", "penbased", "satimage", "segment", "texture", "vowel")
LEAST_SEEN = (0.0, 0.125, 0.25, 0.5)
RATES = (0.2, 0.4)
MOST_ROWS, MOST_OF_CLASS, GROUPS = 1200, 40, 20
KEPT = 0.99


def draw(name: str, keel: Path | None, data: Path | None) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Give inputs, true labels, the class that lies in one group, and the groups."""
    X, y, _ = corpus_data.loaders(keel, data)[name]()
    rows = np.random.RandomState(0).permutation(len(y))[:MOST_ROWS]
    X, y = X[rows], np.unique(np.asarray(y)[rows], return_inverse=True)[1]
    alone = int(np.argsort(np.bincount(y), kind="stable")[len(np.unique(y)) // 2])
    few = (y != alone) | (np.cumsum(y == alone) <= MOST_OF_CLASS)
    X, y = X[few], y[few]
    return X, y, alone, np.where(y == alone, 3, np.random.RandomState(1).randint(GROUPS, size=len(y)))


def measure(name: str, drawn: tuple, rate: float, least_seen: float) -> dict[str, object]:
    X, y, alone, groups = drawn
    given = corrupt_labels(y, symmetric_noise(y.max() + 1, rate), random_state=0)
    with mock.patch.object(folds, "_LEAST_SEEN", least_seen):
        clf = JointOptimizationClassifier(random_state=0).fit(X, given, groups=groups)
    right, corrected = given == y, clf.corrected_labels_ == y
    found = {"given": right.mean(), "corrected": corrected.mean(), "kept": corrected[right & (y == alone)].mean()}
    return {"set": name, "rate": rate, "least_seen": least_seen, **found, "accuracy": (clf.predict(X) == y).mean()}


def chosen(table: pd.DataFrame) -> float:
    means = table.groupby("least_seen").mean(numeric_only=True)
    keeping = means[means["kept"] >= KEPT]
    return float((keeping if len(keeping) else means)["corrected"].idxmax())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keel", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    measured = []
    for name in SETS:
        drawn = draw(name, args.keel, args.data)
        measured += [measure(name, drawn, rate, share) for rate in RATES for share in LEAST_SEEN]
        print(pd.DataFrame(measured[-len(RATES) * len(LEAST_SEEN) :]).round(3).to_string(), flush=True)
    table = pd.DataFrame(measured)
    print((100 * table.groupby(["rate", "least_seen"]).mean(numeric_only=True)).round(1).to_string())
    by_others = {name: chosen(table[table["set"] != name]) for name in SETS}
    print("chosen with the set left out:", by_others)
    write_json("one_group", {"measured": measured, "chosen_with_the_set_left_out": by_others})


if __name__ == "__main__":
    main()
