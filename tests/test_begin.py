from __future__ import annotations

import pytest

from noisyfit.algorithm.begin import BeginRule, Waiting


def epochs_with_updates(rule, agreements):
    """Give the epochs after which labels may be updated, as a fit goes through them until the first."""
    waiting, epochs = Waiting(), []
    for epoch, agreement in enumerate(agreements, start=1):
        waiting = rule.wait(waiting, agreement)
        if epochs or rule.begins_after(epoch, waiting):
            epochs.append(epoch)
    return epochs


def begins(begin, max_epochs, agreements=None):
    """First epoch after which labels are updated."""
    rule = BeginRule(begin, max_epochs)
    (first, *_) = epochs_with_updates(rule, agreements or [0.5] * max_epochs)
    assert rule.earliest <= first <= rule.latest
    return first


@pytest.mark.parametrize(
    ("begin", "max_epochs", "expected"),
    [(1, 1, 1), (3, 10, 3), (0.3, 10, 3), (0.25, 10, 2), (0.01, 10, 1), (0.99, 7, 7), (1.0, 7, 1), (3.0, 7, 3)],
)
def test_a_fixed_epoch(begin, max_epochs, expected):
    assert begins(begin, max_epochs) == expected


def test_auto_waits_for_five_epochs_without_a_better_agreement():
    rising = [0.1 * epoch for epoch in range(1, 8)]
    assert begins("auto", 100, rising + [0.6] * 20) == 7 + 5


def test_auto_is_not_deterred_by_a_dip():
    assert begins("auto", 100, [0.5, 0.4, 0.4, 0.4, 0.6, *[0.5] * 10]) == 5 + 5


@pytest.mark.parametrize("max_epochs", [1, 2, 10, 60])
def test_auto_waits_to_the_end_where_agreement_keeps_rising(max_epochs):
    rising = [epoch / max_epochs for epoch in range(max_epochs)]
    assert begins("auto", max_epochs, rising) == max_epochs


@pytest.mark.parametrize(("best", "expected"), [(4, 7), (5, 7), (6, 8), (7, 9), (8, 10), (9, 10)])
def test_auto_waits_for_two_epochs_only_after_seven_tenths(best, expected):
    rising = [0.05 * epoch for epoch in range(1, best + 1)]
    assert begins("auto", 10, rising + [0.1] * (10 - best)) == expected


def test_auto_leaves_epochs_for_rows_that_wait():
    rule = BeginRule("auto", 10, rows_wait=True)
    assert epochs_with_updates(rule, [0.1 * epoch for epoch in range(1, 11)]) == [7, 8, 9, 10]


def test_auto_without_any_unseen_row():
    assert begins("auto", 40, [float("nan")] * 40) == 5
