from __future__ import annotations

import base64
import csv
import json
import re
from html import unescape

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from PIL import Image

from noisyfit import JointOptimizationClassifier, apply_decisions, judge_labels, save_review
from noisyfit.review.decisions import decided_rows
from noisyfit.review.keys import json_key, json_label, key_literal, key_text, label_text
from noisyfit.review.ranking import rank_report

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked = 2'>",
    "a \"quoted\" 'label', with a comma",
    "two\nlines\r\nor three",
    "back\\slash {{ 7 * 7 }} {% raw %}",
    "line\u2028separator",
    "مرحبا (rtl) \u202e",
    "",
    " 日本語 🐈 ",
    "=1+1",
]


def make_report(given, corrected, *, quality=None, confidence=None, predicted=None, index=None):
    given, corrected = (pd.Series(labels).reset_index(drop=True) for labels in (given, corrected))
    n_samples = len(given)
    return pd.DataFrame(
        {
            "given_label": given.to_numpy(),
            "predicted_label": (corrected if predicted is None else pd.Series(predicted)).to_numpy(),
            "is_label_issue": (given != corrected).to_numpy(),
            "label_quality": np.linspace(0.1, 0.4, n_samples) if quality is None else quality,
            "corrected_label": corrected.to_numpy(),
            "confidence": np.linspace(0.9, 0.5, n_samples) if confidence is None else confidence,
        },
        index=index,
    )


@pytest.fixture
def report():
    return make_report(list("aabbcc"), list("abbcca"))


def page_data(path):
    """Give what the page has for its script."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.S)[1]
    return json.loads(text)


def record(report, row, decision="accept", label=None):
    line = report.iloc[row]
    changed = line["corrected_label"] != line["given_label"]
    proposed = line["corrected_label"] if changed else line["predicted_label"]
    labels = {"accept": proposed, "keep": line["given_label"], "skip": line["given_label"], "other": label}
    return {
        "row": row,
        "index": json_key(report.index[row]),
        "given_label": json_label(line["given_label"]),
        "proposed_label": json_label(proposed),
        "decision": decision,
        "label": json_label(labels[decision]),
    }


def write_json(path, records, **changes):
    content = {"format": "noisyfit decisions", "version": 1, "fingerprint": "0", "decisions": records}
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


def write_csv(path, records):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(records[0])
        for line in records:
            texts = {name: label_text(value) for name, value in line.items()} | {"index": key_text(line["index"])}
            writer.writerow(texts.values())
    return path


def in_every_form(tmp_path, records):
    return [
        records,
        pd.DataFrame(records),
        write_json(tmp_path / "decisions.json", records),
        write_csv(tmp_path / "decisions.csv", records),
        str(tmp_path / "decisions.csv"),
    ]


# ------------------------------------------------------------------ the page


def test_suspects_come_first_and_the_surest_lead(tmp_path):
    report = make_report(
        list("abcdef"),
        list("bbcadf"),
        quality=[0.1, 0.9, 0.2, 0.1, 0.6, 0.4],
        confidence=[0.6, 0.9, 0.2, 0.8, 0.6, 0.4],
    )
    assert report["is_label_issue"].tolist() == [True, False, False, True, True, False]
    report.loc[4, "confidence"] = 0.8  # as sure as row 3, whose given label is less likely
    data = page_data(save_review(tmp_path / "page.html", report))
    assert data["row"] == [3, 4, 0, 2, 5, 1]
    assert data["n_suspects"] == 3
    assert [label["text"] for label in data["classes"]] == list("abcdef")
    assert data["given"] == [3, 4, 0, 2, 5, 1]
    assert data["proposed"] == [0, 3, 1, 2, 5, 1]
    assert data["quality"] == [0.1, 0.6, 0.1, 0.2, 0.4, 0.9]
    assert data["changed"] == "111000"


def test_the_prediction_is_proposed_where_the_label_was_not_corrected(tmp_path):
    report = make_report(["a", "b"], ["a", "b"], predicted=["b", "b"])
    data = page_data(save_review(tmp_path / "page.html", report))
    assert [data["classes"][code]["text"] for code in data["proposed"]] == ["b", "b"]
    assert data["changed"] == "00"


def test_the_page_loads_nothing_and_allows_its_own_script_only(tmp_path, report):
    html = save_review(tmp_path / "page.html", report, title="<b>Title</b> & {{ more }}").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html)[1]
    assert unescape(policy).startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert not re.search(r"https?://", html)
    assert "<b>Title" not in html
    assert unescape(re.search(r"<title>(.*?)</title>", html)[1]) == "<b>Title</b> & {{ more }}"
    assert html.count("<script") == 2


def test_hostile_labels_stay_data(tmp_path):
    report = make_report(HOSTILE, HOSTILE[1:] + HOSTILE[:1], index=HOSTILE)
    path = save_review(tmp_path / "page.html", report, HOSTILE, title=HOSTILE[0])
    assert path.read_text("utf-8").count("<script") == 2
    data = page_data(path)
    assert sorted(label["text"] for label in data["classes"]) == sorted(HOSTILE)
    assert sorted(data["index"]["values"]) == sorted(HOSTILE)
    assert data["samples"]["values"] == [HOSTILE[row] for row in data["row"]]


def test_a_lone_surrogate_is_written(tmp_path, report):
    data = page_data(save_review(tmp_path / "page.html", report, ["\ud800"] * 6, title="\ud800"))
    assert data["samples"]["values"] == ["\ud800"] * 6


@pytest.mark.parametrize(
    ("labels", "literals"),
    [
        ([2**60 + 1, 3], ["3", "1152921504606846977"]),
        ([1.0, 2.5], ["1.0", "2.5"]),
        (np.array([0.1, 2], dtype=np.float32), ["0.1", "2.0"]),
        ([False, True], ["false", "true"]),
        (["x", "1"], ['"1"', '"x"']),
        (np.array(["x", 1], dtype=object), ["1", '"x"']),
        (pd.Categorical(["x", "y"]), ['"x"', '"y"']),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), ['"2024-01-01 00:00:00"', '"2024-01-02 00:00:00"']),
    ],
)
def test_labels_keep_their_type(tmp_path, labels, literals):
    data = page_data(save_review(tmp_path / "page.html", make_report(labels, labels[::-1])))
    assert [label["json"] for label in data["classes"]] == literals


@pytest.mark.parametrize(
    ("index", "literals"),
    [
        (None, ["0", "1"]),
        ([7, 7], ["7", "7"]),
        ([0.5, 2.0], ["0.5", "2.0"]),
        (["a", "é\n"], ['"a"', '"\\u00e9\\n"']),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), ['"2024-01-01T00:00:00"', '"2024-01-02T00:00:00"']),
        (pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), ['["a", 1]', '["a", 2]']),
        ([None, "x"], ["null", '"x"']),
        (pd.period_range("2024-01", periods=2, freq="M"), ['"2024-01"', '"2024-02"']),
    ],
)
def test_every_kind_of_index(tmp_path, index, literals):
    report = make_report(["a", "b"], ["b", "a"], index=index)
    data = page_data(save_review(tmp_path / "page.html", report))
    values = data["index"]["values"]
    shown = [json.dumps(value) for value in values] if data["index"]["kind"] == "text" else values
    assert shown == literals == [key_literal(key) for key in report.index]


def test_keys_of_numpy():
    assert json_key(np.datetime64("2024-01-01")) == "2024-01-01T00:00:00"
    assert json_key((np.int64(1), np.bool_(True), np.nan)) == [1, True, None]
    assert key_text(True) == "true"


def test_the_fingerprint_is_that_of_the_report(tmp_path, report):
    def fingerprint(*args, **kwargs):
        return page_data(save_review(tmp_path / "page.html", *args, overwrite=True, **kwargs))["fingerprint"]

    first = fingerprint(report)
    assert fingerprint(report, list("uvwxyz"), title="other", n_pictures=2) == first
    assert fingerprint(report.rename(index={0: 9})) != first
    assert fingerprint(report.assign(given_label=list("aabbca"))) != first


# ------------------------------------------------------------------ what is shown


class Untouched:
    """An array of images that fails where a row is read that is not shown."""

    def __init__(self, images, allowed):
        self.images, self.allowed, self.shape = images, set(allowed), images.shape

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        assert row in self.allowed
        return self.images[row]


def pictures(data):
    import base64
    import io

    blobs = [base64.b64decode(uri.partition(",")[2]) for uri in data["samples"]["values"]]
    return [Image.open(io.BytesIO(blob)) for blob in blobs]


def gradient(*shape, dtype=np.uint8, top=255):
    return np.linspace(0, top, int(np.prod(shape))).reshape(shape).astype(dtype)


@pytest.mark.parametrize(
    ("X", "mode", "size"),
    [
        (gradient(6, 8, 10), "L", (10, 8)),
        (gradient(6, 1, 8, 10), "L", (10, 8)),
        (gradient(6, 3, 8, 10), "RGB", (10, 8)),
        (gradient(6, 8, 10, 1), "L", (10, 8)),
        (gradient(6, 8, 10, 3), "RGB", (10, 8)),
        (gradient(6, 8, 10, 4), "RGB", (10, 8)),
        (gradient(6, 8, 10, dtype=np.float32, top=1), "L", (10, 8)),
        (gradient(6, 8, 10, dtype=np.float64, top=16) - 3, "L", (10, 8)),
        (gradient(6, 8, 10, dtype=np.int64, top=9000), "L", (10, 8)),
        (gradient(6, 8, 10) > 99, "L", (10, 8)),
        (torch.from_numpy(gradient(6, 3, 8, 10)), "RGB", (10, 8)),
        (gradient(6, 192, 96, 3), "RGB", (48, 96)),
    ],
    ids=lambda value: f"{value.dtype}{tuple(value.shape)}" if hasattr(value, "dtype") else None,
)
def test_kinds_of_images(tmp_path, report, X, mode, size):
    data = page_data(save_review(tmp_path / "page.html", report, X))
    assert data["samples"]["kind"] == "pictures"
    shown = pictures(data)
    assert len(shown) == 6
    assert {picture.mode for picture in shown} == {mode}
    assert {picture.size for picture in shown} == {size}


def test_small_pictures_are_exact(tmp_path, report):
    X = gradient(6, 8, 10, 3)
    data = page_data(save_review(tmp_path / "page.html", report, X))
    for row, picture in zip(data["row"], pictures(data), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), X[row])


def test_floats_are_stretched_only_beyond_0_and_1(tmp_path, report):
    def extremes(X):
        shown = pictures(page_data(save_review(tmp_path / "page.html", report, X, overwrite=True)))
        return min(np.min(picture) for picture in shown), max(np.max(picture) for picture in shown)

    assert extremes(np.full((6, 4, 4), 0.5)) == (128, 128)
    assert extremes(np.linspace(-2, 2, 96).reshape(6, 4, 4)) == (0, 255)
    with_holes = np.full((6, 4, 4), 0.5)
    with_holes[:, 0, 0] = np.nan
    assert extremes(with_holes) == (0, 128)


def test_rows_that_are_not_shown_are_not_read(tmp_path, report):
    ranked = rank_report(report)
    X = Untouched(gradient(6, 8, 8), ranked.rows[:2].tolist())
    data = page_data(save_review(tmp_path / "page.html", report, X, n_pictures=2))
    assert len(data["samples"]["values"]) == 2
    assert len(data["row"]) == 6
    assert page_data(save_review(tmp_path / "none.html", report, X, n_pictures=0))["samples"] == {"kind": "none"}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1", "I;16", "F", "CMYK"])
def test_image_files(tmp_path, report, mode):
    ending = {"F": "tiff", "CMYK": "jpg"}.get(mode, "png")
    paths = [tmp_path / f"{row}.{ending}" for row in range(6)]
    for row, path in enumerate(paths):
        Image.new("RGB", (200, 100), (40 * row, 99, 0)).convert("L" if mode in ("I;16", "F") else mode).convert(
            mode
        ).save(path)
    for X in (paths, [str(path) for path in paths], pd.Series([str(path) for path in paths], index=list("uvwxyz"))):
        shown = pictures(page_data(save_review(tmp_path / "page.html", report, X, overwrite=True)))
        assert {picture.size for picture in shown} == {(96, 48)}


def test_see_through_pictures_lie_on_white(tmp_path, report):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(path)
    shown = pictures(page_data(save_review(tmp_path / "page.html", report, [path] * 6)))
    assert shown[0].getpixel((0, 0)) == (255, 255, 255)


def test_a_file_that_is_no_picture(tmp_path, report):
    (tmp_path / "bad.png").write_text("nothing")
    for name in ("bad.png", "missing.png"):
        with pytest.raises(ValueError, match=f"`X` must name files that hold a picture, but .*{name}.*X=None"):
            save_review(tmp_path / "page.html", report, [tmp_path / name] * 6)
    assert not (tmp_path / "page.html").exists()


def test_missing_pillow_names_the_extra(tmp_path, report, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"noisyfit\[review\]"):
        save_review(tmp_path / "page.html", report, gradient(6, 8, 8))
    save_review(tmp_path / "page.html", report, list("uvwxyz"))


@pytest.mark.parametrize("wrap", [list, tuple, pd.Series, pl.Series, lambda texts: np.array(texts, dtype=object)])
def test_texts(tmp_path, report, wrap):
    texts = ["one", "two.png", "x" * 30_000, "four\nfive", "", "six"]
    data = page_data(save_review(tmp_path / "page.html", report, wrap(texts)))
    assert data["samples"]["kind"] == "texts"
    shown = dict(zip(data["row"], data["samples"]["values"], strict=True))
    assert shown[3] == "four\nfive"
    assert shown[2] == "x" * 20_000 + "… (cut: 30,000 characters in all)"


@pytest.mark.parametrize("wrap", [pd.DataFrame, pl.DataFrame])
def test_tables(tmp_path, report, wrap):
    table = wrap({"name": list("uvwxyz"), "x": [0.1 + 0.2] * 6, "n": range(6)})
    data = page_data(save_review(tmp_path / "page.html", report, table))
    assert data["samples"]["columns"] == ["name", "x", "n"]
    assert data["samples"]["values"] == [["uvwxyz"[row], "0.3", str(row)] for row in data["row"]]


def test_arrays_of_features(tmp_path, report):
    data = page_data(save_review(tmp_path / "page.html", report, np.arange(6 * 600).reshape(6, 600)))
    assert data["samples"]["n_columns"] == 600
    assert data["samples"]["columns"] == [str(column) for column in range(500)]
    assert data["samples"]["values"][0][:2] == [str(data["row"][0] * 600), str(data["row"][0] * 600 + 1)]


# ------------------------------------------------------------------ the noise by class


def cells(path):
    table = re.search(r"<tbody>(.*?)</tbody>", path.read_text("utf-8"), re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    return [re.findall(r">([^<>\s]+)</(?:button|span)>", row) for row in rows]


def test_counts_of_given_and_proposed_labels(tmp_path, report):
    path = save_review(tmp_path / "page.html", report)
    assert cells(path) == [["1", "1", "0"], ["0", "1", "1"], ["1", "0", "1"]]
    assert 'data-given="0" data-proposed="1">1</button>' in path.read_text("utf-8")


def test_a_transition_matrix_has_true_classes_in_its_rows(tmp_path, report):
    T = np.array([[0.5, 0.5, 0], [0, 0.75, 0.25], [0, 0, 1]])
    path = save_review(tmp_path / "page.html", report, transition_matrix=T)
    assert cells(path) == [["0.50", "0.50", "0.00"], ["0.00", "0.75", "0.25"], ["0.00", "0.00", "1.00"]]
    html = path.read_text("utf-8")
    assert 'data-given="0" data-proposed="1">0.00</button>' in html  # true b given a
    assert 'data-given="1" data-proposed="0"' not in html


def test_many_classes_show_those_with_the_most_changes(tmp_path):
    given = [*range(200), 150]
    path = save_review(tmp_path / "page.html", make_report(given, [*range(200), 177]))
    assert len(cells(path)) == 30
    assert re.search(r"The 30 of 200 classes", path.read_text("utf-8"))
    assert 'data-given="150" data-proposed="177">1</button>' in path.read_text("utf-8")


# ------------------------------------------------------------------ the file


def test_a_file_is_replaced_only_on_request(tmp_path, report):
    path = tmp_path / "page.html"
    assert save_review(str(path), report) == path
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_review(path, report)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="`X`"):
        save_review(path, report, ["too", "few"], overwrite=True)
    assert path.read_bytes() == before
    save_review(path, report, title="Another", overwrite=True)
    assert path.read_bytes() != before
    assert [found.name for found in tmp_path.iterdir()] == ["page.html"]


def test_a_write_that_fails_leaves_nothing(tmp_path, report, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.link", fail)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_review(tmp_path / "page.html", report)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"path": 3}, TypeError, "`path` must be a str or a path, got 3 of type int"),
        ({"path": "nowhere/page.html"}, FileNotFoundError, "The folder of .*page.html is not there. Make it first"),
        ({"path": "."}, IsADirectoryError, "is a folder. Name a file in it"),
        ({"overwrite": 1}, TypeError, "`overwrite` must be True or False, got 1"),
        ({"title": 3}, TypeError, "`title` must be a str, got 3"),
        ({"n_pictures": -1}, ValueError, "`n_pictures` must be .*at least 0, got -1"),
        ({"n_pictures": 2.5}, TypeError, "`n_pictures` must be an int"),
        ({"report": [1]}, TypeError, "`report` must be a DataFrame, got list. Pass the table that `label_report`"),
        ({"X": ["a"]}, ValueError, "`X` must have the 6 rows of the report, got 1. Pass the rows given to fit"),
        ({"X": "abcdef"}, TypeError, "`X` must be an array of images .*; got str"),
        ({"X": 3}, TypeError, "got int"),
        ({"X": dict.fromkeys("abcdef")}, TypeError, "got dict"),
        ({"X": scipy.sparse.eye(6).tocsr()}, TypeError, "`X` must be .*; got csr_matrix"),
        ({"X": np.zeros((6, 2, 2, 2, 2))}, ValueError, r"`X` must be .*; got shape \(6, 2, 2, 2, 2\)"),
        ({"X": np.zeros((6, 2, 8, 8))}, ValueError, r"images of 1 or 3 channels, .*got shape \(6, 2, 8, 8\)"),
        ({"X": np.zeros((6, 0, 8))}, ValueError, "at least one pixel"),
        ({"X": np.full((6, 2, 2), "x")}, TypeError, "`X` must hold images of numbers, got dtype <U1"),
        ({"X": [*"abcde", None]}, TypeError, "`X` must be .*; got NoneType in row 5. Give every row a text"),
        ({"transition_matrix": np.eye(2)}, ValueError, r"`transition_matrix` must have shape \(3, 3\).*got \(2, 2\)"),
        ({"transition_matrix": np.ones((3, 3))}, ValueError, "`transition_matrix` must be at least 0 and sum to 1"),
        ({"transition_matrix": "x"}, ValueError, "`transition_matrix` must be an array of numbers"),
    ],
)
def test_wrong_parameters(tmp_path, report, monkeypatch, change, error, message):
    monkeypatch.chdir(tmp_path)
    params = {"path": "page.html", "report": report} | change
    with pytest.raises(error, match=message):
        save_review(**params)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mend", "message"),
    [
        (lambda report: report.drop(columns="confidence"), "must have the columns .*confidence, each once; got"),
        (lambda report: pd.concat([report, report[["confidence"]]], axis=1), "each once"),
        (lambda report: report.iloc[:0], "at least one row"),
        (lambda report: report.assign(given_label=[*"abbcc", None]), "a label in each row of given_label"),
        (lambda report: report.assign(is_label_issue=1), "True or False in is_label_issue, got dtype int64"),
        (lambda report: report.assign(confidence=1.5), "numbers from 0 to 1 in confidence, got values from 1.5 to 1.5"),
        (lambda report: report.assign(label_quality=np.nan), "in label_quality, got .* 6 missing"),
        (lambda report: report.assign(label_quality="x"), "in label_quality, got dtype"),
    ],
)
def test_wrong_reports(tmp_path, report, mend, message):
    with pytest.raises(ValueError, match=f"`report` .*{message}.*Pass the table that `label_report` gives"):
        save_review(tmp_path / "page.html", mend(report))


def test_rounding_beyond_1_is_no_error(tmp_path, report):
    data = page_data(save_review(tmp_path / "page.html", report.assign(confidence=np.float32(1.0000001))))
    assert set(data["confidence"]) == {1.0}


# ------------------------------------------------------------------ decisions


def test_decisions_change_what_they_decide(tmp_path, report):
    records = [
        record(report, 1),
        record(report, 3, "keep"),
        record(report, 5, "other", "b"),
        record(report, 0, "skip"),
        record(report, 4, "keep"),
    ]
    y = report["given_label"].tolist()
    for decisions in in_every_form(tmp_path, records):
        assert apply_decisions(y, decisions) == list("abbbcb")
    assert y == list("aabbcc")


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        [1, 2],
        np.array([1, 2], dtype=np.int8),
        np.array([0.1, 2], dtype=np.float32),
        np.array([2**60 + 1, 2**60]),
        [True, False],
        np.array([True, False]),
        pd.Series([1, 2], dtype="Int64"),
        pd.Series(["a", "b"], dtype="string"),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series([3, 4], dtype="category"),
        pd.Series([True, False], dtype="boolean"),
        pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"])),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', type(labels[0]).__name__)}",
)
def test_labels_come_back_with_their_type(tmp_path, labels):
    corrected = labels[::-1]
    report = make_report(labels, corrected)
    for decisions in in_every_form(tmp_path, [record(report, 0), record(report, 1)]):
        result = apply_decisions(labels, decisions)
        assert type(result) is type(labels)
        if isinstance(labels, list):
            assert result == corrected
            assert list(map(type, result)) == list(map(type, corrected))
        else:
            assert result.dtype == labels.dtype
            assert list(result) == list(corrected)


def test_a_series_keeps_index_and_name_and_is_not_changed(tmp_path):
    y = pd.Series(["a", "b", "a"], index=[30, 10, 20], name="label")
    report = make_report(y.to_list(), ["b", "b", "a"], index=y.index)
    for decisions in in_every_form(tmp_path, [record(report, 0)]):
        pd.testing.assert_series_equal(apply_decisions(y, decisions), pd.Series(["b", "b", "a"], y.index, name="label"))
        assert apply_decisions(y[::-1], decisions).to_dict() == {20: "a", 10: "b", 30: "b"}
        assert apply_decisions(y.drop(10), decisions).to_dict() == {30: "b", 20: "a"}
        with pytest.raises(ValueError, match=r"its index lacks .*30.* of row 0.*to_numpy"):
            apply_decisions(y.drop(30), decisions)
        assert list(apply_decisions(y.to_numpy(), decisions)) == ["b", "b", "a"]
    assert y.to_list() == ["a", "b", "a"]


@pytest.mark.parametrize(
    "index",
    [
        ["x", "y"],
        [0.5, 2.0],
        pd.to_datetime(["2024-01-01 00:00", "2024-01-02 12:00"]),
        pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]),
        pd.CategoricalIndex(["x", "y"]),
        ['a,"b"\n', "</script>"],
        [True, False],
    ],
)
def test_rows_are_found_by_every_kind_of_index(tmp_path, index):
    y = pd.Series(["a", "b"], index=index)
    report = make_report(["a", "b"], ["b", "b"], index=index)
    for decisions in in_every_form(tmp_path, [record(report, 0)]):
        assert apply_decisions(y[::-1], decisions).to_list() == ["b", "b"]


def test_a_duplicated_index_is_matched_by_place(tmp_path):
    y = pd.Series(["a", "b"], index=[1, 1])
    report = make_report(["a", "b"], ["b", "a"], index=y.index)
    for decisions in in_every_form(tmp_path, [record(report, 1)]):
        assert apply_decisions(y, decisions).to_list() == ["a", "a"]


def test_hostile_labels_come_back_exactly(tmp_path):
    report = make_report(HOSTILE, HOSTILE[1:] + HOSTILE[:1], index=HOSTILE)
    records = [record(report, row) for row in range(len(HOSTILE))]
    for decisions in in_every_form(tmp_path, records):
        assert apply_decisions(HOSTILE, decisions) == HOSTILE[1:] + HOSTILE[:1]
        assert apply_decisions(pd.Series(HOSTILE, index=HOSTILE)[::-1], decisions)["=1+1"] == HOSTILE[0]


def test_text_that_pandas_would_take_for_missing(tmp_path):
    report = make_report(["NA", "null"], ["null", "NA"])
    for decisions in in_every_form(tmp_path, [record(report, 0), record(report, 1)]):
        assert apply_decisions(["NA", "null"], decisions) == ["null", "NA"]


@pytest.mark.parametrize(
    ("y", "new"),
    [
        ([1, 2], 3),
        (["a", "b"], "longer"),
        ([0.5, 1.5], 2.0),
        (np.array([1, 2], dtype=np.uint8), 255),
        (np.array([1.5, 2.0]), 3.5),
        (np.array([True, True]), False),
        (np.array(["a", "b"], dtype=object), "longer"),
        (np.array(["aaaaaa", "b"]), "longer"),
        (pd.Series(["a", "b"]), "longer"),
        (pd.Series([1, 2], dtype="Int64"), 3),
        (pd.Series([1, 2], dtype="category"), 3),
        (pd.Series(["a", "b"], dtype="category"), "longer"),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_a_label_that_y_lacks(tmp_path, y, new):
    report = make_report(y, y)
    for decisions in in_every_form(tmp_path, [record(report, 1, "other", new)]):
        result = apply_decisions(y, decisions)
        assert list(result) == [next(iter(y)), new]
        assert type(list(result)[1]) is type(list(y)[1])
        if isinstance(getattr(y, "dtype", None), pd.CategoricalDtype):
            assert list(result.cat.categories) == [*y.cat.categories, new]
        elif not isinstance(y, list):
            assert result.dtype == y.dtype


@pytest.mark.parametrize(
    ("y", "new"),
    [
        ([1, 2], 1.5),
        ([1, 2], "x"),
        (np.array([1, 2], dtype=np.uint8), 256),
        (np.array([1, 2]), "x"),
        (np.array(["a", "b"]), "longer"),
        (np.array([True, False]), 2),
        (pd.Series([1, 2], dtype="category"), "x"),
        (pd.Series([1, 2], dtype="Int64"), 1.5),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_a_label_that_does_not_fit(tmp_path, y, new):
    report = make_report(y, y)
    for decisions in in_every_form(tmp_path, [record(report, 1, "other", new)]):
        with pytest.raises(ValueError, match=f"The label .*{new}.* of row 1 .*does not fit its kind .*astype"):
            apply_decisions(y, decisions)


def test_an_ambiguous_text(tmp_path):
    y = [1, "1", "x"]
    report = make_report(pd.Series(y, dtype=object), pd.Series(["x", "x", "x"], dtype=object))
    records = [record(report, 0), record(report, 1)]
    json_file, csv_file = in_every_form(tmp_path, records)[2:4]
    assert apply_decisions(y, json_file) == ["x", "x", "x"]
    with pytest.raises(ValueError, match=r"label '1' of row 0 is ambiguous: .*Pass the JSON export"):
        apply_decisions(y, csv_file)
    keyed = pd.Series(["a", "a"], index=pd.Index([1, "1"], dtype=object))
    records = [record(make_report(["a", "a"], ["b", "b"], index=keyed.index), 1)]
    json_file, csv_file = in_every_form(tmp_path, records)[2:4]
    assert apply_decisions(keyed, json_file).to_list() == ["a", "b"]
    with pytest.raises(ValueError, match="index '1' of row 1 is ambiguous"):
        apply_decisions(keyed, csv_file)


def test_an_other_text_for_labels_of_several_types(tmp_path):
    y = [1, "a"]
    records = [record(make_report(pd.Series(y, dtype=object), pd.Series(y, dtype=object)), 1, "other", "new")]
    json_file, csv_file = in_every_form(tmp_path, records)[2:4]
    assert apply_decisions(y, json_file) == [1, "new"]
    with pytest.raises(ValueError, match="does not fit its kind"):
        apply_decisions(y, csv_file)


def test_the_file_of_other_labels(tmp_path, report):
    for decisions in in_every_form(tmp_path, [record(report, 1)]):
        with pytest.raises(ValueError, match="belongs to other labels: .*'a' for row 1 .*'c' there. Pass the y"):
            apply_decisions(list("acbbcc"), decisions)
        with pytest.raises(ValueError, match="belongs to other labels"):
            apply_decisions([0, 1, 2], decisions)
        with pytest.raises(ValueError, match="`y` must have the rows of the review, but it has 1 .*row 1"):
            apply_decisions(["a"], decisions)


def test_decisions_for_one_row_must_agree(tmp_path, report):
    agreed = [record(report, 1), record(report, 1), record(report, 1, "other", "b")]
    assert apply_decisions(list("aabbcc"), agreed) == list("abbbcc")
    with pytest.raises(ValueError, match="decide each row in one way, got the labels 'b' and 'a' for row 1"):
        apply_decisions(list("aabbcc"), [record(report, 1), record(report, 1, "keep")])


def test_no_decisions(tmp_path, report):
    for y in ([1, 2], np.array(["a"]), pd.Series([1]), pd.Series(["a"], dtype="category")):
        for decisions in ([], write_json(tmp_path / "none.json", [])):
            result = apply_decisions(y, decisions)
            assert result is not y
            assert list(result) == list(y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": "maybe"}, "`decision` must be one of accept, keep, other, skip; got 'maybe' at place 0"),
        ({"row": -1}, "`row` must be an int, at least 0; got -1"),
        ({"row": "x"}, "`row` must be an int"),
        ({"row": True}, "`row` must be an int"),
        ({"label": None}, "Labels must be text, numbers or bools; got None at place 0"),
        ({"given_label": ["a"]}, "Labels must be text"),
        ({"label": "c"}, "`label` must be the proposed_label where the decision is 'accept', got 'c' for row 1"),
        ({"decision": "keep"}, "`label` must be the given_label where the decision is 'keep', got 'b' for row 1"),
    ],
)
def test_wrong_records(report, change, message):
    with pytest.raises(ValueError, match=message):
        apply_decisions(list("aabbcc"), [record(report, 1) | change])


def test_wrong_kinds(tmp_path, report):
    with pytest.raises(TypeError, match="`y` must be an ndarray, a Series or a list, got tuple"):
        apply_decisions(("a",), [])
    with pytest.raises(ValueError, match=r"`y` must have shape \(n_samples,\), got \(1, 1\)"):
        apply_decisions(np.zeros((1, 1)), [])
    with pytest.raises(TypeError, match="`decisions` must be the path .*; got int"):
        apply_decisions(["a"], 3)
    with pytest.raises(TypeError, match="`decisions` must hold dicts, got str at place 0"):
        apply_decisions(["a"], ["b"])
    with pytest.raises(ValueError, match="`decisions` must have row, index"):
        apply_decisions(["a"], [{"row": 0}])
    with pytest.raises(ValueError, match="`decisions` must have the columns row, .*each once; got"):
        apply_decisions(["a"], pd.DataFrame({"row": [0]}))
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        apply_decisions(["a"], tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.txt", "", r"must be a file that ends in \.csv or \.json"),
        ("d.json", "{", "must be a JSON file, but"),
        ("d.json", "[]", "must have the format \"noisyfit decisions\", got 'list'"),
        ("d.json", '{"format": "x"}', "got 'x'"),
        ("d.json", '{"format": "noisyfit decisions", "version": 2}', "must be of version 1, got 2"),
        ("d.json", '{"format": "noisyfit decisions", "version": 1}', "must hold a list of decisions, got None"),
        ("d.csv", "", "the file is empty"),
        ("d.csv", "row,label\n", "must have the columns row, index"),
        (
            "d.csv",
            "row,index,given_label,proposed_label,decision,label\n0,0,a\n",
            "line 2: 3 cells, but there are 6 columns",
        ),
        ("d.csv", "row,index,given_label,proposed_label,decision,label\n0,0,a,b,accept,b,c\n", "line 2: 7 cells"),
        ("d.csv", 'row,index,given_label,proposed_label,decision,label\n0,0,"a', "must be a CSV file, but"),
        ("d.csv", b"\xff", "must be a file in UTF-8"),
        ("d.json", "[" * 100_000, "must be a JSON file, but .*d.json' is not: it is nested too deeply"),
        ("d.json", "[" * 400 + "]" * 400, "nested too deeply"),
        ("d.json", '{"a": ' * 100_000, "nested too deeply"),
        ("d.json", '{"format": NaN}', "NaN is no number of JSON"),
        ("d.json", '{"format": -Infinity}', "-Infinity is no number of JSON"),
        ("d.json", '{"format": 1e400}', "1e400 is no number of JSON"),
        ("d.json", '{"format": "x", "format": "noisyfit decisions"}', "'format' stands twice in one place"),
        ("d.json", f'{{"version": {"9" * 5000}}}', "must be a JSON file, but .*d.json' is not: Exceeds the limit"),
        ("d.json", '"\\ud800"', "must have the format"),
    ],
)
def test_wrong_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        apply_decisions(["a"], path)


def test_a_row_with_too_many_digits(tmp_path, report):
    path = write_csv(tmp_path / "d.csv", [{**record(report, 1), "row": "9" * 5000}])
    with pytest.raises(ValueError, match="`row` must be an int, at least 0"):
        apply_decisions(list("aabbcc"), path)


@pytest.mark.parametrize("label", ["\ud800", "a\udcffb", "a\0", "", "\u2028"])
def test_odd_texts_come_back_exactly(tmp_path, label):
    y, index = np.array(["a", label], dtype=object), pd.Index(["x", label], dtype=object)
    report = make_report(["a", "b"], ["b", "a"], index=index)
    for name in ("given_label", "predicted_label", "corrected_label"):
        texts = [label if text == "b" else text for text in report[name]]
        report[name] = pd.Series(texts, index=index, dtype=object)
    path = write_json(tmp_path / "d.json", [record(report, 0), record(report, 1)])
    assert apply_decisions(y, path).tolist() == [label, "a"]
    assert apply_decisions(y.tolist(), path) == [label, "a"]
    assert apply_decisions(pd.Series(y, index=index, dtype=object), path).tolist() == [label, "a"]
    data = page_data(save_review(tmp_path / "page.html", report, y.tolist()))
    assert {json.loads(each["json"]) for each in data["classes"]} == {"a", label}


def test_numbers_that_json_lacks_are_texts_in_it(tmp_path):
    y, index = [1.0, np.inf], [-np.inf, np.inf]
    report = make_report(y, y[::-1], index=index)
    data = page_data(save_review(tmp_path / "page.html", report))
    assert [each["json"] for each in data["classes"]] == ["1.0", '"inf"']
    assert data["index"]["values"] == ["-inf", "inf"]
    path = write_json(tmp_path / "d.json", [record(report, 0), record(report, 1)])
    assert apply_decisions(pd.Series(y, index=index), path).tolist() == [np.inf, 1.0]


@pytest.mark.parametrize("keys", [[None, np.nan], ["2024-01-01T00:00:00", pd.Timestamp("2024-01-01")], ["inf", np.inf]])
def test_keys_that_json_cannot_tell_apart_are_not_guessed(tmp_path, keys):
    index = pd.Index(keys, dtype=object)
    report = make_report(["a", "b"], ["b", "a"], index=index)
    path = write_json(tmp_path / "d.json", [record(report, 0)])
    with pytest.raises(ValueError, match="is ambiguous: `y` has it in the places"):
        apply_decisions(pd.Series(["a", "b"], index=index), path)
    assert apply_decisions(["a", "b"], path) == ["b", "b"]


def test_labels_with_too_many_digits_are_named(tmp_path):
    report = make_report(pd.Series([10**5000, 1], dtype=object), pd.Series([1, 1], dtype=object))
    with pytest.raises(ValueError, match="must be ints of at most 4,300 digits. Make them strings"):
        save_review(tmp_path / "page.html", report)


def test_files_that_other_programs_saved_again(tmp_path, report):
    path = write_csv(tmp_path / "decisions.csv", [record(report, 1)])
    path.write_text("\ufeff" + path.read_text("utf-8"), encoding="utf-8")  # a spreadsheet's mark
    assert apply_decisions(list("aabbcc"), path) == list("abbbcc")
    frame = pd.read_csv(path).sample(frac=1)[["label", "decision", "proposed_label", "given_label", "index", "row"]]
    assert apply_decisions(list("aabbcc"), frame) == list("abbbcc")


def test_a_fit_and_its_review(tmp_path, blobs, quick):
    X, y, _ = blobs
    clf = quick(max_epochs=10).fit(X, y)
    report = clf.label_report()
    path = save_review(tmp_path / "page.html", report, X, transition_matrix=clf.transition_matrix_)
    assert page_data(path)["n_suspects"] == report["is_label_issue"].sum() > 0
    records = [record(report, row) for row in np.flatnonzero(report["is_label_issue"])]
    np.testing.assert_array_equal(apply_decisions(y, records), clf.corrected_labels_)


# ---------------------------------------------------------------- rows to check first


@pytest.fixture
def verdict():
    """Two of five labels are contradicted; no output names "dog" first where "cat" is given."""
    proba = [[0.1, 0.7, 0.2], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.1, 0.2], [0.1, 0.2, 0.7]]
    return judge_labels(["cat", "cat", "dog", "dog", "eel"], proba)


def test_the_class_that_is_right_if_the_given_one_is_not_is_proposed(tmp_path, verdict):
    report = verdict.label_report()
    data = page_data(save_review(tmp_path / "page.html", report, judged=verdict, n_checks=3))
    rows = verdict.rows_to_check(5)
    proposed = {row: data["classes"][code]["text"] for row, code in zip(data["row"], data["proposed"], strict=True)}
    assert proposed == rows["proposed_label"].to_dict()
    assert data["inquiry"]["n_checks"] == 3
    assert "inquiry" not in page_data(save_review(tmp_path / "other.html", report))


def test_more_rows_than_were_judged(tmp_path, verdict):
    report = verdict.label_report()
    report = pd.concat([report[:2], report[:1].assign(given_label=""), report[2:]], ignore_index=True)
    data = page_data(save_review(tmp_path / "page.html", report, judged=verdict, judged_rows=[0, 1, 3, 4, 5]))
    ranks = np.frombuffer(base64.b64decode(data["inquiry"]["rank"]), "<i4")
    assert [data["row"][rank] for rank in ranks] == [0, 1, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"judged": "model"}, TypeError, "`judged` must be a fitted JointOptimizationClassifier"),
        ({"judged": JointOptimizationClassifier()}, TypeError, "`judged` must be a fitted"),
        ({"judged_rows": [0, 1, 2, 3]}, ValueError, "`judged_rows` must be the places of the 5 judged rows"),
        ({"judged_rows": [0, 1, 2, 3, 3]}, ValueError, "`judged_rows` must be the places"),
        ({"judged_rows": [0, 1, 2, 3, 5]}, ValueError, r"`judged_rows` must lie in \[0, 4\], got 0 to 5"),
        ({"judged_rows": [4, 3, 2, 1, 0]}, ValueError, "`judged` must have judged the given labels of the report"),
        ({"judged": None, "judged_rows": [0]}, ValueError, "Pass `judged`, too"),
        ({"n_checks": 0}, ValueError, "`n_checks` must be"),
    ],
)
def test_wrong_parameters_of_checks(tmp_path, verdict, change, error, message):
    with pytest.raises(error, match=message):
        save_review(tmp_path / "page.html", verdict.label_report(), **{"judged": verdict, **change})


def test_nothing_to_judge_by(tmp_path, verdict, blobs, quick):
    clf = quick().fit(*blobs[:2])
    with pytest.raises(ValueError, match="`judged` had nothing to judge labels by"):
        save_review(tmp_path / "page.html", clf.label_report(), judged=clf)
    report = verdict.label_report()
    with pytest.raises(ValueError, match="`judged` must have judged the 4 rows of the report, got 5"):
        save_review(tmp_path / "page.html", report[:4], judged=verdict)


def test_proposals_that_were_taken_at_once_are_decisions_and_no_answers(tmp_path, report):
    records = [record(report, 1) | {"looked_at": False}, record(report, 3)]
    y = report["given_label"]
    table = pd.DataFrame(records)
    csv_path = tmp_path / "decisions.csv"
    table.assign(looked_at=["false", "true"]).to_csv(csv_path, index=False)
    for decisions in (records, table, csv_path, write_json(tmp_path / "decisions.json", records)):
        changed = np.flatnonzero(apply_decisions(y, decisions) != y)
        assert changed.tolist() == [1, 3]
        assert list(decided_rows(y, decisions)) == [3]
