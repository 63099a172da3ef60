"""Learn the judge's weights from the corpus, and write them into the package.

    python benchmarks/judge/learn.py                    learn, write noisyfit/judgement/judge_weights.json, evaluate
    python benchmarks/judge/learn.py --fits FOLDER      make the corpus anew from the fits of `fit_corpus` before

What is learned: the log odds of the given label being wrong, by boosted trees on `ROW_FEATURES` and `FIT_FEATURES` of
`noisyfit.judgement.judge`; likewise of the proposed class being right where it is; and, from sets whose tables the
trees have not seen, how far each data set's own log odds are from those: a shift and a slope.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))

import noisyfit.judgement.judge
from noisyfit.judgement.judge import FIT_FEATURES, ROW_FEATURES, Prior, Setting, Trees, marks_of

import corpus
from corpus import Fit

WEIGHTS = Path(noisyfit.judgement.judge.__file__).with_name("judge_weights.json")
GROUPS = {
    "several": ("networks and trees", "boosting and logistic", "trees and logistic"),
    "one": ("networks", "trees", "logistic", "boosting"),
}
FOLDS = 5
MOST_ROWS = 120  # of a fit that the trees learn: 200 and 400 were no better
TREES = {"max_iter": 100, "max_leaf_nodes": 8, "learning_rate": 0.12, "min_samples_leaf": 1000, "max_features": 0.3}
SPREAD = np.array([3.0, 0.5])  # of shift and slope, a priori


def learn_trees(fits: list[Fit]) -> tuple[Trees, Trees]:
    X, wrong, named, weight = table_of([fit.first(MOST_ROWS) for fit in fits])
    return fit_trees(X, wrong, weight), fit_trees(X[wrong], named[wrong], weight[wrong], min_samples_leaf=300)


def table_of(fits: list[Fit]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give inputs, both outcomes and weights of all rows; every fit counts as much as any other."""
    weight = np.concatenate([np.full(len(fit.rows), 1 / len(fit.rows)) for fit in fits])
    return (
        np.concatenate([inputs_of(fit) for fit in fits]),
        np.concatenate([fit.wrong for fit in fits]),
        np.concatenate([fit.named for fit in fits]),
        weight / weight.mean(),
    )


def inputs_of(fit: Fit) -> np.ndarray:
    setting = np.broadcast_to(fit.setting.astype(np.float32), (len(fit.rows), len(FIT_FEATURES)))
    return np.hstack([fit.rows, setting])


def fit_trees(X: np.ndarray, y: np.ndarray, weight: np.ndarray, **params: Any) -> Trees:
    model = HistGradientBoostingClassifier(**TREES | params, early_stopping=False, random_state=0).fit(X, y, weight)
    nodes, roots, first, depth = [], [], 0, 0
    for (predictor,) in model._predictors:
        own = predictor.nodes
        at = np.arange(first, first + len(own))
        leaf = own["is_leaf"].astype(bool)
        left, right = (np.where(leaf, at, own[side].astype(np.int64) + first) for side in ("left", "right"))
        threshold = np.where(leaf, 0, own["num_threshold"]).astype(np.float32)
        nodes.append((np.where(leaf, 0, own["feature_idx"]), threshold, left, right, np.where(leaf, own["value"], 0)))
        roots.append(first)
        first, depth = first + len(own), max(depth, int(own["depth"].max()))
    feature, threshold, left, right, value = (np.concatenate(parts) for parts in zip(*nodes, strict=True))
    value = np.round(value, 4).astype(np.float32)
    baseline = round(float(np.ravel(model._baseline_prediction)[0]), 4)
    return Trees(np.array(roots), feature.astype(np.int64), threshold, left, right, value, baseline, depth)


def left_out(fits: list[Fit]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give for each fit the two log odds of its rows by trees that have not seen its source."""
    fold = folds_of(fits, FOLDS)
    odds: list[Any] = [None] * len(fits)
    for i in range(FOLDS):
        trees = learn_trees([fit for fit, own in zip(fits, fold, strict=True) if own != i])
        for j in np.flatnonzero(fold == i):
            odds[j] = tuple(tree.log_odds(inputs_of(fits[j])) for tree in trees)
    return odds


def folds_of(fits: list[Fit], n_folds: int) -> np.ndarray:
    sources = sorted({fit.source for fit in fits})
    dealt = dict(zip(np.random.RandomState(0).permutation(sources), np.arange(len(sources)) % n_folds, strict=True))
    return np.array([dealt[fit.source] for fit in fits])


def learn_known(fits: list[Fit], odds: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Give marks, shift and slope of each set, of the odds by trees that have not seen its source."""
    marks = [marks_of(eta, Setting(fit.setting, None, None)) for fit, (eta, _) in zip(fits, odds, strict=True)]
    pairs = [shift_and_slope(eta, fit.wrong) for fit, (eta, _) in zip(fits, odds, strict=True)]
    return np.round(marks, 3), np.round(pairs, 3)


def shift_and_slope(eta: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Find a and b for which log odds of a + exp(b) eta fit best; weak priors keep those of clean sets finite."""
    eta = eta.astype(np.float64)

    def surprise(pair: np.ndarray) -> tuple[float, np.ndarray]:
        slope, away = np.exp(pair[1]), pair / SPREAD**2
        log_odds = pair[0] + slope * eta
        miss = expit(log_odds) - wrong
        value = np.logaddexp(0, log_odds).sum() - log_odds[wrong].sum() + pair @ away / 2
        return value, np.array([miss.sum(), miss @ (slope * eta)]) + away

    found: np.ndarray = optimize.minimize(surprise, np.zeros(2), jac=True, method="BFGS").x
    return found


def as_json(prior: Prior) -> dict[str, Any]:
    def of_trees(trees: Trees) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in trees._asdict().items()}

    known = {"known": prior.known.tolist(), "pairs": prior.pairs.tolist()}
    return {"wrong": of_trees(prior.wrong), "named": of_trees(prior.named), **known}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=Path, help="folder of fit_corpus")
    args = parser.parse_args()
    if args.fits is not None:
        make_corpus(args.fits)
    fits = corpus.read()
    learned: dict[str, Any] = {
        "source": "written by benchmarks/judge/learn.py from benchmarks/judge/corpus.npz.xz; do not edit",
        "row_features": ROW_FEATURES,
        "fit_features": FIT_FEATURES,
    }
    for group, kinds in GROUPS.items():
        of_group = [fit for fit in fits if fit.witnesses in kinds]
        odds = left_out(of_group)
        prior = Prior(*learn_trees(of_group), *learn_known(of_group, odds))
        learned[group] = {"fits": len(of_group), "sources": len({fit.source for fit in of_group}), **as_json(prior)}
        print(
            f"{group}: {len(of_group)} fits, spread of shift and slope {prior.pairs.std(axis=0).round(2)}", flush=True
        )
    WEIGHTS.write_text(json.dumps(learned, separators=(",", ":")) + "\n")
    print(f"written to {WEIGHTS}, {WEIGHTS.stat().st_size / 1024:.0f} KiB")


def make_corpus(folder: Path) -> None:
    fits = []
    for name, noise, arrays in corpus.fits_in(folder):
        for kind, keys in corpus.WITNESSES.items():
            if all(key in arrays for key in keys):
                fits.append(corpus.describe(name, noise, kind, arrays, corpus.ROWS.get(kind, corpus.OTHER_ROWS)))
    corpus.write(fits)
    print(f"written to {corpus.PATH}, {corpus.PATH.stat().st_size / 2**20:.1f} MiB, {len(fits)} fits")


if __name__ == "__main__":
    main()
