"""Clean labels where the class prior term is known to go wrong: unequal classes, many classes, small batches.

    python benchmarks/edge_cases.py --data FOLDER --seeds 0 1 2

The defaults against the same network trained plainly, without any label noise: test accuracy (balanced over classes for
the unequal ones), share of labels changed, and classes that no corrected label has.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from noisyfit import JointOptimizationClassifier

from results import mean_and_spread, write_json
from suite import plain_training
from suite_data import Pair, load_pair

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "10:1 imbalance": ("digits/none", {}),
    "150 classes": ("clinc150/none", {}),
    "batches of 16": ("digits/none", {"batch_size": 16}),
    "150 classes, batches of 16": ("clinc150/none", {"batch_size": 16, "max_epochs": 20}),
}


def cut_to_a_tenth(data: Pair, seed: int) -> Pair:
    """Keep a tenth of the training rows of every other class."""
    keep = (data.y_clean % 2 == 0) | (np.random.RandomState(seed).rand(len(data.y_clean)) < 0.1)
    return data._replace(X=data.X[keep], y_given=data.y_given[keep], y_clean=data.y_clean[keep])


def run(case: str, folder: Path, seed: int) -> dict[str, float]:
    pair, params = CASES[case]
    data = load_pair(pair, folder, seed)
    data = cut_to_a_tenth(data, seed) if "imbalance" in case else data
    ours = JointOptimizationClassifier(random_state=seed, **params).fit(data.X, data.y_given)
    plain = plain_training(random_state=seed, **params).fit(data.X, data.y_given)
    return {
        "noisyfit": balanced_accuracy_score(data.y_test, ours.predict(data.X_test)),
        "plain": balanced_accuracy_score(data.y_test, plain.predict(data.X_test)),
        "changed": float(np.mean(ours.corrected_labels_ != data.y_given)),
        "classes lost": len(np.unique(data.y_given)) - len(np.unique(ours.corrected_labels_)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("NOISYFIT_DATA"), help="folder of the data; or NOISYFIT_DATA")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES, metavar="CASE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    runs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in args.cases:
            runs[case] = [run(case, Path(args.data), seed) for seed in args.seeds]
            figures = (f"{name} {mean_and_spread([r[name] for r in runs[case]])}" for name in runs[case][0])
            print(f"{case:28}", *figures, sep="  ", flush=True)
    write_json("edge_cases", {"seeds": args.seeds, "runs": runs})


if __name__ == "__main__":
    main()
