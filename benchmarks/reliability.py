"""What cannot be shown in a test of seconds: many kills, many fits in one process, two processes on two cores.

python benchmarks/reliability.py kills --n 100
python benchmarks/reliability.py soak --n 1000
python benchmarks/reliability.py processes --n 5
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier
from torch.optim.optimizer import register_optimizer_step_post_hook

from noisyfit import JointOptimizationClassifier
from noisyfit.algorithm import joint_optimisation
from noisyfit.noise import corrupt_labels, symmetric_noise

from results import write_json


def digits():
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32), corrupt_labels(y, symmetric_noise(10, 0.4), random_state=0)


ATTRIBUTES = ("soft_labels_", "corrected_labels_", "transition_matrix_")
BATCH = 64
_SMALL = {"batch_size": BATCH, "random_state": 0, "device": "cpu"}
_TABLE = {
    **_SMALL,
    "max_epochs": 6,
    "retrain_epochs": 2,
    "module_params": {"hidden": (64,)},
    "witness": ExtraTreesClassifier(20),
}
KINDS = {
    "networks and second witness": {"rows": 300, "params": _TABLE},
    "checks and groups": {"rows": 300, "params": _TABLE, "with_checks": True},
    "two processes with dropout": {"rows": 192, "params": {**_TABLE, "cross_fit": 0}, "processes": 2},
    "images": {"rows": 130, "params": {**_SMALL, "max_epochs": 5, "cross_fit": 2, "module_params": {"width": 4}}},
}


def kills(n: int) -> dict:
    """Kill n fits of several kinds, each at a random moment, and call each again: the bits must be the same."""
    torch.set_num_threads(1)  # as the forked processes have: the number of threads is part of the bits
    JointOptimizationClassifier(gamma=0, max_epochs=1).fit(
        *(data[:100] for data in digits())
    )  # loads what forks then share
    rng, found = random.Random(0), {}
    for number, name in enumerate(KINDS):
        found[name] = _kills_of(KINDS[name], n // len(KINDS) + (number < n % len(KINDS)), rng)
        print(name, found[name], flush=True)
    return {
        "kills": sum(kind["kills"] for kind in found.values()),
        "fits_with_the_same_bits": sum(kind["fits_with_the_same_bits"] for kind in found.values()),
        "most_repeated_epochs_a_kill": max(kind["most_repeated_epochs_a_kill"] for kind in found.values()),
        "kinds": found,
    }


def _kills_of(kind: dict, n: int, rng: random.Random) -> dict:
    steps_an_epoch = -(-kind["rows"] // BATCH)
    needed = (kind["params"]["max_epochs"] + kind["params"].get("retrain_epochs", 0)) * steps_an_epoch
    repeated, steps_after, same = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        assert not _run(kind, Path(folder))
        seconds = time.perf_counter() - start
        expected = dict(np.load(f"{folder}/found.npz"))
    while len(repeated) < n:
        with tempfile.TemporaryDirectory() as folder:
            if not _run(kind, Path(folder), after=rng.uniform(0, seconds)):
                continue  # it was faster than its killer
            before = Path(folder, "steps").stat().st_size
            assert not _run(kind, Path(folder))
            steps = Path(folder, "steps").stat().st_size
            found = dict(np.load(f"{folder}/found.npz"))
        steps_after.append(steps - before)
        repeated.append((steps - needed) / steps_an_epoch)
        same += all(np.array_equal(found[name], array) for name, array in expected.items())
        assert 0 <= repeated[-1] <= 1, repeated
    return {
        "kills": n,
        "fits_with_the_same_bits": same,
        "most_repeated_epochs_a_kill": round(max(repeated), 3),
        "steps_of_a_whole_fit": needed,
        "steps_after_the_kill": {
            "least": min(steps_after),
            "mean": round(float(np.mean(steps_after)), 1),
            "most": max(steps_after),
        },
        "seconds_of_a_whole_fit": round(seconds, 2),
    }


def _run(kind: dict, folder: Path, after: float | None = None) -> bool:
    """Fit in processes of its own, which are killed after some seconds, unless they end before; say if they were."""
    (folder / "store").unlink(missing_ok=True)
    (folder / "steps").touch()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fit, args=(kind, folder, rank)) for rank in range(kind.get("processes", 1))]
    for process in processes:
        process.start()
    end = time.monotonic() + (600 if after is None else after)
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    assert set(codes) <= {0, -signal.SIGKILL}, codes
    return -signal.SIGKILL in codes


def _fit(kind: dict, folder: Path, rank: int) -> None:
    """Fit, and write what was found; the first process notes each step by a byte, also where it is killed then."""
    n_processes = kind.get("processes", 1)
    if n_processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=n_processes)
    X, y = (data[: kind["rows"]] for data in digits())
    more = {}
    if kind.get("with_checks"):
        true = load_digits(return_X_y=True)[1]
        more = {"groups": np.arange(len(y)) // 3, "checked": {i: int(true[i]) for i in range(0, len(y), 20)}}
    images = "width" in kind["params"]["module_params"]
    rows = X.reshape(-1, 1, 8, 8) if images else X
    clf = JointOptimizationClassifier(**kind["params"], checkpoint=folder / "states")
    with (folder / "steps").open("ab", buffering=0) as log:
        register_optimizer_step_post_hook(lambda *_: log.write(b".") if rank == 0 else None)
        clf.fit(rows, y, **more)
    if rank == 0:
        found = {name: getattr(clf, name) for name in ATTRIBUTES}
        np.savez(folder / "found.npz", **found, proba=clf.predict_proba(rows))


def soak(n: int) -> dict:
    """Fit n times in one process, in turn with everything on; look at memory, files and threads."""
    X, y = digits()
    X, y = X[:300], y[:300]
    process, figures = psutil.Process(), []
    images = X.reshape(-1, 1, 8, 8)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n):
            params = {"max_epochs": 2, "random_state": i, "module_params": {"hidden": (32,)}}
            rows = X
            if i % 5 == 1:
                params |= {"cross_fit": 0, "retrain_epochs": 1}
            elif i % 5 == 2:
                params |= {"module_params": {"width": 4}}
                rows = images
            elif i % 5 == 3:
                params |= {"checkpoint": folder}
            with mock.patch.object(joint_optimisation, "choose_place", return_value=("host", "file")[i % 5 == 1]):
                clf = JointOptimizationClassifier(**params).fit(rows, y)
            clf.predict_proba(rows), clf.label_report(), clf.summary()
            if i % 5 == 4:
                clf.save(f"{folder}/model")
                JointOptimizationClassifier.load(f"{folder}/model").predict(rows)
            if i + 1 in (n // 10, n // 2, n):
                rss = process.memory_info().rss / 2**20
                files, threads = process.num_fds(), process.num_threads()
                figures.append({"fits": i + 1, "MiB": round(rss, 1), "files": files, "threads": threads})
                print(figures[-1], flush=True)
    return {"after": figures}


_RACE = """
import os, sys, time
import numpy as np, torch
from noisyfit import JointOptimizationClassifier
data = np.load(sys.argv[1])
clf = JointOptimizationClassifier(
    module_params={params}, cross_fit=0, max_epochs={epochs}, batch_size=256, random_state=0
)
start = time.perf_counter()
clf.fit(data["X"], data["y"])
if os.environ.get("RANK", "0") == "0":
    print("seconds", time.perf_counter() - start, clf.history_["seconds"].iloc[1:].sum())
"""
_RACES = {
    "images": {"params": {"width": 16}, "epochs": 3},
    "table": {"params": {"hidden": (1024, 1024)}, "epochs": 4},
}


def processes(n: int) -> dict:
    """One process against two, one thread each: seconds of the epochs after the first, n rounds in turn."""
    rng, found = np.random.RandomState(0), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, race in _RACES.items():
            if name == "images":
                X, y = rng.rand(2_000, 3, 32, 32).astype(np.float32), rng.randint(10, size=2_000)
            else:
                X, y = make_classification(20_000, 256, n_informative=30, n_classes=10, random_state=0)
            np.savez(f"{folder}/{name}.npz", X=X.astype(np.float32), y=y)
            Path(folder, f"{name}.py").write_text(_RACE.format(**race))
            ratios = []
            for _ in range(n):
                alone, together = (_race(folder, name, size) for size in (1, 2))
                ratios.append(alone / together)
                print(f"{name}: one process {alone:.1f} s, two {together:.1f} s", flush=True)
            rounds = [round(ratio, 2) for ratio in ratios]
            found[name] = {"speed_up_median": float(np.median(rounds)), "rounds": rounds}
    return found


def _race(folder: str, name: str, size: int) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={size}", f"--master-port={port}"]
    command = [sys.executable, *torchrun, f"{folder}/{name}.py", f"{folder}/{name}.npz"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("seconds"))
    return float(line.split()[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "soak", "processes"])
    parser.add_argument("--n", type=int, required=True)
    args = parser.parse_args()
    start = time.perf_counter()
    found = {"kills": kills, "soak": soak, "processes": processes}[args.what](args.n)
    print(found)
    write_json(f"reliability_{args.what}", {**found, "seconds": round(time.perf_counter() - start)})


if __name__ == "__main__":
    main()
