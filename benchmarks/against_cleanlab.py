"""Plain training, cleanlab and noisyfit on scikit-learn's digits: who gives the labels back right, and at what cost.

    python benchmarks/against_cleanlab.py --seeds 0 1 2 3 4

All three train the same network, the default one for tables, for the same epochs. 'plain' trains on the given labels
and proposes its own training prediction wherever it differs. cleanlab's CleanLearning cross-validates the plain
network (5 folds), drops what it finds and trains once more; its proposal is the `predicted_label` of the rows that it
marks. Times are of fits run in turn in one process; quote their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import label_error_scores, recovery_accuracy
from noisyfit.noise import corrupt_labels, pair_flip_noise, symmetric_noise

from results import mean_and_spread, write_json

NOISE = {
    "symmetric 40 %": symmetric_noise(10, 0.4),
    "pair flips 30 %": pair_flip_noise(10, 0.3),
    "symmetric 20 %": symmetric_noise(10, 0.2),
    "none": np.eye(10),
}
METHODS = ("plain", "cleanlab", "noisyfit")


def fit(method: str, X, y, seed: int):
    """Give a fitted classifier, its label report and the corrected labels."""
    plain = JointOptimizationClassifier(alpha=0, beta=0, cross_fit=0, begin=60, random_state=seed)
    if method == "cleanlab":
        from cleanlab.classification import CleanLearning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clf = CleanLearning(plain, seed=seed).fit(X, y)
        report: pd.DataFrame = clf.get_label_issues()
        return clf, report, np.where(report["is_label_issue"], report["predicted_label"], y)
    clf = (JointOptimizationClassifier(random_state=seed) if method == "noisyfit" else plain).fit(X, y)
    return clf, clf.label_report(), clf.corrected_labels_


def run(method: str, matrix, seed: int) -> dict[str, float]:
    X, y = load_digits(return_X_y=True)
    X, X_test, y_clean, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    y_noisy = corrupt_labels(y_clean, matrix, random_state=seed)
    start = time.perf_counter()
    clf, report, corrected = fit(method, X, y_noisy, seed)
    seconds = time.perf_counter() - start
    return {
        "given_right": recovery_accuracy(y_clean, y_noisy),
        "labels_right": recovery_accuracy(y_clean, corrected),
        "test_accuracy": float(np.mean(clf.predict(X_test) == y_test)),
        **label_error_scores(y_clean, y_noisy, report),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    seeds = parser.parse_args().seeds
    run("plain", NOISE["none"], 0)  # the first fit of a process pays for imports
    runs = {
        noise: [{method: run(method, matrix, seed) for method in METHODS} for seed in seeds]
        for noise, matrix in NOISE.items()
    }
    for noise, by_seed in runs.items():
        print(f"\n{noise}, seeds {seeds}: mean (standard deviation)")
        for name in ("given_right", "labels_right", "test_accuracy", "auroc", "f1"):
            figures = (f"{method} {mean_and_spread([r[method][name] for r in by_seed])}" for method in METHODS)
            print(f"  {name:14}", *figures, sep="  ")
        for method in METHODS[:2]:
            ratio = statistics.median(r["noisyfit"]["seconds"] / r[method]["seconds"] for r in by_seed)
            print(f"  time of noisyfit / {method}, median: {ratio:.2f}")
    write_json("against_cleanlab", {"seeds": seeds, "runs": runs})


if __name__ == "__main__":
    main()
