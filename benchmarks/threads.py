"""From which network on a second thread pays, and what threads cost beside other work.

    python benchmarks/threads.py
    python benchmarks/threads.py --parts steps --rounds 9

"steps": a training step (forward, backward, clipping, optimizer) of networks of growing size, with one thread and with
all, in turn in one process. "fits": fits of a table and of images, and predictions, with threads chosen
by the library and with as many as there are cores, as a user who sets OMP_NUM_THREADS asks for. Each is timed alone and
beside as many busy processes as there are cores; medians over the rounds, and bests. Rounds that other work on the
machine disturbed are repeated while `--patience` lasts, and told after it. Run it without OMP_NUM_THREADS and the like.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from sklearn.datasets import make_classification
from torch import nn

from noisyfit import JointOptimizationClassifier
from noisyfit.nets.ensembles import clip_gradients, combine_networks
from noisyfit.nets.work import count_multiplications
from noisyfit.networks import MLP, PreActResNet32, SmallResNet
from noisyfit.noise import corrupt_labels, symmetric_noise

from results import RESULTS, write_json

N_CORES = len(os.sched_getaffinity(0))
SECONDS_A_TURN = 0.25  # of steps, so that other work on the machine hits all alike
MOST_BY_OTHERS = 0.1  # cores that others may take of a round


class Step(NamedTuple):
    """A network, how many of it, and the rows of a batch."""

    make: Callable[[], nn.Module]
    n_networks: int
    shape: tuple[int, ...]
    bfloat16: bool = False


def mlp(n_features: int, width: int) -> Callable[[], nn.Module]:
    return lambda: MLP(n_features, 10, hidden=(width, width))


STEPS = {
    "MLP 256, batch 128": Step(mlp(22, 256), 1, (128, 22)),
    "three MLPs 256, batch 128": Step(mlp(22, 256), 3, (128, 22)),
    "three MLPs 256, batch 512": Step(mlp(22, 256), 3, (512, 22)),
    "three MLPs 256, batch 2048": Step(mlp(22, 256), 3, (2048, 22)),
    "three MLPs 512, batch 128": Step(mlp(64, 512), 3, (128, 64)),
    "MLP 1024, batch 128": Step(mlp(64, 1024), 1, (128, 64)),
    "three MLPs 1024, batch 128": Step(mlp(64, 1024), 3, (128, 64)),
    "MLP 1024, batch 1024": Step(mlp(64, 1024), 1, (1024, 64)),
    "SmallResNet of width 4, 8 x 8, batch 32": Step(lambda: SmallResNet(1, 10, width=4), 1, (32, 1, 8, 8)),
    "SmallResNet of width 8, 16 x 16, batch 32": Step(lambda: SmallResNet(1, 10, width=8), 1, (32, 1, 16, 16)),
    "SmallResNet of width 16, 16 x 16, batch 64": Step(lambda: SmallResNet(3, 10, width=16), 1, (64, 3, 16, 16)),
    "SmallResNet, 32 x 32, batch 128": Step(lambda: SmallResNet(3, 10), 1, (128, 3, 32, 32)),
    "SmallResNet, 32 x 32, batch 128, bfloat16": Step(lambda: SmallResNet(3, 10), 1, (128, 3, 32, 32), True),
    "PreActResNet32, 32 x 32, batch 32": Step(lambda: PreActResNet32(3, 10), 1, (32, 3, 32, 32)),
}


@contextlib.contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """Let so many processes compute beside the block."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def as_step(case: Step) -> tuple[Callable[[], None], float]:
    """Give a training step to time, and the millions of multiplications of its batch, forward."""
    torch.manual_seed(0)
    module = combine_networks(case.make, case.n_networks, torch.optim.SGD).train()
    x = torch.randn(case.shape)
    if x.ndim == 4:
        module, x = module.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, fused=True)
    work = count_multiplications(module, lambda: module(x))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=case.bfloat16):
            logits = module(x)
        logits.float().log_softmax(-1)[..., 0].mean().backward()
        clip_gradients(module, 1.0)
        optimizer.step()

    return step, work / 1e6


def seconds_a_step(step: Callable[[], None]) -> float:
    step()
    began, n = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS_A_TURN or n < 2:
        step()
        n += 1
    return passed / n


def time_step(case: Step, rounds: int, patience: float) -> dict[str, float]:
    """Time a step with one thread and all, in turn, alone and beside busy processes."""
    step, work = as_step(case)
    found = {"million_multiplications": work}
    for beside, n_busy in (("alone", 0), ("busy", N_CORES)):
        with busy_processes(n_busy):
            turns = [turn_with_threads(step, n) for n in (1, N_CORES)]
            found |= in_turn(turns, rounds, patience, ("one_thread", "ratio", beside))
    return found


def turn_with_threads(step: Callable[[], None], n_threads: int) -> Callable[[], float]:
    def turn() -> float:
        torch.set_num_threads(n_threads)
        return seconds_a_step(step)

    return turn


def in_turn(
    turns: list[Callable[[], float]], rounds: int, patience: float, names: tuple[str, str, str]
) -> dict[str, float]:
    """Time two things in turn, in changing order; rounds in which others took a tenth of a core or more are repeated.

    Until `patience`, in seconds, is over: then they count, and are told.
    """
    first, ratio, beside = names
    turns[0](), turns[1]()  # warm caches
    pairs, n_disturbed, give_up = [], 0, time.monotonic() + patience
    while len(pairs) < rounds:
        order = (0, 1) if len(pairs) % 2 == 0 else (1, 0)
        began, of_others = time.perf_counter(), seconds_of_others()
        times = {i: turns[i]() for i in order}
        is_disturbed = seconds_of_others() - of_others > MOST_BY_OTHERS * (time.perf_counter() - began)
        if is_disturbed and time.monotonic() < give_up:
            continue
        n_disturbed += is_disturbed
        pairs.append((times[0], times[1]))
    bests = [min(times) for times in zip(*pairs, strict=True)]
    return {
        f"{first}_ms_{beside}": 1e3 * statistics.median(one for one, _ in pairs),
        f"best_{first}_ms_{beside}": 1e3 * bests[0],
        f"{ratio}_{beside}": statistics.median(other / one for one, other in pairs),
        f"{ratio}_of_bests_{beside}": bests[1] / bests[0],
        f"disturbed_{beside}": n_disturbed,
    }


def seconds_of_others() -> float:
    """Give the seconds that the cores have worked for other processes than this one and its children."""
    total = psutil.cpu_times()
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    of_own = sum(process.cpu_times().user + process.cpu_times().system for process in processes)
    return total.user + total.nice + total.system - of_own


def table(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(n_rows, 22, n_informative=10, random_state=0)
    return X, corrupt_labels(y, symmetric_noise(2, 0.2), random_state=0)


def images(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.RandomState(0)
    y = draws.randint(0, 10, n_rows)
    return draws.randint(0, 256, (n_rows, 3, 32, 32)).astype(np.uint8), y


FITS: dict[str, Callable[[], Callable[[], Any]]] = {
    "table, 2,000 rows, 3 epochs": lambda: fit(*table(2000), max_epochs=3, begin=1),
    "table, 2,000 rows, MLP 1024, 1 epoch": lambda: fit(
        *table(2000), max_epochs=1, begin=1, module_params={"hidden": (1024, 1024)}
    ),
    "images 32 x 32, 256 rows, SmallResNet, 1 epoch": lambda: fit(*images(256), max_epochs=1, begin=1, batch_size=64),
    "predictions, 20,000 rows": lambda: predictions(*table(20_000)),
}


def fit(X: np.ndarray, y: np.ndarray, **params: Any) -> Callable[[], Any]:
    clf = JointOptimizationClassifier(random_state=0, device="cpu", **params)
    return lambda: clf.fit(X, y)


def predictions(X: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    clf = JointOptimizationClassifier(random_state=0, device="cpu", max_epochs=1, begin=1).fit(X[:2000], y[:2000])
    return lambda: clf.predict_proba(X)


@contextlib.contextmanager
def as_the_user_says() -> Iterator[None]:
    """Keep the library from choosing threads: torch has as many as there are cores."""
    os.environ["OMP_NUM_THREADS"] = str(N_CORES)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def time_fit(make: Callable[[], Callable[[], Any]], rounds: int, patience: float) -> dict[str, float]:
    """Time a fit with threads chosen by the library and with all, in turn, alone and beside busy processes."""
    run, found = make(), {}
    for beside, n_busy in (("alone", 0), ("busy", N_CORES)):
        with busy_processes(n_busy):
            turns = [turn_within(run, contextlib.nullcontext), turn_within(run, as_the_user_says)]
            found |= in_turn(turns, rounds, patience, ("chosen", "ratio", beside))
    for which in ("chosen_ms", "best_chosen_ms"):
        found[f"busy_over_alone_{which}"] = found[f"{which}_busy"] / found[f"{which}_alone"]
    return found


def turn_within(run: Callable[[], Any], around: Callable[[], Any]) -> Callable[[], float]:
    def turn() -> float:
        with around():
            began = time.perf_counter()
            run()
            return time.perf_counter() - began

    return turn


PARTS: dict[str, tuple[dict[str, Any], Callable[..., dict[str, float]]]] = {
    "steps": (STEPS, time_step),
    "fits": (FITS, time_fit),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for an idle machine, a measurement")
    args = parser.parse_args()
    if any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")):
        parser.error("unset OMP_NUM_THREADS, MKL_NUM_THREADS and OPENBLAS_NUM_THREADS: the library is to choose")
    warnings.simplefilter("ignore")  # of refused or collapsed labels: the data are made up
    path = RESULTS / "threads.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    content.pop("machine", None)
    for part in args.parts:
        cases, measure = PARTS[part]
        for name, case in cases.items():
            figures = {"rounds": args.rounds} | measure(case, args.rounds, args.patience)
            print(f"{name}: { ({key: round(value, 2) for key, value in figures.items()}) }", flush=True)
            content.setdefault(part, {})[name] = figures
            write_json("threads", content)


if __name__ == "__main__":
    main()
