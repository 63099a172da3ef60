"""How often to deal out the rows to folds for the trees, at an equal number of trees a row.

    python benchmarks/judge/deals.py --keel FOLDER --data FOLDER

Spread of P(given label) between seeds, rows with the same most probable class for two seeds, rows for which that is the
right one, and CPU time as a multiple of one deal's.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit.judgement.folds import assign_folds
from noisyfit.judgement.witness import _ROWS_A_LEAF, _TREES, SecondWitness

import corpus_data
from results import write_json

PAIRS = (
    *(("crx", "symmetric_30"), ("wine", "weak_25"), ("tae", "none"), ("vehicle", "weak_25"), ("vowel", "pair_25")),
    *(("segment", "symmetric_30"), ("ISLR.Wage.education", "none"), ("magic", "symmetric_30"), ("music", "real")),
    ("letter", "symmetric_30"),
)
DEALS = (1, 5, 10, 20)
SEEDS, FOLDS = 3, 3


def outputs(pair: corpus_data.Pair, n_deals: int, n_trees: int, seed: int) -> np.ndarray:
    codes, draws = np.unique(pair.y_given, return_inverse=True)[1], np.random.RandomState(seed)
    deals = [assign_folds(codes, np.arange(len(codes)), FOLDS, draws) for _ in range(n_deals)]
    model = ExtraTreesClassifier(n_trees, min_samples_leaf=_ROWS_A_LEAF)
    return SecondWitness(model, pair.X, codes, codes.max() + 1, deals, None, seed).outputs()


def measure(pair: corpus_data.Pair, n_deals: int, n_trees: int) -> dict[str, float]:
    start = time.process_time()
    found = np.stack([outputs(pair, n_deals, n_trees, seed) for seed in range(SEEDS)])
    seconds = time.process_time() - start
    classes, codes = np.unique(pair.y_given, return_inverse=True)
    named = classes[found.argmax(axis=2)]
    figures = {
        "spread": found[:, np.arange(len(codes)), codes].std(axis=0).mean(),
        "same class": np.mean([(a == b).mean() for a, b in itertools.combinations(named, 2)]),
        "right": (named == pair.y_clean).mean(),
        "seconds": seconds / SEEDS,
    }
    return {key: float(value) for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keel", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    runs = []
    for name, noise in PAIRS:
        pair = corpus_data.load(name, noise, args.keel, args.data)
        for n_deals, n_trees in [(n, _TREES // n) for n in DEALS] + [(1, 5 * _TREES)]:
            runs.append({"set": name, "deals": n_deals, "trees": n_trees} | measure(pair, n_deals, n_trees))
    table = pd.DataFrame(runs).drop(columns="set").groupby(["deals", "trees"]).mean()
    table["seconds"] /= table["seconds"].loc[(1, _TREES)]
    table = table.rename(columns={"seconds": "times the CPU time"})
    print(table.round(3).to_string())
    write_json("judge_deals", {"mean": table.round(4).reset_index().to_dict("records"), "runs": runs})


if __name__ == "__main__":
    main()
