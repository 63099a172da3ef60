"""Model files: what is saved comes back, and what is broken or hostile raises instead of running."""

import copy
import json
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from torch import nn

import noisyfit
from noisyfit import JointOptimizationClassifier, state_files
from noisyfit.state_files import read_state, write_state

DATA = Path(__file__).parent / "data"
SMALL = {"module_params": {"hidden": (8,)}, "max_epochs": 3, "random_state": 0}


class Doubled(nn.Module):
    """A network of one's own."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes)

    def forward(self, x):
        return self.layer(x) * 2


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def fitted(iris):
    return JointOptimizationClassifier(**SMALL).fit(*iris)


@pytest.fixture
def saved(fitted, tmp_path):
    path = tmp_path / "iris.safetensors"
    fitted.save(path)
    return path


def assert_same_fit(loaded, clf, X):
    for name in ("classes_", "class_prior_", "corrected_labels_", "soft_labels_", "transition_matrix_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(clf, name), strict=True)
    for name in ("correction_refused_", "n_iter_", "n_features_in_", "noise_rate_"):
        assert getattr(loaded, name) == getattr(clf, name)
    pd.testing.assert_frame_equal(loaded.history_, clf.history_)
    pd.testing.assert_frame_equal(loaded.label_report(), clf.label_report(), check_freq=False)
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    for one, other in zip(loaded.correct(X, clf.predict(X)), clf.correct(X, clf.predict(X)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"cross_fit": 0},
        {"cross_fit": 0, "retrain_epochs": 1},
        {"module": Doubled, "module_params": None},
        {"module": Doubled(4, 3), "module_params": None, "cross_fit": 0},
        {"module": nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3)), "module_params": None},
        {"optimizer": torch.optim.AdamW, "lr": 0.01, "device": torch.device("cpu"), "class_prior": [0.3, 0.3, 0.4]},
    ],
    ids=lambda params: ",".join(params) or "defaults",
)
def test_a_loaded_estimator_is_the_saved_one(iris, params, tmp_path):
    clf = JointOptimizationClassifier(**{**SMALL, **params}).fit(*iris)
    clf.save(tmp_path / "model")
    loaded = JointOptimizationClassifier.load(tmp_path / "model", module=params.get("module"))
    assert_same_fit(loaded, clf, iris[0])
    assert loaded.get_params() == clf.get_params()
    np.testing.assert_array_equal(clone(loaded).fit(*iris).soft_labels_, clf.soft_labels_)


@pytest.mark.parametrize("kind", ["images", "sparse", "frame"])
def test_every_kind_of_rows_can_be_predicted_after_loading(kind, tmp_path):
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=40)
    X = {
        "images": rng.randint(255, size=(40, 1, 8, 8)).astype(np.uint8),
        "sparse": sp.random(40, 100, 0.03, format="csr", random_state=rng, dtype=np.float32),
        "frame": pd.DataFrame(rng.randn(40, 2), columns=["a", "b"], index=[f"row {i}" for i in range(40)]),
    }[kind]
    small = {"width": 2} if kind == "images" else {"hidden": (8,)}
    clf = JointOptimizationClassifier(module_params=small, max_epochs=2, random_state=0).fit(X, y)
    clf.save(tmp_path / "model")
    loaded = JointOptimizationClassifier.load(tmp_path / "model")
    assert_same_fit(loaded, clf, X)
    assert getattr(loaded, "feature_names_in_", np.array([])).tolist() == (["a", "b"] if kind == "frame" else [])


@pytest.mark.parametrize(
    "labels",
    [
        np.array([7, 300], dtype=np.uint16),
        np.array([-1.0, 2.0]),
        np.array([False, True]),
        np.array(["a", "bb"], dtype="<U12"),
        np.array(["a", "bb"], dtype=object),
        np.array(["2020-01-01", "2021-06-01"], dtype="datetime64[D]"),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_keep_their_type(labels, tmp_path):
    X = np.random.RandomState(0).randn(20, 2)
    clf = JointOptimizationClassifier(**SMALL).fit(X, labels[np.arange(20) % 2])
    clf.save(tmp_path / "model")
    assert_same_fit(JointOptimizationClassifier.load(tmp_path / "model"), clf, X)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(10, 160, name="number"),
        pd.Index([f"row {i}" for i in range(150)]),
        pd.date_range("2026-01-01", periods=150, tz="Europe/Berlin"),
        pd.MultiIndex.from_product([range(15), list("abcdefghij")], names=["document", None]),
    ],
    ids=lambda index: type(index).__name__,
)
def test_the_report_keeps_its_index(iris, index, tmp_path):
    clf = JointOptimizationClassifier(**SMALL).fit(iris[0], pd.Series(iris[1], index=index))
    clf.save(tmp_path / "model")
    assert_same_fit(JointOptimizationClassifier.load(tmp_path / "model"), clf, iris[0])


def test_an_index_that_a_file_cannot_hold_gives_way_to_row_numbers(iris, tmp_path):
    y = pd.Series(iris[1], index=pd.period_range("2026-01", periods=150, freq="D"))
    clf = JointOptimizationClassifier(**SMALL).fit(iris[0], y)
    with pytest.warns(UserWarning, match="index of period"):
        clf.save(tmp_path / "model")
    assert JointOptimizationClassifier.load(tmp_path / "model").label_report().index.equals(pd.RangeIndex(150))


def test_a_file_of_an_earlier_release_still_predicts(iris):
    loaded = JointOptimizationClassifier.load(DATA / "iris-0.1.0.safetensors")
    expected = np.array(json.loads((DATA / "iris-0.1.0.json").read_text()))
    np.testing.assert_allclose(loaded.predict_proba(iris[0][::10]), expected, atol=1e-5)
    assert loaded.label_report().shape == (150, 6)


def test_saving_needs_a_fit_and_replaces_the_file_whole(fitted, saved, monkeypatch):
    with pytest.raises(NotFittedError):
        JointOptimizationClassifier().save(saved)
    before = saved.read_bytes()

    def fails(*args, **kwargs):
        Path(args[1]).write_bytes(b"half")
        raise state_files.SafetensorError("I/O error: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state_files, "save_file", fails)
        with pytest.raises(OSError, match="No space left"):
            fitted.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    fitted.save(str(saved))
    assert saved.read_bytes() == before  # and the same fit gives the same bytes
    assert stat.S_IMODE(saved.stat().st_mode) & 0o600 == 0o600


def test_saving_says_that_a_folder_is_missing(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="folder of .*model is not there. Make it first"):
        fitted.save(tmp_path / "missing" / "model")
    with pytest.raises(IsADirectoryError, match="is a folder. Name a file in it"):
        fitted.save(tmp_path)


def test_labels_that_are_objects_cannot_be_saved(tmp_path):
    clf = JointOptimizationClassifier(**SMALL).fit(np.random.RandomState(0).randn(20, 2), np.array(["a", "b"] * 10))
    clf.classes_ = np.array([object(), object()])
    with pytest.raises(TypeError, match="cannot hold"):
        clf.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_code_must_be_passed_again(iris, tmp_path):
    params = {
        **SMALL,
        "module": Doubled,
        "module_params": None,
        "augment": torch.clone,
        "net_params": {"callbacks": []},
    }
    clf = JointOptimizationClassifier(**params).fit(*iris)
    clf.save(tmp_path / "model")
    load = JointOptimizationClassifier.load
    with pytest.raises(ValueError, match=r"`module` must be passed.*test_model_file\.Doubled"):
        load(tmp_path / "model")
    with pytest.warns(UserWarning, match="'augment'"):
        assert load(tmp_path / "model", module=Doubled).augment is None
    assert load(tmp_path / "model", module=Doubled, augment=torch.clone).augment is torch.clone
    with pytest.raises(ValueError, match="in the network, missing in the file"):
        load(tmp_path / "model", module=nn.Linear, module_params={"in_features": 4, "out_features": 3}, augment=None)
    with pytest.raises(ValueError, match="not known"):
        load(tmp_path / "model", module=Doubled, augmentation=None)


def test_loading_on_a_machine_without_the_device_takes_the_cpu(fitted, saved):
    assert JointOptimizationClassifier.load(saved, device="cuda:7").net_.device == "cpu"


def test_loading_leaves_the_random_state_alone(fitted, saved, tmp_path, iris):
    JointOptimizationClassifier(**{**SMALL, "module": Doubled, "module_params": None}).fit(*iris).save(tmp_path / "own")
    state = torch.random.get_rng_state()
    JointOptimizationClassifier.load(tmp_path / "own", module=Doubled)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not a file of noisyfit"), (b"PK\x03\x04 a pickle of torch", "not a file of noisyfit"), (None, "not there")],
)
def test_what_is_no_model_file_is_refused(tmp_path, content, reason):
    path = tmp_path / "model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        JointOptimizationClassifier.load(path)


def test_other_files_are_told_apart(tmp_path):
    load = JointOptimizationClassifier.load
    save_file({"weight": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="not one of noisyfit"):
        load(tmp_path / "other")
    write_state(tmp_path / "checkpoint", "checkpoint", {"weight": torch.zeros(2)})
    with pytest.raises(ValueError, match="holds a checkpoint, not a model"):
        load(tmp_path / "checkpoint")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    later = {"noisyfit": '? {"format": 99, "kind": "model", "state": {}}'}
    save_file({"weight": torch.zeros(2)}, tmp_path / "later", metadata=later)
    with pytest.raises(ValueError, match="format 99"):
        load(tmp_path / "later")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="damaged"):
        JointOptimizationClassifier.load(saved)


def test_every_flipped_bit_is_found(saved):
    content = saved.read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        place = rng.randrange(len(content))
        saved.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"damaged|not a file|not one of noisyfit|format"):
            JointOptimizationClassifier.load(saved)


_HOSTILE = [
    None, True, -1, 0, 3, 10**12, 0.5, float("nan"), "", "os.system", "../../etc/passwd", [], ["x"] * 5, (), {},
    {"a": 1}, ("code", "os.system"), ("value", 1), ("torch.optim", "__import__"), ("noisyfit.networks", "__loader__"),
    ("device", "cuda:99"), ("value", (10**9,) * 30), torch.zeros(3), torch.zeros(0), np.zeros((2, 2)),
    np.array(["x"]),
]  # fmt: skip


def changed(state, rng):
    """Give a copy of a state with something in it replaced or left out."""
    state = copy.deepcopy(state)
    holder = state
    while True:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = rng.choice(list(keys))
        if isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.9:
            holder = holder[key]
            continue
        if isinstance(holder, dict) and rng.random() < 0.1:
            del holder[key]
        else:
            holder[key] = rng.choice(_HOSTILE)
        return state


def test_no_word_of_a_hostile_file_is_executed(fitted, saved, iris):
    """Files with a valid digest and any content: they load or raise ValueError, and run, import and write nothing."""
    state = read_state(saved, "model")
    JointOptimizationClassifier.load(saved).predict(iris[0])  # what loading imports, it has imported now
    seen, watching = [], [False]
    alarming = ("exec", "compile", "import", "os.system", "os.exec", "subprocess.Popen", "pickle.find_class", "socket")

    def hook(event, args):
        if watching[0] and (event.startswith(alarming) or (event == "open" and "w" in str(args[1]))):
            seen.append((event, args[:2]))

    sys.addaudithook(hook)
    rng, loaded = random.Random(0), 0
    for _ in range(500):
        write_state(saved, "model", changed(state, rng))
        watching[0] = True
        try:
            clf = JointOptimizationClassifier.load(saved)
            loaded += 1
            clf.predict(iris[0])
        except ValueError:
            pass
        except UserWarning:
            pass  # of parameters that are code
        finally:
            watching[0] = False
    assert seen == []
    assert 0 < loaded < 500


def test_a_small_file_cannot_ask_for_large_memory(saved):
    state = read_state(saved, "model")
    for change in ({"n_networks": 10**12}, {"kind": "list", "n_networks": 10**12}):
        hostile = copy.deepcopy(state)
        hostile["fit"]["network"].update(change)
        write_state(saved, "model", hostile)
        with pytest.raises(ValueError, match="do not fit each other"):
            JointOptimizationClassifier.load(saved)
    hostile = copy.deepcopy(state)
    hostile["params"]["module_params"] = ("value", {"hidden": (10**8, 10**8)})
    write_state(saved, "model", hostile)
    with pytest.raises(ValueError, match="must be the network that was saved"):
        JointOptimizationClassifier.load(saved)


def test_deeply_nested_json_is_refused(saved):
    save_file({}, saved, metadata={"noisyfit": "? " + "[" * 100_000 + "]" * 100_000})
    with pytest.raises(ValueError, match="damaged"):
        JointOptimizationClassifier.load(saved)


def test_a_saved_model_loads_in_a_new_process(saved):
    code = f"import noisyfit; print(noisyfit.JointOptimizationClassifier.load({str(saved)!r}).n_iter_)"
    root = Path(noisyfit.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "3"


def test_a_file_does_not_say_where_a_later_fit_writes(iris, tmp_path):
    X, y = iris[:2]
    clf = JointOptimizationClassifier(max_epochs=1, random_state=0, checkpoint=str(tmp_path / "states")).fit(X, y)
    clf.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "states")
    loaded = JointOptimizationClassifier.load(tmp_path / "model")
    assert loaded.checkpoint is None
    loaded.fit(X, y)
    assert not (tmp_path / "states").exists()
    chosen = JointOptimizationClassifier.load(tmp_path / "model", checkpoint=tmp_path / "here")
    assert chosen.checkpoint == tmp_path / "here"
    clf.set_params(checkpoint=tmp_path / "a path is no text").save(tmp_path / "model")
    assert JointOptimizationClassifier.load(tmp_path / "model").checkpoint is None
