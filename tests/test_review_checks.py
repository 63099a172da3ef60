"""The numbers of the review page are Python's: one file of inquiries, checks and what they prove holds both to it.

``python tests/test_review_checks.py`` writes the file anew.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from selenium.webdriver.common.keys import Keys
from test_review_page import BROWSER, CONTRAST, DRIVER, browser, make_report, page, wait
from test_settling import draw

from noisyfit import apply_decisions, judge_labels, save_review
from noisyfit.judgement.decision import Bearings, ExpectedGain, Grounds, Judgement, choose_rows, expected_gain
from noisyfit.judgement.judge import Odds, Setting, opinion_of, prior_for
from noisyfit.judgement.sampling import looking_order
from noisyfit.judgement.settling import NO_CHECKS, UNKNOWN, Checks, Inquiry

VECTORS = Path(__file__).parent / "data" / "checks.json"
TYPES = {
    "given": "<i4",
    "proposed": "<i4",
    "stratum": "u1",
    "wrong": "<f4",
    "named_odds": "<f4",
    "named": "<f4",
    "fixed": "u1",
    "pairs": "<f8",
    "weights": "<f8",
    "orders": "<i4",
}
FIXTURES = (browser, page)


def pack(name, values):
    return base64.b64encode(np.ascontiguousarray(values, TYPES[name]).tobytes()).decode()


def unpack(kept, name):
    return np.frombuffer(base64.b64decode(kept[name]), TYPES[name])


def inquiry_of(given, odds, opinion, fixed, margin, knows, groups, at_fit, seeds):
    """Give an inquiry of which only what checks are reckoned with is more than a placeholder."""
    n_classes = int(max(given.max(), odds.proposed.max())) + 1
    soft_labels = np.full((len(given), n_classes), np.float32(1 / n_classes))
    nothing = np.eye(n_classes)
    bearings = Bearings(nothing, Setting(np.zeros(1), np.zeros(n_classes), np.zeros(n_classes)), opinion, False)
    grounds = Grounds(odds, odds.wrong, opinion, fixed, knows)
    judgement = Judgement(
        soft_labels, given, (0.0, 1.0), ExpectedGain(0.0, 0.0, 0.0), "not yet", nothing, bearings, grounds
    )
    return Inquiry(given, judgement, margin, groups, checks=at_fit, seeds=seeds, at_fit=at_fit)


def draw_inquiry(n_rows, n_classes, seed, *, lopsided=False, margin=0.0, knows=True, some_fixed=False, seeds=(0,)):
    """Give an inquiry and the true labels; lopsided: nearly all suspects of one class, which may not lose them all."""
    rng = np.random.RandomState(seed)
    given = rng.randint(n_classes, size=n_rows)
    proposed = (given + rng.randint(1, n_classes, size=n_rows)) % n_classes
    wrong = rng.normal(-2.5, 2.5, n_rows)
    if lopsided:
        wrong[given == 0] += 6
    wrong[:3] = -12, 10, 11  # beyond the ends of the grid
    wrong = np.repeat(wrong[: -(-n_rows // 2)], 2)[:n_rows].astype(np.float32)  # every gain twice
    named = np.full(n_rows, np.inf) if n_classes == 2 else rng.normal(2, 1.5, n_rows)
    opinion = opinion_of(prior_for(2).pairs[seed * 20 : seed * 20 + 200])
    true = np.where(rng.rand(n_rows) < expit(0.8 * wrong), proposed, given)
    fixed = rng.rand(n_rows) < 0.1 if some_fixed else None
    at_fit = Checks(np.arange(4), true[:4]) if some_fixed else NO_CHECKS
    odds = Odds(proposed, wrong, named.astype(np.float32))
    return inquiry_of(given, odds, opinion, fixed, margin, knows, None, at_fit, seeds), true


def look(inquiry, true, n, seed, *, left_out=None, unknown=0, others=0):
    """Play the person: rows in order but for the one left out, some that nobody can tell, others by choice."""
    rng = np.random.RandomState(seed)
    rows = inquiry.rows_to_check(n, inquiry.seeds[-1])
    labels = true[rows].copy()
    labels[rng.permutation(n)[:unknown]] = UNKNOWN
    if left_out is not None:
        rows, labels = np.delete(rows, left_out), np.delete(labels, left_out)
    more = np.setdiff1d(rng.permutation(len(true)), rows)[:others]
    return Checks(np.append(rows, more), np.append(labels, true[more]))


def draw_cases():
    """Give inquiries and checks of them."""
    small, true = draw_inquiry(60, 2, 0)
    yield small, [NO_CHECKS, look(small, true, 7, 0), look(small, true, 20, 0), look(small, true, 50, 1, unknown=2)]
    five, true = draw_inquiry(500, 5, 1, margin=0.1, some_fixed=True)
    yield five, [look(five, true, 7, 1), look(five, true, 50, 2, unknown=3, others=30)]
    yield five, [look(five, true, 50, 3, left_out=30), look(five, true, 20, 4, unknown=1)]
    large, true = draw_inquiry(2000, 5, 2, lopsided=True)
    yield large, [NO_CHECKS, look(large, true, 20, 5), look(large, true, 50, 6, unknown=4, others=100)]
    misled, _ = draw_inquiry(800, 2, 4)  # the surest suspects are right, doubtful ones wrong
    odds = misled.judgement.grounds.odds
    true = np.where(np.abs(odds.wrong + 0.5) < 1.5, odds.proposed, misled.given)
    yield misled, [look(misled, true, 19, 10), look(misled, true, 60, 10)]
    two, true = draw_inquiry(1000, 2, 3, lopsided=True, knows=False, seeds=(0, 5))
    yield two, [look(two, true, 7, 7), look(two, true, 20, 8), look(two, true, 50, 9, left_out=10, others=5)]


def found(inquiry, checks):
    """Give what Python makes of the checks; of none what the fit made, which is a placeholder here."""
    after = inquiry.after(checks, None)
    if len(after.checks.rows):
        judgement, promise = after.settled()
        changed, gain = judgement.corrected != inquiry.given, judgement.expected_gain
        changed[after.checks.answered().rows] = False
    else:
        grounds, promise = inquiry.judgement.grounds, None
        rows = choose_rows(inquiry.given, grounds.odds, grounds.opinion, inquiry.margin, grounds.fixed)
        changed, gain = np.isin(np.arange(len(inquiry.given)), rows), expected_gain(grounds.odds, rows, grounds.opinion)
    return {
        "changed": np.flatnonzero(changed).tolist(),
        "gain": list(gain),
        "promise": None if promise is None else promise._asdict(),
    }


def describe(inquiry, every_checks):
    grounds = inquiry.judgement.grounds
    n = max(len(checks.rows) for checks in every_checks) + len(inquiry.at_fit.rows)
    orders = [looking_order(inquiry.wrong, inquiry.strata, n, seed) for seed in inquiry.seeds]
    arrays = {
        "given": inquiry.given,
        "proposed": grounds.odds.proposed,
        "stratum": inquiry.strata,
        "wrong": grounds.odds.wrong,
        "named_odds": grounds.odds.named,
        "named": expit(grounds.odds.named),
        "pairs": grounds.opinion.pairs,
        "weights": grounds.opinion.weights,
    }
    return {
        **{name: pack(name, values) for name, values in arrays.items()},
        "fixed": None if grounds.fixed is None else pack("fixed", grounds.fixed),
        "orders": [pack("orders", order) for order in orders],
        "margin": inquiry.margin,
        "knows": grounds.knows,
        "seeds": list(inquiry.seeds),
        "at_fit": inquiry.apart.tolist(),
        "labels_at_fit": inquiry.at_fit.labels.tolist(),
        "checks": [
            {"rows": checks.rows.tolist(), "labels": checks.labels.tolist(), "found": found(inquiry, checks)}
            for checks in every_checks
        ],
    }


def write_vectors():
    cases = [json.dumps(describe(*case)) for case in draw_cases()]
    VECTORS.write_text("[\n" + ",\n".join(cases) + "\n]\n", encoding="utf-8")


CASES = json.loads(VECTORS.read_text("utf-8")) if VECTORS.exists() else []


def kept_inquiry(kept):
    """Give back the inquiry in the file."""
    given, proposed, wrong, named = (unpack(kept, name) for name in ("given", "proposed", "wrong", "named_odds"))
    opinion = opinion_of(unpack(kept, "pairs").reshape(-1, 2))._replace(weights=unpack(kept, "weights"))
    fixed = None if kept["fixed"] is None else unpack(kept, "fixed").astype(bool)
    at_fit = Checks(np.array(kept["at_fit"], np.int64), np.array(kept["labels_at_fit"], np.int64))
    odds = Odds(proposed.astype(np.int64), wrong, named)
    params = (kept["margin"], kept["knows"], None, at_fit, tuple(kept["seeds"]))
    return inquiry_of(given.astype(np.int64), odds, opinion, fixed, *params)


def assert_close(given, wanted, tolerance):
    assert sorted(given["changed"]) == wanted["changed"]
    np.testing.assert_allclose(given["gain"], wanted["gain"], rtol=0, atol=tolerance)
    assert (given["promise"] is None) == (wanted["promise"] is None)
    if wanted["promise"] is not None:
        for name in ("n_answers", "changes", "changes_right"):
            assert given["promise"][name] == wanted["promise"][name], name
        assert list(given["promise"]["wrong"]) == list(wanted["promise"]["wrong"])
        assert abs(given["promise"]["right_after"] - wanted["promise"]["right_after"]) <= tolerance


def test_the_file_holds_what_is_to_be_compared():
    promises = [checks["found"]["promise"] for kept in CASES for checks in kept["checks"]]
    assert len(promises) >= 12
    assert 5 <= sum(promise is None for promise in promises) < len(promises)
    assert any(promise["changes"] > 100 for promise in promises if promise)
    # changes that lose on the rows that are known are not made
    assert any(
        not checks["found"]["changed"] for kept in CASES for checks in kept["checks"] if len(checks["rows"]) == 60
    )
    sizes = {len(unpack(kept, "given")) for kept in CASES}
    assert min(sizes) == 60
    assert max(sizes) == 2000


@pytest.mark.parametrize("number", range(len(CASES)))
def test_python_gives_the_numbers(number):
    kept = CASES[number]
    inquiry = kept_inquiry(kept)
    np.testing.assert_array_equal(inquiry.strata, unpack(kept, "stratum"))
    for checks in kept["checks"]:
        known = Checks(*(np.array(checks[name], np.int64) for name in ("rows", "labels")))
        assert_close(found(inquiry, known), checks["found"], 1e-9)


SETTLE = """
  const [kept] = arguments;
  const inquiry = Checks.inquiryFrom(kept, Checks.unpack(kept.given, Int32Array));
  return kept.checks.map(({ rows, labels }) => {
    const all = new Map(kept.at_fit.map((row, i) => [row, kept.labels_at_fit[i]]));
    rows.forEach((row, i) => all.set(row, labels[i]));
    const { changed, gain, promise } = Checks.settle(inquiry, [...all.keys()], [...all.values()]);
    return {
      changed: [...changed].flatMap((mark, row) => (mark ? [row] : [])),
      gain: [gain.mean, gain.low, gain.high],
      promise: promise && {
        n_answers: promise.nAnswers,
        wrong: promise.wrong,
        right_after: promise.rightAfter,
        changes: promise.changes,
        changes_right: promise.changesRight,
      },
    };
  });
"""


IS_THERE = BROWSER.exists() and DRIVER.exists()


def needs_browser(test):
    return pytest.mark.thorough(pytest.mark.skipif(not IS_THERE, reason=f"needs {BROWSER} and {DRIVER}")(test))


@needs_browser
def test_the_page_gives_the_numbers(page, tmp_path):
    page.open(save_review(tmp_path / "page.html", make_report(["a", "b"], ["b", "b"])))
    for kept in CASES:
        for given, checks in zip(page.run(SETTLE, kept), kept["checks"], strict=True):
            assert_close(given, checks["found"], 1e-6)


# ---------------------------------------------------------------- the page in use


def draw_verdict(n=1500, index=None):
    """Judge labels of which a quarter is wrong; give the verdict and the true labels."""
    outputs, given, true = draw(n)
    return judge_labels(given, outputs, index=index), true


@pytest.fixture
def drawn():
    return draw_verdict()


@pytest.fixture
def opened(page, tmp_path, drawn):
    verdict, _ = drawn
    return page.open(save_review(tmp_path / "page.html", verdict.label_report(), judged=verdict))


def answer(page, true, n):
    """Play the person at the next n rows."""
    for _ in range(n):
        row, given, proposed = page.row, page.text("#given"), page.text("#proposed")
        if true[row] in (given, proposed):
            page.press("k" if true[row] == given else "a")
        else:
            page.press("o", *true[row], Keys.ENTER)


def told(verdict):
    """Give the words that the page has for what a verdict proves."""
    promise = verdict._promise_
    low, high = (round(100 * share) for share in promise.wrong)
    return (
        f"{promise.n_answers} checked: {low} to {high} % of the labels are wrong."
        f"Taking the proposals makes {promise.changes:,} changes, of which at least {promise.changes_right:,} are "
        f"right; at least {math.floor(1000 * promise.right_after) / 10:.1f} % of all labels are right afterwards."
    )


def known(page):
    return page.text("#checks-known").replace("\u00a0", " ")


@needs_browser
def test_it_opens_with_the_rows_to_check(opened, drawn):
    rows = drawn[0].rows_to_check(50)
    assert (opened.progress, opened.text("#checks-place")) == ("0 of 50 checked", "1 of 50")
    assert known(opened) == "None checked; from 20 on something can be said."
    for row, line in list(rows.iterrows())[:12]:
        assert opened.row == row
        assert (opened.text("#given"), opened.text("#proposed")) == (line.given_label, line.proposed_label)
        assert opened.text("#reason") == line.reason
        opened.press("n")
    assert not any(opened.find(f"#{name}").is_displayed() for name in ("filters", "list", "noise-heading"))
    opened.find("[data-mode=all]").click()
    assert opened.find("#list").is_displayed()
    assert opened.progress.endswith("suspects decided")
    opened.find("[data-mode=check]").click()
    assert opened.row == rows.index[0]


@needs_browser
def test_keys_give_the_numbers_of_settle(opened, drawn):
    verdict, true = drawn
    answer(opened, true, 7)
    assert known(opened) == "7 checked; from 20 on something can be said."
    assert not opened.find("#take-all").is_displayed()
    answer(opened, true, 18)
    verdict.settle(opened.export("json"))
    assert known(opened) == told(verdict)
    assert "50 more rows would narrow" in opened.text("#checks-enough")
    answer(opened, true, 25)
    verdict.settle({}).settle(opened.export("csv"))
    assert known(opened) == told(verdict)
    opened.find("#more").click()
    assert (opened.progress, opened.text("#checks-place")) == ("50 of 100 checked", "51 of 100")
    answer(opened, true, 10)
    opened.driver.refresh()
    assert opened.text("#checks-place") == "61 of 100"
    verdict.settle({}).settle(opened.export("json"))
    assert known(opened) == told(verdict)


@needs_browser
def test_take_all_proposals_and_take_them_back(opened, drawn):
    verdict, true = drawn
    answer(opened, true, 30)
    mine = verdict.settle(opened.export("json"))
    before = opened.export("json").read_text("utf-8")
    button = opened.text("#take-all")
    opened.find("#take-all").click()
    assert "proposals are taken" in opened.text("#take-all")
    assert known(opened) == told(mine)
    given = verdict.label_report()["given_label"]
    for path in (opened.export("json"), opened.export("csv")):
        np.testing.assert_array_equal(apply_decisions(given, path), mine.corrected_labels_)
        assert told(draw_verdict()[0].settle(path)) == told(mine)  # nobody looked at what was taken
    taken = json.loads(opened.export("json").read_text("utf-8"))["decisions"]
    n_taken = sum("looked_at" in line for line in taken)
    assert button == f"Take all {n_taken} proposals"
    answer(opened, true, 1)
    assert opened.text("#checks-place") == "32 of 50"
    opened.press("u", "u")
    assert opened.export("json").read_text("utf-8") == before
    assert opened.text("#take-all") == button


@needs_browser
def test_rows_that_nobody_can_tell_and_rows_left_out(opened, drawn):
    verdict, true = drawn
    answer(opened, true, 20)
    opened.press("s", "s")
    answer(opened, true, 3)
    assert known(opened).startswith("23 checked")
    assert "2 more were looked at, but nobody could tell." in known(opened)
    verdict.settle(opened.export("json"))
    assert known(opened).startswith(told(verdict))
    opened.press("n")
    answer(opened, true, 4)
    assert known(opened).startswith("23 checked")
    assert "4 more are known" in known(opened)
    verdict.settle(opened.export("json"))
    assert known(opened).startswith(told(verdict))
    left_out = verdict.rows_to_check(1).index[0]
    assert f"Row {left_out:,} was left out" in opened.text("#gap-text")
    opened.find("#gap-go").click()
    assert opened.row == left_out
    answer(opened, true, 1)
    assert known(opened).startswith("28 checked")
    assert not opened.find("#checks-gap").is_displayed()


@needs_browser
def test_decisions_among_all_suspects_are_known_too(opened, drawn):
    verdict, true = drawn
    opened.find("[data-mode=all]").click()
    answer(opened, true, 15)
    opened.find("[data-mode=check]").click()
    answer(opened, true, 22)
    verdict.settle(opened.export("json"))
    assert known(opened).startswith(told(verdict))


@needs_browser
def test_two_people(opened):
    opened.press(*"kkkkk")
    theirs = opened.export("json")
    opened.press(*"uuuuu", *"akakk", "a")
    opened.take_in(theirs)
    wait(opened.driver, lambda _: opened.find("#conflict").is_displayed())
    assert "5 were looked at by both" in opened.text("#conflict-text")
    opened.find("#conflict-look").click()
    assert opened.text("#second-text") == "2 of 5 rows that both looked at are decided in two ways."
    assert opened.text("#checks-place") in ("1 of 50", "3 of 50")
    assert opened.text("#theirs").startswith("In the file: kept, ")
    opened.press("k")
    assert opened.text("#second-text").startswith("1 of 5 rows")
    opened.find("#second-next").click()
    assert opened.find("#theirs").is_displayed()
    opened.find("#second-theirs").click()
    assert opened.text("#second-text").startswith("0 of 5 rows")
    assert not opened.find("#theirs").is_displayed()
    opened.find("#second-done").click()
    assert not opened.find("#second").is_displayed()
    decisions = json.loads(opened.export("json").read_text("utf-8"))["decisions"]
    assert sorted(line["decision"] for line in decisions) == ["accept", *["keep"] * 5]


@needs_browser
def test_what_was_taken_gives_way_to_what_somebody_looked_at(opened, drawn):
    _, true = drawn
    opened.find("[data-mode=all]").click()
    opened.press("k")
    theirs = opened.export("json")
    opened.press("u")
    opened.find("[data-mode=check]").click()
    answer(opened, true, 20)
    opened.find("#take-all").click()
    opened.take_in(theirs)
    wait(opened.driver, lambda _: "1 decisions imported" in opened.text("#status"))
    assert not opened.find("#second").is_displayed()
    opened.find("[data-mode=all]").click()
    states = opened.run("return [...document.querySelectorAll('#list .badge')].slice(0, 3).map((b) => b.textContent)")
    assert "kept" in states
    assert "taken" in states


@needs_browser
def test_rows_that_were_settled_are_not_asked_about(page, tmp_path, drawn):
    verdict, true = drawn
    verdict.rows_to_check(5, random_state=3)
    verdict.settle({row: true[row] for row in verdict.rows_to_check(12).index})
    page.open(save_review(tmp_path / "page.html", verdict.label_report(), judged=verdict))
    assert page.row == verdict.rows_to_check(1).index[0]
    assert known(page).startswith("12 checked")
    answer(page, true, 10)
    verdict.settle(page.export("json"))
    assert known(page) == told(verdict)


@needs_browser
def test_a_report_with_rows_that_were_not_judged(page, tmp_path):
    verdict, true = draw_verdict(400)
    report = verdict.label_report()
    places = np.arange(400) + np.arange(400) // 100  # after each hundred a row without a label
    other = {"given_label": "", "is_label_issue": True, "label_quality": 0.0, "confidence": 0.9}
    other |= dict.fromkeys(("predicted_label", "corrected_label"), "ant")
    report = report.set_axis(places).reindex(range(404)).fillna(other).astype({"is_label_issue": bool})
    texts = [f"text {row}" for row in range(404)]
    path = save_review(
        tmp_path / "page.html", report, texts, judged=verdict, judged_rows=places, n_checks=25, n_pictures=30
    )
    page.open(path)
    true_there = dict(zip(places.tolist(), true, strict=True))
    rows = places[verdict.rows_to_check(25).index]
    for row in rows:
        assert (page.row, page.text("#content")) == (row, f"text {row}")
        answer(page, true_there, 1)
    verdict.settle({int(np.searchsorted(places, row)): true_there[row] for row in rows})
    assert known(page) == told(verdict)
    page.find("[data-mode=all]").click()
    page.select("scope", "all samples")
    page.press(*["n"] * 40)
    assert page.text("#content")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_width(opened, drawn, scheme):
    answer(opened, drawn[1], 24)
    opened.press("s")
    opened.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        assert opened.run(CONTRAST) == []
        for width in (390, 320):
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
            opened.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            assert opened.run("return document.documentElement.scrollWidth") <= width
        opened.find("#take-all").click()
        assert opened.run(CONTRAST) == []
    finally:
        opened.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        opened.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_browser
def test_all_can_be_done_without_a_mouse(opened, drawn):
    answer(opened, drawn[1], 20)
    seen = []
    for _ in range(30):
        opened.press(Keys.TAB)
        seen.append(opened.run("return document.activeElement.id || document.activeElement.dataset.mode"))
        if seen[-1] == "take-all":
            break
    assert {"check", "all", "take-all"} <= set(seen)
    opened.press(Keys.ENTER)
    assert "proposals are taken" in opened.text("#take-all")
    opened.press("u")
    assert opened.text("#take-all").startswith("Take all")


@needs_browser
def test_a_key_is_answered_at_once_in_50000_rows(page, tmp_path):
    verdict, _ = draw_verdict(50_000)
    page.open(save_review(tmp_path / "page.html", verdict.label_report(), judged=verdict))
    times = page.run("""
      return [..."akaskakaak".repeat(5)].map((key) => {
        const start = performance.now();
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        document.body.getBoundingClientRect();
        return performance.now() - start;
      });
    """)
    assert page.progress == "50 of 50 checked"
    assert np.median(times) < 50


if __name__ == "__main__":
    write_vectors()
