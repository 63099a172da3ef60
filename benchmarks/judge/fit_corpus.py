"""Fit the whole corpus: what witnesses say of rows that they have not seen, and what others make of the labels.

    python benchmarks/judge/fit_corpus.py --keel FOLDER --data FOLDER --out FOLDER [--part 0/2]
    python benchmarks/judge/fit_corpus.py --suite --data FOLDER --out FOLDER       tables and texts of the suite

One file a fit; goes on where it was interrupted. `--part i/n` does every n-th, for several processes.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1]))

from noisyfit import JointOptimizationClassifier
from noisyfit.algorithm import joint_optimisation
from noisyfit.judgement import witness
from noisyfit.judgement.witness import SecondWitness

import corpus_data
from suite import IMAGES, SlimNet
from suite_data import PAIRS, load_pair

FOLDS_OF_RIVALS = 5
MOST_TO_BOOST = 4000  # features times classes: beyond, a fit of boosted trees takes an hour


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keel", type=Path)
    parser.add_argument("--suite", action="store_true")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--stage", default="fits", choices=["fits", "rivals"])
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    part, of = map(int, args.part.split("/"))
    args.out.mkdir(parents=True, exist_ok=True)
    if args.suite:
        warnings.simplefilter("ignore")
        fit_suite(args.data, args.out)
        return
    pairs = [pair for pair in corpus_data.names(args.keel, args.data) if args.only in pair[0]]
    order = np.random.RandomState(0).permutation(len(pairs))  # whatever is done so far is a fair sample
    order = sorted(order, key=lambda i: "images" in pairs[i][0])  # the dear ones last
    warnings.simplefilter("ignore")
    for i in order[part::of]:
        name, noise = pairs[i]
        path = args.out / f"{name}__{noise}{'' if args.stage == 'fits' else '.rivals'}.npz"
        if path.exists():
            continue
        try:
            pair = corpus_data.load(name, noise, args.keel, args.data)
            found = (fit if args.stage == "fits" else rivals)(pair, name)
        except corpus_data.NotPartOfCorpusError:
            continue
        except Exception as error:
            print(f"{name} {noise} FAILED {error!r}", flush=True)
            continue
        keep(path, found)


def keep(path: Path, found: dict[str, Any]) -> None:
    part_path = path.with_suffix(".part")
    with part_path.open("wb") as file:
        np.savez_compressed(file, **found)
    part_path.replace(path)
    print(
        f"{path.stem} {len(found.get('given', found['seconds']))} rows {found['seconds'].round(1).tolist()}", flush=True
    )


def fit_suite(folder: Path, out: Path) -> None:
    """Fit the suite's pairs but for images, and for embeddings of texts, with seed 0."""
    for pair in PAIRS:
        name, noise = pair.split("/")
        path = out / f"{name.removesuffix('_genre')}__{noise}.npz"
        if not (path.exists() or name.startswith(("cifar", "clinc", "trec_embedding"))):
            keep(path, fit(load_pair(pair, folder, 0), name))


def fit(pair: Any, name: str) -> dict[str, Any]:
    """Fit with the defaults; keep what the judge is told, and the CPU seconds of fit, second witness and decision."""
    kept: dict[str, Any] = {}
    decide, ask = joint_optimisation.judge, SecondWitness.outputs
    seconds = {"fit": 0.0, "witness": 0.0, "decision": 0.0}

    def timed(part: str, function: Any, *args: Any) -> Any:
        start = time.process_time()
        found = function(*args)
        seconds[part] = time.process_time() - start
        return found

    def listen(witnesses: Any, *args: Any) -> Any:
        kept["witnesses"] = [proba.copy() for proba in witnesses]
        return timed("decision", decide, witnesses, *args)

    params: dict[str, Any] = {"random_state": 0}
    if name.startswith("cifar_images"):
        params |= {"module": SlimNet, "module_params": {"widths": (24, 48, 48, 96, 96)}, "max_epochs": 40, **IMAGES}
    clf = JointOptimizationClassifier(**params)
    with (
        mock.patch.object(joint_optimisation, "judge", listen),
        mock.patch.object(SecondWitness, "outputs", lambda self: timed("witness", ask, self)),
        mock.patch.object(witness, "_n_cores", return_value=1),  # one after the other, for the sake of the seconds
    ):
        timed("fit", clf.fit, pair.X, pair.y_given)
    outputs = dict(zip(("last", "trees"), map(as_logs, kept["witnesses"]), strict=False))
    given = {"classes": clf.classes_, "given": pair.y_given, "clean": pair.y_clean}
    return outputs | given | {"seconds": np.array(list(seconds.values()))}


def rivals(pair: corpus_data.Pair, name: str) -> dict[str, Any]:
    """Give out-of-fold probabilities of what users of cleanlab train."""
    if pair.X.ndim > 2:
        pair = pair._replace(X=pair.X.reshape(len(pair.X), -1).astype(np.float32))
    codes = np.unique(pair.y_given, return_inverse=True)[1]
    folds = np.zeros(len(codes), dtype=int)
    splitter = StratifiedKFold(FOLDS_OF_RIVALS, shuffle=True, random_state=0)
    for i, (_, test) in enumerate(splitter.split(pair.X, codes)):
        folds[test] = i
    models = {
        "cleanlab_trees": trees(),
        "logistic": make_pipeline(StandardScaler(with_mean=False), LogisticRegression(max_iter=1000)),
    }
    if not sparse.issparse(pair.X) and pair.X.shape[1] * (codes.max() + 1) <= MOST_TO_BOOST:
        models["boosting"] = HistGradientBoostingClassifier(random_state=0)
    found, seconds = {}, []
    for key, model in models.items():
        start = time.process_time()
        found[key] = as_logs(out_of_fold(model, pair.X, codes, folds))
        seconds.append(time.process_time() - start)
    return found | {"seconds": np.array(seconds)}


def trees() -> ExtraTreesClassifier:
    return ExtraTreesClassifier(200, min_samples_leaf=2, random_state=0)


def out_of_fold(model: Any, X: Any, codes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    proba = np.zeros((len(codes), codes.max() + 1))
    for fold in np.unique(folds):
        model.fit(X[folds != fold], codes[folds != fold])
        rows = np.flatnonzero(folds == fold)
        proba[np.ix_(rows, model.classes_)] = model.predict_proba(X[rows])
    return proba


def as_logs(proba: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(proba, 1e-9)).astype(np.float16)


if __name__ == "__main__":
    main()
