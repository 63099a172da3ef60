"""Tasks for Label Studio, and its annotations on the way back to labels."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from noisyfit import __version__, apply_decisions, judge_labels
from noisyfit.label_studio import export_tasks, labeling_config
from noisyfit.review.decision_files import Decision, read_decisions
from noisyfit.review.keys import label_text

TEXTS = ["It purrs.", "It barks.", "Meow!"]
ODD_LABELS = ["<b>&amp;", "a \"quoted\" 'one'", "$price", "cost: $5 and $x", "line\nbreak\ttab", "größe 猫", " spaced "]


def make_rows(given, proposed, index=None):
    reasons = ["probably wrong (60%)"] * len(given)
    frame = {"given_label": given, "proposed_label": proposed, "reason": reasons}
    return pd.DataFrame(frame, index=range(len(given)) if index is None else index)


def export(path, rows, X=None, **changes):
    file = export_tasks(
        rows, [f"text {n}" for n in range(len(rows))] if X is None else X, path / "tasks.json", **changes
    )
    return json.loads(file.read_text("utf-8"))


def choice_result(choice):
    return {"from_name": "checked_label", "to_name": "sample", "type": "choices", "value": {"choices": [choice]}}


def annotation(choice, **changes):
    """Give an annotation as Label Studio exports it; None is an empty one."""
    result = [] if choice is None else [choice_result(choice)]
    return {"id": 7, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False} | changes


def answered(path, tasks, *answers):
    """Write the export of tasks that got these annotations, a list for each task."""
    file = path / "export.json"
    content = [
        {"id": n, **task, "annotations": given} for n, (task, given) in enumerate(zip(tasks, answers, strict=True))
    ]
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def write(path, content):
    file = path / "export.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


# ------------------------------------------------------------------ tasks


def test_a_task_says_what_was_found_about_its_row(tmp_path):
    y = pd.Series(["cat", "dog", "dog"], index=["x", "y", "z"])
    rows = make_rows(["dog", "cat"], ["cat", "dog"], index=["z", "x"])
    tasks = export(tmp_path, rows, TEXTS, y=y, scores=[0.6, 0.25])
    assert [task["data"]["text"] for task in tasks] == ["Meow!", "It purrs."]
    assert tasks[0] == {
        "data": {
            "text": "Meow!",
            "row": 2,
            "index": "z",
            "given_label": "dog",
            "proposed_label": "cat",
            "reason": "probably wrong (60%)",
        },
        "predictions": [
            {
                "model_version": f"noisyfit {__version__}",
                "score": 0.6,
                "result": [choice_result("cat") | {"id": "row2"}],
            }
        ],
    }


def test_nobody_is_led_to_a_change_that_is_not_likely(tmp_path):
    tasks = export(tmp_path, make_rows(["a", "a"], ["b", "b"]), ["t", "u"], scores=[0.25, 0.5])
    chosen = [
        (task["predictions"][0]["result"][0]["value"]["choices"], task["predictions"][0]["score"]) for task in tasks
    ]
    assert chosen == [(["a"], 0.75), (["b"], 0.5)]


def test_scores_and_predictions_are_optional(tmp_path):
    rows = make_rows(["a"], ["b"])
    assert "score" not in export(tmp_path, rows)[0]["predictions"][0]
    assert list(export(tmp_path, rows, with_predictions=False, overwrite=True)[0]) == ["data"]


def test_columns_of_a_table_are_keys(tmp_path):
    X = pd.DataFrame({"age": [30.5, 40], "town": ["Ulm", "Rom"]}, index=[10, 20])
    tasks = export(tmp_path, make_rows([1], [0], index=[20]), X)
    assert tasks[0]["data"]["table"] == {"age": "40", "town": "Rom"}
    assert tasks[0]["data"]["row"] == 1
    array = export(tmp_path, make_rows([1], [0]), np.array([[1.5, 2]]), overwrite=True)
    assert array[0]["data"]["table"] == {"0": "1.5", "1": "2"}


def test_images_are_files_or_urls(tmp_path):
    rows = make_rows([1, 0], [0, 1])
    for X, shown in [
        ([Path("in/a b.png"), Path("c.png")], ["in/a b.png", "c.png"]),
        (["a.JPG", "https://b.org/c.jpg"], ["a.JPG", "https://b.org/c.jpg"]),
    ]:
        assert [task["data"]["image"] for task in export(tmp_path, rows, X, overwrite=True)] == shown
    signed = export(tmp_path, rows, ["https://b.org/1?key=x", "s3://c/2"], kind="image", overwrite=True)
    assert [task["data"]["image"] for task in signed] == ["https://b.org/1?key=x", "s3://c/2"]
    local = export(tmp_path, rows, ["in/a b&c.png", "d.png"], image_prefix="/data/local-files/?d=", overwrite=True)
    assert local[0]["data"]["image"] == "/data/local-files/?d=in/a%20b%26c.png"
    bucket = export(tmp_path, rows, ["a b.png", "d.png"], image_prefix="s3://bucket/", overwrite=True)
    assert bucket[0]["data"]["image"] == "s3://bucket/a b.png"


def test_image_arrays_go_into_the_file(tmp_path):
    pytest.importorskip("PIL")
    tasks = export(tmp_path, make_rows([1], [0]), np.zeros((1, 8, 8), np.uint8))
    assert tasks[0]["data"]["image"].startswith("data:image/png;base64,")


def test_html_is_told_to_be_so(tmp_path):
    tasks = export(tmp_path, make_rows([1], [0]), ["<b>bold</b>"], kind="html")
    assert tasks[0]["data"]["html"] == "<b>bold</b>"


def test_rows_of_a_verdict_are_found(tmp_path):
    y = pd.Series(["cat", "dog", "dog"], index=[5, 0, 7])
    verdict = judge_labels(y, [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    rows = verdict.rows_to_check(3)
    tasks = export(tmp_path, rows, TEXTS, y=y)
    assert {task["data"]["index"]: task["data"]["text"] for task in tasks} == dict(zip(y.index, TEXTS, strict=True))
    assert [task["data"]["index"] for task in tasks] == rows.index.tolist()


@pytest.mark.parametrize(
    ("rows", "X", "changes", "message"),
    [
        (make_rows(["a"], ["b"]).drop(columns="reason"), ["t"], {}, "`rows` must have the columns .* lacks reason"),
        (make_rows([], []), ["t"], {}, "`rows` must have at least one row"),
        (make_rows(["a", "a"], ["b", "b"], index=[0, 0]), ["t"], {}, "`rows` must name each row once, got 0 twice"),
        (make_rows(["a"], ["b"], index=[3]), ["t"], {}, "`rows` must name rows of `X`, got 3, which is none of its 1"),
        (
            make_rows(["a"], ["b"], index=["i"]),
            pd.Series(["t", "u"], index=["i", "i"]),
            {},
            "several have the index 'i'",
        ),
        (make_rows(["a"], ["b"]), ["t"], {"y": ["a", "b"]}, "`y` must have the 1 rows of `X`, got 2"),
        (make_rows(["a"], ["b"]), ["t"], {"y": ["b"]}, "`y` must hold the given labels of `rows`, got 'b' for 'a'"),
        (make_rows(["a"], ["b"]), ["t"], {"kind": "audio"}, "`kind` must be one of 'text', .*; got 'audio'"),
        (make_rows(["a"], ["b"]), ["t"], {"kind": "table"}, "got 'table', but `X` has one value a row"),
        (make_rows(["a"], ["b"]), np.ones((1, 2)), {"kind": "text"}, "got 'text', but `X` is of kind 'table'"),
        (make_rows(["a"], ["b"]), ["t"], {"scores": [1.5]}, r"`scores` must hold a probability in \[0, 1\]"),
        (make_rows(["a"], ["b"]), ["t"], {"scores": [np.nan]}, "`scores` must hold a probability"),
        (make_rows(["a"], ["b"]), ["t"], {"scores": [0.1, 0.2]}, "for each of the 1 rows"),
        (make_rows(["a"], [""]), ["t"], {}, r"`rows\['proposed_label'\]` must hold labels .* got ''"),
        (make_rows([np.nan], ["b"]), ["t"], {}, r"`rows\['given_label'\]` must hold labels .* got 'nan'"),
        (make_rows(["a"], ["cannot tell"]), ["t"], {}, "other than 'cannot tell'; got 'cannot tell'. Rename it"),
    ],
)
def test_wrong_input_is_named(tmp_path, rows, X, changes, message):
    with pytest.raises(ValueError, match=message):
        export(tmp_path, rows, X, **changes)
    assert not list(tmp_path.iterdir())


def test_input_of_a_wrong_kind_is_named(tmp_path):
    rows = make_rows(["a"], ["b"])
    with pytest.raises(TypeError, match="`rows` must be a DataFrame, got list"):
        export(tmp_path, [1], ["t"])
    with pytest.raises(TypeError, match="`X` must hold texts or image files, got int in row 0"):
        export(tmp_path, rows, [1])
    with pytest.raises(TypeError, match="`X` must be an array, a list, a Series or a DataFrame, got str"):
        export(tmp_path, rows, "text")
    with pytest.raises(ValueError, match="`X` must have columns whose names differ"):
        export(tmp_path, rows, pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_file_is_replaced_only_on_request(tmp_path):
    rows = make_rows(["a"], ["b"])
    export(tmp_path, rows)
    with pytest.raises(FileExistsError, match="is there already. Pass overwrite=True"):
        export(tmp_path, rows)
    assert len(export(tmp_path, make_rows(["a", "a"], ["b", "b"]), overwrite=True)) == 2


# ------------------------------------------------------------------ the labelling interface


@pytest.mark.parametrize(
    ("kind", "tag"), [("text", "Text"), ("html", "HyperText"), ("image", "Image"), ("table", "Table")]
)
def test_the_interface_shows_the_samples_and_the_classes(kind, tag):
    view = ElementTree.fromstring(labeling_config([True, 1.5, "x"], kind))
    assert view.find(tag).attrib == {"name": "sample", "value": f"${kind}"}
    assert view.find("Choices").get("toName") == "sample"
    assert [choice.get("value") for choice in view.iter("Choice")] == ["True", "1.5", "x", "cannot tell"]


def test_odd_labels_are_escaped():
    choices = list(ElementTree.fromstring(labeling_config(ODD_LABELS)).iter("Choice"))
    assert [choice.get("alias") or choice.get("value") for choice in choices] == [*ODD_LABELS, "cannot tell"]


def test_a_dollar_is_no_field_of_the_task():
    choice = next(ElementTree.fromstring(labeling_config(["$price"])).iter("Choice"))
    assert choice.attrib == {"value": "$\u200bprice", "alias": "$price"}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], r"`classes` must have shape \(n_classes,\), at least 1, got \(0,\)"),
        (np.eye(2), r"got \(2, 2\)"),
        ([1, "1"], "`classes` must differ as text, got '1' twice"),
        (["a", ""], "`classes` must hold labels that Label Studio can show"),
        (["a\x00"], "without control characters"),
        (["cannot tell"], "other than 'cannot tell'"),
        ([1.0, np.inf], "finite numbers"),
    ],
)
def test_classes_that_are_no_choices_are_named(classes, message):
    with pytest.raises(ValueError, match=message):
        labeling_config(classes)


def test_another_kind_is_named():
    with pytest.raises(ValueError, match="`kind` must be one of 'text', 'html', 'image', 'table'; got 'audio'"):
        labeling_config(["a"], "audio")


# ------------------------------------------------------------------ the way back


def test_annotations_are_decisions(tmp_path):
    tasks = export(tmp_path, make_rows(list("aaaaaaa"), list("bbbbbbb")))
    answers = [annotation(choice) for choice in ("b", "a", "c", "cannot tell", None)]
    file = answered(tmp_path, tasks, *([answer] for answer in answers), [annotation("b", was_cancelled=True)], [])
    decided = [("accept", "b"), ("keep", "a"), ("other", "c"), ("skip", "a"), ("skip", "a"), ("skip", "a")]
    assert read_decisions(file) == [
        Decision(row, row, "a", "b", decision, label, decision == "other")
        for row, (decision, label) in enumerate(decided)
    ]
    assert apply_decisions(list("aaaaaaa"), file) == list("bacaaaa")


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 2],
        [True, False, True],
        [0.5, 1.0, 2.0],
        [1, "two", 3.5],
        np.array([0.1, 0.2, 0.3], np.float32),
        np.array([0, 1, 2], np.uint8),
        pd.Series(["x", "y", "z"], index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])),
        pd.Series([3, 1, 2], index=["5", "6", "7"], dtype="category"),
        pd.Series([3, 1, None], dtype="Int64").dropna(),
    ],
    ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', y)}",
)
def test_labels_come_back_with_their_types(tmp_path, y):
    labels = list(y)
    proposed = np.roll(y, -1) if isinstance(y, np.ndarray) else labels[1:] + labels[:1]
    rows = make_rows(
        y if isinstance(y, np.ndarray) else labels, proposed, index=y.index if isinstance(y, pd.Series) else None
    )
    tasks = export(tmp_path, rows, y=y)
    for wanted in ([labels[1], *labels[1:]], [labels[-1], *labels[1:]]):  # the proposed label, and another class
        file = answered(tmp_path, tasks, *([annotation(label_text(label))] for label in wanted))
        final = apply_decisions(y, file)
        assert list(final) == wanted
        assert [type(label) for label in final] == [type(label) for label in wanted]
        assert getattr(final, "dtype", None) == getattr(y, "dtype", None)


def test_odd_labels_come_back(tmp_path):
    proposed = ODD_LABELS[1:] + ODD_LABELS[:1]
    tasks = export(tmp_path, make_rows(ODD_LABELS, proposed))
    choices = [task["predictions"][0]["result"][0]["value"]["choices"][0] for task in tasks]
    file = answered(tmp_path, tasks, *([annotation(choice)] for choice in choices))
    assert apply_decisions(ODD_LABELS, file) == proposed


def test_annotations_of_a_row_must_agree(tmp_path):
    tasks = export(tmp_path, make_rows(["a"], ["b"], index=["key"]), pd.Series(["t"], index=["key"]))
    for others in ("a", "c", "cannot tell"):
        with pytest.raises(ValueError, match=r"annotations of row 0 \(index 'key'\) choose .*mark the right one"):
            read_decisions(answered(tmp_path, tasks, [annotation("b"), annotation(others)]))
    for answers in (
        [annotation("b"), annotation("b")],
        [annotation("a"), annotation("b", ground_truth=True)],
        [annotation("b"), annotation("a", was_cancelled=True), annotation(None)],
    ):
        assert [decision.label for decision in read_decisions(answered(tmp_path, tasks, answers))] == ["b"]


def json_min(task, **fields):
    return {"id": 3, **task["data"], "annotator": 1, "annotation_id": 4, "lead_time": 2.5, **fields}


def test_json_min_has_the_choice_as_a_field(tmp_path):
    tasks = export(tmp_path, make_rows([1, 1, 1, 1, 1], [0, 0, 0, 0, 0]))
    choices = [{"checked_label": label} for label in ("0", "1", "cannot tell")]
    records = [json_min(task, **choice) for task, choice in zip(tasks, [*choices, {}], strict=False)]
    file = write(tmp_path, [*records, json_min(tasks[4], annotation_id=None)])
    assert [decision.decision for decision in read_decisions(file)] == ["accept", "keep", "skip", "skip"]
    file = write(tmp_path, [json_min(tasks[0], checked_label="0"), json_min(tasks[0], checked_label="1")])
    with pytest.raises(ValueError, match="annotations of row 0"):
        read_decisions(file)


def test_settle_takes_annotations(tmp_path):
    verdict = judge_labels(["cat", "dog", "dog"], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    tasks = export(tmp_path, verdict.rows_to_check(3), TEXTS)
    file = answered(tmp_path, tasks, *([annotation("cat" if task["data"]["row"] != 1 else "dog")] for task in tasks))
    assert verdict.settle(file).corrected_labels_.tolist() == ["cat", "dog", "cat"]


def test_what_utf_8_cannot_hold_comes_back(tmp_path):
    index = pd.Index(["a\udcff", "\ud800"], dtype=object)
    rows = make_rows(["a", "a"], ["b", "b"]).set_index(index)
    y = pd.Series(["a", "a"], index=index)
    tasks = json.loads(export_tasks(rows, ["\ud800", "x"], tmp_path / "tasks.json", y=y).read_text("utf-8"))
    assert [task["data"]["text"] for task in tasks] == ["\ud800", "x"]
    path = answered(tmp_path, tasks, [annotation("b")], [annotation("a")])
    assert apply_decisions(y, path).to_dict() == {"a\udcff": "b", "\ud800": "a"}
    named = export_tasks(rows, ["\udcff.png", "b.png"], tmp_path / "named.json", y=y, image_prefix="/files/?d=")
    assert json.loads(named.read_text("utf-8"))[0]["data"]["image"] == "/files/?d=%FF.png"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "tasks of export_tasks with choices named 'checked_label', but none of the 1 has any"),
        ([{"row": 1, "choice": "a"}], "none of the 1 has any. Use the labeling_config"),
        ([{"data": {"text": "t"}}], "with row, index, given_label, proposed_label in their data; got .* at place 0"),
        ([{"data": None}], "Remove tasks that came from elsewhere"),
    ],
)
def test_other_tasks_are_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_decisions(write(tmp_path, content))


def test_other_annotations_are_named(tmp_path):
    tasks = export(tmp_path, make_rows(["a", "a"], ["b", "b"]))
    named = annotation("b")
    named["result"][0]["from_name"] = "label"
    several = annotation("b")
    several["result"][0]["value"]["choices"] = ["a", "b"]
    for answer, message in [
        (named, "must have choices named 'checked_label', got 'label' for row 1"),
        (several, r"must have one choice in an annotation, got \['a', 'b'\] for row 1"),
        (12, "must hold whole annotations, got 12 for row 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_decisions(answered(tmp_path, tasks, [], [answer]))
    for answers in (7, "text", {"result": 1}, [{"result": [3]}], [{"result": [{"type": "choices"}]}]):
        changed = [tasks[0] | {"annotations": []}, tasks[1] | {"annotations": answers}]
        with pytest.raises(ValueError, match="must hold whole annotations, got .* for row 1"):
            read_decisions(write(tmp_path, changed))
    tasks[1]["data"]["row"] = 0
    with pytest.raises(ValueError, match="two of row 0 have another index or given label"):
        read_decisions(answered(tmp_path, tasks, [], []))


# ------------------------------------------------------------------ Label Studio's own code


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestLabelStudio:
    """What Label Studio's own package says about the interface, the tasks and the way back."""

    @pytest.mark.parametrize(
        ("kind", "X"),
        [
            ("text", ["x", "y", ""]),
            ("html", ["<b>x</b>", "y", "z"]),
            ("image", ["a.png", "b.png", "c.png"]),
            ("table", pd.DataFrame({"size": [1, 2, 3], "town": ["Ulm", "Rom", "Bor"]})),
        ],
    )
    @pytest.mark.parametrize("classes", [["cat", "dog", "owl"], [0, 1, 2], [0.5, 1.0, 2.0], ODD_LABELS[:3]], ids=str)
    def test_it_accepts_the_interface_and_the_tasks(self, tmp_path, kind, X, classes):
        interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(
            labeling_config(classes, kind)
        )
        interface.validate()
        tasks = export(tmp_path, make_rows(classes, classes[1:] + classes[:1]), X, kind=kind, scores=[0.1, 0.5, 1])
        for task in tasks:
            assert interface.validate_task({"data": task["data"]})
            assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
            assert interface.validate_annotation(annotation("cannot tell"))
            assert not interface.validate_annotation(annotation("no class"))

    @pytest.mark.parametrize("y", [["cat", "dog", "owl"], [0, 1, 2], ODD_LABELS[:3]], ids=str)
    @pytest.mark.parametrize("form", ["JSON", "JSON_MIN"])
    def test_what_it_exports_is_read(self, tmp_path, y, form):
        converter = pytest.importorskip("label_studio_sdk.converter")
        tasks = export(tmp_path, make_rows(y, y[1:] + y[:1]))
        answers = [[annotation(label_text(label))] for label in (y[1], y[0])]
        file = answered(tmp_path, tasks, *answers, [annotation(None, was_cancelled=True)])
        converter.Converter(labeling_config(y), str(tmp_path)).convert(
            str(file), str(tmp_path / "out"), form, is_dir=False
        )
        read = read_decisions(tmp_path / "out" / "result.json")
        assert [decision.decision for decision in read if decision.row < 2] == ["accept", "other"]
        assert apply_decisions(y, tmp_path / "out" / "result.json") == [y[1], y[0], y[2]]
