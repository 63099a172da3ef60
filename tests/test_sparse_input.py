from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from skorch.callbacks import Callback
from torch import nn

from noisyfit import JointOptimizationClassifier
from noisyfit.nets.ensembles import StackedNetworks, sparse_first_layer
from noisyfit.networks import MLP
from noisyfit.rows.rows import as_rows
from noisyfit.rows.sparse_input import SparseLinear

CPU = torch.device("cpu")
N, N_FEATURES, N_CLASSES = 60, 400, 3


@pytest.fixture
def X():
    """Few numbers that are not zero, an empty row, an empty column and an outlier beyond the limit of Standardize."""
    matrix = sp.random(N, N_FEATURES, density=0.02, dtype=np.float32, random_state=0).tolil()
    matrix[3], matrix[:, 7], matrix[5, 11] = 0, 0, 1e3
    return sp.csr_matrix(matrix)


def networks(X, k):
    made = [MLP(N_FEATURES, N_CLASSES, hidden=(8, 8), dropout=0.0) for _ in range(k)]
    for network in made:
        network[0].set_moments(*as_rows(X, CPU).moments())
    return made


def weight_gradients(network, x):
    logits = network(x)
    (logits.square() * torch.arange(1.0, 1 + logits.shape[-2]).unsqueeze(1)).sum().backward()
    return logits, [weight.grad for weight in network.parameters()]


@pytest.mark.parametrize("laid", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_sparse_batches_give_the_outputs_and_gradients_of_dense_ones(X, k, laid):
    sparse = networks(X, k)[0] if k == 1 else StackedNetworks(networks(X, k))
    dense = copy.deepcopy(sparse)
    if laid:
        sparse_first_layer(sparse).lay_by_feature()
    x = next(iter(as_rows(X, CPU).batches([torch.arange(N - 1, -1, -1)])))
    assert x.is_sparse
    (logits, gradients), (expected, expected_gradients) = (
        weight_gradients(sparse, x),
        weight_gradients(dense, x.to_dense()),
    )
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    gradients[0] = gradients[0].mT if laid else gradients[0]
    for gradient, of_dense in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, of_dense, rtol=1e-4, atol=1e-4 * float(of_dense.abs().max()))


def test_weights_come_back_in_their_usual_shape():
    layer, x = SparseLinear(6, 4), torch.randn(5, 6)
    before, outputs = layer.weight.detach().clone(), layer(x)
    layer.lay_by_feature()
    assert layer.weight.shape == (6, 4)
    torch.testing.assert_close(layer(x), outputs)
    layer.lay_as_usual()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("cross_fit", [0, 3])
def test_a_sparse_table_is_never_made_dense_and_fits_as_the_dense_one(X, monkeypatch, cross_fit):
    y = np.arange(N) % N_CLASSES
    clf = JointOptimizationClassifier(max_epochs=4, cross_fit=cross_fit, random_state=0)
    clf.set_params(begin=2, retrain_epochs=2, module_params={"dropout": 0.0})
    expected = copy.deepcopy(clf).fit(X.toarray(), y)
    expected_proba = expected.predict_proba(X.toarray())
    to_dense = torch.Tensor.to_dense

    def of_a_few_rows(x):  # for the check of a network's outputs
        assert len(x) <= 8
        return to_dense(x)

    monkeypatch.setattr(torch.Tensor, "to_dense", of_a_few_rows)
    monkeypatch.setattr(sp.csr_matrix, "toarray", None)
    clf.fit(X, y)
    np.testing.assert_allclose(clf.soft_labels_, expected.soft_labels_, atol=1e-3)
    np.testing.assert_allclose(clf.predict_proba(X), expected_proba, atol=1e-3)
    shapes = [[tuple(weight.shape) for weight in fitted.net_.module_.parameters()] for fitted in (clf, expected)]
    assert shapes[0] == shapes[1]


class AddHook(Callback):
    def on_train_begin(self, net, **kwargs):
        net.module_.register_forward_hook(lambda module, inputs, output: None)


def test_a_network_that_a_callback_hooks_into_still_comes_back_as_usual(X):
    y = np.arange(N) % N_CLASSES
    clf = JointOptimizationClassifier(max_epochs=2, begin=1, cross_fit=0, net_params={"callbacks": [AddHook]})
    assert clf.fit(X, y).net_.module_[1].weight.shape == (256, N_FEATURES)


def test_networks_that_want_dense_rows_get_them(X):
    y = np.arange(N) % N_CLASSES
    network = nn.Sequential(nn.Linear(N_FEATURES, 8), nn.ReLU(), nn.Linear(8, N_CLASSES))
    assert sparse_first_layer(network) is None
    clf = JointOptimizationClassifier(network, max_epochs=2, begin=1, random_state=0)
    dense = copy.deepcopy(clf).fit(X.toarray(), y)
    np.testing.assert_allclose(clf.fit(X, y).soft_labels_, dense.soft_labels_, atol=1e-5)
    np.testing.assert_allclose(dense.predict_proba(X), clf.predict_proba(X.toarray()), atol=1e-5)


def test_an_augmentation_gets_dense_rows(X):
    seen = []
    clf = JointOptimizationClassifier(max_epochs=2, begin=1, augment=lambda x: seen.append(x.is_sparse) or x)
    clf.fit(X, np.arange(N) % N_CLASSES)
    assert seen
    assert not any(seen)


def test_entries_of_one_place_count_as_their_sum(X):
    doubled = sp.csr_matrix((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    rows, expected = as_rows(doubled, CPU), as_rows(X, CPU)
    assert doubled.nnz == 2 * X.nnz  # the caller's matrix is left as it was
    np.testing.assert_allclose(rows.moments()[1], expected.moments()[1], rtol=1e-6)
    np.testing.assert_array_equal(rows.fingerprints(), expected.fingerprints())
    batch, of_expected = (next(iter(r.batches([slice(0, N)]))) for r in (rows, expected))
    assert torch.equal(batch.to_dense(), of_expected.to_dense())


def test_tables_with_many_numbers_give_dense_batches():
    rows = as_rows(sp.csr_array(sp.random(N, 50, density=0.2, dtype=np.float32)), CPU)
    assert not rows.sparse
    assert not next(iter(rows.batches([slice(0, 4)]))).is_sparse
