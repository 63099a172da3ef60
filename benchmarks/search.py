"""What a search with noisy labels only is worth: regret of its choice in clean accuracy.

    python benchmarks/search.py --data FOLDER
    python benchmarks/search.py --data FOLDER --rows 2400

For some pairs of `suite_data` a grid of alpha, beta and gamma is searched by 3-fold cross-validation on noisy labels,
with four scorers: accuracy, log-loss, the mean probability of the given label, and accuracy corrected by each fit's own
noise matrix T, the mean of T^-1[given, predicted], whose expectation is the clean accuracy where T is right. The regret
of a scorer is the best clean test accuracy of all settings less that of the setting it chooses, where that of a setting
is the mean over some refits: the best of single ones would mostly be a lucky one. Spearman is the rank correlation of
score and clean accuracy over the settings. It goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold

from noisyfit import JointOptimizationClassifier

from results import RESULTS, write_json
from suite_data import load_pair

GRID = {"alpha": [0.2, 0.8, 2.0], "beta": [0.0, 0.4, 0.8], "gamma": [0.5, 1.0]}
PAIRS = [f"{table}/{noise}" for table in ("digits", "splice", "waveform5000", "spambase", "page_blocks", "pendigits")
         for noise in ("symmetric_40", "pair_30")]  # fmt: skip
N_ROWS, N_TEST, N_REFITS, EPOCHS = 800, 2000, 3, 30


def accuracy_through_noise(clf: JointOptimizationClassifier, X, y) -> float:
    """Accuracy that T of the fit implies."""
    inverse = np.linalg.pinv(clf.transition_matrix_)
    return float(inverse[np.searchsorted(clf.classes_, y), clf.predict_proba(X).argmax(axis=1)].mean())


def probability_of_given(clf: JointOptimizationClassifier, X, y) -> float:
    """Mean probability of the given label: smoother than accuracy."""
    return float(clf.predict_proba(X)[np.arange(len(y)), np.searchsorted(clf.classes_, y)].mean())


SCORERS = {
    "accuracy": "accuracy",
    "log-loss": "neg_log_loss",
    "probability": probability_of_given,
    "accuracy through T": accuracy_through_noise,
}


def run(pair: str, folder: Path, seed: int, n_rows: int) -> dict[str, dict[str, float]]:
    data = load_pair(pair, folder, seed)
    rows = np.random.RandomState(seed).permutation(len(data.y_given))[:n_rows]
    clf = JointOptimizationClassifier(max_epochs=EPOCHS, random_state=seed)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    search = GridSearchCV(clf, GRID, scoring=SCORERS, refit=False, cv=folds)
    X, y, X_test, y_test = data.X[rows], data.y_given[rows], data.X_test[:N_TEST], data.y_test[:N_TEST]
    search.fit(X, y)
    settings = [{**params, "random_state": seed + i} for params in ParameterGrid(GRID) for i in range(N_REFITS)]
    refits = [clf.set_params(**params).fit(X, y).score(X_test, y_test) for params in settings]
    clean = np.reshape(refits, (-1, N_REFITS)).mean(axis=1)
    assert list(ParameterGrid(GRID)) == list(search.cv_results_["params"])
    found = {"all settings": {"regret": float(clean.max() - clean.mean()), "spearman": float("nan")}}
    for name in SCORERS:
        scores = search.cv_results_[f"mean_test_{name}"]
        regret = float(clean.max() - clean[np.nanargmax(scores)])
        found[name] = {"regret": regret, "spearman": float(spearmanr(scores, clean)[0])}
    return found


def already_run(name: str, settings: dict[str, object]) -> dict[str, dict[str, dict[str, float]]]:
    """Give the pairs that were run with these settings, so that a study that was cut goes on."""
    path = RESULTS / f"{name}.json"
    written = json.loads(path.read_text()) if path.exists() else {}
    if any(written.get(setting) != value for setting, value in settings.items()):
        return {}
    nan = {None: float("nan")}
    return {
        pair: {name: {k: nan.get(v, v) for k, v in found.items()} for name, found in scorers.items()}
        for pair, scorers in written["runs"].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("NOISYFIT_DATA"), help="folder of the data; or NOISYFIT_DATA")
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=N_ROWS, help="to search on")
    args = parser.parse_args()
    name = "search" if args.rows == N_ROWS else f"search_{args.rows}"
    settings = {"grid": GRID, "rows": args.rows, "refits": N_REFITS, "epochs": EPOCHS, "seed": args.seed}
    runs = already_run(name, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for pair in [pair for pair in args.pairs if pair not in runs]:
            runs[pair] = run(pair, Path(args.data), args.seed, args.rows)
            print(
                pair,
                {scorer: {k: round(v, 4) for k, v in found.items()} for scorer, found in runs[pair].items()},
                flush=True,
            )
            write_json(name, {**settings, "runs": runs})
    for figure in ("regret", "spearman"):
        table = (
            100
            * pd.DataFrame({pair: {scorer: found[figure] for scorer, found in r.items()} for pair, r in runs.items()}).T
        )
        print(f"\n{figure}, %\n{table.round(1).to_string()}\nmean\n{table.mean().round(2).to_string()}")


if __name__ == "__main__":
    main()
