"""Checks by a person: what becomes of all labels, what is proven, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noisyfit import JointOptimizationClassifier, judge_labels
from noisyfit.judgement.decision import choose_rows
from noisyfit.judgement.sampling import looking_order
from noisyfit.judgement.settling import Checks
from noisyfit.noise import corrupt_labels, symmetric_noise

NAMES = np.array(["ant", "bee", "cat", "dog"])
LABEL_FACTS = ("corrected_labels_", "soft_labels_", "transition_matrix_")
OTHER_FACTS = ("noise_rate_", "noise_rate_interval_", "expected_gain_", "correction_refused_")


def draw(n=1500, rate=0.25, skill=0.9, seed=0):
    """Give outputs of two models, given labels and true ones."""
    rng = np.random.RandomState(seed)
    y = rng.randint(4, size=n)
    outputs = []
    for _ in range(2):
        named = np.where(rng.rand(n) < skill, y, rng.randint(4, size=n))
        sure = rng.uniform(0.5, 0.95, size=n)
        proba = np.repeat((1 - sure)[:, np.newaxis] / 3, 4, axis=1)
        proba[np.arange(n), named] = sure
        outputs.append(proba)
    return outputs, NAMES[corrupt_labels(y, symmetric_noise(4, rate), seed)], NAMES[y]


def look(verdict, true, n=50, **params):
    """Play the person."""
    return {row: true[row] for row in verdict.rows_to_check(n, **params).index}


def facts(judged):
    return {name: np.copy(getattr(judged, name)) for name in LABEL_FACTS} | {
        name: getattr(judged, name) for name in OTHER_FACTS
    }


def assert_same(before, after):
    for name in LABEL_FACTS:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    assert {name: before[name] for name in OTHER_FACTS} == {name: after[name] for name in OTHER_FACTS}


@pytest.fixture
def drawn():
    outputs, given, true = draw()
    return judge_labels(given, outputs), given, true


def test_rows_to_check_say_why(drawn):
    verdict, given, _ = drawn
    rows = verdict.rows_to_check()
    assert list(rows.columns) == ["given_label", "proposed_label", "reason"]
    assert len(rows) == 50
    assert rows.index.is_unique
    np.testing.assert_array_equal(rows["given_label"], given[rows.index])
    assert (rows["given_label"] != rows["proposed_label"]).all()
    kinds = rows["reason"].str.split().str[0]
    assert {"probably", "seems"} <= set(kinds)
    quality = verdict.label_report()["label_quality"]
    assert quality[rows.index].mean() < quality.mean() - 0.05  # mostly of the doubtful
    pd.testing.assert_frame_equal(verdict.rows_to_check(20), rows[:20])
    assert not verdict.rows_to_check(random_state=1).index.equals(rows.index)
    assert len(verdict.rows_to_check(10_000)) == len(given)


def test_checks_settle_the_other_labels_too(drawn):
    verdict, given, true = drawn
    before = facts(verdict)
    checked = look(verdict, true)
    assert verdict.settle(checked) is verdict
    assert all(verdict.corrected_labels_[row] == label for row, label in checked.items())
    rows = list(checked)
    np.testing.assert_array_equal(NAMES[verdict.soft_labels_[rows].argmax(axis=1)], true[rows])
    assert (verdict.soft_labels_[rows].max(axis=1) == 1).all()
    np.testing.assert_allclose(verdict.soft_labels_.sum(axis=1), 1, atol=1e-5)
    at_given = verdict.soft_labels_[np.arange(len(given)), np.searchsorted(NAMES, given)]
    assert verdict.noise_rate_ == pytest.approx(1 - at_given.mean(), abs=1e-6)
    others = np.setdiff1d(np.arange(len(given)), rows)
    assert (verdict.corrected_labels_ == true)[others].mean() > (before["corrected_labels_"] == true)[others].mean()
    low, high = verdict.noise_rate_interval_
    assert low <= (given != true).mean() <= high
    assert high - low < before["noise_rate_interval_"][1] - before["noise_rate_interval_"][0]
    gain = (verdict.corrected_labels_ == true).mean() - (given == true).mean()
    assert verdict.expected_gain_.low <= gain <= verdict.expected_gain_.high
    np.testing.assert_allclose(verdict.transition_matrix_.sum(axis=1), 1)


def test_the_matrix_is_nearer_to_the_truth_after_checks():
    outputs, given, true = draw(n=4000, rate=0.4, skill=0.8)
    verdict = judge_labels(given, outputs)
    before = np.abs(verdict.transition_matrix_ - symmetric_noise(4, 0.4)).max()
    verdict.settle(look(verdict, true, 100))
    assert np.abs(verdict.transition_matrix_ - symmetric_noise(4, 0.4)).max() < max(before, 0.1)


def test_an_empty_one_is_where_it_began(drawn):
    verdict, _, true = drawn
    before = facts(verdict)
    assert_same(before, facts(verdict.settle({})))
    assert_same(before, facts(verdict.settle(look(verdict, true)).settle({})))
    assert "prove" not in verdict.summary()


def test_further_checks_go_on(drawn):
    verdict, given, true = drawn
    at_once = judge_labels(given, draw()[0]).settle(look(verdict, true, 60))
    verdict.settle(look(verdict, true, 25))
    assert len(look(verdict, true, 35).keys() & look(at_once, true, 35).keys()) == 0
    assert_same(facts(at_once), facts(verdict.settle(look(verdict, true, 35))))


def test_what_is_promised_is_in_the_summary(drawn):
    verdict, given, true = drawn
    verdict.settle(look(verdict, true, 19))
    assert "prove something" in verdict.summary()
    verdict.settle(look(verdict, true, 31))
    promise = verdict._promise_
    assert promise.n_answers == 50
    changed = verdict.corrected_labels_ != given
    assert promise.changes == changed.sum()
    assert 0 < promise.changes_right <= (verdict.corrected_labels_ == true)[changed].sum()
    assert 0.5 < promise.right_after <= (verdict.corrected_labels_ == true).mean()
    low, high = verdict.noise_rate_interval_
    text = verdict.summary()
    assert "50 rows checked in order" in text
    assert f"{low:.0%} to {high:.0%} of the labels were wrong" in text
    assert f"of the {promise.changes:,} changes at least {promise.changes_right:,} are right" in text


def test_rows_of_ones_own_choice_are_known_but_stand_for_no_other(drawn):
    """Somebody checks what looks worst: these labels are settled, but no share is concluded from them."""
    verdict, given, true = drawn
    worst = verdict.label_report()["label_quality"].sort_values().index[:60]
    verdict.settle({row: true[row] for row in worst})
    assert verdict._promise_ is None
    assert (verdict.corrected_labels_[worst] == true[worst]).all()
    verdict.settle(look(verdict, true, 30))
    low, high = verdict.noise_rate_interval_
    assert low <= (given != true).mean() <= high
    assert verdict._promise_.n_answers >= 30


@pytest.mark.parametrize("first", ["top suspects", pytest.param("known to be wrong", marks=pytest.mark.thorough)])
def test_bounds_hold_whatever_was_chosen_before(first):
    """Many rows are settled by choice, then the sample is looked at: what it proves is still true of all labels."""
    holds = []
    for seed in range(40):
        outputs, given, true = draw(n=400, seed=seed)
        verdict = judge_labels(given, outputs)
        suspects = verdict.label_report()["label_quality"].sort_values().index[:100]
        own = suspects if first == "top suspects" else np.flatnonzero(given != true)[:70]
        verdict.settle({row: true[row] for row in own})
        order = looking_order(verdict._inquiry_.wrong, verdict._inquiry_.strata, 120, seed)
        rows = [row for row in order if row not in set(own)][:50]
        verdict._inquiry_ = verdict._inquiry_.with_seed(seed)
        verdict.settle({row: true[row] for row in rows})
        low, high = verdict.noise_rate_interval_
        right = (verdict.corrected_labels_ == true).mean()
        holds.append((low <= (given != true).mean() <= high, verdict._promise_.right_after <= right))
    assert np.mean(holds, axis=0).min() >= 0.92


def test_the_sample_ends_at_the_first_row_left_out(drawn):
    verdict, _, true = drawn
    checked = look(verdict, true, 60)
    del checked[list(checked)[30]]
    assert verdict.settle(checked)._promise_.n_answers == 30


@pytest.mark.parametrize("nothing", [None, float("nan"), "cannot tell", pd.NA])
def test_a_row_that_nobody_can_tell_was_looked_at(drawn, nothing):
    verdict, given, true = drawn
    checked = look(verdict, true, 40)
    unknown = list(checked)[7]
    checked[unknown] = nothing
    corrected = verdict.settle(checked).corrected_labels_[unknown]
    assert verdict._promise_.n_answers == 39
    assert corrected in (given[unknown], verdict.label_report()["predicted_label"][unknown])
    assert unknown not in verdict.rows_to_check(100).index
    assert verdict.settle({unknown: true[unknown]})._promise_.n_answers == 40  # somebody else could


def test_a_guarantee_forbids_changes_that_are_not_proven():
    outputs, given, true = draw(rate=0.3, skill=0.7, seed=3)
    bold = judge_labels(given, outputs)
    checked = look(bold, true, 25)
    cautious = judge_labels(given, outputs).settle(checked, guarantee=0.95)
    others = np.setdiff1d(np.arange(len(given)), list(checked))
    assert (bold.settle(checked).corrected_labels_ != given)[others].sum() > 100
    assert (cautious.corrected_labels_ == given)[others].all()
    assert "do not prove with 95% certainty" in cautious.correction_refused_
    outputs, given, true = draw(rate=0.3, skill=0.97)
    sure = judge_labels(given, outputs)
    sure.settle(look(sure, true, 50), guarantee=0.95)
    assert (sure.corrected_labels_ == true).mean() > 0.9
    assert sure.correction_refused_ is None


def test_nothing_else_changes_where_changes_lose_on_the_rows_that_are_known():
    """Where the judge is surest the labels are right, and elsewhere most are wrong: no shift and slope fits that."""
    rng = np.random.RandomState(0)
    n, sure = 600, np.arange(600) < 200
    given = rng.randint(2, size=n)
    proba = np.full((n, 2), 0.5)
    at_other = np.where(sure, 0.95, 0.6)
    proba[np.arange(n), 1 - given], proba[np.arange(n), given] = at_other, 1 - at_other
    true = np.where(sure | (rng.rand(n) < 0.4), given, 1 - given)
    verdict = judge_labels(given, [proba, proba])
    inquiry = verdict._inquiry_
    known = Checks(np.arange(n), true)
    opinion = inquiry.judgement.grounds.opinion.after_checks(np.full(60, 1.0), np.ones(60, bool))
    checked = verdict.rows_to_check(60).index
    answers = {row: true[row] for row in checked}
    assert sum(sure[row] for row in checked) >= 10
    verdict.settle(answers)
    others = np.setdiff1d(np.arange(n), checked)
    assert (verdict.corrected_labels_ == true)[others].sum() >= (given == true)[others].sum()
    chosen = np.zeros(n, bool)
    chosen[sure] = True
    assert inquiry._balance(known, chosen) == -200
    assert inquiry._balance(known, ~chosen) == (true != given)[~sure].sum() - (true == given)[~sure].sum()
    thirty = Checks(np.flatnonzero(sure)[:30], true[sure][:30])
    assert set(thirty.rows) <= set(choose_rows(given, inquiry.judgement.grounds.odds, opinion))  # but for the veto
    assert not inquiry._choose(thirty, opinion).any()


def test_the_other_labels_are_left_where_checks_show_no_gain():
    outputs, given, true = draw(rate=0.0, skill=0.7)
    verdict = judge_labels(given, outputs)
    verdict.settle(look(verdict, true, 50))
    np.testing.assert_array_equal(verdict.corrected_labels_, given)
    assert "0 of 50 checked labels are wrong: no gain is expected" in verdict.correction_refused_


@pytest.mark.parametrize(
    ("checked", "message"),
    [
        ({1500: "ant"}, "by their numbers, 0 to 1,499, got 1500"),
        ({-1: "ant"}, "got -1"),
        ({"one": "ant"}, "got 'one'"),
        ({True: "ant"}, "got True"),
        ({1: "ape"}, "must hold labels of the fit.*got 'ape' for row 1"),
        ({1: 2}, "got 2 for row 1"),
        (pd.Series(["ant", "bee"], index=[4, 4]), "one label, got two for row 4"),
    ],
)
def test_wrong_checks_change_nothing(drawn, checked, message):
    verdict, _, true = drawn
    verdict.settle(look(verdict, true, 25))
    before = facts(verdict)
    with pytest.raises(ValueError, match=message):
        verdict.settle(checked)
    assert_same(before, facts(verdict))


def test_other_kinds_of_checks_are_refused(drawn):
    verdict = drawn[0]
    for checked in (None, 3, {1, 2}, {1: ["ant"]}):
        with pytest.raises(TypeError, match="checked"):
            verdict.settle(checked)
    with pytest.raises(ValueError, match="guarantee"):
        verdict.settle({}, guarantee=95)
    with pytest.raises(ValueError, match="`n` must be"):
        verdict.rows_to_check(0)
    with pytest.raises(ValueError, match="seed"):
        verdict.rows_to_check(5, random_state="x")


def test_a_contradiction_is_an_error(drawn):
    verdict, _, true = drawn
    checked = look(verdict, true, 25)
    row = next(iter(checked))
    verdict.settle(checked)
    before = facts(verdict)
    for label in (next(name for name in NAMES if name != true[row]), None):
        with pytest.raises(ValueError, match=f"contradicts an earlier check of row {row}"):
            verdict.settle({row: label})
    assert_same(before, facts(verdict))
    assert_same(before, facts(verdict.settle(checked)))


def test_rows_are_known_by_their_index():
    outputs, given, true = draw()
    index = pd.Index([f"photo {i}" for i in range(len(given))])
    verdict = judge_labels(pd.Series(given, index=index), outputs)
    rows = verdict.rows_to_check(30)
    assert set(rows.index) <= set(index)
    verdict.settle(pd.Series(true, index=index)[rows.index])
    assert verdict._promise_.n_answers == 30
    with pytest.raises(ValueError, match="got 3, which no row has"):
        verdict.settle({3: "ant"})
    twice = judge_labels(given, outputs, index=np.arange(len(given)) // 2)
    with pytest.raises(ValueError, match="several have the index 0"):
        twice.settle({0: "ant"})


def test_decisions_of_a_review_page_are_checks(drawn):
    verdict, given, true = drawn
    rows = verdict.rows_to_check(25)
    decisions = [
        {
            "row": row,
            "index": row,
            "given_label": given[row],
            "proposed_label": proposed,
            "decision": "keep" if true[row] == given[row] else "other",
            "label": true[row],
        }
        for row, proposed in rows["proposed_label"].items()
    ]
    decisions[3] |= {"decision": "skip", "label": given[decisions[3]["row"]]}
    by_page = judge_labels(given, draw()[0]).settle(decisions)
    by_hand = {row: true[row] for row in rows.index} | {decisions[3]["row"]: None}
    assert_same(facts(verdict.settle(by_hand)), facts(by_page))


def test_a_file_in_which_nobody_looked_takes_nothing_back(drawn):
    verdict, given, true = drawn
    verdict.settle(look(verdict, true, 25))
    before = facts(verdict)
    taken = {"row": 9, "index": 9, "given_label": given[9], "proposed_label": "ant", "decision": "keep",
             "label": given[9], "looked_at": False}  # fmt: skip
    for nothing in ([taken], pd.Series(dtype=object)):
        assert_same(before, facts(verdict.settle(nothing)))


def test_wrong_answers_are_allowed_for_where_most_rows_were_checked():
    outputs, given, _ = draw(n=150, rate=0.0)
    verdict = judge_labels(given, outputs)
    checked = look(verdict, given, 60)
    for row in list(checked)[::20]:  # three mistakes in sixty
        checked[row] = next(name for name in NAMES if name != given[row])
    verdict.settle(checked)
    assert verdict.noise_rate_interval_[0] == 0
    assert verdict._promise_.right_after <= (verdict.corrected_labels_ == given).mean()
    assert verdict._promise_.changes_right == 0


def test_checks_known_before_are_where_it_begins():
    outputs, given, true = draw()
    known = dict(enumerate(true[:80]))
    verdict = judge_labels(given, outputs, checked=known)
    assert (verdict.corrected_labels_[:80] == true[:80]).all()
    assert verdict._promise_ is None  # nobody drew these rows
    before = facts(verdict)
    assert verdict.rows_to_check(40).index.min() >= 80
    verdict.settle(look(verdict, true, 40))
    assert verdict._promise_.n_answers >= 40
    assert_same(before, facts(verdict.settle({})))


# the classifier


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, corrupt_labels(y, symmetric_noise(3, 0.2), 0), y


def small(**params):
    return JointOptimizationClassifier(max_epochs=8, random_state=0, device="cpu", **params)


def test_a_classifier_settles_without_training(iris):
    X, given, true = iris
    clf = small().fit(X, given)
    before, proba = facts(clf), clf.predict_proba(X)
    new_before = clf.correct(X[:60], given[:60])[1]
    clf.settle(look(clf, true, 40))
    np.testing.assert_array_equal(clf.predict_proba(X), proba)
    assert not np.array_equal(clf.correct(X[:60], given[:60])[1], new_before)
    report = clf.label_report()
    np.testing.assert_array_equal(report["corrected_label"], clf.corrected_labels_)
    assert "40 rows checked in order" in clf.summary()
    assert_same(before, facts(pickle.loads(pickle.dumps(clf)).settle({})))


def test_what_was_settled_is_in_the_model_file(iris, tmp_path):
    X, given, true = iris
    clf = small().fit(X, given, groups=np.arange(150) // 2)
    ended = facts(clf)
    clf.settle(look(clf, true, 25, random_state=5), guarantee=0.9)
    clf.save(tmp_path / "iris.safetensors")
    loaded = JointOptimizationClassifier.load(tmp_path / "iris.safetensors")
    assert_same(facts(clf), facts(loaded))
    assert loaded.summary() == clf.summary()
    assert loaded.rows_to_check(10).index.equals(clf.rows_to_check(10).index)
    assert_same(ended, facts(loaded.settle({})))


def test_checked_labels_are_learned_as_they_are(iris):
    X, given, true = iris
    known = np.full(150, None, object)
    known[::3] = true[::3]
    for params in ({}, {"cross_fit": 0, "gamma": 0, "margin": 1.0}):
        clf = small(**params).fit(X, given, checked=known)
        np.testing.assert_array_equal(clf.corrected_labels_[::3], true[::3])
        assert (clf.soft_labels_[::3].max(axis=1) == 1).all()
        np.testing.assert_array_equal(clf.label_report()["given_label"], given)
    order = np.random.RandomState(0).permutation(150)
    shuffled = pd.Series(known[order], index=order)  # row numbers
    np.testing.assert_array_equal(small().fit(X, given, checked=shuffled).corrected_labels_[::3], true[::3])
    by_row = small().fit(X, given, checked={row: true[row] for row in range(0, 150, 3)})
    np.testing.assert_array_equal(by_row.soft_labels_, small().fit(X, given, checked=known).soft_labels_)


def test_checked_labels_stay_while_others_are_averaged(iris):
    X, given, true = iris
    known = {row: true[row] for row in range(0, 150, 3)}
    clf = small(begin=2).fit(X, given, checked=known)
    changes = clf._training_labels_.changes
    assert len(changes) == 7
    assert not any(np.isin(rows, list(known)).any() for rows, _ in changes)


def test_only_the_checks_of_training_rows_count_in_cross_validation(iris):
    X, given, true = iris
    known = np.full(150, None, object)
    known[::3] = true[::3]
    with config_context(enable_metadata_routing=True):
        clf = small().set_fit_request(checked=True)
        pipeline = make_pipeline(StandardScaler(), clf)
        found = cross_validate(
            pipeline, X, given, cv=3, params={"checked": known}, return_estimator=True, return_indices=True
        )
    for fitted, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        looked_at = np.array([label is not None for label in known[train]])
        np.testing.assert_array_equal(fitted[-1].corrected_labels_[looked_at], true[train][looked_at])
        assert len(fitted[-1]._inquiry_.checks.rows) == looked_at.sum()


def test_checks_with_an_index_are_found_in_the_rows_that_are_there(iris):
    X, given, true = iris
    index = pd.Index([f"r{i}" for i in range(150)])
    order = np.random.RandomState(0).permutation(150)
    X, y = X[order], pd.Series(given[order], index=index)
    known = pd.Series(true[order], index=index)[::10]
    clf = small().fit(X[:100], y[:100], checked=known)
    assert len(clf._inquiry_.checks.rows) == 10
    assert clf.fit(X[:100], y[:100], checked=known.to_dict())._inquiry_.checks.rows.tolist() == [*range(0, 100, 10)]
    with pytest.raises(ValueError, match="none"):
        small().fit(X[:100], y[:100], checked=known[10:])


@pytest.mark.parametrize(
    ("checked", "error", "message"),
    [
        ({0: 7}, ValueError, "must hold labels of the fit"),
        ({150: 1}, ValueError, "got 150"),
        (np.zeros(3, int), ValueError, r"one entry for each of the 150 rows"),
        (7, TypeError, "must be a dict or Series"),
    ],
)
def test_wrong_checks_stop_a_fit_before_it_trains(iris, checked, error, message):
    clf = small()
    with pytest.raises(error, match=message):
        clf.fit(iris[0], iris[1], checked=checked)
    assert not hasattr(clf, "classes_")


def test_nothing_to_judge_by(iris):
    X, given, true = iris
    with pytest.raises(NotFittedError):
        small().rows_to_check()
    clf = small(cross_fit=0).fit(X, given)
    with pytest.raises(ValueError, match="Fit with `cross_fit` of 2 or more"):
        clf.rows_to_check()
    with pytest.raises(ValueError, match="nothing to judge labels by"):
        clf.settle({0: true[0]})
