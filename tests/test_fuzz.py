"""Made-up inputs of every kind: each is either refused before training, by an error that names it, or fitted.

20,000 inputs of fit and predict in the long run.
"""

from __future__ import annotations

import datetime
import decimal
import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skorch.callbacks import Callback
from torch.utils.data import TensorDataset

from noisyfit import JointOptimizationClassifier
from noisyfit.judgement import witness

from containers import LABEL_CONTAINERS, LABELS, LAYOUTS, NUMBERS, TABLES, class_names, dense, holders, laid_out, mapped
from fuzzing import cases
from inputs import Inputs, as_numpy_strings, sparse_in_3d

pytestmark = [
    # scikit-learn's own warnings about what is fitted all the same
    pytest.mark.filterwarnings("ignore:A column-vector y was passed"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("ignore:X has feature names, but"),
    # three rows of a class are soon fewer by a third
    pytest.mark.filterwarnings("ignore::noisyfit.exceptions.ClassShrunkWarning"),
    pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%"),
]
DOCUMENTED = re.compile(
    r"`(X|y|sample_weight|groups|module|class_prior)`|Input (X|y|sample_weight) contains|Found array with"
    r"|Expected 2D (array|input)|Expected a 2-dimensional container|Complex data not supported"
    r"|inconsistent numbers of samples|Unknown label type|y should be a 1d array|bytes is not supported"
    r"|Sparse data was passed for|np.matrix is not supported|[Ss]ample.weight|X has \d+ features"
    r"|There is a default network|Feature names are only supported|Images must have shape|requires y to be passed"
)


@pytest.fixture(autouse=True, scope="module")
def every_warning():
    """Let torch warn each time, not once a process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.fixture(autouse=True, scope="module")
def few_trees():
    """Ask a witness of a tenth of the trees, which take most of the time otherwise."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("_TREES", "_TREES_AT_A_TIME"):
            patched.setattr(witness, name, max(1, getattr(witness, name) // 10))
        yield


class Watcher(Callback):
    """Notes whether training began; skorch keeps the instance."""

    started = False

    def on_train_begin(self, net, **kwargs):
        self.started = True


class Case(NamedTuple):
    """A well-formed problem: numbers and labels, and what `fit` is given instead of them."""

    numbers: str
    values: np.ndarray
    container: str
    labels: np.ndarray
    y: Any
    weight: Any = None
    groups: Any = None

    def __repr__(self):
        kinds = {name: type(getattr(self, name)).__name__ for name in ("y", "weight", "groups")}
        return f"{self.numbers} {self.values.shape} in {self.container}, {self.labels.dtype} labels, {kinds}"


def classifier(**params):
    defaults = {"max_epochs": 2, "cross_fit": 0, "random_state": 0, "device": "cpu"}
    defaults["net_params"] = {"precision": "float32"}
    return JointOptimizationClassifier(**(defaults | {"module_params": {"hidden": (8,)}} | params))


def quietly(make, data):
    """Make a container, without the warnings of those who make it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return make(data)


def made(name, X):
    return quietly(TABLES[name][0], X)


# ---- well-formed cases


def random_numbers(random, numbers, shape):
    if numbers == "bits":
        return random.randint(0, 2, shape).astype(float)
    if numbers == "bytes":
        return random.randint(0, 101, shape).astype(float)
    if numbers == "integers":
        return random.randint(-100, 101, shape).astype(float)
    if numbers == "quarters":
        return random.randint(-32, 33, shape) / 4
    with np.errstate(over="ignore", under="ignore"):  # all that float32 holds
        wide = (random.randn(*shape) * 10.0 ** random.randint(-44, 38, shape[1])).astype(np.float32)
    return np.nan_to_num(wide).astype(np.float64)


@st.composite
def values(draw, n_rows=None):
    """A kind of numbers and a table of them, with columns and rows that are constant, repeated or mostly 0."""
    random = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    numbers = draw(st.sampled_from(NUMBERS))
    n_rows = n_rows or draw(st.sampled_from([2, 2, 3, 4, 5, 8, 12, 16, 17, 18, 33, 40]))
    shape = (n_rows, draw(st.sampled_from([1, 1, 2, 3, 4, 6])))
    trait = draw(st.sampled_from(["none", "none", "constant", "repeated", "rows", "all rows", "zeros", "sparse"]))
    if trait == "sparse":
        shape = (n_rows, 60)
    X = random_numbers(random, numbers, shape)
    if trait == "constant":
        X[:, random.randint(shape[1])] = X[0, 0]
    elif trait == "repeated":
        X = X[:, random.randint(shape[1], size=shape[1] + 1)]
    elif trait == "rows":
        X = X[random.randint(n_rows, size=n_rows)]
    elif trait == "all rows":
        X[:] = X[0]
    elif trait == "zeros":
        X[:] = 0
    elif trait == "sparse":
        X[random.uniform(size=shape) > 0.03] = 0
    return numbers, X


@st.composite
def labels(draw, n_rows, n_classes=None):
    """Labels of at least two classes, and a container of them."""
    kind = draw(st.sampled_from(list(LABELS)))
    wanted = n_classes or draw(st.sampled_from([2, 2, 3, 5, n_rows]))
    n_classes = min(wanted, n_rows, LABELS[kind])
    random = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    codes = random.permutation(np.r_[np.arange(n_classes), random.randint(n_classes, size=n_rows - n_classes)])
    y = class_names(kind, n_classes)[codes]
    container = draw(st.sampled_from(list(LABEL_CONTAINERS)))
    return y, quietly(LABEL_CONTAINERS[container], y)


@st.composite
def weights(draw, y):
    """Weights that leave at least two classes, in some container; mostly none."""
    kind = draw(st.sampled_from([None, None, "ones", "random", "some 0", "tiny", "large", "scalar"]))
    if kind is None or kind == "scalar":
        return draw(st.sampled_from([1, 0.5, 3])) if kind else None
    weight = np.random.RandomState(len(y)).uniform(0.1, 2, len(y)).astype(np.float32)
    if kind == "ones":
        weight[:] = 1
    elif kind == "some 0":
        names = y.astype(object).tolist()
        keep = {names.index(name) for name in list(dict.fromkeys(names))[:2]}
        weight[[i for i in range(len(y)) if i not in keep and i % 2]] = 0
    elif kind == "tiny":
        weight *= np.float32(1e-20)
    elif kind == "large":
        weight *= np.float32(1e20)
    containers = {
        "array": lambda w: w,
        "float64": lambda w: w.astype(np.float64),
        "read-only": lambda w: laid_out(w, "read-only"),
        "strided": lambda w: laid_out(w, "strided"),
        "list": lambda w: w.tolist(),
        "Series": pd.Series,
        "nullable": lambda w: pd.Series(w).astype("Float64"),
        "polars": pl.Series,
        "tensor": lambda w: torch.tensor(w, requires_grad=True),
        "bfloat16": lambda w: torch.tensor(w).bfloat16(),
    }
    return containers[draw(st.sampled_from(list(containers)))](weight)


@st.composite
def grouped(draw, n_rows):
    """Groups of any kind, at least two; mostly none."""
    n_groups = draw(st.sampled_from([None, None, 2, 3, n_rows]))
    if n_groups is None:
        return None
    numbers = np.arange(n_rows) % min(n_groups, n_rows)
    containers = {
        "integers": lambda g: g,
        "floats with NaN": lambda g: np.where(g == 0, np.nan, g),
        "strings": lambda g: g.astype(str),
        "mixed": lambda g: np.array([None if i == 0 else str(i) if i % 2 else i for i in g], dtype=object),
        "list": lambda g: g.tolist(),
        "Series": lambda g: pd.Series(g).astype("Int64"),
        "category": lambda g: pd.Series(g).astype("category"),
        "polars": lambda g: pl.Series(g.astype(str)),
        "dates": lambda g: g.astype("M8[D]"),
        "tensor": lambda g: torch.tensor(g).bfloat16(),
    }
    return containers[draw(st.sampled_from(list(containers)))](numbers)


@st.composite
def problems(draw):
    numbers, X = draw(values())
    y, y_given = draw(labels(len(X)))
    container = draw(st.sampled_from(holders(numbers)))
    return Case(numbers, X, container, y, y_given, draw(weights(y)), draw(grouped(len(X))))


@st.composite
def settings_of_fit(draw):
    """Parameters that lead down other paths; those of the defaults more often."""
    params = {"cross_fit": draw(st.sampled_from([0, 0, 0, 2, 3]))}
    if draw(st.booleans()):
        params["label_update"] = draw(st.sampled_from(["soft", "hard"]))
        params["gamma"] = draw(st.sampled_from(["damped", 0]))
        params["begin"] = draw(st.sampled_from(["auto", 1, 0.5]))
        params["window"] = draw(st.sampled_from([10, 1, 0.5]))
        params["retrain_epochs"] = draw(st.sampled_from([0, 1]))
        params["class_prior"] = draw(st.sampled_from(["estimated", "given", "uniform"]))
        params["batch_size"] = draw(st.sampled_from(["auto", 1, 3, 1000]))
    return params


# ---- what a valid model is


def label_dtype(y):
    """The dtype that labels in a container come back in."""
    dtype = getattr(y, "dtype", None)
    if hasattr(dtype, "numpy_dtype"):
        return np.asarray(y, dtype=dtype.numpy_dtype).dtype  # of strings their length
    if isinstance(y, list) and isinstance(y[0], torch.Tensor):
        y = y[0]
    dtype = np.asarray(y).dtype
    return np.dtype(object) if dtype.kind == "T" else dtype.newbyteorder("=")


def check_probabilities(proba, shape):
    assert proba.shape == shape
    assert proba.dtype == np.float32
    assert np.isfinite(proba).all()
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-4)


def check_valid(clf, X, n_rows):
    """Check what a fit publishes, and predictions of the rows that it was given."""
    n_classes = len(clf.classes_)
    assert n_classes >= 2
    check_probabilities(clf.soft_labels_, (n_rows, n_classes))
    check_probabilities(clf.predict_proba(X), (n_rows, n_classes))
    assert clf.corrected_labels_.shape == clf.predict(X).shape == (n_rows,)
    assert clf.corrected_labels_.dtype == clf.predict(X).dtype == clf.classes_.dtype
    assert np.isin(clf.corrected_labels_, clf.classes_).all()
    np.testing.assert_allclose(clf.transition_matrix_.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(clf.class_prior_.sum(), 1, atol=1e-5)
    assert 0 <= clf.noise_rate_ <= 1
    assert np.isfinite(clf.history_.drop(columns="seconds").to_numpy(float)).all()
    report = clf.label_report()
    assert len(report) == n_rows
    assert not report.isna().any().any()
    assert f"{n_rows:,} samples" in clf.summary()


def check_labels(clf, y, y_given):
    """Check that classes are the distinct labels, in y's dtype, and that each row has kept its given one."""
    y = y.astype(object) if y.dtype.kind == "T" else y
    classes, codes = np.unique(y, return_inverse=True)
    assert clf.classes_.dtype == label_dtype(y_given)
    np.testing.assert_array_equal(clf.classes_, classes.astype(clf.classes_.dtype))
    np.testing.assert_array_equal(clf.label_report(encoded=True)["given_label"], codes)


def check_unfitted(clf):
    assert not [name for name in vars(clf) if name.endswith("_")]


def error_of(call):
    """Give the error of a call, after checking that it is documented; None where there is none."""
    try:
        call()
    except (ValueError, TypeError) as error:
        told = error
    else:
        return None
    if not DOCUMENTED.search(str(told)):
        raise AssertionError("This error does not name what is wrong.") from told
    return told


def refused(clf, error, *args, **kwargs):
    """Fit, and check that it is refused as documented, before training, without a trace in the estimator."""
    watcher = Watcher()
    clf.set_params(net_params={"callbacks": [watcher]})
    with pytest.raises((ValueError, TypeError), match=error) as caught:
        clf.fit(*args, **kwargs)
    note(str(caught.value))
    assert DOCUMENTED.search(str(caught.value)), repr(caught.value)
    assert not watcher.started
    check_unfitted(clf)


def fitted_or_refused(clf, *args, **kwargs):
    """Fit; where it is refused, as documented, before training. Says whether it was fitted."""
    watcher = Watcher()
    clf.set_params(net_params={"callbacks": [watcher]})
    told = error_of(lambda: clf.fit(*args, **kwargs))
    if told is None:
        return True
    assert not watcher.started
    check_unfitted(clf)
    return False


# ---- the tests


@cases(8_320)
@given(data=st.data())
def test_well_formed_tables_are_fitted(data):
    case, params = data.draw(problems()), data.draw(settings_of_fit())
    note(case.container)
    X = made(case.container, case.values)
    clf = classifier(**params).fit(X, case.y, sample_weight=case.weight, groups=case.groups)
    check_valid(clf, X, len(case.values))
    check_labels(clf, case.labels, case.y)
    np.testing.assert_array_equal(dense(X), case.values)  # nothing was written to them
    other = made(data.draw(st.sampled_from(holders(case.numbers))), case.values)
    np.testing.assert_allclose(clf.predict_proba(other), clf.predict_proba(X), atol=2e-4)
    corrected, soft = clf.correct(other, case.y)
    check_probabilities(soft, clf.soft_labels_.shape)
    assert corrected.dtype == clf.classes_.dtype
    assert np.isin(corrected, clf.classes_).all()


@cases(80)
@given(data=st.data())
def test_a_thousand_classes(data):
    numbers, X = data.draw(values(n_rows=1000))
    y, y_given = data.draw(labels(len(X), 1000))
    X = made(data.draw(st.sampled_from(holders(numbers))), X)
    clf = classifier().fit(X, y_given)
    check_valid(clf, X, 1000)
    check_labels(clf, y, y_given)


IMAGES = {
    **{layout: (lambda X, k=layout: laid_out(X, k)) for layout in LAYOUTS},
    "memmap": mapped,
    "list": list,
    "tensor": torch.tensor,
    "channels last": lambda X: torch.tensor(X).to(memory_format=torch.channels_last),
    "list of tensors": lambda X: list(torch.tensor(X)),
    "lists": lambda X: X.tolist(),
    "Dataset": Inputs,
    "TensorDataset": lambda X: TensorDataset(torch.tensor(X)),
}


@cases(1_200)
@given(data=st.data())
def test_well_formed_images_are_fitted(data):
    shape = (data.draw(st.integers(2, 12)), data.draw(st.integers(1, 4)), 8, data.draw(st.integers(8, 10)))
    pixels = np.random.RandomState(data.draw(st.integers(0, 2**32 - 1))).randint(0, 256, shape).astype(np.uint8)
    dtype = data.draw(st.sampled_from([np.uint8, np.float16, np.float32, np.float64]))
    as_bytes = dtype == np.uint8
    images = pixels if as_bytes else (pixels / 255).astype(dtype)
    names = [name for name in IMAGES if not (as_bytes and name == "lists")]
    first, second = (IMAGES[data.draw(st.sampled_from(names))](images) for _ in range(2))
    y, y_given = data.draw(labels(len(images)))
    clf = classifier(module_params={"width": 4}, cross_fit=data.draw(st.sampled_from([0, 0, 2])))
    clf.fit(first, y_given)
    check_valid(clf, first, len(images))
    check_labels(clf, y, y_given)
    np.testing.assert_allclose(clf.predict_proba(second), clf.predict_proba(first), atol=1e-3)


def with_value(value, dtype=np.float64):
    def spoil(X):
        X = X.astype(dtype)
        X[-1, -1] = value
        return X

    return spoil


def as_list_with(value):
    def spoil(X):
        rows = X.tolist()
        rows[-1][-1] = value
        return rows

    return spoil


NOT_FINITE = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf, "too large": 1e300}
TAKES_NAN = [
    name
    for name, (_, held) in TABLES.items()
    if "wide" in held and "Dataset" not in name and not name.startswith(("object", "category"))
]
BAD_X = {
    "strings": (lambda X: np.full(X.shape, "a"), "`X` must hold numbers"),
    "text in objects": (with_value("spam", object), "`X` must hold numbers"),
    "text in a list": (as_list_with("spam"), "`X` must hold numbers"),
    "None": (as_list_with(None), "Input X contains NaN"),
    "pandas' NA": (with_value(pd.NA, object), "`X` must hold numbers"),
    "dict": (with_value({}, object), "`X` must hold numbers"),
    "list inside": (as_list_with([1, 2]), "`X` must hold numbers"),
    "huge integer": (as_list_with(10**400), "`X` must hold numbers"),
    "ragged": (lambda X: [*X.tolist(), [1.0] * (X.shape[1] + 1)], "`X` must hold numbers"),
    "complex": (lambda X: X + 1j, "Complex data not supported"),
    "complex objects": (with_value(1j, object), "`X` must hold numbers"),
    "sparse complex": (lambda X: sp.csr_matrix(X + 1j), "Complex data not supported"),
    "complex tensor": (lambda X: torch.tensor(X).to(torch.complex64), "Complex data not supported"),
    "conjugate tensor": (lambda X: torch.tensor(X + 1j).conj(), "Complex data not supported"),
    "complex memmap": (lambda X: mapped(X + 1j), "Complex data not supported"),
    "dates": (lambda X: np.abs(X).clip(0, 1000).astype("M8[D]"), "`X` must hold numbers, got dates or durations"),
    "durations": (lambda X: X.clip(0, 1000).astype("m8[s]"), "`X` must hold numbers, got dates or durations"),
    "mapped dates": (
        lambda X: mapped(X.clip(0, 1000).astype("M8[D]")),
        "`X` must hold numbers, got a file of",
    ),
    "mapped text": (lambda X: mapped(np.full(X.shape, b"1")), "`X` must hold numbers, got"),
    "list of dates": (lambda X: [[np.datetime64(0, "D")]] * len(X), "`X` must hold numbers, got dates or durations"),
    "frame of dates": (lambda X: pd.DataFrame(X.clip(0, 1000).astype("M8[s]")), "`X` must hold numbers"),
    "frame with dates": (lambda X: pd.DataFrame(X).assign(a=pd.Timestamp(0)), "`X` must hold numbers|Feature names"),
    "frame with zoned dates": (
        lambda X: pd.DataFrame({"a": pd.to_datetime(np.zeros(len(X)), utc=True)}),
        "`X` must hold numbers",
    ),
    "text categories": (lambda X: pd.DataFrame({"a": pd.Categorical(["a"] * len(X))}), "`X` must hold numbers"),
    "Arrow strings": (lambda X: pd.DataFrame({"a": ["a"] * len(X)}, dtype="string[pyarrow]"), "`X` must hold numbers"),
    "nullable": (lambda X: pd.DataFrame({"a": pd.array([None] * len(X), dtype="Int64")}), "Input X contains NaN"),
    "polars' null": (lambda X: pl.DataFrame({"a": [None, *[1] * (len(X) - 1)]}), "Input X contains NaN"),
    "polars' text": (lambda X: pl.DataFrame({"a": ["a"] * len(X)}), "`X` must hold numbers"),
    "polars' dates": (lambda X: pl.DataFrame({"a": [datetime.date(2020, 1, 1)] * len(X)}), "`X` must hold numbers"),
    "unprepared polars": (lambda X: pl.DataFrame(X).lazy(), "`X` must hold numbers"),
    "fields": (lambda X: np.zeros(X.shape, dtype=[("a", float), ("b", float)]), "`X` must hold numbers"),
    "void": (lambda X: np.zeros(X.shape, dtype="V4"), "`X` must hold numbers"),
    "no rows": (lambda X: X[:0], r"Found array with 0 sample\(s\)"),
    "no columns": (lambda X: X[:, :0], r"Found array with 0 feature\(s\)"),
    "no pixels": (lambda X: np.zeros((len(X), 3, 0, 8)), r"Found array with 0 feature\(s\)"),
    "sparse without columns": (lambda X: sp.csr_matrix((len(X), 0)), r"Found array with 0 feature\(s\)"),
    "one dimension": (lambda X: X[:, 0], "Expected 2D array"),
    "Series": (lambda X: pd.Series(X[:, 0]), "Expected a 2-dimensional container"),
    "scalar": (lambda X: 3.0, "Expected 2D array"),
    "0-d tensor": (lambda X: torch.tensor(1.0), "Expected 2D array"),
    "three dimensions": (lambda X: X[:, :, None], "There is a default network"),
    "five dimensions": (lambda X: X[:, :, None, None, None], "There is a default network"),
    "channels last": (lambda X: np.zeros((len(X), 8, 8, 3)), "Images must have shape"),
    "sparse in 1-d": (lambda X: sp.coo_array(X[:, 0]), "Expected 2D input|inconsistent numbers of samples"),
    "sparse in 3-d": (lambda X: sparse_in_3d(X[:, :, None]), "`X` must hold numbers"),
    "matrix": (np.matrix, "np.matrix is not supported"),
    "None alone": (lambda X: None, "Expected 2D array"),
    "text alone": (lambda X: "spam", "`X` must hold numbers"),
    "dict alone": (lambda X: {"a": X}, "`X` must hold numbers"),
    "generator": (lambda X: (row for row in X), "`X` must hold numbers"),
    "object": (lambda X: object(), "`X` must hold numbers"),
    "sparse tensor": (lambda X: torch.tensor(X).to_sparse(), "`X` must be a dense tensor"),
    "quantised tensor": (
        lambda X: torch.quantize_per_tensor(torch.tensor(X).float(), 0.1, 0, torch.qint8),
        "`X` must be a dense tensor",
    ),
    "tensor without data": (lambda X: torch.tensor(X).to("meta"), "`X` must be a dense tensor"),
    "unequal tensors": (lambda X: [*torch.tensor(X), torch.zeros(99)], "`X` is a list of tensors or arrays"),
    "tensors and text": (lambda X: [*torch.tensor(X)[1:], "spam"], "`X`|Expected 2D"),
    "list of sparse rows": (lambda X: [sp.csr_matrix(row[None]) for row in X], "`X` must hold numbers"),
    "empty Dataset": (lambda X: Inputs(X[:0]), "`X` is an empty Dataset"),
    "Dataset of pairs": (lambda X: TensorDataset(torch.tensor(X), torch.tensor(X)), "`X` must be a Dataset of inputs"),
    "Dataset of nothing": (lambda X: TensorDataset(torch.zeros(len(X), 0)), r"Found array with 0 feature\(s\)"),
    "Dataset of scalars": (lambda X: TensorDataset(torch.tensor(X[:, 0])), "There is a default network"),
    "Dataset of complex": (lambda X: Inputs(X + 1j), "Complex data not supported"),
    "another length": (lambda X: np.r_[X, X[:1]], "inconsistent numbers of samples"),
}


@cases(2_800)
@given(data=st.data())
def test_bad_tables_are_refused(data):
    case = data.draw(problems())
    fault = data.draw(st.sampled_from([*BAD_X, *NOT_FINITE, *NOT_FINITE]))
    note(fault)
    if fault in NOT_FINITE:
        X = case.values.copy()
        row, column = (data.draw(st.integers(0, size - 1)) for size in X.shape)
        X[row, column] = NOT_FINITE[fault]
        container = data.draw(st.sampled_from(TAKES_NAN))
        note(container)
        X, error = made(container, X), "Input X contains"
    else:
        make, error = BAD_X[fault]
        X = quietly(make, case.values)
    refused(classifier(**data.draw(settings_of_fit())), error, X, case.y, case.weight, case.groups)


def some(y, value):
    y = y.astype(object)
    y[len(y) // 2] = value
    return y


def cycle(n_rows, *items):
    return [items[i % len(items)] for i in range(n_rows)]


BAD_Y = {
    "None": (lambda y: some(y, None), "`y` must not hold missing labels"),
    "NaN": (lambda y: np.r_[np.nan, np.ones(len(y) - 1)], "Input y contains NaN"),
    "NaN among objects": (lambda y: some(y, np.nan), "`y` must not hold missing labels"),
    "NA": (lambda y: some(y, pd.NA), "`y` must not hold missing labels"),
    "NaT": (lambda y: np.array(["NaT", *["2020"] * (len(y) - 1)], dtype="M8[D]"), "`y` must not hold missing labels"),
    "infinity": (lambda y: np.r_[np.inf, np.ones(len(y) - 1)], "Input y contains infinity"),
    "nullable": (lambda y: pd.Series(cycle(len(y), 1, None), dtype="Int64"), "`y` must not hold missing labels"),
    "nullable array": (lambda y: pd.array(cycle(len(y), 1, None), dtype="Int64"), "`y` must not hold missing labels"),
    "Arrow": (
        lambda y: pd.array(cycle(len(y), "a", None), dtype="string[pyarrow]"),
        "`y` must not hold missing labels",
    ),
    "NumPy's strings": (
        lambda y: as_numpy_strings(cycle(len(y), "a", None), na_object=None),
        "`y` must not hold missing labels",
    ),
    "categories": (
        lambda y: pd.Series(cycle(len(y), "a", None)).astype("category"),
        "`y` must not hold missing labels",
    ),
    "polars' null": (lambda y: pl.Series(cycle(len(y), "a", None)), "`y` must not hold missing labels"),
    "polars' numbers": (lambda y: pl.Series(cycle(len(y), 1, None)), "Input y contains NaN"),
    "continuous": (lambda y: np.arange(len(y)) + 0.5, "Unknown label type"),
    "one class": (lambda y: np.zeros(len(y), dtype=int), "`y` must have at least 2 classes"),
    "one-hot": (lambda y: np.eye(2)[np.arange(len(y)) % 2], "`y` must have one label a row"),
    "three dimensions": (lambda y: np.zeros((len(y), 1, 1)), "Found array with dim 3"),
    "0-d": (lambda y: np.array(1), "y should be a 1d array"),
    "scalar": (lambda y: 1, "y should be a 1d array"),
    "nothing": (lambda y: None, "requires y to be passed|`y` must|y should be a 1d array"),
    "text": (lambda y: "spam", "`y` must have one label a row"),
    "scikit-learn's name": (lambda y: "no_validation", "`y` must have one label a row"),
    "dict": (lambda y: {}, "y should be a 1d array"),
    "generator": (iter, "y should be a 1d array"),
    "ragged": (lambda y: [[1], *[[1, 2]] * (len(y) - 1)], "`y` must have one label a row"),
    "lists": (lambda y: pd.Series(cycle(len(y), [1], [2])), "`y` must have one label a row"),
    "tuples": (lambda y: pd.Series(cycle(len(y), (1, 2), (2, 3))), "`y` must have one label a row"),
    "arrays": (lambda y: pd.Series(cycle(len(y), np.arange(1), np.arange(2))), "`y` must have one label a row"),
    "sets": (lambda y: cycle(len(y), {1}, {2}), "`y` must have one label a row"),
    "text and number": (lambda y: np.array(cycle(len(y), "a", 1), dtype=object), "`y` must hold labels of one kind"),
    "number and text": (lambda y: np.array(cycle(len(y), 1, "a"), dtype=object), "Unknown label type"),
    "numbers as objects": (lambda y: np.array(cycle(len(y), 1, 2), dtype=object), "Unknown label type"),
    "mixed categories": (lambda y: pd.Categorical(cycle(len(y), "a", 1)), "`y` must hold labels|Unknown label type"),
    "decimals": (lambda y: cycle(len(y), decimal.Decimal(1), decimal.Decimal(2)), "Unknown label type"),
    "days": (lambda y: cycle(len(y), datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)), "Unknown label type"),
    "objects": (lambda y: [object() for _ in y], "Unknown label type"),
    "complex": (lambda y: np.arange(len(y)) + 1j, "Complex data not supported"),
    "bytes": (lambda y: np.array(cycle(len(y), b"a", b"b")), "`y` must hold strings or numbers, got bytes"),
    "void": (lambda y: np.arange(len(y)).astype("V8"), "`y` must hold labels of one kind"),
    "fields": (lambda y: np.zeros(len(y), dtype=[("a", int)]), "`y` must hold labels of one kind"),
    "sparse": (lambda y: sp.csr_matrix(np.arange(len(y))), "Sparse data was passed for y|y should be"),
    "sparse tensor": (lambda y: torch.arange(len(y)).to_sparse(), "`y` must be a dense tensor"),
    "too short": (lambda y: y[:-1], "inconsistent numbers of samples"),
    "empty": (lambda y: [], "inconsistent numbers of samples|Found array with 0 sample"),
}
BAD_WEIGHT = {
    "NaN": lambda n: np.r_[np.nan, np.ones(n - 1)],
    "infinity": lambda n: np.r_[np.inf, np.ones(n - 1)],
    "negative": lambda n: np.r_[-1, np.ones(n - 1)],
    "zeros": np.zeros,
    "zero": lambda n: 0,
    "one row": lambda n: np.r_[1, np.zeros(n - 1)],
    "vanishing": lambda n: np.full(n, 1e-300),
    "too large": lambda n: np.full(n, 3e38),
    "beyond float32": lambda n: np.full(n, 1e300),
    "too short": lambda n: np.ones(n + 1),
    "empty": lambda n: [],
    "two dimensions": lambda n: np.ones((n, 1)),
    "0-d": lambda n: np.array(1.0),
    "text": lambda n: ["a"] * n,
    "name": lambda n: "balanced",
    "dict": lambda n: {0: 1.0},
    "complex": lambda n: np.ones(n) + 1j,
    "durations": lambda n: np.ones(n, dtype="m8[s]"),
    "dates": lambda n: np.ones(n, dtype="M8[s]"),
    "missing": lambda n: pd.array([None] * n, dtype="Int64"),
    "ragged": lambda n: [[1], *[[1, 2]] * (n - 1)],
    "huge integer": lambda n: [10**400] * n,
    "sparse": lambda n: sp.csr_matrix(np.ones(n)),
    "sparse tensor": lambda n: torch.ones(n).to_sparse(),
}
BAD_GROUPS = {
    "one": lambda n: ["a"] * n,
    "nothing but missing": lambda n: [None] * n,
    "too short": lambda n: np.arange(n + 1),
    "two dimensions": lambda n: np.zeros((n, 2)),
    "scalar": lambda n: 3,
    "text": lambda n: "spam",
    "dict": lambda n: {},
    "lists": lambda n: pd.Series(cycle(n, [1], [2])),
    "sets": lambda n: cycle(n, {1}, {2}),
    "dicts": lambda n: cycle(n, {}, {1: 1}),
    "ragged": lambda n: [[1], *[[1, 2]] * (n - 1)],
    "complex": lambda n: np.arange(n) + 1j,
    "sparse": lambda n: sp.csr_matrix(np.arange(n)),
    "sparse tensor": lambda n: torch.arange(n).to_sparse(),
}


@cases(2_000)
@given(data=st.data())
def test_bad_labels_are_refused(data):
    case = data.draw(problems())
    fault = data.draw(st.sampled_from(list(BAD_Y)))
    note(fault)
    make, error = BAD_Y[fault]
    X = made(case.container, case.values)
    refused(classifier(**data.draw(settings_of_fit())), error, X, quietly(make, case.labels), case.weight, case.groups)


@cases(1_200)
@given(data=st.data())
def test_bad_weights_and_groups_are_refused(data):
    case = data.draw(problems())
    X, n_rows = made(case.container, case.values), len(case.values)
    clf = classifier(**data.draw(settings_of_fit()))
    if data.draw(st.booleans()):
        fault = data.draw(st.sampled_from(list(BAD_WEIGHT)))
        note(fault)
        error = "[Ss]ample.weight|Complex data"
        refused(clf, error, X, case.y, sample_weight=BAD_WEIGHT[fault](n_rows), groups=case.groups)
    else:
        fault = data.draw(st.sampled_from(list(BAD_GROUPS)))
        note(fault)
        error = "`groups`|inconsistent numbers of samples"
        refused(clf, error, X, case.y, sample_weight=case.weight, groups=BAD_GROUPS[fault](n_rows))


LATE = {
    "NaN": (lambda X: Inputs(np.r_[X, [[np.nan] * X.shape[1]]]), "Input X contains NaN"),
    "infinity": (lambda X: Inputs(np.r_[X, [[np.inf] * X.shape[1]]]), "Input X contains infinity"),
    "too large": (lambda X: Inputs(np.r_[X, [[1e300] * X.shape[1]]]), "Input X contains infinity or a value too large"),
    "longer": (lambda X: Items([*torch.tensor(X), torch.zeros(X.shape[1] + 1)]), "of one shape"),
    "text": (lambda X: Items([*torch.tensor(X), "spam"]), "`X` must be a Dataset of inputs"),
    "nothing": (lambda X: Items([*torch.tensor(X), None]), "`X` must be a Dataset of inputs"),
    "pair": (lambda X: Items([*torch.tensor(X), (torch.zeros(3), 0)]), "`X` must be a Dataset of inputs"),
}


class Items(Inputs):
    """A Dataset of whatever a list holds."""

    def __getitem__(self, i):
        return self.X[i]


@cases(800)
@given(data=st.data())
def test_datasets_whose_last_rows_are_bad(data):
    """They are read only as they are trained on."""
    _, X = data.draw(values())
    fault = data.draw(st.sampled_from(list(LATE)))
    note(fault)
    make, error = LATE[fault]
    clf = classifier(**data.draw(settings_of_fit()))
    with np.errstate(over="ignore"), pytest.raises((ValueError, TypeError), match=error):
        clf.fit(make(X), np.arange(len(X) + 1) % 2)
    check_unfitted(clf)
    clf.fit(X, np.arange(len(X)) % 2)
    with np.errstate(over="ignore"), pytest.raises((ValueError, TypeError), match=error):
        clf.predict(make(X))


def anything():
    """Nested lists and arrays of whatever NumPy holds."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.complex_numbers()
        | st.text(max_size=3)
        | st.binary(max_size=3)
        | st.datetimes()
        | st.decimals()
    )
    dtypes = hnp.scalar_dtypes() | hnp.array_dtypes()
    arrays = hnp.arrays(
        dtypes,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
    objects = hnp.arrays(object, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4), elements=scalars)
    nested = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12)
    return arrays | objects | nested


@cases(2_000)
@given(data=st.data())
def test_anything_is_fitted_or_refused(data):
    """One argument is anything, the others fit to it or to one another."""
    which = data.draw(st.sampled_from(["X", "y", "sample_weight", "groups"]))
    thing = data.draw(anything())
    n_rows = np.shape(thing)[0] if isinstance(thing, np.ndarray) and np.ndim(thing) else 4
    X, y = np.random.RandomState(0).randn(n_rows, 3), np.arange(n_rows) % 2
    arguments = {"X": X, "y": y} | {which: thing}
    clf = classifier(cross_fit=data.draw(st.sampled_from([0, 2])))
    with np.errstate(all="ignore"):
        if fitted_or_refused(clf, **arguments):
            check_valid(clf, arguments["X"], len(clf.corrected_labels_))


TABLE = np.random.RandomState(0).randn(20, 3)
FITTED = {}


def fitted(kind):
    """A classifier of tables or of images, fitted once."""
    if kind not in FITTED:
        if kind == "table":
            X, params = TABLE, {}
        else:
            X, params = np.random.RandomState(0).uniform(size=(8, 3, 8, 8)), {"module_params": {"width": 4}}
        FITTED[kind] = classifier(**params).fit(X, np.arange(len(X)) % 2)
    return FITTED[kind]


UNFIT = {
    "a column less": lambda X: X[:, :2],
    "a column more": lambda X: np.c_[X, X],
    "sparse, a column less": lambda X: sp.csr_matrix(X[:, :2]),
    "images": lambda X: X[:, :, None, None],
    "a dimension more": lambda X: X[:, :, None],
    "Dataset, a column less": lambda X: Inputs(X[:, :2]),
    "Dataset, a dimension more": lambda X: Inputs(X[:, :, None]),
    "frame of other columns": lambda X: pd.DataFrame(X[:, :2], columns=["a", "b"]),
}


@cases(1_600)
@given(data=st.data())
def test_what_cannot_be_predicted_is_refused(data):
    _, X = data.draw(values())
    X = np.resize(X, (len(X), 3))
    thing = data.draw(st.sampled_from(["bad", "unfit", "not finite", "images", "anything", "labels"]))
    clf = fitted("images" if thing == "images" else "table")
    if thing == "anything":
        unknown = data.draw(anything())
        with np.errstate(all="ignore"):
            if error_of(lambda: clf.predict_proba(unknown)) is None:
                check_probabilities(clf.predict_proba(unknown), (len(unknown), 2))
        return
    if thing == "labels":
        fault = data.draw(st.sampled_from([name for name in BAD_Y if name not in ("one class", "NumPy's strings")]))
        note(fault)
        with pytest.raises((ValueError, TypeError), match=DOCUMENTED):
            clf.correct(X, quietly(BAD_Y[fault][0], np.arange(len(X)) % 2))
        return
    if thing == "not finite":
        X[0, 0] = data.draw(st.sampled_from(list(NOT_FINITE.values())))
        bad = made(data.draw(st.sampled_from(TAKES_NAN)), X)
    elif thing == "unfit":
        bad = UNFIT[data.draw(st.sampled_from(list(UNFIT)))](X)
    elif thing == "images":
        shapes = [(2, 3), (2, 3, 8), (2, 1, 8, 8), (2, 3, 8, 8, 1), (2, 3, 0, 8), (0, 3, 8, 8)]
        bad = np.zeros(data.draw(st.sampled_from(shapes)))
        bad = data.draw(st.sampled_from([lambda X: X, Inputs, torch.tensor]))(bad)
    else:
        fault = data.draw(st.sampled_from([name for name in BAD_X if name != "another length"]))
        note(fault)
        bad = quietly(BAD_X[fault][0], X)
    with pytest.raises((ValueError, TypeError), match=DOCUMENTED):
        clf.predict(bad)
