"""Untuned defaults on many sets and kinds of label noise, against what people use: quality of labels and predictions.

    python benchmarks/suite.py --data FOLDER                   everything; goes on where it was interrupted
    python benchmarks/suite.py --data FOLDER --pairs digits/none letter/none --methods noisyfit
    python benchmarks/suite.py --table                         print the tables of what has been run

Every run is a line of ``results/suite.jsonl``. All methods with a network train the same one for the same number of
epochs: the default for tables, a slim convolutional one for images. What is compared:

noisyfit            the estimator as it is
plain               the network on the given labels; its proposal is its own training prediction
plain, stopped      the same, stopped early where accuracy on a tenth of the rows, held out, was best
logistic            logistic regression
cleanlab, logistic  cleanlab's CleanLearning on it; its correction is the predicted label where it marks a row
cleanlab            CleanLearning on the network
cleanlab, stopped   CleanLearning on the network, each of its trainings stopped early
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import label_error_scores, recovery_accuracy
from noisyfit.rows.rows import as_rows

from cifar10n import SlimNet, flip
from results import RESULTS
from suite_data import PAIRS, Pair, load_pair

METHODS = (
    "noisyfit",
    "plain",
    "plain, stopped",
    "logistic",
    "cleanlab, logistic",
    "cleanlab",
    "cleanlab, stopped",
)
RUNS = RESULTS / "suite.jsonl"
PLAIN = {"alpha": 0.0, "beta": 0.0, "cross_fit": 0, "class_prior": "given"}
IMAGES = {
    "lr": 0.1,
    "net_params": {"optimizer__momentum": 0.9, "optimizer__weight_decay": 5e-4},
    "batch_size": 128,
    "augment": flip,
}
IMAGE_EPOCHS = {"cifar10_5000": 40, "cifar10_20000": 24}
WIDTHS = {"cifar10_5000": (24, 48, 48, 96, 96), "cifar10_20000": (32, 64, 64, 128, 128)}


def network_params(pair: str, seed: int) -> dict[str, Any]:
    """Network, epochs and optimiser, the same for all methods; nothing for tables and texts: the defaults."""
    name = pair.split("/")[0]
    if name not in IMAGE_EPOCHS:
        return {"random_state": seed}
    widths = {"widths": WIDTHS[name]}
    return {
        "module": SlimNet,
        "module_params": widths,
        "max_epochs": IMAGE_EPOCHS[name],
        "random_state": seed,
        **IMAGES,
    }


def plain_training(**params: Any) -> JointOptimizationClassifier:
    """Give a classifier that learns the given labels: they are replaced once, after the last epoch."""
    clf = JointOptimizationClassifier(**{**params, **PLAIN})
    return clf.set_params(begin=clf.max_epochs)


class StoppedClassifier(ClassifierMixin, BaseEstimator):
    """Plain training that keeps the weights of the epoch with the best accuracy on a held-out tenth of the rows."""

    def __init__(self, plain: JointOptimizationClassifier | None = None):
        self.plain = plain

    def fit(self, X: Any, y: Any) -> StoppedClassifier:
        held_out = np.random.RandomState(0).permutation(len(y)) < len(y) // 10
        held_out &= ~np.isin(np.arange(len(y)), np.unique(y[::-1], return_index=True)[1])  # keep a row of each class
        best = BestWeights(X[held_out], np.searchsorted(np.unique(y), y[held_out]))
        net_params = {**(self.plain.net_params or {}), "callbacks": [best]}
        self.clf_ = clone(self.plain).set_params(net_params=net_params).fit(X[~held_out], y[~held_out])
        self.clf_.net_.module_.load_state_dict(best.state)
        self.classes_ = self.clf_.classes_
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.clf_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        return self.clf_.predict(X)


class BestWeights(Callback):
    """Remembers the weights of the epoch with the best accuracy on some rows."""

    def __init__(self, X: Any, codes: np.ndarray):
        self.X, self.codes = X, codes

    def on_train_begin(self, net, **kwargs):
        self.rows, self.best = as_rows(self.X, torch.device(net.device)), -1.0

    def on_epoch_end(self, net, **kwargs):
        agreement = float((net.predict_proba(self.rows).argmax(axis=1) == self.codes).mean())
        if agreement > self.best:
            self.best = agreement
            self.state = {name: value.clone() for name, value in net.module_.state_dict().items()}


def make(method: str, pair: str, seed: int) -> Any:
    params = network_params(pair, seed)
    if method == "noisyfit":
        return JointOptimizationClassifier(**params)
    if method in ("logistic", "cleanlab, logistic"):
        return make_pipeline(StandardScaler(with_mean=False), LogisticRegression(max_iter=1000))
    plain = plain_training(**params)
    return StoppedClassifier(plain) if method.endswith("stopped") else plain


def fit(method: str, pair: str, data: Pair, seed: int) -> tuple[Any, pd.DataFrame, np.ndarray]:
    """Give a fitted classifier, its report on the training rows and the corrected labels."""
    clf, X = make(method, pair, seed), data.X
    if method == "noisyfit":
        clf.fit(X, data.y_given)
        return clf, clf.label_report(), clf.corrected_labels_
    classes, codes = np.unique(data.y_given, return_inverse=True)  # cleanlab wants class numbers
    if method.startswith("cleanlab"):
        from cleanlab.classification import CleanLearning

        clf = CleanLearning(clf, seed=seed)
        with contextlib.redirect_stdout(io.StringIO()):
            clf.fit(X, codes)
        report = clf.get_label_issues()
        corrected = classes[np.where(report["is_label_issue"], report["predicted_label"], codes)]
    else:
        proba = clf.fit(X, codes).predict_proba(X)
        corrected = classes[proba.argmax(axis=1)]
        report = pd.DataFrame(
            {"is_label_issue": corrected != data.y_given, "label_quality": proba[range(len(codes)), codes]}
        )
    return Decoded(clf, classes), report.assign(given_label=data.y_given), corrected


class Decoded:
    """A classifier of class numbers that predicts the labels themselves."""

    def __init__(self, clf: Any, classes: np.ndarray):
        self.clf, self.classes = clf, classes

    def predict(self, X: Any) -> np.ndarray:
        return self.classes[self.clf.predict(X)]


def run(method: str, pair: str, data: Pair, seed: int) -> dict[str, Any]:
    if data.X.ndim > 2 and "logistic" in method:
        flat = [X.reshape(len(X), -1).astype(np.float32) for X in (data.X, data.X_test)]
        data = data._replace(X=flat[0], X_test=flat[1])
    start, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf, report, corrected = fit(method, pair, data, seed)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    wrong = data.y_clean != data.y_given
    figures = {
        "given": recovery_accuracy(data.y_clean, data.y_given),
        "recovery": recovery_accuracy(data.y_clean, corrected),
        "changed": float(np.mean(corrected != data.y_given)),
        "test": float(np.mean(clf.predict(data.X_test) == data.y_test)),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    if wrong.any():
        figures |= label_error_scores(data.y_clean, data.y_given, report)
    if method == "noisyfit":
        figures |= {
            "noise_rate": clf.noise_rate_,
            "calibration_error": calibration_error(report["confidence"].to_numpy(), corrected == data.y_clean),
            "refused": clf.correction_refused_,
            "classes_lost": int(len(clf.classes_) - len(np.unique(corrected))),
        }
    return figures


def calibration_error(confidence: np.ndarray, right: np.ndarray, n_bins: int = 10) -> float:
    """Expected calibration error: mean distance of confidence and share of right labels, over bins of equal width."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    parts = [bins == b for b in range(n_bins) if (bins == b).any()]
    return float(sum(part.mean() * abs(confidence[part].mean() - right[part].mean()) for part in parts))


def seeds_of(pair: str, method: str) -> tuple[int, ...]:
    if pair.startswith("cifar10_20000") and method.startswith("cleanlab"):
        return (0,) if pair.endswith("human_worse") and method == "cleanlab" else ()
    return (0, 1) if pair.startswith(("cifar10", "clinc150")) else (0, 1, 2)


def done() -> dict[tuple[str, str, int], dict[str, Any]]:
    if not RUNS.is_file():
        return {}
    rows = [json.loads(line) for line in RUNS.read_text().splitlines()]
    return {(row["pair"], row["method"], row["seed"]): row for row in rows}


def measure(pairs: list[str], methods: list[str], seeds: list[int], folder: Path) -> None:
    finished = done()
    for seed, pair in itertools.product(seeds, pairs):
        todo = [m for m in methods if seed in seeds_of(pair, m) and (pair, m, seed) not in finished]
        data = load_pair(pair, folder, seed) if todo else None
        for method in todo:
            row = {"pair": pair, "method": method, "seed": seed, **run(method, pair, data, seed)}
            with RUNS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


def show_tables() -> None:
    runs = pd.DataFrame(done().values())
    order = [pair for pair in PAIRS if pair in set(runs["pair"])]
    for name in ("recovery", "test", "auroc", "f1"):
        table = 100 * runs.pivot_table(index="pair", columns="method", values=name).reindex(order)
        table = table.reindex(columns=[m for m in METHODS if m in table])
        if name == "recovery":
            table.insert(0, "given", 100 * runs.groupby("pair")["given"].mean())
        print(f"\n{name}, %, mean over seeds\n{table.round(1).to_string(na_rep='')}")
    ours = runs[runs["method"] == "noisyfit"]
    ours = ours.assign(noise_rate_error=ours["noise_rate"] - (1 - ours["given"]))
    columns = ["changed", "noise_rate_error", "calibration_error"]
    print(f"\nnoisyfit, %\n{(100 * ours.groupby('pair')[columns].mean()).reindex(order).round(1).to_string()}")
    print("\nrefused:", ours.dropna(subset="refused").groupby("pair").size().to_dict())
    table_for_docs(runs, order).to_csv(RUNS.with_suffix(".csv"))
    print(f"written to {RUNS.with_suffix('.csv')}")


def table_for_docs(runs: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Give the main figures of each pair in %, means over seeds; of cleanlab's three the best."""

    def of(method: str, figure: str) -> pd.Series:
        return runs[runs["method"] == method].groupby("pair")[figure].mean().reindex(order)

    def of_cleanlab(figure: str) -> pd.Series:
        return pd.concat([of(m, figure) for m in METHODS if m.startswith("cleanlab")], axis=1).max(axis=1)

    table = pd.DataFrame({"given right": runs.groupby("pair")["given"].mean().reindex(order)})
    for figure, name in {"recovery": "labels right", "test": "test accuracy", "auroc": "AUROC"}.items():
        table[f"{name}: noisyfit"], table[f"{name}: cleanlab"] = of("noisyfit", figure), of_cleanlab(figure)
        if figure == "test":
            table[f"{name}: plain"] = of("plain", figure)
    seeds = runs[runs["method"] == "noisyfit"].groupby("pair").size().reindex(order)
    return (100 * table).round(1).assign(seeds=seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("NOISYFIT_DATA"), help="folder of the data; or NOISYFIT_DATA")
    parser.add_argument("--pairs", nargs="+", default=PAIRS, choices=PAIRS, metavar="PAIR")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, metavar="METHOD")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="only print what has been measured")
    args = parser.parse_args()
    if not args.table:
        if args.data is None:
            parser.error(f"--data is needed, or NOISYFIT_DATA.\n{load_pair.__module__}: see its first lines.")
        measure(args.pairs, args.methods, args.seeds, Path(args.data))
    show_tables()


if __name__ == "__main__":
    main()
