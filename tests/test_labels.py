from __future__ import annotations

import numpy as np
import pytest
import torch

from noisyfit.algorithm.labels import (
    GivenLabels,
    Labels,
    keep_within_margin,
    label_rule,
    most_probable,
    next_labels,
    relabel_clearest,
)

N, N_CLASSES = 11, 3
GIVEN = torch.arange(N) % N_CLASSES
ALL = torch.arange(N)


def epochs(n_epochs, seed=0):
    return torch.tensor(np.random.RandomState(seed).dirichlet(np.ones(N_CLASSES), (n_epochs, N)), dtype=torch.float32)


def known(fixed=(), codes=GIVEN):
    return GivenLabels(codes, codes, torch.tensor(fixed, dtype=torch.long), None, N_CLASSES)


def test_labels_are_one_hot_before_the_first_update():
    labels = Labels(GIVEN, None, N_CLASSES)
    rows = torch.tensor([4, 0, 10])
    assert (labels.targets(rows) == torch.eye(N_CLASSES)[GIVEN[rows]]).all()
    assert (labels.distributions() == torch.eye(N_CLASSES)[GIVEN]).all()
    assert labels.share_beside(GIVEN) == 0


def test_soft_labels_are_the_outputs():
    (outputs,) = epochs(1)
    labels, (rows, new) = next_labels(Labels(GIVEN, None, N_CLASSES), outputs, known(), most_probable)
    assert (labels.targets(ALL) == outputs).all()
    assert (labels.codes == outputs.argmax(1)).all()
    assert rows.tolist() == (labels.codes != GIVEN).nonzero().flatten().tolist()
    assert (labels.codes[rows] == new).all()


def test_hard_labels_train_on_one_hot_but_keep_the_outputs():
    (outputs,) = epochs(1)
    labels, _ = next_labels(Labels(GIVEN, None, N_CLASSES, hard=True), outputs, known(), most_probable)
    assert (labels.targets(ALL) == torch.eye(N_CLASSES)[outputs.argmax(1)]).all()
    assert (labels.distributions() == outputs).all()


def test_an_update_leaves_the_labels_before_as_they_were():
    before = Labels(GIVEN, None, N_CLASSES)
    first, _ = next_labels(before, epochs(1)[0], known(), most_probable)
    codes, soft = first.codes.clone(), first.soft.clone()
    next_labels(first, epochs(1, seed=1)[0], known(), most_probable)
    assert (before.codes == torch.arange(N) % N_CLASSES).all()
    assert (first.codes == codes).all()
    assert (first.soft == soft).all()


def test_fixed_rows_keep_their_labels():
    learned = (GIVEN + 1) % N_CLASSES  # a person has said so
    given = known(fixed=[0, 5])._replace(learned=learned)
    labels, _ = next_labels(Labels(learned, None, N_CLASSES), epochs(1)[0], given, most_probable)
    assert (labels.distributions()[[0, 5]] == torch.eye(N_CLASSES)[learned[[0, 5]]]).all()
    assert (labels.codes[[0, 5]] == learned[[0, 5]]).all()
    assert (labels.codes != learned).any()


@pytest.mark.parametrize("n_relabel", [1, 3, 100])
def test_the_clearest_labels_change_first(n_relabel):
    proba = epochs(1)[0]
    current = torch.zeros(N, dtype=torch.long)
    new = relabel_clearest(proba, current, n_relabel)
    best = proba.argmax(1).numpy()
    gain = np.log(proba.numpy()[np.arange(N), best]) - np.log(proba.numpy()[:, 0])
    candidates = [i for i in range(N) if best[i] != 0]
    expected = sorted(candidates, key=lambda i: (-gain[i], i))[:n_relabel]
    assert sorted((new != current).nonzero().flatten().tolist()) == sorted(expected)
    assert (new.numpy()[expected] == best[expected]).all()


def test_equal_gains_change_by_row():
    proba = torch.tensor([[0.2, 0.8]] * 5)
    new = relabel_clearest(proba, torch.zeros(5, dtype=torch.long), 2)
    assert new.tolist() == [1, 1, 0, 0, 0]


def test_a_current_label_of_probability_zero_is_the_clearest():
    proba = torch.tensor([[0.1, 0.9], [0.0, 1.0]])
    assert relabel_clearest(proba, torch.zeros(2, dtype=torch.long), 1).tolist() == [0, 1]


@pytest.mark.parametrize("rule", [most_probable, label_rule("hard", 2), label_rule("soft", None)])
def test_rules_leave_their_input_alone_and_are_stable(rule):
    proba, current = epochs(1)[0], torch.zeros(N, dtype=torch.long)
    copies = proba.clone(), current.clone()
    new = rule(proba, current)
    assert (proba == copies[0]).all()
    assert (current == copies[1]).all()
    assert new.shape == (N,)
    agreed = proba.argmax(1)
    assert (rule(proba, agreed) == agreed).all()


def test_a_label_changes_only_beyond_the_margin():
    soft = np.array([[0.3, 0.7], [0.45, 0.55], [0.7, 0.3]], dtype=np.float32)
    new, given = np.array([1, 1, 0]), np.array([0, 0, 0])
    assert keep_within_margin(soft, new, given, 0.0).tolist() == [1, 1, 0]
    assert keep_within_margin(soft, new, given, 0.2).tolist() == [1, 0, 0]
    assert keep_within_margin(soft, new, given, 0.5).tolist() == [0, 0, 0]


def test_changes_replay_to_the_current_labels():
    labels, codes = Labels(GIVEN, None, N_CLASSES), GIVEN.clone()
    for outputs in epochs(3):
        labels, (rows, new) = next_labels(labels, outputs.clone(), known(), most_probable)
        assert (codes[rows] != new).all()
        codes[rows] = new
    assert (codes == labels.codes).all()
    assert labels.share_beside(GIVEN) == pytest.approx(float((codes != GIVEN).float().mean()))


def test_an_update_changes_no_more_labels_than_allowed():
    labels = Labels(torch.zeros(N, dtype=torch.long), None, N_CLASSES, hard=True)
    given = known(codes=labels.codes)
    for n_changed in (2, 4):
        labels, _ = next_labels(labels, epochs(1)[0], given, label_rule("hard", 2))
        assert (labels.codes != 0).sum() == n_changed


@pytest.mark.parametrize(
    "kept",
    [
        (GIVEN + 1, None, N_CLASSES, False),
        (GIVEN[1:], None, N_CLASSES, False),
        (GIVEN.float(), None, N_CLASSES, False),
        (GIVEN, torch.full((N, N_CLASSES), torch.nan), N_CLASSES, False),
        (GIVEN, torch.ones(N, N_CLASSES), N_CLASSES, False),
        (GIVEN, None, N_CLASSES, "hard"),
    ],
)
def test_labels_of_a_file_must_fit(kept):
    with pytest.raises(ValueError, match="labels"):
        Labels(GIVEN, None, N_CLASSES).restored(kept)
