from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from torch.utils.data import IterableDataset, TensorDataset

from noisyfit.rows.rows import as_network_input, as_rows

from inputs import Inputs, as_numpy_strings, memmap

CPU = torch.device("cpu")
CHUNKS = [torch.tensor([3, 0, 9]), slice(2, 6), torch.tensor([1])]


@pytest.fixture
def X():
    X = np.random.RandomState(0).randn(10, 6).astype(np.float32)
    X[np.abs(X) < 0.5] = 0
    return X


def kinds(X, folder):
    read_only = X.copy()
    read_only.flags.writeable = False
    return {
        "array": X,
        "read-only": read_only,
        "Fortran order": np.asfortranarray(X),
        "reversed": X[::-1].copy()[::-1],
        "memmap": memmap(X, folder),
        "float64 memmap": memmap(X.astype(np.float64), folder),
        "sparse": sp.csr_matrix(X),
        "sparse array": sp.csr_array(X),
        "dataset": Inputs(X),
    }


def test_every_kind_gives_the_same_batches_and_moments(X, tmp_path):
    for name, data in kinds(X, tmp_path).items():
        rows = as_rows(data, CPU)
        assert len(rows) == 10
        assert rows.item_shape == (6,)
        for chunk, batch in zip(CHUNKS, rows.batches(CHUNKS), strict=True):
            expected = X[chunk if isinstance(chunk, slice) else chunk.numpy()]
            np.testing.assert_array_equal(batch.numpy(), expected, err_msg=name)
            assert batch.dtype == torch.float32
        mean, variance = rows.moments()
        np.testing.assert_allclose(mean, X.mean(0, dtype=np.float64), atol=1e-6, err_msg=name)
        np.testing.assert_allclose(variance, X.var(0, dtype=np.float64), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["array", "sparse", "dataset", "memmap"])
def test_weighted_moments(X, tmp_path, kind):
    weight = torch.tensor([0, 1, 2, 0, 1, 1, 3, 0, 1, 2], dtype=torch.float32)
    repeated = np.repeat(X, weight.int().numpy(), axis=0).astype(np.float64)
    mean, variance = as_rows(kinds(X, tmp_path)[kind], CPU).moments(weight)
    np.testing.assert_allclose(mean, repeated.mean(0), atol=1e-6)
    np.testing.assert_allclose(variance, repeated.var(0), atol=1e-6)


def test_moments_of_far_off_features_do_not_cancel():
    X = (1e7 + np.random.RandomState(0).randint(0, 9, (5000, 1))).astype(np.float32)
    mean, variance = as_rows(X, CPU).moments()
    np.testing.assert_allclose(variance, X.var(0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(mean, X.mean(0, dtype=np.float64), rtol=1e-12)


def test_arrays_are_held_without_a_copy_but_batches_are_copies(X):
    rows = as_rows(X, CPU)
    assert rows._tensor.data_ptr() == X.ctypes.data
    for chunk in (slice(0, 10), torch.arange(10)):
        before = X.copy()
        next(iter(rows.batches([chunk]))).zero_()
        np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_memmap_is_never_read_whole(quick, tmp_path, dtype):
    X = np.random.RandomState(0).randn(100_000, 64).astype(dtype)
    y = (X[:, 0] > 0).astype(int)
    mapped, size = memmap(X, tmp_path), X.nbytes
    clf = quick(torch.nn.Linear(64, 2), max_epochs=1, batch_size=1000).fit(X[:1000], y[:1000])  # imports what it needs
    del X
    tracemalloc.start()
    clf.fit(mapped, y).predict(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # NumPy's memory is traced, torch's is not; float64 numbers of a batch are converted by NumPy
    assert peak < size / 3


def test_only_images_of_bytes_are_divided():
    image = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    assert (as_network_input(image, CPU) == 1).all()
    assert (as_network_input(torch.full((2, 2), 255.0), CPU) == 255).all()
    assert as_network_input(torch.ones(2, 2, dtype=torch.float64), CPU).dtype == torch.float32
    assert as_network_input(torch.ones(2, 2, dtype=torch.int64), CPU).dtype == torch.int64  # numbers of tokens


def test_bytes_stay_bytes_in_memory(tmp_path):
    X = np.random.RandomState(0).randint(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    for data in (X, memmap(X, tmp_path)):
        assert next(iter(as_rows(data, CPU).batches([slice(0, 2)]))).dtype == torch.uint8


def test_a_dataset_is_read_by_workers_that_outlive_an_epoch(X):
    rows = as_rows(Inputs(X), CPU, {"num_workers": 1})
    for _ in range(2):
        batches = list(rows.batches(CHUNKS))
        np.testing.assert_array_equal(batches[0].numpy(), X[[3, 0, 9]])
    assert rows._loader._iterator is not None


class Pairs(Inputs):
    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]), 0


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(3)


class LatePairs(Inputs):
    def __getitem__(self, i):
        return (torch.zeros(6), 0) if i else torch.zeros(6)


class LateShapes(Inputs):
    def __getitem__(self, i):
        return torch.zeros(6 if i < 9 else 7)


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (lambda X: Pairs(X), TypeError, "Dataset of inputs alone.*got a tuple.*pass them as `y`"),
        (lambda X: Stream(), TypeError, "map-style Dataset.*got Stream"),
        (lambda X: Inputs(X[:0]), ValueError, "empty Dataset"),
        (lambda X: LateShapes(X), ValueError, "`X` must be a Dataset of inputs alone, of one shape"),
    ],
)
def test_wrong_datasets(X, quick, dataset, error, message):
    with pytest.raises(error, match=message):
        quick().fit(dataset(X), [0, 1] * 5)


class Random(Inputs):
    def __getitem__(self, i):
        return torch.randn(6)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_random_datasets_follow_the_seed(X, quick, num_workers):
    y, loading = np.arange(10) % 2, {"iterator_train__num_workers": num_workers}
    fits = [quick(random_state=seed, net_params=loading).fit(Random(X), y).soft_labels_ for seed in (1, 1, 2)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert (fits[0] != fits[2]).any()


def test_features_of_a_dataset_are_kept_and_checked(X, quick):
    y = np.arange(10) % 2
    clf = quick().fit(pd.DataFrame(X, columns=list("abcdef")), y)
    with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 6"):
        clf.predict(Inputs(X[:, :3]))
    clf.fit(Inputs(X[:, :3]), y)
    assert clf.n_features_in_ == 3
    assert not hasattr(clf, "feature_names_in_")


def test_labels_beside_a_dataset_are_checked(X, quick):
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[10, 9\]"):
        quick().fit(Inputs(X), np.arange(9) % 2)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        quick().fit(Inputs(X), np.r_[np.nan, np.arange(9) % 2])


def test_a_dataset_that_gives_pairs_later(X):
    rows = as_rows(LatePairs(X), CPU)
    with pytest.raises(TypeError, match="inputs alone"):
        list(rows.batches([torch.tensor([1, 2])]))


def test_equal_rows_have_equal_fingerprints(X, tmp_path):
    X = np.vstack([X, X[2:4], -X[:1]])
    for name, data in kinds(X, tmp_path).items():
        fingerprints = as_rows(data, CPU).fingerprints()
        if name == "dataset":
            assert fingerprints is None
            continue
        assert fingerprints[10:12].tolist() == fingerprints[2:4].tolist()
        assert len(set(fingerprints.tolist())) == 11, name


def test_fingerprints_of_images_and_of_both_zeros():
    images = np.random.RandomState(0).randint(256, size=(5, 3, 4, 4)).astype(np.uint8)
    images[4] = images[1]
    fingerprints = as_rows(images, CPU).fingerprints()
    assert fingerprints[4] == fingerprints[1]
    assert len(set(fingerprints.tolist())) == 4
    zeros = as_rows(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]], dtype=np.float32), CPU).fingerprints()
    assert zeros[0] == zeros[1] != zeros[2]


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.float8_e4m3fn])
def test_tensors_that_numpy_does_not_know(X, quick, dtype):
    y, tensor = np.arange(10) % 2, (torch.from_numpy(X) > 0).to(dtype)
    expected = quick().fit((X > 0).astype(np.float32), y)
    for data in (tensor, list(tensor), TensorDataset(tensor)):
        proba = (
            quick().fit(data, torch.from_numpy(y).to(dtype), sample_weight=torch.ones(10).to(dtype)).predict_proba(data)
        )
        np.testing.assert_allclose(proba, expected.predict_proba(X > 0), atol=1e-6)


def test_tensors_that_belong_to_a_graph_or_to_another(X, quick):
    y = np.arange(10) % 2
    expected = quick().fit(X, y).predict_proba(X)
    with_gradient = torch.from_numpy(X).requires_grad_()
    weight = torch.ones(10, requires_grad=True)
    for data in (with_gradient, TensorDataset(with_gradient), torch._neg_view(torch.from_numpy(-X))):
        np.testing.assert_allclose(quick().fit(data, y, weight).predict_proba(data), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e25, 1e38])
def test_sparse_and_dense_agree_on_numbers_of_any_size(X, scale):
    X = (X / np.abs(X).max() * scale).astype(np.float32)
    dense, sparse = (as_rows(data, CPU).moments() for data in (X, sp.csr_matrix(X)))
    for one, other in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


LABELS = {
    "pandas' array": (lambda y: pd.array(y, dtype="Int8"), np.int8),
    "index": (lambda y: pd.Index(y, dtype="Int64"), np.int64),
    "column": (lambda y: pd.DataFrame({"y": pd.array(y, dtype="UInt8")}), np.uint8),
    "Boolean categories": (lambda y: pd.Series(y.astype(bool)).astype("category"), np.bool_),
    "other order of bytes": (lambda y: y.astype(y.dtype.newbyteorder()), np.int64),
    "NumPy's strings": (lambda y: as_numpy_strings(y.astype(str)), object),
    "list of tensors": (lambda y: list(torch.from_numpy(y).bfloat16()), np.float32),
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("kind", LABELS)
def test_labels_keep_their_kind(X, quick, kind):
    make, dtype = LABELS[kind]
    y = make(np.arange(10) % 2)
    clf = quick().fit(X, y)
    assert clf.classes_.dtype == clf.corrected_labels_.dtype == clf.predict(X).dtype == dtype
    assert len(clf.label_report()) == len(clf.correct(X, y)[0]) == 10


def test_weights_in_a_column_that_cannot_be_written_to(X, quick, monkeypatch):
    monkeypatch.setattr(torch, "from_numpy", lambda array, convert=torch.from_numpy: convert(written_to(array)))
    quick().fit(X, np.arange(10) % 2, sample_weight=pd.Series(np.ones(10, np.float32)))


def written_to(array):
    assert array.flags.writeable  # or torch warns, once a process
    return array


def test_images_of_bytes_may_lie_in_a_dataset_or_an_array(quick):
    X = np.random.RandomState(0).randint(0, 256, (10, 1, 8, 8)).astype(np.uint8)
    for fitted, predicted in [(X, Inputs(X)), (Inputs(X), X), (TensorDataset(torch.from_numpy(X)), X)]:
        clf = quick(module_params={"width": 4}, max_epochs=1).fit(fitted, np.arange(10) % 2)
        np.testing.assert_allclose(clf.predict_proba(predicted), clf.predict_proba(fitted), atol=1e-5)


def test_the_variance_of_a_constant_sparse_column_is_not_below_zero():
    random = np.random.RandomState(0)
    for value in random.randn(200).astype(np.float32):
        weight = torch.from_numpy(random.uniform(0.1, 2, 33)) * 1e20
        assert as_rows(sp.csr_matrix(np.full((33, 1), value)), CPU).moments(weight)[1] >= 0
