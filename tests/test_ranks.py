"""Training by several processes: the result is that of one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import parallel_backend
from sklearn.model_selection import GridSearchCV

import noisyfit
from noisyfit.training import batch_sizes

SCRIPT = """
import os
import sys

import numpy as np
import torch

import noisyfit
from noisyfit import JointOptimizationClassifier


class Rows(torch.utils.data.Dataset):
    def __init__(self, X):
        self.X, self.read = torch.from_numpy(X), []

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        self.read.append(i)
        return self.X[i]


folder, kind = sys.argv[1:]
torch.manual_seed(0)
data = np.load(f"{folder}/data.npz")
X, y = data["X"], data["y"].astype(str)
params = {
    "networks": {"module_params": {"hidden": (16,), "dropout": 0.0}, "begin": 2},
    "learners": {"module_params": {"hidden": (16,), "dropout": 0.0}, "begin": 1.0},
    "dataset": {"module_params": {"hidden": (16,), "dropout": 0.0}, "cross_fit": 0, "begin": 2},
    "convolutions": {"module": torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 3 * 1, 3)),
        "precision": "float32"},  # bfloat16, where the processor has it, rounds half a batch otherwise than a whole one
    "retrained": {"module_params": {"hidden": (16,), "dropout": 0.0}, "cross_fit": 0, "retrain_epochs": 2,
                  "prior_momentum": 0.5, "optimizer_params": {"momentum": 0.9}, "checkpoint": f"{folder}/states"},
}[kind]
rows = Rows(X) if kind == "dataset" else X.reshape(-1, 1, 5, 3) if kind == "convolutions" else X
clf = JointOptimizationClassifier(**params, max_epochs=4, batch_size=30, lr=0.1, random_state=0)
before = len(rows.read) if kind == "dataset" else 0
clf.fit(rows, y, sample_weight=data["weight"])
read = np.bincount(rows.read, minlength=len(X)) if kind == "dataset" else np.zeros(1)
weights = torch.nn.utils.parameters_to_vector(clf.net_.module_.parameters()).detach().numpy()
rank = os.environ.get("RANK", "alone")
np.savez(f"{folder}/{kind}-{rank}.npz", soft=clf.soft_labels_, labels=clf.corrected_labels_, weights=weights, read=read,
         proba=clf.predict_proba(rows), loss=clf.history_["loss"], T=clf.transition_matrix_)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, blobs):
    folder = tmp_path_factory.mktemp("ranks")
    rng = np.random.RandomState(0)
    X = np.hstack([blobs[0], rng.randn(90, 10)]).astype(np.float32)
    np.savez(folder / "data.npz", X=X, y=blobs[1], weight=rng.uniform(0.5, 1.5, 90))
    (folder / "script.py").write_text(SCRIPT)
    return folder


def run(folder, kind, n_processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={n_processes}", f"--master-port={port}"]
    command = [sys.executable, *(torchrun if n_processes > 1 else []), folder / "script.py", folder, kind]
    root = str(Path(noisyfit.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("kind", ["networks", "learners", "dataset", "convolutions", "retrained"])
def test_two_processes_give_the_result_of_one(folder, kind):
    run(folder, kind, 1)
    run(folder, kind, 2)
    alone, first, second = (np.load(folder / f"{kind}-{rank}.npz") for rank in ("alone", 0, 1))
    for name in ("soft", "labels", "weights", "proba", "loss", "T"):
        np.testing.assert_array_equal(first[name], second[name])  # the same everywhere
    np.testing.assert_array_equal(first["labels"], alone["labels"])
    for name in ("soft", "weights", "proba", "loss", "T"):
        np.testing.assert_allclose(first[name], alone[name], atol=1e-4)


def test_each_row_is_read_once_an_epoch(folder):
    """By one of the two processes, but for checks before and predictions after, which both of them make."""
    if not (folder / "dataset-0.npz").exists():
        run(folder, "dataset", 1)
        run(folder, "dataset", 2)
    alone, first, second = (np.load(folder / f"dataset-{rank}.npz")["read"] for rank in ("alone", 0, 1))
    outside = np.minimum(first, second) if (alone >= 4).all() else None
    in_training = first + second - alone  # what both did is counted once too often
    assert outside is not None
    assert (first + second - 2 * in_training == 4).all()


def test_a_short_last_batch_joins_the_one_before():
    assert batch_sizes(10, 4, 2) == [4, 4, 2]
    assert batch_sizes(10, 4, 4) == [4, 6]
    assert batch_sizes(3, 4, 4) == [3]


def test_searches_run_on_a_dask_cluster(blobs, quick):
    distributed = pytest.importorskip("distributed")
    X, y, _ = blobs
    grid = {"alpha": [0.5, 1.0], "beta": [0.1, 0.4]}
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over threads have other last bits
    try:
        serial = GridSearchCV(quick(), grid, cv=2).fit(X, y)
    finally:
        torch.set_num_threads(n_threads)
    os.environ["OMP_NUM_THREADS"], before = "1", os.environ.get("OMP_NUM_THREADS")
    try:
        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster),
            parallel_backend("dask"),
        ):
            search = GridSearchCV(quick(), grid, cv=2).fit(X, y)
    finally:
        os.environ["OMP_NUM_THREADS"] = before or "1"
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(search.best_estimator_.soft_labels_, serial.best_estimator_.soft_labels_)
