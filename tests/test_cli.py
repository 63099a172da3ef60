from __future__ import annotations

import io
import json
import os
import runpy
import sys
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_iris

from noisyfit import JointOptimizationClassifier, judge_labels
from noisyfit.command import checked_files, cli
from noisyfit.command.checked_files import OVER
from noisyfit.command.cli import DONE, FAILED, INTERRUPTED, REFUSED, main
from noisyfit.command.verdict_file import KeptRows, read_verdict, write_verdict

from stand_in import StandIn

N = 120
ENDINGS = (".html", ".json", ".csv", ".csv")
NAMES = np.array(["setosa", "versi,color", 'virg"inica'])


@pytest.fixture
def table(tmp_path):
    """Iris with a code per row, gaps, 15 wrong labels and 5 missing ones."""
    iris = load_iris()
    rng = np.random.RandomState(0)
    rows = rng.permutation(150)[:N]
    X, y = iris.data[rows], iris.target[rows]
    given = y.copy()
    given[:15] = (y[:15] + 1) % 3
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"]).astype(str)
    frame.insert(0, "code", [f"00{i}x" for i in range(N)])
    frame.loc[3, "b"] = "NA"
    frame["shape"] = np.array(["round", "long", "wide"])[y]
    frame["label"] = NAMES[given]
    frame.loc[N - 5 :, "label"] = ""
    path = tmp_path / "train.csv"
    frame.to_csv(path, index=False)
    return path, frame, NAMES[y]


def clean(path, *more):
    return main(["clean", str(path), "--epochs", "12", *map(str, more)])


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_from_a_table_to_a_cleaned_one_and_a_review_page(table, tmp_path, capsys):
    path, frame, truth = table
    before = path.read_bytes()
    out, review = tmp_path / "cleaned.csv", tmp_path / "review.html"
    assert clean(path, "--label", "label", "--out", out, "--review", review) == DONE
    cleaned = read(out)
    assert path.read_bytes() == before
    assert list(cleaned) == [*frame, "label_given", "label_status", "label_confidence"]
    pd.testing.assert_frame_equal(cleaned[frame.columns.drop("label")], frame.drop(columns="label"), check_dtype=False)
    assert cleaned["label_given"].tolist() == frame["label"].tolist()
    proposed = frame["label"] == ""
    assert (cleaned["label_status"] == "proposed").tolist() == proposed.tolist()
    changed = (cleaned["label"] != frame["label"]) & ~proposed
    assert (cleaned["label_status"] == "changed").tolist() == changed.tolist()
    assert (cleaned["label"] == truth).mean() > 0.93  # of 83 % at first
    assert cleaned["label_confidence"].astype(float).between(0, 1).all()
    assert cleaned["label_confidence"].str.len().max() == len("0.1234")
    assert "0041x" in review.read_text()  # people want to see what is not learned from
    said = capsys.readouterr().out
    assert "left out: column 'code', different in every row" in said
    assert "115 samples in 3 classes" in said
    assert "estimated noise rate" in said
    assert "versi,color" in said
    assert "labels proposed for rows without one: 5" in said
    assert f"written: {out}" in said


def test_nothing_is_written_over_and_a_dry_run_writes_nothing(table, tmp_path, capsys):
    path, *_ = table
    out = tmp_path / "there.csv"
    out.write_text("mine")
    assert clean(path, "--label", "label", "--out", out) == FAILED
    assert "there.csv is there already" in capsys.readouterr().err
    assert clean(path, "--label", "label", "--out", out, "--dry-run", "--review", tmp_path / "r.html") == DONE
    assert "nothing was written" in capsys.readouterr().out
    assert out.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["there.csv", "train.csv"]
    assert clean(path, "--label", "label", "--out", out, "--force", "--quiet") == DONE
    assert capsys.readouterr().out == ""
    assert len(read(out)) == N


def test_the_same_seed_gives_the_same_file(table, tmp_path):
    path, *_ = table
    for name in ("one.csv", "two.csv"):
        clean(path, "--label", "label", "--out", tmp_path / name, "--quiet", "--seed", 3)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_decisions_complete_the_circle(table, tmp_path, capsys):
    path, frame, _ = table
    decisions, final = tmp_path / "decisions.json", tmp_path / "final.csv"
    made = [(2, "accept", "setosa"), (119, "other", 'virg"inica'), (7, "keep", frame["label"][7]), (9, "skip", None)]
    rows = [
        {"row": row, "index": row, "given_label": frame["label"][row], "proposed_label": "setosa", "decision": decision,
         "label": label if label is not None else frame["label"][row]}
        for row, decision, label in made
    ]  # fmt: skip
    document = {"format": "noisyfit decisions", "version": 1, "fingerprint": "x", "decisions": rows}
    decisions.write_text(json.dumps(document))
    assert main(["apply", str(path), str(decisions), "--label", "label", "--out", str(final)]) == DONE
    expected = frame.copy()
    expected.loc[2, "label"], expected.loc[119, "label"] = "setosa", 'virg"inica'
    pd.testing.assert_frame_equal(read(final), expected, check_dtype=False)
    assert main(["apply", str(path), str(decisions), "--label", "label", "--out", str(final)]) == FAILED
    assert "is there already" in capsys.readouterr().err


def test_decisions_of_other_labels_are_refused(table, tmp_path, capsys):
    path, *_ = table
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("row,index,given_label,proposed_label,decision,label\n2,2,purple,setosa,accept,setosa\n")
    assert main(["apply", str(path), str(decisions), "--label", "label", "--out", str(tmp_path / "o.csv")]) == FAILED
    assert "decisions.csv does not fit" in (said := capsys.readouterr().err)
    assert "purple" in said
    assert not (tmp_path / "o.csv").exists()


def test_rows_may_be_named_by_a_column(table, tmp_path):
    _, frame, _ = table
    decisions, other = tmp_path / "decisions.csv", tmp_path / "other_order.csv"
    row = frame.loc[2]
    decisions.write_text(
        "row,index,given_label,proposed_label,decision,label\n"
        f'2,{row["code"]},"{row["label"]}",setosa,accept,setosa\n'.replace('"virg"inica"', '"virg""inica"')
    )
    frame[::-1].to_csv(other, index=False)
    final = tmp_path / "final.csv"
    common = ["--label", "label", "--id", "code", "--out", str(final)]
    assert main(["apply", str(other), str(decisions), *common]) == DONE
    final_labels = read(final).set_index("code")["label"]
    assert final_labels[row["code"]] == "setosa"
    assert (final_labels.sort_index() != frame.set_index("code")["label"].sort_index()).sum() == 1


def test_a_parquet_file(table, tmp_path):
    path, *_ = table
    typed = pd.read_csv(path)
    typed["label"] = typed["label"].astype("category")
    typed.to_parquet(tmp_path / "train.parquet")
    out = tmp_path / "cleaned.parquet"
    assert clean(tmp_path / "train.parquet", "--label", "label", "--out", out, "--quiet") == DONE
    cleaned = pd.read_parquet(out)
    pd.testing.assert_frame_equal(cleaned[list("abcd")], typed[list("abcd")])
    assert cleaned["label"].dtype == typed["label"].dtype
    assert cleaned["label"].notna().all()


@pytest.fixture
def at_once(monkeypatch):
    """Training has no part in what is looked at here."""
    monkeypatch.setattr(cli, "JointOptimizationClassifier", StandIn)
    monkeypatch.setattr(cli, "as_numbers", lambda _, frame: np.zeros((len(frame), 1)))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("use", ["--id", "--drop", "--label"])
def test_an_index_of_pandas_is_a_column_like_others(tmp_path, capsys, use):
    index = [f"{'ab'[i % 2] if use == '--label' else i}" for i in range(40)]
    frame = pd.DataFrame({"x": np.arange(40) / 7, "label": ["a", "b"] * 20}, index)
    path, out = tmp_path / "train.parquet", tmp_path / "out.parquet"
    frame.to_parquet(path)
    label = [] if use == "--label" else ["--label", "label"]
    assert clean(path, *label, use, "__index_level_0__", "--out", out, "--quiet") == DONE
    cleaned = pd.read_parquet(out)
    pd.testing.assert_series_equal(cleaned["x"], frame["x"], check_index=use != "--label")
    assert set(cleaned.index) == set(index)
    export = ["export", str(path), *label, "--label-studio", str(tmp_path / "t.json")]
    assert main([*export, *([] if use == "--drop" else [use, "__index_level_0__"])]) == FAILED
    assert "Run noisyfit check" in capsys.readouterr().err  # and nothing else is wrong


def test_a_page_is_written_where_no_row_can_be_settled(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "JointOptimizationClassifier", partial(JointOptimizationClassifier, cross_fit=0))
    review = ["--review", tmp_path / "r.html", "--quiet"]
    assert clean(table[0], "--label", "label", "--out", tmp_path / "o.csv", *review) == DONE
    assert (tmp_path / "r.html").exists()
    assert not (tmp_path / "r.noisyfit").exists()
    assert capsys.readouterr().err == ""


@pytest.fixture
def folder(tmp_path):
    """Dark and bright images, a few in the wrong folder, two in none."""
    rng = np.random.RandomState(0)
    for i in range(60):
        bright = i % 2
        label = ["dark", "bright"][bright if i >= 6 else 1 - bright]
        pixels = (rng.rand(12, 10, 3) * 90 + 150 * bright).astype(np.uint8)
        place = tmp_path / "images" / label if i < 58 else tmp_path / "images"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:02}.png")
    return tmp_path / "images"


def test_a_folder_of_images(folder, tmp_path):
    out, review = tmp_path / "labels.csv", tmp_path / "review.html"
    assert clean(folder, "--out", out, "--review", review, "--size", 8, "--epochs", 25, "--quiet") == DONE
    found = pd.read_csv(out, keep_default_na=False)
    assert found[["confidence", "label_quality"]].astype(str).map(len).max().max() <= len("0.1234")
    assert list(found) == ["path", "given_label", "corrected_label", "status", "confidence", "label_quality"]
    truth = np.array(["dark", "bright"])[found["path"].str[-6:-4].astype(int) % 2]
    assert (found["corrected_label"] == truth).mean() > 0.9
    assert (found["status"] == "proposed").sum() == 2
    assert "data:image" in review.read_text()


@pytest.fixture
def many(tmp_path):
    """A table of 600 rows, 30 % wrong labels of two kinds, and ten without one."""
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=600)
    X = rng.randn(600, 4) + 2.5 * y[:, np.newaxis]
    truth = np.array(["cat", "dog"])[y]
    frame = pd.DataFrame(X, columns=list("abcd")).round(3).assign(code=[f"r{i:03}x" for i in range(600)])
    frame["label"] = np.where(rng.rand(600) < 0.3, np.array(["dog", "cat"])[y], truth)
    frame.loc[590:, "label"] = ""
    path = tmp_path / "pets.csv"
    frame.to_csv(path, index=False)
    return path, frame, truth


def answer(tmp_path, frame, truth, n=50, name="pets-review"):
    """Play the person on the page: decide the rows that the page asks about first, by the truth."""
    kept = read_verdict(tmp_path / f"{name}.noisyfit")
    rows = kept.about.places[kept.verdict.rows_to_check(n).index]
    decisions = [
        {"row": row, "index": index, "given_label": frame["label"][row], "proposed_label": "dog", "decision": "other",
         "label": truth[row]}
        for row, index in ((int(row), frame["code"][row] if kept.about.names is not None else int(row)) for row in rows)
    ]  # fmt: skip
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps({"format": "noisyfit decisions", "version": 1, "decisions": decisions}))
    return path, rows


def test_an_audit_changes_nothing_and_checks_settle_the_rest(many, tmp_path, capsys):
    path, frame, truth = many
    before = path.read_bytes()
    report = tmp_path / "report.json"
    assert main(["check", str(path), "--label", "label", "--epochs", "10", "--report", str(report)]) == DONE
    said = capsys.readouterr().out
    assert "no label was changed" in said
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "pets-review.html", "pets-review.noisyfit", "pets.csv", "report.json"
    ]  # fmt: skip
    low, high = json.loads(report.read_text())["noise_rate_interval"]
    assert low < 0.3 < high
    decisions, rows = answer(tmp_path, frame, truth)
    final = tmp_path / "final.csv"
    common = ["apply", str(path), str(decisions), "--label", "label", "--out", str(final), "--report", str(report)]
    assert main([*common, "--force", "--fail-over", "5"]) == OVER
    said = capsys.readouterr().out
    assert "50 rows checked in order" in said
    assert "more than 5 % of the labels are wrong, with 95 % certainty" in said
    settled = read(final)["label"]
    assert (settled[:590] == truth[:590]).mean() > (frame["label"][:590] == truth[:590]).mean() + 0.15
    assert (settled[rows] == truth[rows]).all()
    assert (settled[590:] == "").all()
    found = json.loads(report.read_text())
    assert found["checked"]["n_answers"] == 50
    assert found["checked"]["wrong"] == found["noise_rate_interval"]
    right = (settled[:590] == truth[:590])[(settled != frame["label"])[:590]].sum()
    assert 0 < found["checked"]["changes_right"] <= right
    assert found["changed"] == found["checked"]["changes"] == (settled != frame["label"]).sum()
    assert main([*common, "--force", "--fail-over", "60"]) == DONE
    assert main([*common, "--force", "--only-decided"]) == FAILED
    assert "--only-decided settles nothing" in capsys.readouterr().err
    assert main([*common[:-2], "--force", "--only-decided"]) == DONE
    assert set(np.flatnonzero(read(final)["label"] != frame["label"])) <= set(rows)


def test_a_folder_may_be_the_one_where_one_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["check", ".", "--size", "8", "--epochs", "2", "--quiet"]) == DONE
    assert (folder / "images-review.html").exists()


def test_what_nobody_has_looked_at_proves_nothing(many, tmp_path, capsys):
    """Proposals taken all at once are settled like other rows; a label of no class counts as wrong."""
    path, frame, truth = many
    assert main(["check", str(path), "--label", "label", "--epochs", "10", "--quiet"]) == DONE
    decisions, rows = answer(tmp_path, frame, truth)
    common = ["apply", str(path), str(decisions), "--label", "label", "--force", "--out"]
    assert main([*common, str(tmp_path / "answers.csv")]) == DONE
    said = capsys.readouterr().out
    document = json.loads(decisions.read_text())
    other = {"dog": "cat", "cat": "dog"}
    taken = [
        {"row": row, "index": row, "given_label": frame["label"][row], "proposed_label": other[frame["label"][row]],
         "decision": "accept", "label": other[frame["label"][row]], "looked_at": False}
        for row in range(590) if row not in rows
    ]  # fmt: skip
    decisions.write_text(json.dumps({**document, "decisions": document["decisions"] + taken[:200]}))
    assert main([*common, str(tmp_path / "taken.csv")]) == DONE
    assert capsys.readouterr().out.replace("taken.csv", "answers.csv") == said
    assert (tmp_path / "taken.csv").read_bytes() == (tmp_path / "answers.csv").read_bytes()
    decisions.write_text(json.dumps({**document, "decisions": taken[:200]}))
    assert main([*common, str(tmp_path / "none.csv"), "--guarantee", "0.95"]) == DONE
    assert (read(tmp_path / "none.csv")["label"] == frame["label"]).all()
    strange = [{**d, "label": "horse"} if d["label"] != d["given_label"] else d for d in document["decisions"]]
    decisions.write_text(json.dumps({**document, "decisions": strange}))
    report = tmp_path / "report.json"
    assert main([*common, str(tmp_path / "horses.csv"), "--report", str(report)]) == DONE
    low, high = json.loads(report.read_text())["noise_rate_interval"]
    assert low < (frame["label"] != truth)[:590].mean() < high
    assert (read(tmp_path / "horses.csv")["label"] == "horse").sum() == sum(d["label"] == "horse" for d in strange)


def test_no_file_is_written_twice_or_over_one_that_is_read(many, tmp_path, capsys):
    path, frame, truth = many
    assert main(["check", str(path), "--label", "label", "--epochs", "3", "--quiet"]) == DONE
    decisions, _ = answer(tmp_path, frame, truth, n=5)
    before = decisions.read_bytes()
    common = ["apply", str(path), str(decisions), "--label", "label", "--force", "--out"]
    assert main([*common, str(tmp_path / "o.csv"), "--report", str(tmp_path / "o.csv")]) == FAILED
    assert "must differ" in capsys.readouterr().err
    assert main([*common, str(decisions)]) == FAILED
    assert "decisions.json is read" in capsys.readouterr().err
    assert main(["export", str(path), "--label", "label", "--label-studio", str(tmp_path / "t.xml")]) == FAILED
    assert decisions.read_bytes() == before
    assert main([*common, str(tmp_path / "o.csv"), "--guarantee", "95"]) == FAILED
    assert "`--guarantee` must be" in capsys.readouterr().err


def test_checks_are_found_by_names_in_another_order(many, tmp_path, capsys):
    path, frame, truth = many
    common = ["--label", "label", "--id", "code"]
    assert main(["check", str(path), *common, "--epochs", "10", "--quiet"]) == DONE
    decisions, _ = answer(tmp_path, frame, truth)
    other, final, straight = tmp_path / "other.csv", tmp_path / "final.csv", tmp_path / "straight.csv"
    frame[::-1].to_csv(other, index=False)
    assert main(["apply", str(other), str(decisions), *common, "--out", str(final)]) == DONE
    assert "50 rows checked in order" in capsys.readouterr().out
    assert main(["apply", str(path), str(decisions), *common, "--out", str(straight)]) == DONE
    pd.testing.assert_frame_equal(read(final)[::-1].reset_index(drop=True), read(straight))


@pytest.fixture
def numbered(tmp_path):
    """A table whose ids count from 1, so that they are places of other rows, and what was decided about one row."""
    frame = pd.DataFrame({"id": range(1, 41), "x": np.arange(40) / 7, "label": ["a"] * 20 + ["b"] * 20})
    path, kept = tmp_path / "numbered.csv", tmp_path / "numbered-review.noisyfit"
    frame.to_csv(path, index=False)
    proba = np.random.RandomState(0).dirichlet([1, 1], 40)

    def judge(by_id):
        names = frame["id"].astype(str).to_numpy(str) if by_id else None
        write_verdict(kept, judge_labels(frame["label"], proba), KeptRows(np.arange(40), 40, "label", names))

    def decide(by_id, ending="json"):
        decision = {"row": 1, "index": 2 if by_id else 1, "given_label": "a", "proposed_label": "b"}
        decision |= {"decision": "accept", "label": "b"}
        decisions = tmp_path / f"decisions.{ending}"
        document = {"format": "noisyfit decisions", "version": 1, "decisions": [decision]}
        csv = pd.DataFrame([decision]).to_csv(index=False)
        decisions.write_text(csv if ending == "csv" else json.dumps(document))
        return decisions

    return path, judge, decide


@pytest.mark.parametrize("more", [[], ["--only-decided"], ["--judged", "numbered-review.noisyfit"]])
@pytest.mark.parametrize("by_id", [True, False])
def test_an_id_that_is_left_out_or_added_changes_no_other_row(numbered, tmp_path, monkeypatch, capsys, by_id, more):
    path, judge, decide = numbered
    monkeypatch.chdir(tmp_path)
    judge(by_id)
    apply = ["apply", str(path), str(decide(by_id)), "--label", "label", "--out", "final.csv", *more]
    ids = ["--id", "id"]
    assert main(apply + ids * (not by_id)) == FAILED
    assert f"was made {'with --id: name' if by_id else 'without --id, or'}" in capsys.readouterr().err
    assert not (tmp_path / "final.csv").exists()
    export = ["export", str(path), "--label", "label", "--label-studio", "tasks.json"]
    assert main(export + ids * (not by_id)) == FAILED
    assert main([*apply, "--only-decided"] + ids * by_id) == DONE
    assert np.flatnonzero(read("final.csv")["label"] != read(path)["label"]).tolist() == [1]


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_without_a_verdict_rows_with_names_are_not_taken_for_places(numbered, tmp_path, capsys, ending):
    path, _, decide = numbered
    apply = ["apply", str(path), str(decide(True, ending)), "--label", "label", "--out", str(tmp_path / "final.csv")]
    assert main(apply) == FAILED
    assert "Name the column of these names with --id" in capsys.readouterr().err
    assert main([*apply, "--id", "id"]) == DONE


def test_decisions_of_a_page_without_ids_do_not_fit_a_verdict_with_ids(numbered, tmp_path, capsys):
    path, judge, decide = numbered
    judge(True)
    apply = ["apply", str(path), str(decide(False)), "--label", "label", "--out", str(tmp_path / "final.csv")]
    assert main([*apply, "--id", "id"]) == FAILED
    assert "has other rows under these names" in capsys.readouterr().err


def test_decisions_are_read_and_rows_found_once(numbered, tmp_path, monkeypatch):
    path, judge, decide = numbered
    judge(True)
    calls = Counter()
    for name in ("read_decisions", "find_decided", "_places"):
        told = partial(lambda name, call, *args: (calls.update([name]), call(*args))[1], name)
        monkeypatch.setattr(checked_files, name, partial(told, getattr(checked_files, name)))
    apply = ["apply", str(path), str(decide(True)), "--label", "label", "--out", str(tmp_path / "final.csv")]
    assert main([*apply, "--id", "id"]) == DONE
    assert calls == {"read_decisions": 1, "find_decided": 1, "_places": 1}


def test_what_was_said_of_another_table_is_not_used(many, table, tmp_path, capsys):
    path, frame, truth = many
    assert main(["check", str(path), "--label", "label", "--epochs", "5", "--quiet"]) == DONE
    decisions, rows = answer(tmp_path, frame, truth)
    changed = tmp_path / "changed.csv"
    row = next(row for row in range(600) if row not in rows)
    other = {"dog": "cat", "cat": "dog"}[frame["label"][row]]
    frame.assign(label=np.where(np.arange(600) == row, other, frame["label"])).to_csv(changed, index=False)
    judged = str(tmp_path / "pets-review.noisyfit")
    common = ["apply", str(changed), str(decisions), "--label", "label", "--out", str(tmp_path / "final.csv")]
    assert main([*common, "--judged", judged]) == FAILED
    assert "is about other labels" in capsys.readouterr().err
    assert main(common) == DONE
    assert "only decided labels are changed" in capsys.readouterr().out
    (tmp_path / "bad.noisyfit").write_bytes(b"nothing")
    assert main([*common, "--force", "--judged", str(tmp_path / "bad.noisyfit")]) == FAILED
    assert "bad.noisyfit is not a file of noisyfit" in capsys.readouterr().err


def test_there_and_back_by_label_studio(many, tmp_path, capsys):
    """Tasks are exported, each gets an annotation by the truth, and their export settles the rest."""
    path, frame, truth = many
    tasks, common = tmp_path / "tasks.json", ["--label", "label", "--id", "code"]
    export = ["export", str(path), *common, "--label-studio", str(tasks), "--rows", "30"]
    assert main(export) == FAILED
    assert "Run noisyfit check" in capsys.readouterr().err
    assert main(["check", str(path), *common, "--epochs", "10", "--quiet"]) == DONE
    assert main(export) == DONE
    interface = (tmp_path / "tasks.xml").read_text()
    assert '<Choice value="dog" />' in interface
    annotated = json.loads(tasks.read_text())
    assert len(annotated) == 30
    by_name = dict(zip(frame["code"], truth, strict=True))
    for task in annotated:
        assert task["predictions"][0]["model_version"].startswith("noisyfit")
        assert 0 <= task["predictions"][0]["score"] <= 1
        chosen = {"from_name": "checked_label", "to_name": "sample", "type": "choices"}
        result = [chosen | {"value": {"choices": [by_name[task["data"]["index"]]]}}]
        task["annotations"] = [{"result": result, "was_cancelled": False, "ground_truth": False}]
    answers, final = tmp_path / "answers.json", tmp_path / "final.csv"
    answers.write_text(json.dumps(annotated))
    assert main(["apply", str(path), str(answers), *common, "--out", str(final)]) == DONE
    assert "30 rows checked in order" in capsys.readouterr().out
    assert (read(final)["label"][:590] == truth[:590]).mean() > 0.85


def test_images_are_handed_to_label_studio(folder, tmp_path):
    review = tmp_path / "images-review.html"
    assert main(["check", str(folder), "--size", "8", "--epochs", "5", "--quiet"]) == DONE
    assert review.exists()
    tasks = tmp_path / "tasks.json"
    arguments = ["export", str(folder), "--label-studio", str(tasks), "--rows", "5", "--image-prefix", "/data/"]
    assert main(arguments) == DONE
    assert all(task["data"]["image"].startswith("/data/") for task in json.loads(tasks.read_text()))


def test_files_with_the_longest_names_are_all_written(many, tmp_path, capsys):
    path, frame, truth = many
    long = [tmp_path / f"{letter * (255 - len('.noisyfit'))}{end}" for letter, end in zip("rjco", ENDINGS, strict=True)]
    review, report, cleaned, final = long
    common, written = ["--label", "label"], ["--review", str(review), "--report", str(report)]
    assert clean(path, *common, *written, "--out", cleaned, "--quiet") == DONE
    decisions, _ = answer(tmp_path, frame, truth, name=review.stem)
    assert main(["apply", str(path), str(decisions), *common, "--out", str(final)]) == DONE
    tasks = tmp_path / f"{'t' * 250}.json"
    assert main(["export", str(path), *common, "--label-studio", str(tasks)]) == DONE
    assert capsys.readouterr().err == ""
    made = [*long, review.with_suffix(".noisyfit"), tasks, tasks.with_suffix(".xml"), path, decisions]
    assert sorted(tmp_path.iterdir()) == sorted(made)


def test_random_labels_are_refused_with_an_exit_code_of_their_own(tmp_path, capsys):
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(rng.randn(300, 3), columns=list("abc")).assign(label=rng.randint(3, size=300))
    frame.to_csv(tmp_path / "train.csv", index=False)
    out = tmp_path / "out.csv"
    assert clean(tmp_path / "train.csv", "--label", "label", "--out", out) == REFUSED
    assert "correction refused" in capsys.readouterr().out
    assert read(out)["label"].tolist() == frame["label"].astype(str).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clean", "{csv}", "--out", "o.csv"], "--label is needed"),
        (["clean", "{csv}", "--label", "label"], "--out is needed"),
        (["clean", "{csv}", "--label", "lable", "--out", "o.csv"], "no column 'lable'. Is it 'label'?"),
        (["clean", "none.csv", "--label", "x", "--out", "o.csv"], "none.csv is not there"),
        (["clean", "{csv}", "--label", "label", "--out", "no/o.csv"], "The folder of no/o.csv is not there"),
        (
            ["clean", "{csv}", "--label", "label", "--out", "o.csv", "--review", "o.csv"],
            "to write must differ",
        ),
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--drop", "x"], "no column 'x'"),
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--id", "shape"], "must name each row"),
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--epochs", "0"], "--epochs must be at least 1"),
        (["clean", "{folder}", "--out", "o.csv", "--size", "4"], "--size must be at least 8 pixels, got 4"),
        (["clean", "{folder}", "--out", "o.csv"], "one folder of images per label"),
        (["check", "{csv}"], "--label is needed"),
        (["check", "{csv}", "--label", "label", "--report", "train-review.html"], "to write must differ"),
        (["export", "{csv}", "--label-studio", "t.json"], "--label is needed"),
        (["export", "{csv}", "--label", "label", "--label-studio", "{csv}"], "is there already"),
    ],
)
def test_wrong_commands_say_what_to_do(table, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    filled = [argument.format(csv=table[0], folder=tmp_path / "folder") for argument in arguments]
    assert main(filled) == FAILED
    assert message in capsys.readouterr().err


def test_a_cleaned_file_is_not_cleaned_again(table, tmp_path, capsys):
    path, frame, _ = table
    frame.assign(label_status="kept").to_csv(path, index=False)
    assert clean(path, "--label", "label", "--out", tmp_path / "o.csv") == FAILED
    assert "has been cleaned before" in capsys.readouterr().err


def test_an_image_that_cannot_be_read_is_named(folder, tmp_path, capsys):
    (folder / "dark" / "broken.png").write_bytes(b"no image")
    assert clean(folder, "--out", tmp_path / "o.csv", "--quiet") == FAILED
    assert "broken.png is no image" in capsys.readouterr().err


def test_links_are_followed_on_request_only(folder, tmp_path, capsys):
    (tmp_path / "broken").write_bytes(b"no image")
    (folder / "dark" / "link.png").symlink_to(tmp_path / "broken")
    assert clean(folder, "--dry-run", "--quiet", "--follow-links") == FAILED
    assert "link.png is no image" in capsys.readouterr().err
    export = ["export", str(folder), "--label-studio", str(tmp_path / "tasks.json")]
    assert main(export) == FAILED
    assert "1 symbolic links: --follow-links takes them in" in capsys.readouterr().err
    assert main([*export, "--follow-links"]) == FAILED
    assert "symbolic" not in capsys.readouterr().err


def small(tmp_path, header="x,name,label", rows=40, delimiter=",", label=("a", "b"), name="n{}"):
    """Write a small table; give its path and text."""
    lines = [delimiter.join([f"{i / 7:.3f}", name.format(i % 3), label[i % 2]]) for i in range(rows)]
    path, text = tmp_path / "small.csv", "\n".join([header, *lines, ""])
    path.write_bytes(text.encode())
    return path, text


@pytest.mark.usefixtures("at_once")
def test_a_carriage_return_in_a_cell_stays_in_its_cell(tmp_path):
    path, _ = small(tmp_path, name='"one\rtwo {}"')
    out, final, decisions = tmp_path / "out.csv", tmp_path / "final.csv", tmp_path / "decisions.csv"
    assert clean(path, "--label", "label", "--out", out, "--quiet") == DONE
    assert read(out)["name"].tolist() == [f"one\rtwo {i % 3}" for i in range(40)]
    decisions.write_text("row,index,given_label,proposed_label,decision,label\n2,2,a,b,accept,b\n")
    assert main(["apply", str(path), str(decisions), "--label", "label", "--out", str(final)]) == DONE
    lines = path.read_bytes().split(b"\n")
    assert final.read_bytes().split(b"\n") == [*lines[:3], lines[3][:-1] + b"b", *lines[4:]]


def test_a_file_that_appears_while_it_trains_stays_and_nothing_is_lost(tmp_path, capsys, monkeypatch):
    path, _ = small(tmp_path)
    out = tmp_path / "out.csv"

    class Slow(StandIn):
        def fit(self, X, y):
            out.write_text("somebody's")
            return super().fit(X, y)

    monkeypatch.setattr(cli, "JointOptimizationClassifier", Slow)
    assert clean(path, "--label", "label", "--out", out, "--quiet") == FAILED
    assert out.read_text() == "somebody's"
    assert len(read(tmp_path / "out-1.csv")) == 40
    assert f"what was to go to {out} is in {tmp_path / 'out-1.csv'}" in capsys.readouterr().err


@pytest.mark.usefixtures("at_once")
def test_ctrl_c_says_what_was_written(tmp_path, capsys, monkeypatch):
    path, _ = small(tmp_path)
    out, report = tmp_path / "out.csv", tmp_path / "report.json"

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "write_report", interrupt)
    assert clean(path, "--label", "label", "--out", out, "--report", report, "--quiet") == INTERRUPTED
    assert capsys.readouterr().err == f"noisyfit: interrupted, written: {out}\n"
    assert not report.exists()
    monkeypatch.setattr(cli, "as_numbers", interrupt)
    assert clean(path, "--label", "label", "--out", out, "--force", "--quiet") == INTERRUPTED
    assert capsys.readouterr().err == "noisyfit: interrupted, nothing was written\n"


@pytest.mark.usefixtures("at_once")
def test_input_and_output_may_not_be_one_file(tmp_path, capsys):
    path, text = small(tmp_path)
    (tmp_path / "link.csv").symlink_to(path)
    assert clean(path, "--label", "label", "--out", tmp_path / "link.csv", "--force") == FAILED
    assert "small.csv is read" in capsys.readouterr().err
    both = ["--out", tmp_path / "p.noisyfit", "--review", tmp_path / "p.html"]
    assert clean(path, "--label", "label", *both) == FAILED
    assert "must differ" in capsys.readouterr().err
    decisions, kept = tmp_path / "decisions.csv", tmp_path / "old.noisyfit"
    decisions.write_text("row,index,given_label,proposed_label,decision,label\n")
    kept.write_text("kept")
    assert main(["apply", str(path), str(decisions), "--label", "label", "--out", str(kept), "--force"]) == FAILED
    assert "old.noisyfit is read" in capsys.readouterr().err
    assert (path.read_text(), kept.read_text()) == (text, "kept")


@pytest.mark.usefixtures("at_once")
def test_cells_that_a_spreadsheet_may_run_are_warned_of_or_made_text(tmp_path, capsys):
    path, _ = small(tmp_path, label=("=1+1", "ok"), name="-{}")
    exact, safe, final = (tmp_path / f"{name}.csv" for name in ("exact", "safe", "final"))
    assert clean(path, "--label", "label", "--out", exact, "--quiet") == DONE
    said = capsys.readouterr().err
    count = sum(cell == "=1+1" for column in read(exact).values for cell in column)
    assert f"warning: {exact} has {count} cells that a spreadsheet may run as formulas, the first '=1+1'" in said
    assert "column 'label'" in said
    assert "line 2" in said
    assert clean(path, "--label", "label", "--out", safe, "--quiet", "--safe-cells") == DONE
    assert capsys.readouterr().err == ""
    pd.testing.assert_frame_equal(read(safe), read(exact).replace("=1+1", "'=1+1"))
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("row,index,given_label,proposed_label,decision,label\n1,1,ok,=1+1,accept,=1+1\n")
    assert main(["apply", str(path), str(decisions), "--label", "label", "--out", str(final), "--safe-cells"]) == DONE
    assert (read(final)["label"] == "'=1+1").sum() == 21
    assert "warning" not in capsys.readouterr().err


@pytest.mark.usefixtures("at_once")
def test_names_of_folders_are_cells_like_others(folder, tmp_path, capsys):
    (folder / "dark").rename(folder / "=1\r2")
    assert clean(folder, "--out", tmp_path / "o.csv", "--size", 8, "--quiet") == DONE
    found = read(tmp_path / "o.csv")
    count = sum(cell.startswith("=") for column in found.values for cell in column)
    assert f"has {count} cells that a spreadsheet may run" in capsys.readouterr().err
    assert len(found) == 60
    assert set(found["given_label"]) == {"bright", "=1\r2", ""}
    assert clean(folder, "--out", tmp_path / "s.csv", "--size", 8, "--quiet", "--safe-cells") == DONE
    assert set(read(tmp_path / "s.csv")["given_label"]) == {"bright", "'=1\r2", ""}


@pytest.mark.usefixtures("at_once")
def test_the_delimiter_is_found_or_named(tmp_path, capsys):
    path, text = small(tmp_path, "size, mm, cm;name;label", delimiter=";", name="n,{}")
    out = tmp_path / "out.csv"
    assert clean(path, "--label", "label", "--out", out, "--quiet") == DONE
    assert out.read_text().split("\n")[0] == "size, mm, cm;name;label;label_given;label_status;label_confidence"
    path.write_text(text.replace(";", "#"))
    assert clean(path, "--label", "label", "--out", out, "--force") == FAILED
    assert "--delimiter names another" in capsys.readouterr().err
    assert clean(path, "--label", "label", "--out", out, "--force", "--quiet", "--delimiter", "#") == DONE
    path.write_text(text.replace(";", "\t"))
    assert clean(path, "--label", "label", "--out", out, "--force", "--quiet", "--delimiter", "tab") == DONE
    for wrong in ("", '"', "::", "\n"):
        with pytest.raises(SystemExit, match="2"):
            clean(path, "--label", "label", "--out", out, "--delimiter", wrong)
    assert "must be one character" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "inf"}, "line 2: column 'name' holds 'inf'. Numbers must be finite"),
        ({"name": "{}e50"}, "line 3: column 'name' holds '1e50'. Numbers must"),
        ({"label": ("a", "a\0")}, r"line 3: column 'label' holds 'a\x00', with a NUL character"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_line_before_training(tmp_path, capsys, change, message):
    path, _ = small(tmp_path, **change)
    assert clean(path, "--label", "label", "--out", tmp_path / "o.csv", "--quiet") == FAILED
    assert f"{path}, {message}" in capsys.readouterr().err


def test_an_infinite_number_in_a_column_that_is_left_out_does_not_matter(tmp_path, at_once):
    path, _ = small(tmp_path, name="inf")
    assert clean(path, "--label", "label", "--out", tmp_path / "o.csv", "--drop", "name", "--quiet") == DONE


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_text_and_terminals_that_know_few_letters(tmp_path, monkeypatch, encoding):
    """All is written and told, in a folder whose name is not UTF-8 as well."""
    folder = tmp_path / os.fsdecode(b"fol\xffder")
    folder.mkdir()
    path, _ = small(folder, label=("é", "日"))
    outputs = ["--out", folder / "o.csv", "--review", folder / "r.html", "--report", folder / "r.json"]
    terminal = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["clean", str(path), "--label", "label", "--epochs", "2", *map(str, outputs)]) in (DONE, REFUSED)
    assert sorted(os.listdir(folder)) == ["o.csv", "r.html", "r.json", "r.noisyfit", "small.csv"]
    terminal.flush()
    assert terminal.buffer.getvalue().count(b"fol\\udcffder") == 4
    assert terminal.errors == "strict"


def test_the_module_is_the_command(monkeypatch, capsys):
    for argument, code in (("--help", DONE), ("tidy", 2)):
        monkeypatch.setattr(sys, "argv", ["noisyfit", argument])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("noisyfit", run_name="__main__")
        assert ended.value.code == code
    said = capsys.readouterr()
    assert "clean" in said.out
    assert "tidy" in said.err
