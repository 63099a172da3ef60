"""Training by several processes: the result is that of one."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from joblib import parallel_backend
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

import noisyfit
from noisyfit import JointOptimizationClassifier
from noisyfit.algorithm.trainer import batch_sizes

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
    "learners": {"module_params": {"hidden": (16,), "dropout": 0.0}, "begin": 4},
    "dataset": {"module_params": {"hidden": (16,), "dropout": 0.0}, "cross_fit": 0, "begin": 2},
    "convolutions": {"module": torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 3 * 1, 3)),
        # bfloat16, where the processor has it, rounds half a batch otherwise than a whole one
        "net_params": {"precision": "float32"}},
    "retrained": {"module_params": {"hidden": (16,), "dropout": 0.0}, "cross_fit": 0, "retrain_epochs": 2,
                  "net_params": {"prior_momentum": 0.5, "optimizer__momentum": 0.9}, "checkpoint": f"{folder}/states"},
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


@pytest.mark.thorough
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


@pytest.mark.thorough
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


class KillsAtBegin(Callback):
    """Kills its process at the beginning of a step's nth epoch in this process, where a number is set."""

    def initialize(self):
        self.epoch_ = 0
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.epoch_ += 1
        if os.environ.get("KILLED_AT") == str(self.epoch_):
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def alone(blobs):
    """The same fit by one process; torch loads much at its first one, which forked processes then share."""
    return JointOptimizationClassifier(**DROPS_OUT, device="cpu", random_state=0).fit(*blobs[:2])


def fit_in_two_processes(folder, data, killed_at=None, shared=True, **params):
    """Fit in two forked processes; give their exit codes, and what they found."""

    def fit(rank):
        if killed_at is not None:
            os.environ["KILLED_AT"] = str(killed_at)
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
        own = folder if shared else folder / str(rank)
        clf = JointOptimizationClassifier(**params, checkpoint=own / "states", device="cpu", random_state=0)
        clf.fit(*data)
        np.savez(
            folder / f"{rank}.npz", soft=clf.soft_labels_, loss=clf.history_["loss"], proba=clf.predict_proba(data[0])
        )

    store = folder / f"store{len(list(folder.iterdir()))}"
    processes = [multiprocessing.get_context("fork").Process(target=fit, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    codes = [process.exitcode for process in processes]
    return codes, [dict(np.load(folder / f"{rank}.npz")) for rank in range(2) if codes == [0, 0]]


DROPS_OUT = {
    "module_params": {"hidden": (16,), "dropout": 0.5},
    "max_epochs": 3,
    "retrain_epochs": 3,
    "cross_fit": 0,
    "begin": 1,
    "batch_size": 30,
    "net_params": {"callbacks": [("kills", KillsAtBegin())]},
}


def test_processes_that_were_killed_go_on_to_the_same_bits_with_dropout(blobs, alone, tmp_path):
    (tmp_path / "whole").mkdir()
    codes, expected = fit_in_two_processes(tmp_path / "whole", blobs[:2], **DROPS_OUT)
    assert codes == [0, 0]
    assert (expected[0]["soft"] != alone.soft_labels_).any()  # dropout draws in each process
    for _ in range(2):  # in the last epoch of either step
        codes, _ = fit_in_two_processes(tmp_path, blobs[:2], killed_at=3, **DROPS_OUT)
        assert codes == [-signal.SIGKILL] * 2
    codes, found = fit_in_two_processes(tmp_path, blobs[:2], **DROPS_OUT)
    assert codes == [0, 0]
    for name, array in expected[0].items():
        np.testing.assert_array_equal(found[0][name], array)
        np.testing.assert_array_equal(found[1][name], array)


def test_two_forked_processes_give_the_result_of_one(blobs, tmp_path):
    """Without dropout; torchrun and other kinds of fits are among the thorough tests."""
    params = DROPS_OUT | {"module_params": {"hidden": (16,), "dropout": 0.0}, "net_params": None}
    codes, found = fit_in_two_processes(tmp_path, blobs[:2], **params)
    assert codes == [0, 0]
    one = JointOptimizationClassifier(**params, device="cpu", random_state=0).fit(*blobs[:2])
    for arrays in found:
        np.testing.assert_allclose(arrays["soft"], one.soft_labels_, atol=1e-4)
        np.testing.assert_allclose(arrays["loss"], one.history_["loss"], atol=1e-4)


def test_another_number_of_processes_begins_anew(blobs, alone, tmp_path):
    fit_in_two_processes(tmp_path, blobs[:2], killed_at=3, **DROPS_OUT)
    assert list((tmp_path / "states").rglob("step*"))
    found = clone(alone).set_params(checkpoint=tmp_path / "states").fit(*blobs[:2])
    np.testing.assert_array_equal(found.soft_labels_, alone.soft_labels_)
    assert len(list((tmp_path / "states").iterdir())) == 2


def test_processes_that_do_not_share_the_folder_are_told(blobs, alone, tmp_path, capfd):
    for rank in ("0", "1"):
        (tmp_path / rank).mkdir()
    fit_in_two_processes(tmp_path, blobs[:2], killed_at=3, shared=False, **DROPS_OUT)
    assert list((tmp_path / "0").rglob("step*"))
    assert not list((tmp_path / "1").rglob("step*"))
    codes, _ = fit_in_two_processes(tmp_path, blobs[:2], shared=False, **DROPS_OUT)
    assert codes[1] == 1
    assert "`checkpoint` must be a folder that all processes share" in capfd.readouterr().err


def test_a_short_last_batch_joins_the_one_before():
    assert batch_sizes(10, 4, 2) == [4, 4, 2]
    assert batch_sizes(10, 4, 4) == [4, 6]
    assert batch_sizes(3, 4, 4) == [3]


@pytest.mark.thorough
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
