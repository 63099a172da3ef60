"""Decisions that anybody may have changed: they are taken as they stand, or refused with a documented error."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pandas as pd
import pytest

from noisyfit import apply_decisions, judge_labels
from noisyfit.label_studio import export_tasks

from fuzzing import n_cases

Y = pd.Series(["a", "b"] * 10, index=[f"key {row}" for row in range(20)])
ODD = [None, True, -1, 0, 3, 10**400, 1.5, "", "a", "b", "key 1", "x\0", "\ud800", [], [[]], {}, {"choices": ["a"]}]


def page_export():
    decided = [
        {"row": row, "index": Y.index[row], "given_label": Y.iloc[row], "proposed_label": "b", "decision": kind}
        for row, kind in enumerate(["accept", "keep", "skip", "other"])
    ]
    labels = ["b", "b", "a", "a"]
    records = [line | {"label": label, "looked_at": True} for line, label in zip(decided, labels, strict=True)]
    return {"format": "noisyfit decisions", "version": 1, "fingerprint": "0", "decisions": records}


def studio_export(tmp_path, in_short=False):
    proba = np.random.default_rng(0).dirichlet([1, 1], 20)
    rows = judge_labels(Y, proba).rows_to_check(4)
    tasks = json.loads(export_tasks(rows, ["text"] * 20, tmp_path / "tasks.json", y=Y).read_text("utf-8"))
    if in_short:
        return [task["data"] | {"checked_label": "a", "annotation_id": 1} for task in tasks]
    result = {"from_name": "checked_label", "to_name": "sample", "type": "choices", "value": {"choices": ["a"]}}
    return [task | {"annotations": [{"result": [result], "was_cancelled": False}]} for task in tasks]


def places_in(tree, path=()):
    """Every place in a tree of lists and dicts, as the keys that lead there."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places_in(value, (*path, key))


def changed(tree, draw):
    """Put odd values in some places, or take out what lies there."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice([1, 1, 2, 5])):
        places = [path for path in places_in(tree) if path]
        if not places:
            return tree
        *way, last = draw.choice(places)
        inside = tree
        for key in way:
            inside = inside[key]
        if draw.random() < 0.2:
            del inside[last]
        else:
            inside[last] = copy.deepcopy(draw.choice(ODD))
    return tree


def applied(decisions):
    """The labels, or the error."""
    try:
        return apply_decisions(Y, decisions)
    except (ValueError, TypeError) as error:
        return error


def taken_or_refused(decisions):
    """What comes back has a text in each row, and no other rows than the decided ones changed; or the error is ours."""
    labels = applied(decisions)
    if isinstance(labels, pd.Series):
        assert labels.index.equals(Y.index)
        assert all(isinstance(label, str) for label in labels)
        assert (labels != Y).sum() <= 4
    else:
        assert type(labels) in (ValueError, TypeError)  # not UnicodeError, say
        assert any(word in str(labels) for word in ("`decisions`", "`decision`", "`row`", "`label`", "abel", "index"))


@pytest.mark.parametrize("kind", ["page", "Label Studio", "Label Studio in short"])
def test_changed_files_are_taken_or_refused(tmp_path, kind):
    whole = page_export() if kind == "page" else studio_export(tmp_path, in_short=kind.endswith("short"))
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert (apply_decisions(Y, path) != Y).any()
    for case in range(n_cases(3000)):
        tree = changed(whole, random.Random(case))
        path.write_text(json.dumps(tree), encoding="utf-8")
        taken_or_refused(path)
        if kind == "page" and isinstance(tree.get("decisions"), list):
            taken_or_refused(tree["decisions"])


def test_changed_tables_are_taken_or_refused(tmp_path):
    whole = pd.DataFrame(page_export()["decisions"]).to_csv(index=False).encode()
    path = tmp_path / "decisions.csv"
    for case in range(n_cases(3000)):
        draw, content = random.Random(case), bytearray(whole)
        for _ in range(draw.choice([1, 1, 3])):
            place = draw.randrange(len(content))
            content[place : place + draw.choice([0, 1, 1, 9])] = draw.choice(
                [b"", b'"', b",", b"\r", b"\n", b"\0", b"\xff"]
            )
        path.write_bytes(content)
        taken_or_refused(path)
