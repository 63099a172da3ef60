"""Time and memory by number of rows, classes and batch size, and what happens with very large data.

    python benchmarks/scale.py growth
    python benchmarks/scale.py memmap --rows 100000 10000000
    python benchmarks/scale.py classes
    python benchmarks/scale.py rows
    python benchmarks/scale.py sparse
    python benchmarks/scale.py jpeg --data FOLDER

Every measurement runs in a process of its own. Memory is the peak of its anonymous pages (not those of mapped files)
above what it had just before the fit, looked at every 10 ms. Writes JSON; `growth` also draws it, with the line that
theory says.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from PIL import Image
from torch import nn

from noisyfit import JointOptimizationClassifier

from cifar10n import SlimNet
from made_up import N_FEATURES, draw_table, mlp
from results import RESULTS, write_json

EPOCHS, FEW_EPOCHS = 10, 4  # for the whole window of outputs, and for `growth`
FIT = {"max_epochs": EPOCHS, "begin": 2, "lr": 0.05, "random_state": 0, "device": "cpu"}
BASE = {"n_rows": 100_000, "n_classes": 10, "batch_size": 512}
GROWTH = {
    "n_rows": [1_000, 10_000, 100_000, 1_000_000],
    "n_classes": [2, 10, 100, 1_000],
    "batch_size": [16, 64, 256, 1024, 4096],
}
MANY_CLASSES = ((4_000, 2_000), (10_000, 5_000))  # rows, classes
BYTES_OF_LABELS = 2 * FEW_EPOCHS + 4  # a row and class: an output of each epoch, and a soft label


class PeakMemory:
    """The most anonymous memory above that at the start, in bytes, while the block runs."""

    def __enter__(self) -> PeakMemory:
        self._done = threading.Event()
        self.start, self.peak = anonymous_bytes(), 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.peak = max(self.peak, anonymous_bytes() - self.start)

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._thread.join()


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def fit_and_measure(clf: JointOptimizationClassifier, X: Any, y: np.ndarray) -> dict[str, float]:
    """Give seconds of a training epoch (the median but for the first) and of the whole fit, and peak memory."""
    warnings.simplefilter("ignore")
    with PeakMemory() as memory:
        start = time.perf_counter()
        clf.fit(X, y)
        seconds = time.perf_counter() - start
    epochs = clf.history_["seconds"].iloc[1:] if len(clf.history_) > 1 else clf.history_["seconds"]
    return {"seconds_an_epoch": float(epochs.median()), "seconds": seconds, "peak_bytes": memory.peak}


def warm_up() -> None:
    """Load what a first fit loads, so that it is not counted."""
    X, y = draw_table(1_000, 3)
    JointOptimizationClassifier(mlp(n_classes=3), **FIT | {"max_epochs": 2}).fit(X, y)


def measure_growth(n_rows: int, n_classes: int, batch_size: int) -> dict[str, float]:
    X, y = draw_table(n_rows, n_classes)
    warm_up()
    clf = JointOptimizationClassifier(
        mlp(n_classes=n_classes), batch_size=batch_size, cross_fit=0, **FIT | {"max_epochs": FEW_EPOCHS}
    )
    return fit_and_measure(clf, X, y)


def measure_classes(n_rows: int, n_classes: int) -> dict[str, float]:
    """Fit the defaults for two epochs: how long is everything around them?"""
    X, y = draw_table(n_rows, n_classes)
    warm_up()
    clf = JointOptimizationClassifier(max_epochs=2, random_state=0, device="cpu")
    found = fit_and_measure(clf, X, y)
    epochs = float(clf.history_["seconds"].sum())
    return {**found, "seconds_of_epochs": epochs, "times_the_epochs": found["seconds"] / epochs}


def measure_rows(n_rows: int) -> dict[str, float]:
    """Fit the defaults to one feature and two classes, where what is kept of each row is all there is to keep."""
    X, y = draw_table(n_rows, 2)
    warm_up()
    clf = JointOptimizationClassifier(nn.Linear(1, 2), batch_size=4096, **FIT)
    found = fit_and_measure(clf, X[:, :1].copy(), y)
    return {**found, "bytes_a_row": found["peak_bytes"] / n_rows}


def measure_memmap(n_rows: int, cross_fit: int, network: str, batch_size: int) -> dict[str, float]:
    warm_up()
    with tempfile.NamedTemporaryFile() as file:
        written = np.memmap(file, dtype=np.float32, mode="w+", shape=(n_rows, N_FEATURES))
        _, y = draw_table(n_rows, 10, written)
        written.flush()
        X = np.memmap(file.name, dtype=np.float32, mode="r", shape=written.shape)
        module = mlp() if network == "mlp" else nn.Linear(N_FEATURES, 10)
        clf = JointOptimizationClassifier(module, batch_size=batch_size, cross_fit=cross_fit, **FIT)
        return fit_and_measure(clf, X, y)


def measure_sparse(n_rows: int, n_features: int, in_a_row: int, epochs: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=n_rows)
    # words by Zipf's law; a tenth of a text's words belong to its class
    columns = np.minimum(rng.zipf(1.3, size=(n_rows, in_a_row)), n_features) - 1
    own = rng.random(columns.shape) < 0.1
    columns[own] = (100 * y[:, None] + rng.integers(100, size=columns.shape))[own]
    pointers = np.arange(0, n_rows * in_a_row + 1, in_a_row)
    X = sp.csr_matrix((np.ones(columns.size, np.float32), columns.ravel(), pointers), shape=(n_rows, n_features))
    X.sum_duplicates()
    warm_up()
    return fit_and_measure(JointOptimizationClassifier(max_epochs=epochs, random_state=0), X, y)


class Jpegs(torch.utils.data.Dataset):
    """All 60,000 images of CIFAR-10, decoded when they are asked for."""

    def __init__(self, folder: str):
        with np.load(Path(folder) / "cifar10_jpeg.npz") as stored:
            names = ("train", "test")
            self.bytes = [stored[f"{name}_jpeg"] for name in names]
            self.offsets = [stored[f"{name}_offsets"] for name in names]
            self.y = np.concatenate([stored[f"{name}_label"] for name in names]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> torch.Tensor:
        part, i = (0, i) if i < len(self.offsets[0]) - 1 else (1, i - len(self.offsets[0]) + 1)
        jpeg = self.bytes[part][self.offsets[part][i] : self.offsets[part][i + 1]]
        image = Image.open(io.BytesIO(jpeg.tobytes())).convert("RGB")
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def measure_jpeg(folder: str, workers: int, what: str) -> dict[str, float]:
    """Time an epoch of decoding alone, of the network alone, or of both."""
    warnings.simplefilter("ignore")
    dataset, batch_size = Jpegs(folder), 128
    if what == "decode":
        start = time.perf_counter()
        for _ in torch.utils.data.DataLoader(dataset, batch_size, num_workers=workers):
            pass
        return {"seconds_an_epoch": time.perf_counter() - start}
    net_params = {"iterator_train__num_workers": workers} if what == "both" else None
    X = dataset if what == "both" else np.stack([dataset[i].numpy() for i in range(len(dataset))])
    network, rest = SlimNet(10), {"cross_fit": 0, "batch_size": batch_size, "net_params": net_params}
    clf = JointOptimizationClassifier(network, **FIT | {"max_epochs": 2}, **rest).fit(X, dataset.y)
    return {"seconds_an_epoch": float(clf.history_["seconds"].iloc[-1])}


def in_own_process(measure: Callable[..., dict[str, float]], **arguments: Any) -> dict[str, Any]:
    call = json.dumps([measure.__name__, arguments])
    done = subprocess.run([sys.executable, __file__, "one", call], check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    print(arguments, {name: float(f"{value:.4g}") for name, value in result.items()}, flush=True)
    return {**arguments, **result}


def growth(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [
        {"by": by, **in_own_process(measure_growth, **BASE | {by: value})}
        for by, values in GROWTH.items()
        for value in values
    ]


def memmap(args: argparse.Namespace) -> list[dict[str, Any]]:
    fixed = {"network": args.network, "batch_size": args.batch_size}
    rows = args.rows or [100_000, 10_000_000]
    return [in_own_process(measure_memmap, n_rows=n, cross_fit=k, **fixed) for k in args.cross_fit for n in rows]


def classes(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [in_own_process(measure_classes, n_rows=n, n_classes=k) for n, k in MANY_CLASSES]


def rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    return [in_own_process(measure_rows, n_rows=n) for n in args.rows or [100_000, 1_000_000]]


def sparse(args: argparse.Namespace) -> list[dict[str, Any]]:
    fixed = {"n_features": 100_000, "in_a_row": 100, "epochs": args.epochs}
    return [in_own_process(measure_sparse, n_rows=n, **fixed) for n in args.rows or [100_000]]


def jpeg(args: argparse.Namespace) -> list[dict[str, Any]]:
    whats = ("decode", "network", "both")
    return [in_own_process(measure_jpeg, folder=args.data, workers=args.workers, what=what) for what in whats]


def plot_growth(measured: list[dict[str, Any]]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained", sharey="row")
    labels = {"n_rows": "rows", "n_classes": "classes", "batch_size": "rows a batch"}
    for by, (time_axis, memory_axis) in zip(GROWTH, axes.T, strict=True):
        runs = [run for run in measured if run["by"] == by]
        values = np.array([run[by] for run in runs])
        sizes = [[run["n_rows"], run["n_classes"]] for run in runs]
        seconds = np.array([run["seconds_an_epoch"] for run in runs])
        time_axis.loglog(values, seconds, "o-", label="measured")
        time_axis.loglog(values, theory_of_time(by, values, seconds), "--", color="grey", label="in proportion")
        memory_axis.loglog(values, [run["peak_bytes"] / 2**20 for run in runs], "o-", label="measured")
        stored = [BYTES_OF_LABELS * rows * classes / 2**20 for rows, classes in sizes]
        memory_axis.loglog(values, stored, "--", color="grey", label=f"{BYTES_OF_LABELS} bytes a row and class")
        memory_axis.set_xlabel(labels[by])
    axes[0, 0].set_ylabel("seconds an epoch")
    axes[1, 0].set_ylabel("memory of the fit in MiB")
    axes[0, 0].legend(), axes[1, 0].legend()
    figure.savefig(RESULTS / "scale_growth.svg")


def theory_of_time(by: str, values: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Proportional to rows; to batches (the smaller, the more) at small batches; to none of the classes at few."""
    if by == "n_rows":
        return seconds[-1] * values / values[-1]
    if by == "batch_size":
        return np.maximum(seconds[0] * values[0] / values, seconds[-1])
    macs = N_FEATURES * 128 + 128 * 128 + 128 * values  # of the network; its labels grow with the classes as well
    return seconds[0] * macs / macs[0]


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        name, arguments = json.loads(sys.argv[2])
        print(json.dumps(globals()[name](**arguments)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["growth", "memmap", "classes", "rows", "sparse", "jpeg"])
    parser.add_argument("--rows", type=int, nargs="+", help="memmap, rows and sparse")
    parser.add_argument("--cross-fit", type=int, nargs="+", default=[0, 3], help="memmap")
    parser.add_argument("--network", choices=["mlp", "linear"], default="mlp", help="memmap")
    parser.add_argument("--batch-size", type=int, default=512, help="memmap")
    parser.add_argument("--epochs", type=int, default=4, help="sparse")
    parser.add_argument("--data", help="jpeg: folder of cifar10_jpeg.npz")
    parser.add_argument("--workers", type=int, default=1, help="jpeg")
    args = parser.parse_args()
    measured = globals()[args.what](args)
    for run in measured:
        run.pop("folder", None)
    write_json(f"scale_{args.what}", {"features": N_FEATURES, "fit": FIT, "measured": measured})
    if args.what == "growth":
        plot_growth(measured)


if __name__ == "__main__":
    main()
