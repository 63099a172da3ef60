"""Does a running mean prediction in L_p pay where a batch holds few rows of each class?

    python benchmarks/prior_momentum.py --data FOLDER --keel FOLDER

Sets of 10 to 100 classes, batches of 16 or 32 rows, 20 and 40 % of the labels changed to any other, three seeds: the
share of labels that are right after the fit, and test accuracy, without (0, the paper) and with
``net_params={"prior_momentum": 0.9}``, all else as it is by default. `--data` is the folder of `suite_data`, `--keel`
one of the .dat files of the KEEL repository. It goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, make_classification
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import recovery_accuracy
from noisyfit.noise import corrupt_labels, symmetric_noise

from results import RESULTS, write_json

MOMENTA, RATES = (0.0, 0.9), (0.2, 0.4)
N_CLASSES_OF_TEXTS = 100
# rows to train on, at most, and rows a batch
SETS = {
    "letter": (2000, 16),
    "vowel": (1000, 16),
    "movement_libras": (1000, 16),
    "digits": (800, 32),
    "made of 100 classes": (2000, 32),
    "clinc, 100 classes": (2000, 32),
}


def loaders(data: Path, keel: Path) -> dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]]:
    return {
        **{name: lambda name=name: of_keel(keel / f"{name}.dat") for name in ("letter", "vowel", "movement_libras")},
        "digits": lambda: load_digits(return_X_y=True),
        "made of 100 classes": lambda: make_classification(
            4000,
            40,
            n_informative=30,
            n_redundant=0,
            n_classes=100,
            n_clusters_per_class=1,
            class_sep=3,
            random_state=0,
        ),
        "clinc, 100 classes": lambda: of_clinc(data / "clinc150.jsonl.gz"),
    }


def of_keel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    lines = [line.strip().split(",") for line in path.read_text().splitlines() if line.strip() and line[0] != "@"]
    y = np.unique([line[-1] for line in lines], return_inverse=True)[1]
    return np.array([line[:-1] for line in lines], dtype=float), y


def of_clinc(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give the training texts of the first classes, as 150 components of their TF-IDF."""
    with gzip.open(path, "rt") as lines:
        items = [json.loads(line) for line in lines]
    items = [item for item in items if item["split"] == "train" and item["gold"] != "oos"]
    y = np.unique([item["gold"] for item in items], return_inverse=True)[1]
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    X = TruncatedSVD(150, random_state=0).fit_transform(words.fit_transform([item["text"] for item in items]))
    return X[y < N_CLASSES_OF_TEXTS], y[y < N_CLASSES_OF_TEXTS]


def run(X: np.ndarray, y: np.ndarray, n_rows: int, batch_size: int, rate: float, seed: int) -> dict[str, float]:
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    X, y_clean = X[:n_rows], y[:n_rows]
    y_given = corrupt_labels(y_clean, symmetric_noise(int(y.max()) + 1, rate), random_state=seed)
    found = {}
    for momentum in MOMENTA:
        clf = JointOptimizationClassifier(
            batch_size=batch_size, net_params={"prior_momentum": momentum}, random_state=seed, device="cpu"
        ).fit(X, y_given)
        found[f"labels right, {momentum}"] = 100 * recovery_accuracy(y_clean, clf.corrected_labels_)
        found[f"test accuracy, {momentum}"] = 100 * clf.score(X_test, y_test)
    return found


def already_run() -> list[dict[str, Any]]:
    path = RESULTS / "prior_momentum.json"
    return json.loads(path.read_text())["runs"] if path.exists() else []


def show(runs: list[dict[str, Any]]) -> None:
    table = pd.DataFrame(runs).groupby(["set", "rate"], sort=False).mean().drop(columns="seed")
    gain = table["labels right, 0.9"] - table["labels right, 0.0"]
    of_test = table["test accuracy, 0.9"] - table["test accuracy, 0.0"]
    print(table.assign(gain=gain, gain_of_test=of_test).round(1).to_string())
    print(f"mean gain: {gain.mean():.1f} points of labels right, {of_test.mean():.1f} of test accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("NOISYFIT_DATA"), help="folder of the data; or NOISYFIT_DATA")
    parser.add_argument("--keel", help="folder of KEEL's .dat files")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    runs = already_run()
    done = {(one["set"], one["rate"], one["seed"]) for one in runs}
    load = loaders(Path(args.data), Path(args.keel))
    for seed, name, rate in itertools.product(range(args.seeds), args.sets, RATES):
        if (name, rate, seed) in done:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run(*load[name](), *SETS[name], rate, seed)
        runs.append({"set": name, "rate": rate, "seed": seed, **found})
        print({key: round(value, 1) if isinstance(value, float) else value for key, value in runs[-1].items()})
        write_json("prior_momentum", {"sets": SETS, "runs": runs})
    show(runs)


if __name__ == "__main__":
    main()
