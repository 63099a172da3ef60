"""The command line on a large file: time from command to review page, and right labels.

    python benchmarks/clean_file.py --rows 50000

Draws a CSV file of two columns of text, three of categories and five of numbers, gives 20 % of the rows a wrong label
in three ways, and runs ``noisyfit clean`` on it as a command. A model of the true labels says how much there is to
learn. Writes JSON.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noisyfit.command.tables import as_numbers, choose_features

from results import write_json

CLASSES = np.array(["billing", "delivery", "product", "returns", "technical"])
_WORDS, _OWN_WORDS = 3_000, 60  # in the language, and of each class


def draw_rows(n_rows: int, rng: np.random.RandomState) -> tuple[pd.DataFrame, np.ndarray]:
    y = rng.choice(len(CLASSES), n_rows, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    shifts = rng.randn(len(CLASSES), 5)
    numbers = shifts[y] + 1.5 * rng.randn(n_rows, 5)
    shop, country = (rng.dirichlet(np.full(size, 0.5), len(CLASSES)) for size in (8, 20))
    agent = rng.dirichlet(np.full(300, 0.5))
    columns = {
        "subject": texts(y, 4, 8, 0.12, rng),
        "message": texts(y, 15, 40, 0.065, rng),
        "shop": np.array([f"shop {rng.choice(8, p=shop[k])}" for k in y]),
        "country": np.array([f"C{rng.choice(20, p=country[k]):02}" for k in y]),
        "agent": np.array([f"agent-{i}" for i in rng.choice(300, n_rows, p=agent)]),
        "ticket": np.array([f"T{i:07}" for i in rng.permutation(n_rows)]),
        **{f"number_{j}": numbers[:, j].round(3) for j in range(5)},
    }
    return pd.DataFrame(columns), y


def texts(y: np.ndarray, shortest: int, longest: int, own: float, rng: np.random.RandomState) -> list[str]:
    """Draw texts; a share of their words belongs to the class."""
    lengths = rng.randint(shortest, longest + 1, len(y))
    common = np.minimum(rng.zipf(1.4, lengths.sum()), _WORDS)
    classes = np.repeat(y, lengths)
    of_class = _WORDS + _OWN_WORDS * classes + rng.randint(_OWN_WORDS, size=len(classes))
    words = np.where(rng.rand(len(classes)) < own, of_class, common)
    return [" ".join(f"w{word}" for word in part) for part in np.split(words, lengths.cumsum()[:-1])]


def spoil(y: np.ndarray, frame: pd.DataFrame, rng: np.random.RandomState) -> np.ndarray:
    """Make a fifth of the labels wrong: 8 % at random, 8 % to one other class each, 4 % of the least clear rows."""
    given, share, k = y.copy(), rng.permutation(len(y)) / len(y), len(CLASSES)
    unclear = np.abs(frame["number_0"]) < frame["number_0"].abs().quantile(0.2)
    at_random, paired, unclear = share < 0.08, (share >= 0.08) & (share < 0.16), (share >= 0.8) & unclear
    given[at_random] = (y[at_random] + rng.randint(1, k, at_random.sum())) % k
    given[paired] = (y[paired] + 1) % k
    given[unclear] = (y[unclear] + 2) % k
    return given


def accuracy_of_clean_labels(frame: pd.DataFrame, y: np.ndarray) -> float:
    X = as_numbers(choose_features(frame, []), frame)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    return float(model.fit(X_train, y_train).score(X_test, y_test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.RandomState(args.seed)
    frame, y = draw_rows(args.rows, rng)
    given = spoil(y, frame, rng)
    measured = {"rows": args.rows, "seed": args.seed, "wrong": float((given != y).mean())}
    with tempfile.TemporaryDirectory() as folder:
        path, out, review = (Path(folder) / name for name in ("train.csv", "cleaned.csv", "review.html"))
        frame.assign(label=CLASSES[given]).to_csv(path, index=False)
        command = [
            sys.executable,
            "-m",
            "noisyfit",
            "clean",
            path,
            "--label",
            "label",
            "--out",
            out,
            "--review",
            review,
        ]
        start = time.perf_counter()
        subprocess.run([str(part) for part in command], check=True)
        measured["seconds"] = time.perf_counter() - start
        cleaned = pd.read_csv(out)
        measured["megabytes_of_page"] = review.stat().st_size / 2**20
    measured["right_before"], right = float((given == y).mean()), cleaned["label"].to_numpy() == CLASSES[y]
    measured["right_after"] = float(right.mean())
    measured["accuracy_of_clean_labels"] = accuracy_of_clean_labels(frame, y)
    print({name: round(value, 4) for name, value in measured.items()})
    write_json("clean_file", measured)


if __name__ == "__main__":
    main()
