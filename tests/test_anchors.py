"""What the surest rows say of the given labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisyfit.anchors import Anchors, find_anchors
from noisyfit.correction import FirstLook, ask_surest
from noisyfit.noise import NoiseMatrix, asymmetric_noise, corrupt_labels
from noisyfit.refusal import Unseen

N, N_CLASSES = 6000, 5


def hard_classes(seed=0):
    """Outputs that know three classes in four rows, and know how sure they are; and the true classes."""
    rng = np.random.RandomState(seed)
    outputs = torch.from_numpy(1.7 * rng.randn(N, N_CLASSES)).softmax(dim=1).float()
    y = (rng.random_sample((N, 1)) > outputs.numpy().cumsum(axis=1)).sum(axis=1).clip(max=N_CLASSES - 1)
    return outputs, y


def test_a_tenth_of_each_predicted_class_is_chosen_by_weight():
    outputs, y = hard_classes()
    weight = torch.from_numpy(np.random.RandomState(1).randint(3, size=N)).float()
    given = torch.from_numpy(y)
    anchors = find_anchors(outputs, given, weight)
    predicted, expected, squares = outputs.argmax(dim=1), torch.zeros(N_CLASSES, N_CLASSES), 0.0
    for j in range(N_CLASSES):
        rows = ((predicted == j) & (weight > 0)).nonzero().squeeze(1)
        surest = rows[outputs[rows, j].argsort(descending=True)][: round(0.1 * len(rows))]
        squares += float(weight[surest].square().sum())
        for i in surest:
            expected[j, given[i]] += weight[i]
    torch.testing.assert_close(anchors.counts, expected.double())
    assert anchors.n_rows == pytest.approx(float(expected.sum()) ** 2 / squares)
    share = float((weight * (predicted != given)).sum() / weight.sum())
    assert anchors.disagreement == pytest.approx(share)


def test_a_class_that_is_never_predicted_keeps_the_matrix_found_otherwise():
    outputs = torch.tensor([[0.5, 0.3, 0.2]]).repeat(40, 1)
    otherwise = torch.tensor(np.random.RandomState(0).dirichlet(np.ones(3), 3))
    matrix = find_anchors(outputs, torch.ones(40, dtype=torch.int64)).matrix(otherwise)
    torch.testing.assert_close(matrix[1:], otherwise[1:])
    torch.testing.assert_close(matrix[0], (10 * otherwise[0] + 4 * torch.eye(3)[1]) / 14)
    assert float(matrix.sum()) == pytest.approx(3)


@pytest.mark.parametrize("seed", range(3))
def test_hard_classes_leave_the_surest_rows_alone_and_confused_labels_do_not(seed):
    outputs, y = hard_classes(seed)
    matrix = asymmetric_noise(N_CLASSES, 0.4, {0: 1, 2: 3})
    given = corrupt_labels(y, matrix, random_state=seed)
    clean, noisy = (find_anchors(outputs, torch.from_numpy(labels)) for labels in (y, given))
    assert clean.disagreement > 0.35
    assert clean.contradiction(3.0) < 0.2 < 0.3 < noisy.contradiction(3.0)
    found = noisy.matrix(torch.eye(N_CLASSES, dtype=torch.float64))
    assert float((found - torch.from_numpy(matrix)).abs().max()) < 0.15
    assert float(found.diagonal().mean()) == pytest.approx(0.84, abs=0.06)


def test_few_rows_say_little():
    counts = torch.tensor([[7.0, 3.0], [3.0, 7.0]], dtype=torch.float64)
    few, many = Anchors(2 * counts, 40, 0.3), Anchors(1000 * counts, 20000, 0.3)
    for errors in (0.0, 1.0, 3.0):
        assert few.contradiction(errors) == pytest.approx(max(0.0, 0.3 - errors * np.sqrt(0.21 / 40)) / 0.3)
    assert 0.9 < many.contradiction(3.0) < 1
    assert Anchors(10 * torch.eye(2, dtype=torch.float64), 20, 0.0).contradiction(3.0) == 0


def first_look(anchors, found_wrong=0.3, missed=0.05):
    return FirstLook(Unseen(True, torch.ones(4)), found_wrong, missed, anchors)


@pytest.mark.parametrize(
    ("found_wrong", "missed", "contradicting", "doubted"),
    [
        (0.1, 0.15, 1, True),  # hard classes
        (0.1, 0.15, 4, True),
        (0.1, 0.02, 1, False),  # easy ones, and many labels found wrong
        (0.1, 0.15, 8, False),  # the surest rows contradict their labels
        (0.1, 0.15, 12, False),
    ],
)
def test_labels_are_doubted_to_be_wrong_where_networks_know_little_and_the_surest_rows_agree(
    found_wrong, missed, contradicting, doubted
):
    counts = torch.tensor([[40.0 - contradicting, contradicting], [contradicting, 40.0 - contradicting]])
    first = first_look(Anchors(counts.double(), 80, 0.25), found_wrong, missed)
    assert first.doubt() > 0.9 if doubted else first.doubt() < 0.05
    noise = NoiseMatrix(torch.arange(4) % 2, 2, matrix=torch.eye(2, dtype=torch.float64))
    settled, weight, left = ask_surest(first, noise, 0.8, 0.0, temperature=1.0)
    assert torch.equal(settled.matrix, noise.matrix)
    assert weight == 0.8
    assert left > 0.9 if doubted else left < 0.05


@pytest.mark.parametrize("doubt", [0.0, 0.5, 0.99])
def test_doubt_is_settled_by_the_surest_rows_as_far_as_there_is_doubt(doubt):
    noise = NoiseMatrix(torch.arange(4) % 2, 2, matrix=torch.tensor([[0.99, 0.01], [0.01, 0.99]], dtype=torch.float64))
    confused = Anchors(torch.tensor([[600.0, 400.0], [0.0, 1000.0]], dtype=torch.float64), 2000, 0.4)
    hard = Anchors(torch.tensor([[980.0, 20.0], [0.0, 1000.0]], dtype=torch.float64), 2000, 0.4)
    settled, weight, left = ask_surest(first_look(confused), noise, 0.8, doubt, temperature=1.0)
    torch.testing.assert_close(settled.matrix, torch.lerp(noise.matrix, confused.matrix(noise.matrix), doubt))
    assert weight == pytest.approx(0.8 + 0.2 * doubt)
    assert left == pytest.approx(0.1 * doubt, abs=1e-6)
    assert ask_surest(first_look(hard), noise, 0.8, doubt, temperature=1.0)[2] == pytest.approx(doubt, abs=1e-6)
    *_, left = ask_surest(first_look(confused), noise, 0.8, doubt, temperature=4.0)  # classes overlap
    assert left == pytest.approx(doubt, abs=0.01)
