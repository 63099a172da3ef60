"""Model files: what is saved comes back, and what is broken or hostile raises instead of running."""

import copy
import dataclasses
import datetime
import json
import random
import shutil
import stat
import subprocess
import sys
import time
import zoneinfo
from pathlib import Path

import dateutil.tz
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback
from torch import nn

import noisyfit
from noisyfit import JointOptimizationClassifier
from noisyfit.files import states
from noisyfit.files.states import read_state, write_state

from fuzzing import n_cases

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
        {
            "net_params": {"optimizer": torch.optim.AdamW},
            "lr": 0.01,
            "device": torch.device("cpu"),
            "class_prior": [0.3, 0.3, 0.4],
        },
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


DAYS = pd.date_range("2026-01-01", periods=6)
INDEXES = {
    "range": pd.RangeIndex(3, 15, 2, name=("a", 1)),
    "large numbers": pd.Index([2**60 + 1, 1, 1, -5, 3, 4], name=float("nan")),
    "numbers and gaps": pd.Index([2**60 + 1, None, 1, -5, 3, 4], dtype="Int64"),
    "large unsigned": pd.Index([2**63 + 1, None, 1, 5, 3, 4], dtype="UInt64"),
    "bools and gaps": pd.Index([True, None, False] * 2, dtype="boolean"),
    "floats": pd.Index([1.5, np.nan, np.inf, -0.0, 0.1, 1e-320]),
    "texts and gaps": pd.Index(["a", None, "", "b", "c", "d"]),
    "nullable texts": pd.Index(["a", None, "", "b", "c", "d"], dtype="string"),
    "objects": pd.Index([1, "a", 2.5, None, True, ("x", 1)], dtype=object, tupleize_cols=False),
    "numbers as objects": pd.Index([10**30, 2, 3, 4, 5, 6], dtype=object),
    "tuples": pd.Index([("a", i) for i in range(6)], dtype=object, tupleize_cols=False),
    "durations": pd.timedelta_range("1s", periods=6),
    "dates": pd.DatetimeIndex([*DAYS[:5], pd.NaT]),
    "a zone": DAYS.tz_localize(zoneinfo.ZoneInfo("America/New_York")),
    "an offset": DAYS.tz_localize(datetime.timezone(-datetime.timedelta(hours=3, minutes=30))),
    "levels": pd.MultiIndex.from_arrays([DAYS.tz_localize("Europe/Berlin"), ["a", None] * 3], names=["day", None]),
}
LOST = {
    "periods": pd.period_range("2026-01", periods=6, freq="M"),
    "levels of periods": pd.MultiIndex.from_arrays([pd.period_range("2026-01", periods=6, freq="M"), range(6)]),
    "categories": pd.CategoricalIndex(list("aabbcc")),
    "levels of categories": pd.MultiIndex.from_arrays([pd.Categorical(list("aabbcc")), range(6)]),
    "intervals": pd.interval_range(0, 6),
    "an offset with a name": DAYS.tz_localize(datetime.timezone(datetime.timedelta(hours=2), "here")),
    "dates as objects": pd.Index([datetime.date(2026, 1, 1)] * 6, dtype=object),
    "complex": pd.Index([1j] * 6),
    "named by a date": pd.RangeIndex(6, name=pd.Timestamp("2026-01-01")),
    "many levels": pd.MultiIndex.from_arrays([range(6)] * 40),
}
if pd.__version__ >= "3":  # those before do not know the zones of a later dateutil
    LOST["a zone of dateutil"] = DAYS.tz_localize(dateutil.tz.gettz("Europe/Berlin"))


@pytest.fixture(scope="module")
def of_six():
    return JointOptimizationClassifier(**SMALL, cross_fit=0, gamma=0.0).fit(np.arange(12.0).reshape(6, 2), [0, 1] * 3)


def save_with_index(clf, index, path):
    clf = copy.copy(clf)
    clf._training_labels_ = dataclasses.replace(clf._training_labels_, index=index)
    clf.save(path)
    return JointOptimizationClassifier.load(path).label_report().index


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_an_index_comes_back_as_it_was(of_six, index, tmp_path):
    back = save_with_index(of_six, index, tmp_path / "model")
    no_freq = {"check_freq": False} if pd.__version__ >= "3" else {}  # pandas 2 does not look at it
    pd.testing.assert_index_equal(back, index, exact="equiv", **no_freq)


@pytest.mark.parametrize("index", LOST.values(), ids=LOST)
def test_an_index_that_would_come_back_as_another_gives_way(of_six, index, tmp_path):
    with pytest.warns(UserWarning, match="cannot hold an index of .*: row numbers take its place"):
        back = save_with_index(of_six, index, tmp_path / "model")
    assert back.equals(pd.RangeIndex(6))


ZONES = [
    "dateutil//etc/passwd",
    "dateutil/Europe/Berlin",
    "/etc/localtime",
    "../zoneinfo/UTC",
    "Europe/Nowhere",
    "UTC+25:00",
]


@pytest.mark.parametrize("zone", ZONES)
def test_a_zone_of_a_file_opens_no_path(of_six, tmp_path, zone):
    save_with_index(of_six, DAYS.tz_localize("Europe/Berlin"), tmp_path / "model")
    state = read_state(tmp_path / "model", "model")
    kind, (values, _), names = state["fit"]["index"]
    state["fit"]["index"] = kind, (values, zone), names
    write_state(tmp_path / "model", "model", state)
    opened, watching = [], [True]
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching[0] and event == "open" else None)
    with pytest.raises(ValueError, match="cannot be loaded"):
        JointOptimizationClassifier.load(tmp_path / "model")
    watching[0] = False
    assert all(path.startswith((str(tmp_path), *zoneinfo.TZPATH)) or "tzdata" in path for path in opened)


def test_a_file_of_an_earlier_release_still_predicts(iris):
    loaded = JointOptimizationClassifier.load(DATA / "iris-0.1.0.safetensors")
    expected = np.array(json.loads((DATA / "iris-0.1.0.json").read_text()))
    np.testing.assert_allclose(loaded.predict_proba(iris[0][::10]), expected, atol=1e-5)
    assert loaded.label_report().shape == (150, 6)


def test_parameters_of_a_file_of_an_earlier_release_have_their_names_of_today(tmp_path):
    state = read_state(DATA / "iris-0.1.0.safetensors", "model")
    state["params"] |= {
        "optimizer": ("torch.optim", "Adam"),
        "optimizer_params": ("value", {"weight_decay": 0.1}),
        "max_grad_norm": ("value", None),
        "precision": ("value", "float32"),
        "retrain_lr": ("value", 0.2),
        "prior_momentum": ("value", 0.9),
        "label_store": ("value", "file"),
        "net_params": ("value", {"optimizer__amsgrad": True}),
        "begin": ("value", 1.0),
    }
    write_state(tmp_path / "model", "model", state)
    loaded = JointOptimizationClassifier.load(tmp_path / "model")
    assert loaded.net_params == {
        "optimizer": torch.optim.Adam,
        "optimizer__weight_decay": 0.1,
        "optimizer__amsgrad": True,
        "max_grad_norm": None,
        "precision": "float32",
        "retrain_lr": 0.2,
        "prior_momentum": 0.9,
    }
    assert (loaded.begin, loaded.gamma) == (10, "damped")  # of 10 epochs the last
    assert JointOptimizationClassifier.load(DATA / "iris-0.1.0.safetensors").net_params is None
    state["params"] |= {"optimizer": ("code", "my.Optimizer"), "net_params": ("code", "builtins.dict")}
    write_state(tmp_path / "model", "model", state)
    with pytest.warns(UserWarning, match="'optimizer'.*: 'my.Optimizer'.*: 'builtins.dict'"):
        assert "optimizer" not in JointOptimizationClassifier.load(tmp_path / "model").net_params


def test_settings_that_are_data_stay_where_others_are_code(iris, tmp_path):
    net_params = {"optimizer": torch.optim.Adam, "max_grad_norm": None, "callbacks": [Callback()]}
    clf = JointOptimizationClassifier(**SMALL, lr=0.01, net_params=net_params).fit(*iris)
    clf.save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"net_params\['callbacks'\]"):
        loaded = JointOptimizationClassifier.load(tmp_path / "model")
    assert loaded.net_params == {"optimizer": torch.optim.Adam, "max_grad_norm": None}
    assert JointOptimizationClassifier.load(tmp_path / "model", net_params=None).net_params is None


def test_saving_needs_a_fit_and_replaces_the_file_whole(fitted, saved, monkeypatch):
    with pytest.raises(NotFittedError):
        JointOptimizationClassifier().save(saved)
    before = saved.read_bytes()

    def fails(*args, **kwargs):
        Path(args[1]).write_bytes(b"half")
        raise states.SafetensorError("I/O error: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(states, "save_file", fails)
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


def test_a_description_of_a_million_lists_is_refused_before_it_is_read(saved, monkeypatch):
    state = read_state(saved, "model")
    write_state(saved, "model", {**state, "more": [[]] * 400_000})
    JointOptimizationClassifier.load(saved)
    write_state(saved, "model", {**state, "more": [[]] * 600_000})
    monkeypatch.setattr(states.json, "loads", None)
    with pytest.raises(
        ValueError, match=r"is damaged: its description cannot be read \(ValueError: 1,2\d\d,\d\d\d parts"
    ):
        JointOptimizationClassifier.load(saved)


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
    rng, loaded, n = random.Random(0), 0, n_cases(50_000)
    for _ in range(n):
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
    assert 0 < loaded < n


def _networks_by_one_name(state):
    network = state["fit"]["network"]
    network.update(kind="list", n_networks=10**9)
    network["weights"] = {f"networks.{10**9 - 1}.{name}": weight for name, weight in network["weights"].items()}


def _networks_without_weights(state):
    state["fit"]["network"].update(kind="stacked", n_networks=10**9)
    weights = state["fit"]["network"]["weights"]
    weights.update({name: weight.new_zeros(10**9, 0) for name, weight in weights.items()})


def _many_layers(state):
    state["params"]["module_params"] = ("value", {"hidden": (1,) * 10**5})


def _wide_layers(state):
    state["params"]["module_params"] = ("value", {"hidden": (10**8, 10**8)})


def _many_orders(state):
    state["fit"]["inquiry"]["seeds"] = tuple(range(10**4))


def _many_groups(state):
    state["fit"]["inquiry"]["groups"] = np.full(150, 10**12)


def _many_pairs(state):
    n = 10**6
    state["fit"]["bearings"] = list(state["fit"]["bearings"])
    state["fit"]["bearings"][2] = np.zeros((n, 2)), np.full(n, 1 / n)


def _long_index(state):
    state["fit"]["index"] = "range", (0, 10**9, 1), [None]


def _many_levels(state):
    state["fit"]["index"] = "levels", [("range", (0, 150, 1), [None])] * 10**4, [None] * 10**4


def _large_rows(state):
    state["fit"]["input"] = (10**6, 10**6), "float32", False


def _long_labels(state):
    fit, n = state["fit"], 20_000
    fit["classes"] = np.array(["a", "b", "c"], dtype="U30000")
    fit["given"] = fit["corrected"] = np.zeros(n, np.int64)
    fit["arrays"]["soft_labels_"] = np.zeros((n, 3), np.float32)


LARGE = [_networks_by_one_name, _networks_without_weights, _many_layers, _wide_layers, _many_orders, _many_groups]
LARGE += [_many_pairs, _long_index, _many_levels, _large_rows, _long_labels]


@pytest.mark.parametrize("change", LARGE, ids=lambda change: change.__name__.strip("_"))
def test_a_small_file_cannot_ask_for_large_memory_or_much_time(saved, change):
    state = read_state(saved, "model")
    change(state)
    write_state(saved, "model", state)
    start = time.process_time()
    with pytest.raises(ValueError, match="cannot be loaded|damaged"):
        JointOptimizationClassifier.load(saved)
    assert time.process_time() - start < 2


class OfAnyWidth(nn.Sequential):
    """A network of one's own that is as wide as it is told."""

    def __init__(self, n_features, n_classes, hidden):
        super().__init__(nn.Linear(n_features, hidden), nn.Linear(hidden, n_classes))


def test_a_network_of_ones_own_takes_no_memory_beyond_its_weights(iris, tmp_path):
    params = SMALL | {"module": OfAnyWidth, "module_params": {"hidden": 3}}
    JointOptimizationClassifier(**params).fit(*iris).save(tmp_path / "model")
    state = read_state(tmp_path / "model", "model")
    state["params"]["module_params"] = ("value", {"hidden": 10**9})
    write_state(tmp_path / "model", "model", state)
    with pytest.raises(ValueError, match=r"'layers.0.bias' is torch.float32 .3, 1000000000, 1. in the network"):
        JointOptimizationClassifier.load(tmp_path / "model", module=OfAnyWidth)


def write_description(path, kind, state, tensors):
    """Write what `write_state` never would."""
    text = json.dumps({"format": 1, "kind": kind, "state": state})
    save_file(tensors, path, metadata={"noisyfit": f"{states._digest(text, tensors)} {text}"})


TEXT = torch.from_numpy(np.frombuffer(b'["a", "b"]', np.uint8).copy())
TRICKS = {
    "wide strings": ({"items": "0", "width": 2**25}, {"0": TEXT}),
    "many strings of some width": (
        [{"items": str(i), "width": 5 * 2**20} for i in range(9)],
        {str(i): TEXT.clone() for i in range(9)},
    ),
    "one text again and again": ([{"items": "0", "width": None}] * 2, {"0": TEXT}),
    "a text within itself": (
        {"items": "0", "width": None},
        {"0": torch.tensor(list(b'[{"items": "0"}]'), dtype=torch.uint8)},
    ),
    "keys of one hash": ({"dict": [[k * (2**61 - 1), 0] for k in range(5000)]}, {}),
    "a list as a key": ({"dict": [[[], 0]]}, {}),
    "bools of other numbers": ({"array": "0", "kind": "b1"}, {"0": torch.tensor([2], dtype=torch.uint8)}),
    "tensors of such bools": ({"tensor": "0"}, {"0": torch.tensor([2], dtype=torch.uint8).view(torch.bool)}),
}


@pytest.mark.parametrize(("packed", "tensors"), TRICKS.values(), ids=TRICKS)
def test_tricks_of_a_description_are_refused(tmp_path, packed, tensors):
    write_description(tmp_path / "file", "model", {"dict": [["x", packed]]}, tensors)
    start = time.process_time()
    with pytest.raises(ValueError, match="damaged"):
        read_state(tmp_path / "file", "model")
    assert time.process_time() - start < 1


def test_texts_of_which_one_is_long_come_back_as_objects(tmp_path):
    texts = np.array(["a"] * 1000 + ["b" * 30_000])
    write_state(tmp_path / "file", "model", {"texts": texts})
    back = read_state(tmp_path / "file", "model")["texts"]
    assert back.dtype == object
    assert (back == texts).all()


def test_more_orders_than_a_file_may_hold_are_not_noted(fitted, tmp_path):
    clf = copy.copy(fitted)
    first = [clf.rows_to_check(3, random_state=seed).index.tolist() for seed in range(60)]
    clf.save(tmp_path / "model")
    loaded = JointOptimizationClassifier.load(tmp_path / "model")
    assert [loaded.rows_to_check(3, random_state=seed).index.tolist() for seed in range(60)] == first


def test_deeply_nested_json_is_refused(saved):
    save_file({}, saved, metadata={"noisyfit": "? " + "[" * 100_000 + "]" * 100_000})
    with pytest.raises(ValueError, match="damaged"):
        JointOptimizationClassifier.load(saved)


@pytest.mark.thorough
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


def test_buffers_that_share_memory_come_back_and_sparse_ones_are_refused(tmp_path):
    numbers = torch.arange(6.0)
    write_state(tmp_path / "a", "model", {"all": numbers, "most": numbers[1:]})
    kept = read_state(tmp_path / "a", "model")
    assert torch.equal(kept["most"], numbers[1:])
    assert torch.equal(kept["all"], numbers)
    for tensor in (torch.eye(3).to_sparse(), torch.zeros(2, device="meta")):
        with pytest.raises(TypeError, match="a file cannot hold a tensor of"):
            write_state(tmp_path / "b", "model", {"tensor": tensor})
