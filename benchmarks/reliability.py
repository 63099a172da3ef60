"""What cannot be shown in a test of seconds: many kills, many fits in one process, two processes on two cores.

python benchmarks/reliability.py kills --n 50
python benchmarks/reliability.py soak --n 1000
python benchmarks/reliability.py processes --n 5
"""

from __future__ import annotations

import argparse
import functools
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

import numpy as np
import psutil
import torch
from sklearn.datasets import load_digits, make_classification

from noisyfit import JointOptimizationClassifier
from noisyfit.noise import corrupt_labels, symmetric_noise

from results import write_json

EPOCHS, BATCH = 20, 64


class CountsSteps(torch.optim.SGD):
    """Writes a byte for each step of training, also where the process is killed at the next moment."""

    log = None

    def step(self, closure=None):
        super().step()
        if CountsSteps.log is not None:
            CountsSteps.log.write(b".")


def digits():
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32), corrupt_labels(y, symmetric_noise(10, 0.4), random_state=0)


def kills(n: int) -> dict:
    """Kill n fits, each at a random moment, and call each again: the results must have the same bits."""
    torch.set_num_threads(1)  # as the forked processes have: the number of threads is part of the bits
    X, y = digits()
    make = functools.partial(
        JointOptimizationClassifier, max_epochs=EPOCHS, retrain_epochs=5, batch_size=BATCH, optimizer=CountsSteps
    )
    start = time.perf_counter()
    expected = make(random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    steps_an_epoch = -(-len(X) // BATCH)
    needed = (EPOCHS + 5) * steps_an_epoch
    rng, repeated, steps_after = random.Random(0), [], []
    while len(repeated) < n:
        with tempfile.TemporaryDirectory() as folder:
            log, make_here = (
                Path(folder, "steps"),
                functools.partial(make, random_state=0, checkpoint=f"{folder}/states"),
            )
            log.touch()
            if not _killed(make_here().fit, X, y, log, after=rng.uniform(0, seconds)):
                continue  # it was faster than its killer
            before = log.stat().st_size
            clf = _logged(make_here().fit, X, y, log)
            steps_after.append(log.stat().st_size - before)
            repeated.append((log.stat().st_size - needed) / steps_an_epoch)
            assert 0 <= repeated[-1] <= 1, repeated
            for name in ("soft_labels_", "corrected_labels_", "transition_matrix_"):
                np.testing.assert_array_equal(getattr(clf, name), getattr(expected, name))
            np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))
        print(f"{len(repeated)} kills, as many fits with the same bits", flush=True)
    return {
        "kills": n,
        "fits_with_the_same_bits": len(repeated),
        "most_repeated_epochs_a_kill": round(max(repeated), 3),
        "steps_of_a_whole_fit": needed,
        "steps_after_the_kill": {
            "least": min(steps_after),
            "mean": float(np.mean(steps_after)),
            "most": max(steps_after),
        },
    }


def _killed(fit, X, y, log: Path, after: float) -> bool:
    """Fit in a process that is killed after some seconds, unless it ends before."""
    process = multiprocessing.get_context("fork").Process(target=_logged, args=(fit, X, y, log))
    process.start()
    process.join(after)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _logged(fit, X, y, log: Path):
    """Fit, with a byte in log for each step."""
    with log.open("ab", buffering=0) as CountsSteps.log:
        return fit(X, y)


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
                params |= {"cross_fit": 0, "retrain_epochs": 1, "label_store": "file"}
            elif i % 5 == 2:
                params |= {"module_params": {"width": 4}}
                rows = images
            elif i % 5 == 3:
                params |= {"checkpoint": folder}
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
