from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_iris

from noisyfit.cli import DONE, FAILED, REFUSED, main

N = 120
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
    return main(["clean", str(path), "--epochs", "25", *map(str, more)])


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
    assert clean(folder, "--out", out, "--review", review, "--size", 8, "--quiet") == DONE
    found = pd.read_csv(out, keep_default_na=False)
    assert list(found) == ["path", "given_label", "corrected_label", "status", "confidence", "label_quality"]
    truth = np.array(["dark", "bright"])[found["path"].str[-6:-4].astype(int) % 2]
    assert (found["corrected_label"] == truth).mean() > 0.9
    assert (found["status"] == "proposed").sum() == 2
    assert "data:image" in review.read_text()


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
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--review", "o.csv"], "must name two files"),
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--drop", "x"], "no column 'x'"),
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--id", "shape"], "must name each row"),
        (["clean", "{csv}", "--label", "label", "--out", "o.csv", "--epochs", "0"], "`max_epochs` must be"),
        (["clean", "{folder}", "--out", "o.csv", "--size", "4"], "--size must be at least 8 pixels, got 4"),
        (["clean", "{folder}", "--out", "o.csv"], "one folder of images per label"),
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


def test_the_command_and_the_module():
    done = subprocess.run([sys.executable, "-m", "noisyfit", "--help"], capture_output=True, text=True, check=True)
    assert "clean" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "noisyfit", "tidy"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
