"""The judge: what it looks at, the learned weights, and what known sets make of its odds."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from noisyfit.judgement.belief import form_belief
from noisyfit.judgement.judge import (
    FIT_FEATURES,
    ROW_FEATURES,
    Trees,
    describe_fit,
    describe_rows,
    judge_rows,
    opinion_of,
    prior_for,
)

N, N_CLASSES = 40, 3


def witnesses(n=2, seed=0):
    rng = np.random.RandomState(seed)
    return [rng.dirichlet(np.full(N_CLASSES, 0.5), N).astype(np.float32) for _ in range(n)]


GIVEN = np.random.RandomState(1).randint(N_CLASSES, size=N)


def feature(features, name):
    return features[FIT_FEATURES.index(name)]


def test_figures_of_a_fit():
    first = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 1, 0]] * 0.8 + 0.1
    second = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 0, 0]] * 0.6 + 0.2
    given = np.array([0, 0, 0, 1, 1, 0])
    setting = describe_fit([first, second], given, form_belief([first, second], given))

    def odds(share):
        return np.log(share / (1 - share))

    assert feature(setting.features, "agreement") == pytest.approx(odds(((5 / 6 + 4 / 6) / 2 - 4 / 6) / (1 - 4 / 6)))
    assert feature(setting.features, "between") == pytest.approx(odds(5 / 6))
    assert feature(setting.features, "contradicted") == pytest.approx(odds(1 / 5))  # the third row
    assert feature(setting.features, "rows") == pytest.approx(np.log(3))
    assert feature(setting.features, "largest") == pytest.approx(odds(4 / 6))
    np.testing.assert_allclose(setting.log_shares, np.log([8 / 6, 4 / 6]), rtol=1e-6)


def test_features_of_rows():
    both = witnesses()
    belief = form_belief(both, GIVEN)
    proposed, rows = describe_rows(both, GIVEN, belief, describe_fit(both, GIVEN, belief))
    assert (proposed != GIVEN).all()
    posterior = np.exp(belief.log_posterior)
    assert (
        posterior[np.arange(N), proposed] >= np.where(np.eye(N_CLASSES, dtype=bool)[GIVEN], 0, posterior).max(1)
    ).all()
    named = np.stack([proba.argmax(axis=1) for proba in both])
    np.testing.assert_allclose(rows[:, ROW_FEATURES.index("named")], (named == proposed).mean(axis=0))
    np.testing.assert_allclose(rows[:, ROW_FEATURES.index("kept")], (named == GIVEN).mean(axis=0))
    expected = belief.log_posterior[np.arange(N), proposed] - belief.log_posterior[np.arange(N), GIVEN]
    np.testing.assert_allclose(rows[:, ROW_FEATURES.index("belief")], expected.clip(-8, 8), rtol=1e-5)


@pytest.mark.parametrize("n_witnesses", [1, 2, 3])
def test_the_order_of_rows_classes_and_witnesses_does_not_matter(n_witnesses):
    outputs = witnesses(n_witnesses)
    prior = prior_for(n_witnesses)

    def odds(outputs, given):
        belief = form_belief(outputs, given)
        return judge_rows(prior, outputs, given, belief, describe_fit(outputs, given, belief))

    rows, classes = np.random.RandomState(2).permutation(N), np.array([2, 0, 1])
    plain = odds(outputs, GIVEN)
    turned = odds([proba[rows][:, classes] for proba in outputs[::-1]], np.argsort(classes)[GIVEN[rows]])
    np.testing.assert_allclose(turned.wrong, plain.wrong[rows], atol=1e-4)
    np.testing.assert_array_equal(classes[turned.proposed], plain.proposed[rows])


def test_rows_without_weight_have_no_say():
    outputs, weight = witnesses(), np.r_[np.ones(30), np.zeros(10)].astype(np.float32)
    strange = [np.vstack([proba[:30], np.roll(proba[30:], 1, axis=1)]) for proba in outputs]
    settings = [describe_fit(some, GIVEN, form_belief(some, GIVEN, weight), weight) for some in (outputs, strange)]
    np.testing.assert_allclose(settings[0].features, settings[1].features, rtol=1e-6)
    np.testing.assert_allclose(settings[0].log_shares, settings[1].log_shares)


def test_trees_send_rows_down():
    """Two trees: a root with two leaves, and a single leaf."""
    trees = Trees(
        roots=np.array([0, 3]),
        feature=np.array([1, 0, 0, 0]),
        threshold=np.array([0.5, 0, 0, 0], np.float32),
        left=np.array([1, 1, 2, 3]),
        right=np.array([2, 1, 2, 3]),
        value=np.array([0, -1, 2, 0.25], np.float32),
        baseline=10.0,
        depth=1,
    )
    inputs = np.array([[9, 0.5], [0, 0.6]], np.float32)
    np.testing.assert_allclose(trees.log_odds(inputs), [9.25, 12.25])


@pytest.mark.parametrize("n_witnesses", [1, 2])
def test_the_weights_belong_to_the_features(n_witnesses):
    learned = json.loads(resources.files("noisyfit.judgement").joinpath("judge_weights.json").read_text())
    assert tuple(learned["row_features"]) == ROW_FEATURES
    assert tuple(learned["fit_features"]) == FIT_FEATURES
    assert "benchmarks/judge/learn.py" in learned["source"]
    prior = prior_for(n_witnesses)
    assert prior.wrong.feature.max() < len(ROW_FEATURES) + len(FIT_FEATURES)
    assert len(prior.known) == len(prior.pairs) > 200
    leaves = prior.wrong.left == np.arange(len(prior.wrong.left))
    assert (prior.wrong.value[~leaves] == 0).all()


def test_an_opinion_averages_what_known_sets_say():
    opinion = opinion_of(np.array([[0.0, 0.0], [-2.0, 0.5]]))
    odds = np.array([-1.0, 0.0, 3.0])
    expected = np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(2 - np.exp(0.5) * odds))])
    np.testing.assert_allclose(opinion.shares(odds), expected)
    np.testing.assert_allclose(opinion.mean_share(odds), expected.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(opinion.total_shares(odds), expected.sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(opinion.total_shares(odds, odds**2), expected @ odds**2, rtol=1e-3)
    np.testing.assert_allclose(opinion.cautious_share(odds, 0.2), np.quantile(expected, 0.2, axis=0), atol=1e-3)


def test_checks_make_an_opinion_of_the_sets_that_hold_them():
    """Two known sets: by one, labels of these odds are right, by the other they are wrong."""
    opinion = opinion_of(np.array([[-3.0, 0.0], [3.0, 0.0]]))
    odds = np.zeros(4)
    after = opinion.after_checks(odds, np.array([True, True, False, True]))
    right = 1 / (1 + np.exp(-3.0))
    likely = np.array([(1 - right) ** 3 * right, right**3 * (1 - right)])
    np.testing.assert_allclose(after.weights, likely / likely.sum())
    np.testing.assert_allclose(after.mean_share(odds), after.weights @ opinion.shares(odds), atol=1e-4)
    assert (opinion.after_checks(odds[:0], np.zeros(0, bool)).weights == 0.5).all()


def test_quantiles_follow_the_weights_and_are_numpys_where_these_are_equal():
    values = np.random.RandomState(0).rand(50, 3)
    opinion = opinion_of(np.zeros((50, 2)))
    np.testing.assert_allclose(opinion.quantiles(values, 0.18), np.quantile(values, 0.18, axis=0))
    weights = np.where(np.arange(50) == 7, 0.9, 0.1 / 49)
    heavy = opinion._replace(weights=weights).quantiles(values, 0.5)
    np.testing.assert_allclose(heavy, values[7], atol=0.02)
