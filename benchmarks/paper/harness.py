"""What the studies of this folder share: budgets, data, one way to train plainly and one to fit, resuming, pictures.

A study is a list of runs. Each run that ends is kept in ``benchmarks/results/paper/NAME_BUDGET.json``, so a study that
was cut goes on where it was; a picture of the same name is drawn at its end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[1]))  # the benchmarks' own modules

from cifar10n import SlimNet, flip
from cifar10n import TestAccuracy as TestAccuracy
from cifar_data import Cifar, load_cifar
from cifar_data import add_noise as add_noise
from results import RESULTS, write_json

Settings = dict[str, Any]
Result = dict[str, Any]


class Budget(NamedTuple):
    """How large a study is: the paper's scale, or what two cores do in half an hour."""

    name: str
    n_images: int
    n_tested: int  # images that are scored after every epoch
    epochs: int
    lr: float
    weight_decay: float
    preact: bool  # the paper's network and augmentation; else a small one and mirroring
    device: str

    def make_network(self) -> nn.Module:
        if self.preact:
            from noisyfit.networks import PreActResNet32

            return PreActResNet32(in_channels=3, n_classes=10)
        return SlimNet(10)

    @property
    def augment(self) -> Any:
        from noisyfit.nets.augmentation import crop_flip

        return crop_flip if self.preact else flip

    def load(self, labels: str, seed: int) -> Cifar:
        return _load(labels, self.n_images, seed)


CPU = Budget("cpu", 5_000, 2_500, 40, 0.1, 5e-4, False, "cpu")
SMALL = CPU._replace(n_images=2_500, epochs=24)  # for tables of many runs
GPU = Budget("gpu", 50_000, 10_000, 200, 0.1, 1e-4, True, "cuda")
BATCH_SIZE = 128


@cache
def _load(labels: str, n_images: int, seed: int) -> Cifar:
    data = load_cifar(None, labels, n_images, seed)
    order = np.random.RandomState(0).permutation(len(data.y_test))  # the file has them class by class
    return data._replace(X_test=data.X_test[order], y_test=data.y_test[order])


class Study(NamedTuple):
    """Name, runs by budget and seeds, what a run gives, and the picture of all of them."""

    name: str
    runs: Callable[[Budget, list[int]], list[Settings]]
    run: Callable[[Settings, Budget], Result]
    draw: Callable[[list[tuple[Settings, Result]], Budget], Any]
    cpu: Budget = CPU


def main(study: Study) -> None:
    """Run what is missing, then draw; the study is the script's own."""
    args = parse_arguments()
    if args.data:
        os.environ["NOISYFIT_DATA"] = args.data
    budget = study.cpu if args.budget == "cpu" else GPU
    name = f"paper/{study.name}_{budget.name}"
    wanted, done = study.runs(budget, args.seeds), finished(name, budget)
    missing = [settings for settings in wanted if settings not in [known for known, _ in done]]
    (RESULTS / "paper").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_timed, study.run, settings, budget): settings for settings in missing}
        for number, future in enumerate(as_completed(futures), start=1):
            done.append((futures[future], future.result()))
            runs = [{"settings": settings, "result": result} for settings, result in done]
            write_json(name, {"budget": budget._asdict(), "runs": runs})
            print(f"{number}/{len(missing)}", *shown(*done[-1]), flush=True)
    figure = study.draw([(s, r) for s, r in done if s in wanted], budget)
    figure.savefig(RESULTS / f"{name}.svg")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("variant", nargs="?", help="of a study that has several")
    parser.add_argument("--budget", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--data", help="folder of cifar10_jpeg.npz; default: the environment variable NOISYFIT_DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    return parser.parse_args()


def finished(name: str, budget: Budget) -> list[tuple[Settings, Result]]:
    """Give the runs of an earlier call at the same budget."""
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    if content.get("budget") != budget._asdict():
        return []
    return [(run["settings"], run["result"]) for run in content["runs"]]


def shown(settings: Settings, result: Result) -> list[str]:
    numbers = {key: value for key, value in result.items() if isinstance(value, float)}
    return [f"{key}={value}" for key, value in settings.items()] + [f"{k}: {v:.4g}" for k, v in numbers.items()]


def _timed(run: Callable[[Settings, Budget], Result], settings: Settings, budget: Budget) -> Result:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1) if budget.device == "cpu" else None
    start = time.perf_counter()
    result = run(settings, budget)
    return {**result, "seconds": time.perf_counter() - start}


def mean_over_seeds(runs: list[tuple[Settings, Result]], key: str, **settings: Any) -> Any:
    """Give the mean of a result over the runs with these settings: a number, or a curve."""
    chosen = [result[key] for known, result in runs if settings.items() <= known.items()]
    return np.mean(chosen, axis=0)


def best_last(by_epoch: list[float]) -> Result:
    """Give the best and the last of an accuracy by epoch, and all of it."""
    return {"test_best": max(by_epoch), "test_last": by_epoch[-1], "test_by_epoch": by_epoch}


def panels(n: int, height: float = 3.6) -> tuple[Any, Any]:
    """Give a figure and its axes, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, n, figsize=(5.2 * n, height), layout="constrained", squeeze=False)
    for ax in axes[0]:
        ax.grid(alpha=0.3)
    return figure, axes[0]
