"""Bad input gets a clear error before training starts: parameter, rule, value received, remedy."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from torch import nn

from noisyfit import judge_labels
from noisyfit.exceptions import LabelCollapseWarning, TrainingDivergedError

from inputs import Inputs, as_numpy_strings, sparse_in_3d

UNCLIPPED = {"max_grad_norm": None}  # lets training diverge


class NeverTrained(Callback):
    def on_train_begin(self, net, **kwargs):
        raise AssertionError("training started")


@pytest.fixture
def fails(blobs, quick):
    """Fit, and check that the error matches and came before training."""

    def check(error, message, X=None, y=None, sample_weight=None, **params):
        net_params = params.pop("net_params", {})
        if isinstance(net_params, dict):
            net_params = {"callbacks": [NeverTrained()]} | net_params
        clf = quick(**{"net_params": net_params, "module_params": None} | params)
        with pytest.raises(error, match=message):
            clf.fit(blobs[0] if X is None else X, blobs[1] if y is None else y, sample_weight=sample_weight)
        assert not [name for name in vars(clf) if name.endswith("_")]

    return check


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"alpha": -1}, ValueError, r"The 'alpha' parameter .* must be a float in the range \[0.0, inf\). Got -1 inst"),
        ({"alpha": float("nan")}, ValueError, "The 'alpha' parameter .* Got nan instead"),
        ({"beta": -0.1}, ValueError, "The 'beta' parameter .* Got -0.1 instead"),
        ({"beta": float("inf")}, ValueError, r"The 'beta' parameter .* \[0.0, inf\). Got inf instead"),
        ({"beta": "0.4"}, TypeError, "The 'beta' parameter .* Got '0.4' instead"),
        (
            {"margin": 40},
            ValueError,
            r"The 'margin' parameter .* in the range \[0.0, 1.0\]. Got 40 instead",
        ),
        (
            {"gamma": -1},
            ValueError,
            r"The 'gamma' parameter .* \[0.0, inf\) or a str among {'damped'}. Got -1",
        ),
        ({"gamma": "auto!"}, ValueError, "The 'gamma' parameter .* Got 'auto!' instead"),
        ({"begin": 5}, ValueError, "`begin` must be at most `max_epochs`=4, or labels are never updated; got 5. Lower"),
        (
            {"begin": 0},
            ValueError,
            r"The 'begin' parameter .* \(0.0, inf\) or a str among {'auto'}. Got 0 in",
        ),
        ({"begin": 0.0}, ValueError, "The 'begin' parameter .* Got 0.0 instead"),
        ({"begin": 1.5}, ValueError, "`begin` must be a whole number of epochs, or a share of them below 1; got 1.5"),
        ({"begin": True}, TypeError, "`begin` must not be a bool, got True"),
        ({"begin": "soon"}, ValueError, "The 'begin' parameter .* Got 'soon' instead"),
        ({"begin": None}, TypeError, "The 'begin' parameter .* Got None instead"),
        (
            {"window": 0},
            ValueError,
            r"The 'window' parameter .* in the range \(0.0, inf\). Got 0 instead",
        ),
        ({"window": 1.5}, ValueError, "`window` must be a whole number of epochs, or the decay .* below 1; got 1.5"),
        ({"window": "10"}, TypeError, "The 'window' parameter .* Got '10' instead"),
        ({"cross_fit": -1}, ValueError, r"The 'cross_fit' parameter .* an int in the range \[0, inf\). Got -1 instead"),
        ({"cross_fit": 0.2}, TypeError, "The 'cross_fit' parameter .* Got 0.2 instead"),
        ({"net_params": {"prior_momentum": 1.0}}, ValueError, r"prior_momentum'\]` must be below 1, got 1.0"),
        ({"net_params": {"prior_momentum": -0.1}}, ValueError, "prior_momentum.* must be finite and at least 0, got"),
        ({"n_relabel": 5}, ValueError, "`n_relabel`=5 limits hard labels; set `label_update='hard'`"),
        ({"n_relabel": 0, "label_update": "hard"}, ValueError, "The 'n_relabel' parameter .* Got 0 instead"),
        ({"label_update": "Soft"}, ValueError, "The 'label_update' parameter .*'soft'.* Got 'Soft' instead"),
        ({"class_prior": [0.5, 0.5]}, ValueError, "`class_prior` must have one entry per class of y, 3 .*; got 2"),
        ({"class_prior": [0.5, 0.5, 0.5]}, ValueError, r"`class_prior` must .*sum to 1, got .*1\.5.* Divide it"),
        ({"class_prior": [1.5, -0.5, 0]}, ValueError, "`class_prior` must be at least 0 .*got smallest entry -0.5"),
        ({"class_prior": "estimate"}, ValueError, "The 'class_prior' parameter .*'uniform'.* Got 'estimate' instead"),
        ({"class_prior": 0.3}, ValueError, "The 'class_prior' parameter .* or an array-like. Got 0.3 instead"),
        (
            {"class_prior": [[0.3, 0.7]]},
            ValueError,
            "`class_prior` must be an array of numbers with 1 dimension",
        ),
        ({"max_epochs": 0}, ValueError, r"The 'max_epochs' parameter .* an int in the range \[1, inf\). Got 0 instead"),
        ({"max_epochs": 10.0}, TypeError, "The 'max_epochs' parameter .* Got 10.0 instead"),
        ({"lr": 0}, ValueError, r"The 'lr' parameter .* must be a float in the range \(0.0, inf\). Got 0 instead"),
        ({"batch_size": 0}, ValueError, "The 'batch_size' parameter .* or a str among {'auto'}. Got 0 instead"),
        ({"lr_schedule": "cosine"}, ValueError, "The 'lr_schedule' parameter .*'one_cycle'.* Got 'cosine' instead"),
        ({"augment": "flip"}, ValueError, "The 'augment' parameter .*'crop_flip'.* a callable or None. Got 'flip'"),
        ({"net_params": [0.9]}, TypeError, "The 'net_params' parameter .* 'dict' or None. Got"),
        (
            {"net_params": {"max_grad_norm": 0}},
            ValueError,
            r"`net_params\['max_grad_norm'\]` must be finite and above 0, got 0. None does not clip",
        ),
        ({"retrain_epochs": -1}, ValueError, "The 'retrain_epochs' parameter .* Got -1 instead"),
        (
            {"net_params": {"retrain_lr": -1.0}},
            ValueError,
            r"`net_params\['retrain_lr'\]` must be finite and above 0, got -1.0. Leave it out to take `lr`",
        ),
        ({"verbose": None}, TypeError, "The 'verbose' parameter .* Got None instead"),
        (
            {"net_params": {"precision": "float16"}},
            ValueError,
            r"`net_params\['precision'\]` must be one of 'float32', 'bfloat16'; got 'float16'. Leave it out",
        ),
        ({"device": "cuda:99"}, ValueError, "`device` must be a device that is there, got 'cuda:99'.*device='auto'"),
        ({"augment": "crop_flip"}, ValueError, "`augment='crop_flip'` needs images"),
        (
            {"net_params": {"optimizer": "SGD"}},
            TypeError,
            r"`net_params\['optimizer'\]` must be a torch optimizer class such as .*, got 'SGD'",
        ),
        ({"net_params": {"optimizer": torch.optim.LBFGS}}, ValueError, r"optimizer'\]` must not need a closure"),
        ({"net_params": {"bfloat16": True}}, ValueError, r"not set 'bfloat16'. Use the parameter net_params\['prec"),
        ({"module": nn.Linear(5, 7)}, ValueError, r"got \(8, 7\)"),
        ({"module": nn.Sequential(nn.Linear(5, 3), nn.Softmax(1))}, ValueError, "probabilities"),
        ({"random_state": "seed"}, ValueError, "seed"),
        ({"net_params": {"lr": 0.1}}, ValueError, "`net_params` must not set 'lr'. Use the parameter lr"),
        ({"net_params": {"train_split": None}}, ValueError, "must not set 'train_split'. noisyfit needs its own"),
        ({"net_params": {"iterator_train__shuffle": True}}, ValueError, "'iterator_train__shuffle': noisyfit sets it"),
        ({"net_params": {"optimizer__lr": 0.1}}, ValueError, "must not set 'optimizer__lr'. Use the parameter lr"),
        ({"net_params": {"callbacks": EarlyStopping()}}, TypeError, "must be a list, got"),
        ({"net_params": {"callbacks": [EpochScoring("accuracy")]}}, ValueError, "EpochScoring: there are no valid"),
        ({"net_params": {"callbacks": [EarlyStopping()]}}, ValueError, "EarlyStopping.*Lower `max_epochs`"),
        ({"module_params": {"hiden": 3}}, TypeError, "`module` could not be made with the arguments .*hiden"),
        ({"net_params": {"callbacks": [("stop", EarlyStopping)]}}, ValueError, "EarlyStopping"),
        ({"net_params": {"optimizer__momentun": 0.9}}, ValueError, "`net_params` do not fit .*momentun"),
        ({"net_params": {"no_such_parameter": 1}}, ValueError, "`net_params` .*skorch.*no_such_parameter"),
    ],
)
def test_parameters(fails, params, error, message):
    fails(error, message, **params)


def broken(value, dtype=np.float32):
    X = np.random.RandomState(0).randn(90, 5).astype(dtype)
    X[3, 2] = value
    return X


INPUTS = {
    "NaN": (lambda: {"X": broken(np.nan)}, "Input X contains NaN"),
    "infinity": (lambda: {"X": broken(np.inf)}, "Input X contains infinity"),
    "too large for float32": (lambda: {"X": broken(1e300, np.float64)}, "too large for dtype\\('float32'\\)"),
    "complex": (lambda: {"X": broken(1j, np.complex64)}, "Complex data not supported"),
    "strings": (
        lambda: {"X": np.full((90, 5), "a", dtype=object)},
        "`X` must hold numbers: could not convert string to float: 'a'. The first .* row 0, column 0. Encode",
    ),
    "integers beyond floats": (lambda: {"X": [[10**400] * 5] * 90}, "`X` must hold numbers: int too large"),
    "signalling NaN": (lambda: {"X": [[Decimal("sNaN")] * 5] * 90}, "`X` must hold numbers: cannot convert signaling"),
    "labels of signalling NaN": (lambda: {"y": [Decimal("sNaN"), Decimal(1)] * 45}, "`y` must not hold labels that"),
    "ragged": (lambda: {"X": [[1.0] * 5] * 89 + [[1.0]]}, "`X` must hold numbers: setting an array element"),
    "sparse, three dimensions": (
        lambda: {"X": sparse_in_3d(np.ones((90, 2, 2)))},
        "`X` must hold numbers: (Cannot convert. CSR must be 1D or 2D|could not convert)",
    ),
    "complex Dataset": (lambda: {"X": Inputs(broken(1j, np.complex64))}, "Complex data not supported"),
    "NaN in a Dataset": (lambda: {"X": Inputs(broken(np.nan))}, "Input X contains NaN. The Dataset must give finite"),
    "too large in a Dataset": (
        lambda: {"X": Inputs(broken(1e300, np.float64))},
        "Input X contains infinity or a value too large",
    ),
    "no pixels": (lambda: {"X": np.empty((90, 3, 0, 8))}, r"0 feature\(s\): `X` of shape \(n, 3, 0, 8\)"),
    "no columns in a Dataset": (lambda: {"X": Inputs(np.empty((90, 0)))}, r"0 feature\(s\): `X` of shape \(n, 0\)"),
    "empty": (lambda: {"X": np.empty((0, 5)), "y": []}, r"0 sample\(s\)"),
    "no columns": (lambda: {"X": np.empty((90, 0))}, r"0 feature\(s\)"),
    "one dimension": (lambda: {"X": np.zeros(90)}, "Expected 2D array, got 1D array"),
    "another length": (lambda: {"y": [0, 1] * 44}, r"inconsistent numbers of samples: \[90, 88\]"),
    "one class": (lambda: {"y": [1] * 90}, "`y` must have at least 2 classes, got one class only"),
    "continuous": (lambda: {"y": np.linspace(0, 1, 90)}, "Unknown label type: continuous"),
    "NaN in y": (lambda: {"y": np.r_[np.nan, np.arange(89) % 3]}, "Input y contains NaN"),
    "several outputs": (
        lambda: {"y": np.zeros((90, 2))},
        "`y` must have one label a row.*Pass y.argmax",
    ),
    "NaN weight": (lambda: {"sample_weight": np.r_[np.nan, np.ones(89)]}, "sample_weight contains NaN"),
    "negative weight": (lambda: {"sample_weight": np.r_[-1, np.ones(89)]}, "Negative values"),
    "weights beyond float32's sums": (
        lambda: {"sample_weight": np.full(90, 3e38)},
        r"`sample_weight` must sum to at most 1e\+30, got 2.7e\+40. Divide it by its mean",
    ),
    "weights beyond float32": (lambda: {"sample_weight": np.full(90, 1e300)}, "sample_weight contains infinity"),
    "text as weights": (
        lambda: {"sample_weight": "balanced"},
        "`sample_weight` must be numbers of at least 0, one a row: could not convert",
    ),
    "weights of signalling NaN": (
        lambda: {"sample_weight": [Decimal("sNaN")] * 90},
        "`sample_weight` must be numbers of at least 0, one a row: cannot convert",
    ),
    "text as y": (lambda: {"y": "spam"}, "`y` must have one label a row, .*got 'spam'. Pass a list"),
    "the word by which checks leave out y": (lambda: {"y": "no_validation"}, "`y` must have one label a row"),
    "ragged y": (lambda: {"y": [[0], *[[0, 1]] * 89]}, "`y` must have one label a row, .*setting an array element"),
    "arrays as labels": (
        lambda: {"y": pd.Series([np.arange(2), np.arange(3)] * 45)},
        "`y` must have one label a row, .*got a ndarray in row 0",
    ),
    "no weight": (
        lambda: {"sample_weight": np.zeros(90)},
        "at least one non-zero|at least 2 classes with a `sample_weight` above 0, got no class",
    ),
    "weights of another length": (lambda: {"sample_weight": np.ones(3)}, "sample_weight.shape"),
    "unequal tensors": (
        lambda: {"X": [torch.zeros(5)] * 89 + [torch.zeros(4)]},
        "which must have one shape",
    ),
    "channels last": (lambda: {"X": np.zeros((90, 9, 9, 3), dtype=np.uint8)}, r"got \(n, 9, 9, 3\). Pass X.transpose"),
    "image too small": (lambda: {"X": np.zeros((90, 3, 7, 7), dtype=np.uint8)}, "pass your own with `module`"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs(fails, kind):
    make, message = INPUTS[kind]
    fails(ValueError, message, **make())


TYPES = {
    "dates": (lambda: {"X": np.ones((90, 5), "M8[D]")}, "`X` must hold numbers, got dates or durations. Turn"),
    "durations": (lambda: {"X": np.ones((90, 5), "m8[s]")}, "`X` must hold numbers, got dates or durations. Turn"),
    "dates in a list": (lambda: {"X": [[np.datetime64(0, "D")]] * 90}, "`X` must hold numbers, got dates"),
    "a column of dates": (
        lambda: {"X": pd.DataFrame({"a": np.arange(90.0), "b": pd.Timestamp("2020")})},
        "`X` must hold numbers, got dates",
    ),
    "zoned dates": (
        lambda: {"X": pd.DataFrame({"a": pd.to_datetime(np.zeros(90), utc=True)})},
        "`X` must hold numbers, got dates",
    ),
    "objects": (
        lambda: {"X": np.full((90, 5), {}, object)},
        "`X` must hold numbers: float.* 'dict'. The first .* row 0, column 0. Encode",
    ),
    "pandas' NA": (
        lambda: {"X": np.full((90, 5), pd.NA, object)},
        "`X` must hold numbers: float.* 'NAType'. The first",
    ),
    "fields": (lambda: {"X": np.zeros((90, 5), "f4,f4")}, "`X` must hold numbers: Cannot cast"),
    "sparse tensor": (lambda: {"X": torch.eye(90).to_sparse()}, "`X` must be a dense tensor of numbers, got .*sparse"),
    "tensor without data": (lambda: {"X": torch.empty(90, 5, device="meta")}, "`X` must be a dense tensor"),
    "sparse labels": (lambda: {"y": torch.arange(90).to_sparse()}, "`y` must be a dense tensor"),
    "labels without a kind": (lambda: {"y": np.arange(90).astype("V8")}, r"`y` must hold labels.*got \|V8. Make them"),
    "durations as weights": (
        lambda: {"sample_weight": np.ones(90, "m8[s]")},
        "`sample_weight` must be numbers .*: they are dates, durations",
    ),
    "a complex weight": (lambda: {"sample_weight": 1j}, "`sample_weight` must be numbers .* or complex"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_types_of_inputs(fails, kind):
    make, message = TYPES[kind]
    fails(TypeError, message, **make())


def test_one_class_left_by_the_weights(fails, blobs):
    weight = (blobs[1] == 2).astype(float)
    fails(
        ValueError, "at least 2 classes with a `sample_weight` above 0, got one class only, .*2", sample_weight=weight
    )


def in_table(value, kind=pd.DataFrame):
    """A table of three columns, whose "b" has this value in row 7."""
    cells = [float(row) for row in range(90)]
    return kind({"a": cells, "b": [*cells[:7], value, *cells[8:]], "c": cells})


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (in_table(np.inf), "Input X contains infinity .* The first is in row 7, column 'b'"),
        (in_table(np.nan), "Input X contains NaN.* The first is in row 7, column 'b'"),
        (in_table(1e300), "The first is in row 7, column 'b'"),
        (in_table(float("inf"), pl.DataFrame), "The first is in row 7, column 'b'"),
        (in_table(np.inf).to_numpy(), "The first is in row 7, column 1"),
        (in_table(np.inf).to_numpy().tolist(), "The first is in row 7, column 1"),
        (torch.tensor(in_table(np.inf).to_numpy()), "The first is in row 7, column 1"),
        (scipy.sparse.csr_matrix(in_table(np.inf)), "The first is in row 7, column 1"),
        (scipy.sparse.csc_matrix(in_table(np.nan)), "The first is in row 7, column 1"),
        (scipy.sparse.bsr_matrix(in_table(np.nan)), "The first is in row 7, column 1"),
        (in_table(np.inf).astype({"a": "Int64"}), "The first is in row 7, column 'b'"),
        (np.where(np.arange(90 * 64).reshape(90, 1, 8, 8) == 64, np.nan, 1), r"The first is in row 1, at \(0, 0, 0\)"),
        (in_table([1, 2]), "`X` must hold numbers: setting an array.* The first that is none is in row 7, column 'b'"),
        (in_table("text"), "The first that is none is in row 7, column 'b'. Encode"),
        (in_table("1").assign(c=[[1, 2]] * 90), "The first that is none is in row 0, column 'c'. Encode"),
        (pl.DataFrame({"a": [1.0] * 90, "b": [[1, 2]] * 90}), "The first that is none is in row 0, column 'b'. Encode"),
        (in_table("text").to_numpy(), "The first that is none is in row 7, column 1. Encode"),
    ],
)
def test_the_place_is_told(fails, X, message):
    fails(ValueError, f"(?s){message}", X=X)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN.* row 7, column 2"), (1e300, "too large.* row 7, column 2")]
)
def test_memmaps_are_checked_too(fails, tmp_path, value, message):
    X = np.ones((90, 5))
    X[7, 2] = value
    X.tofile(tmp_path / "X")
    fails(ValueError, f"(?s){message}", X=np.memmap(tmp_path / "X", dtype=np.float64, mode="r", shape=X.shape))


def test_mapped_text(fails, tmp_path):
    X = np.full((90, 5), b"1")
    X.tofile(tmp_path / "X")
    X = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    fails(TypeError, "`X` must hold numbers, got a file of |S1. Turn", X=X)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_labels(fails, missing):
    y = np.array(["ham", "spam"] * 45, dtype=object)
    y[3] = missing
    fails(ValueError, "`y` must not hold missing labels, got 1 of them, the first in row 3", y=y)


@pytest.mark.parametrize(
    "y",
    [
        np.array(["2020", "NaT", "2021"] * 30, dtype="M8[D]"),
        pd.array([1, None, 2] * 30, dtype="Int64"),
        as_numpy_strings(["ham", None, "spam"] * 30, na_object=None),
    ],
    ids=str,
)
def test_missing_labels_of_other_kinds(fails, y):
    fails(ValueError, "`y` must not hold missing labels, got 30 of them, the first in row 1", y=y)


def test_labels_of_mixed_kinds(fails):
    fails(TypeError, "`y` must hold labels of one kind", y=np.array(["ham", 3] * 45, dtype=object))


def test_the_same_index_in_another_order(fails):
    X = pd.DataFrame(np.random.RandomState(0).randn(90, 5))
    fails(ValueError, "same index in another order.*y.loc", X=X, y=pd.Series(np.arange(90) % 3).sample(frac=1))


REORDERED = {
    "several kinds": pd.Index([1, "a", None, 2.5, (1, 2), *range(100, 185)], dtype=object),
    "missing": pd.Index([np.nan, *range(89)]),
    "several missing": pd.Index([None, np.nan, pd.NA, *range(87)], dtype=object),
    "levels": pd.MultiIndex.from_arrays([[1, "a", np.nan] * 30, range(90)]),
    "twice": pd.Index(["a", "b"] * 45),
    "categories": pd.CategoricalIndex([f"{row:03}" for row in range(90)]),
}


@pytest.mark.parametrize("kind", REORDERED)
def test_keys_of_any_kind_are_compared(fails, quick, kind):
    index = REORDERED[kind]
    X, y = np.random.RandomState(0).randn(90, 5), np.arange(90) % 3
    fails(ValueError, "same index in another order", X=pd.DataFrame(X, index=index), y=pd.Series(y, index=index[::-1]))
    clf = quick(max_epochs=1).fit(pd.DataFrame(X, index=index), pd.Series(y, index=index))
    assert clf.label_report().index.equals(index)
    clf = quick(max_epochs=1).fit(pd.DataFrame(X, index=range(90)), pd.Series(y, index=index))  # other keys
    assert clf.label_report().index.equals(index)


@pytest.mark.parametrize("label", ["a\0", "\0", "\ud800", "a\udcffb"])
@pytest.mark.parametrize(
    "kind", [list, tuple, lambda y: np.array(y, dtype=object), lambda y: pd.Series(y, dtype=object)]
)
def test_labels_that_would_come_back_as_others(fails, kind, label):
    message = "`y` must hold labels that files can hold.* in row 1. Rename it"
    y = kind(["a", label, "b"] * 30)
    fails(ValueError, message, y=y)
    with pytest.raises(ValueError, match=message):
        judge_labels(y, np.full((90, 3), 1 / 3))
    with pytest.raises(ValueError, match="`classes` must hold labels that files can hold"):
        judge_labels(["a", "b"] * 45, np.full((90, 2), 1 / 2), classes=["a", label])


def test_labels_to_correct_are_not_taken_for_others(blobs, quick):
    X, y, _ = blobs
    clf = quick(max_epochs=1).fit(X, np.array(["a", "b", "c"])[y])
    with pytest.raises(ValueError, match="`y` must hold labels that files can hold"):
        clf.correct(X, ["a\0", *["a"] * 89])
    with pytest.raises(ValueError, match="`checked` must hold labels of the fit"):
        quick(max_epochs=1).fit(X, np.array(["a", "b", "c"])[y], checked={0: "a\0"})


@pytest.mark.parametrize("labels", [["a\0b", "a\0c", ""], ["\u2028", "😀", "\u202e"]])
def test_odd_labels_come_back(tmp_path, blobs, quick, labels):
    X, y, _ = blobs
    given = [labels[code] for code in y]
    clf = quick(max_epochs=1).fit(X, given)
    clf.save(tmp_path / "clf.safetensors")
    loaded = type(clf).load(tmp_path / "clf.safetensors")
    for of in (clf, loaded):
        assert of.classes_.tolist() == sorted(labels)
        assert of.label_report()["given_label"].tolist() == given


def test_a_result_that_has_collapsed_warns(blobs, quick):
    X, y, _ = blobs
    module = nn.Linear(5, 3)
    torch.nn.init.constant_(module.bias, 0.0)
    module.bias.data[1] = 100.0
    with pytest.warns(LabelCollapseWarning, match="All corrected labels are 1. Lower `lr`"):
        quick(module, lr=1e-9).fit(X, y)


def test_weights_that_diverge_in_the_last_step(blobs, quick):
    X, y, _ = blobs
    with pytest.raises(TrainingDivergedError, match="weights are not finite after the last epoch. Lower `lr`"):
        quick(nn.Linear(5, 3), max_epochs=1, batch_size=1000, lr=1e38, net_params=UNCLIPPED).fit(X * 1e3, y)


def test_retraining_that_diverges_names_its_rate(blobs, quick):
    X, y, _ = blobs
    with pytest.raises(TrainingDivergedError, match=r"In retraining, .*Lower `net_params\['retrain_lr'\]` or set"):
        quick(retrain_epochs=9, net_params=UNCLIPPED | {"retrain_lr": 1e38}).fit(X, y)


def test_images_in_another_range_than_in_fit(quick):
    X = np.random.RandomState(0).randint(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    y, params = np.arange(20) % 2, {"module_params": {"width": 4}, "max_epochs": 1}
    clf = quick(**params).fit(X, y)
    with pytest.raises(ValueError, match="`X` must be uint8 as in `fit`, or floats divided by 255"):
        clf.predict(X.astype(np.float32))
    np.testing.assert_allclose(clf.predict_proba(X / np.float32(255)), clf.predict_proba(X), atol=1e-5)
    on_floats = quick(**params).fit(X.astype(np.float32), y)
    for images in (X, Inputs(X)):
        with pytest.raises(ValueError, match="where it was not uint8"):
            on_floats.predict(images)


def test_a_prior_without_any_weighted_class(fails, blobs):
    weight = (blobs[1] < 2).astype(float)
    fails(ValueError, "`class_prior` must be above 0 for a class", class_prior=[0, 0, 1.0], sample_weight=weight)


def test_entropy_without_a_prior_warns(blobs, quick):
    X, y, _ = blobs
    with pytest.warns(LabelCollapseWarning, match="alpha=0 with beta=0.4.*Raise `alpha`"):
        quick(alpha=0, beta=0.4).fit(X, y)


def test_evidence_with_one_network_warns(blobs, quick):
    with pytest.warns(UserWarning, match="gamma=1 with one network.*Set `gamma=0`"):
        quick(gamma=1).fit(blobs[0], blobs[1])


def test_a_begin_that_used_to_be_a_share_warns(blobs, quick):
    with pytest.warns(UserWarning, match="begin=1.0 is the first epoch now.* begin=4, which is `max_epochs`"):
        clf = quick(begin=1.0).fit(blobs[0], blobs[1])
    np.testing.assert_array_equal(clf.soft_labels_, quick(begin=1).fit(blobs[0], blobs[1]).soft_labels_)


def test_the_earlier_name_of_the_damped_evidence_warns(blobs, quick):
    params = {"cross_fit": 3, "begin": 2}
    with pytest.warns(FutureWarning, match="gamma='auto' is called 'damped' now"):
        clf = quick(gamma="auto", **params).fit(blobs[0], blobs[1])
    damped = quick(gamma="damped", **params).fit(blobs[0], blobs[1])
    np.testing.assert_array_equal(clf.soft_labels_, damped.soft_labels_)


def test_plain_training_does_not_warn(blobs, quick):
    X, y, _ = blobs
    quick(alpha=0, beta=0).fit(X, y)


def test_a_loss_that_is_no_longer_finite(blobs, quick):
    X, y, _ = blobs
    module = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    clf = quick(module, lr=1e6, net_params=UNCLIPPED, max_epochs=20)
    with pytest.raises(
        TrainingDivergedError,
        match=r"In joint optimisation, the loss is not finite at epoch \d+: L_c .*Lower `lr` or set",
    ):
        clf.fit(X * 1e3, y)
    assert not [name for name in vars(clf) if name.endswith("_")]


@pytest.mark.parametrize("columns", [4, 6])
def test_predicting_other_features(blobs, quick, columns):
    clf = quick().fit(blobs[0], blobs[1])
    with pytest.raises(ValueError, match=f"X has {columns} features, but .* is expecting 5"):
        clf.predict(np.zeros((3, columns)))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a"] * 90, "`groups` must hold at least 2 groups, got one only, 'a'"),
        (range(89), "inconsistent numbers of samples"),
        (np.zeros((90, 2)), "`groups` must be one group a row, .*should be a 1d array"),
        (pd.Series([[1], [2]] * 45), "`groups` must be one group a row, .*of hashable values: unhashable"),
        ([Decimal("sNaN"), Decimal(1)] * 45, "`groups` must be one group a row, .*of hashable values"),
        (np.arange(90) + 1j, "`groups` must be one group a row, .*Complex data"),
        (torch.arange(90).to_sparse(), "`groups` must be a dense tensor"),
    ],
)
def test_groups(blobs, quick, groups, message):
    with pytest.raises((ValueError, TypeError), match=message):
        quick(cross_fit=3).fit(blobs[0], blobs[1], groups=groups)


@pytest.mark.parametrize("container", [np.asarray, Inputs])
def test_predicting_other_dimensions(blobs, quick, container):
    clf = quick().fit(blobs[0], blobs[1])
    with pytest.raises(ValueError, match=r"`X` must have 2 dimensions as in `fit`, .*got shape \(n, 5, 4\)"):
        clf.predict(container(np.zeros((3, 5, 4), np.float32)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_predicting_a_bad_dataset(blobs, quick, value):
    clf = quick().fit(blobs[0], blobs[1])
    with pytest.raises(ValueError, match="Input X contains|Complex data not supported"):
        clf.predict(Inputs(broken(value, np.float32 if np.isreal(value) else np.complex64)))


def test_labels_to_correct_must_be_known(blobs, quick):
    clf = quick().fit(blobs[0], blobs[1])
    with pytest.raises(ValueError, match=r"`y` must hold labels of the fit, \[0, 1, 2\]; got 7 in row 2"):
        clf.correct(blobs[0][:3], [0, 1, 7])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clf.correct(blobs[0][:3], [0, 1])
    with pytest.raises(ValueError, match="`y` must not hold missing labels"):
        clf.correct(blobs[0][:3], pd.Series([0, None, 1], dtype="Int64"))
    with pytest.raises(TypeError, match="`y` must hold labels of one kind"):
        clf.correct(blobs[0][:3], np.arange(3).astype("V8"))
