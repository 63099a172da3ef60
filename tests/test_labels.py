from __future__ import annotations

import numpy as np
import pytest
import torch

from noisyfit.algorithm.labels import LabelStore, keep_within_margin, label_rule, most_probable, relabel_clearest

N, N_CLASSES, WINDOW = 11, 3, 4


def epochs(n_epochs, seed=0):
    return torch.tensor(np.random.RandomState(seed).dirichlet(np.ones(N_CLASSES), (n_epochs, N)), dtype=torch.float32)


def fill(store, outputs):
    """Record each epoch in two batches of shuffled rows."""
    for proba in outputs:
        for rows in torch.randperm(N, generator=torch.Generator().manual_seed(0)).split(6):
            store.record(rows, proba[rows])
        store.close_epoch()


@pytest.mark.parametrize("n_epochs", [1, 2, 4, 5, 9])
def test_soft_labels_are_the_mean_of_the_last_window_epochs(n_epochs):
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, WINDOW)
    outputs = epochs(n_epochs)
    fill(store, outputs)
    store.step(store.average_outputs())
    expected = outputs[-WINDOW:].mean(0)
    torch.testing.assert_close(store.soft_labels, expected)
    torch.testing.assert_close(store.targets(torch.arange(N)), expected)
    assert (store.codes == expected.argmax(1)).all()


@pytest.mark.parametrize("n_epochs", [1, 2, 9])
def test_an_exponential_mean_weighs_epochs_by_powers_of_its_decay(n_epochs):
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, 0.8)
    outputs = epochs(n_epochs)
    fill(store, outputs)
    weights = 0.8 ** np.arange(n_epochs)[::-1]
    expected = np.tensordot(weights / weights.sum(), outputs.numpy(), axes=1)
    np.testing.assert_allclose(store.average_outputs(), expected, rtol=1e-5)


def test_any_integer_is_a_window_and_any_other_number_a_decay():
    given = torch.zeros(N, dtype=torch.long)
    for window, expected in ((np.int64(2), 2), (2, 2), (np.float32(0.5), 0.5)):
        store, same = LabelStore(given, N_CLASSES, window), LabelStore(given, N_CLASSES, expected)
        for one in (store, same):
            fill(one, epochs(4))
        torch.testing.assert_close(store.average_outputs(), same.average_outputs())


def test_the_given_labels_can_be_trained_on_again():
    store = LabelStore(torch.arange(N) % N_CLASSES, N_CLASSES, WINDOW)
    store.step(epochs(1)[0])
    store.train_on_given()
    assert (store.targets(torch.arange(N)).argmax(1) == torch.arange(N) % N_CLASSES).all()
    assert (store.soft_labels == epochs(1)[0]).all()


def test_a_revised_step_leaves_the_changes_of_the_training():
    given = torch.arange(N) % N_CLASSES
    store = LabelStore(given, N_CLASSES, 1)
    for seed in range(2):
        store.step(epochs(1, seed)[0])
    store.revise(epochs(1, 7)[0])
    assert len(store.changes) == 2
    assert (store.codes == epochs(1, 7)[0].argmax(1)).all()
    assert (store.soft_labels == epochs(1, 7)[0]).all()
    codes = given.clone()
    for rows, new in store.changes:
        codes[rows] = new
    assert (codes == epochs(1, 1)[0].argmax(1)).all()  # those of the training


def test_a_revised_step_changes_no_more_labels_than_allowed():
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, 1, label_rule("hard", 2), soft=False)
    store.step(epochs(1, 0)[0])
    store.revise(epochs(1, 7)[0])
    assert (store.codes != 0).sum() == 2


def test_labels_stay_as_given_until_the_first_step():
    given = torch.arange(N) % N_CLASSES
    store = LabelStore(given, N_CLASSES, WINDOW)
    fill(store, epochs(3))
    rows = torch.tensor([4, 0, 10])
    assert (store.targets(rows) == torch.eye(N_CLASSES)[given[rows]]).all()
    assert (store.soft_labels == torch.eye(N_CLASSES)[given]).all()
    assert store.share_corrected() == 0


def test_targets_do_not_move_while_an_epoch_is_recorded():
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, WINDOW)
    fill(store, epochs(WINDOW))
    store.step(store.average_outputs())
    before = store.targets(torch.arange(N)).clone()
    fill(store, epochs(1, seed=5))
    assert (store.targets(torch.arange(N)) == before).all()


def test_labels_can_be_set_to_other_distributions():
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, WINDOW)
    fill(store, epochs(2))
    other = epochs(1, seed=9)[0]
    store.step(other)
    assert (store.soft_labels == other).all()
    torch.testing.assert_close(store.average_outputs(), epochs(2).mean(0))  # the memory is as it was


def test_hard_labels_train_on_one_hot_but_keep_the_averages():
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, WINDOW, soft=False)
    outputs = epochs(2)
    fill(store, outputs)
    store.step(store.average_outputs())
    expected = outputs.mean(0)
    assert (store.targets(torch.arange(N)) == torch.eye(N_CLASSES)[expected.argmax(1)]).all()
    torch.testing.assert_close(store.soft_labels, expected)


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
    given = torch.arange(N) % N_CLASSES
    store = LabelStore(given, N_CLASSES, 1)
    for seed in range(3):
        fill(store, epochs(1, seed))
        store.step(store.average_outputs())
    codes = given.clone()
    for rows, new in store.changes:
        assert (codes[rows] != new).all()
        codes[rows] = new
    assert (codes == store.codes).all()
    assert store.share_corrected() == pytest.approx(float((codes != given).float().mean()))
    assert (store.given == torch.arange(N) % N_CLASSES).all()
