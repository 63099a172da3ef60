from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noisyfit.command.checked_files import ids_of
from noisyfit.command.tables import (
    CsvTable,
    ParquetTable,
    as_numbers,
    check_ending,
    check_values,
    choose_features,
    labels_of,
    read_table,
    write_csv,
)

CSV = 'id;name;label;x\r\n007;"a;b\r\nc";cat;1.50\r\n008;"say ""no""";;NA\r\n009; é ;dog;3\r\n'


def csv_table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path)


def test_a_csv_file_is_written_as_it_was_but_for_the_new_columns(tmp_path):
    table = csv_table(tmp_path, CSV, "utf-8-sig")
    assert (len(table), table.columns) == (3, ["id", "name", "label", "x"])
    assert table.values("label") == ["cat", None, "dog"]
    out = tmp_path / "out.csv"
    table.write(out, {})
    assert out.read_bytes() == CSV.encode("utf-8-sig")
    table.write(out, {"label": ["cat", "cat", None], "label_status": ["kept", "proposed", "kept"]})
    expected = CSV.replace("label;x", "label;x;label_status").replace("cat;1.50", "cat;1.50;kept")
    expected = expected.replace(";;NA", ";cat;NA;proposed").replace("dog;3", ";3;kept")
    assert out.read_bytes().decode("utf-8-sig") == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path, delimiter):
    table = csv_table(tmp_path, "a,b\n1,x\n2,y\n".replace(",", delimiter))
    assert table.columns == ["a", "b"]
    table.write(tmp_path / "out.csv", {"b": ["u", "v"]})
    assert (tmp_path / "out.csv").read_text() == "a,b\n1,u\n2,v\n".replace(",", delimiter)


def test_numbers_of_a_csv_file_are_numbers_and_gaps_are_gaps(tmp_path):
    frame = csv_table(tmp_path, CSV).frame()
    assert frame["x"].tolist()[::2] == [1.5, 3.0]
    assert frame["x"].isna().tolist() == [False, True, False]
    assert frame["name"].tolist() == ["a;b\r\nc", 'say "no"', " é "]


def test_a_parquet_file_keeps_types_order_index_and_metadata(tmp_path):
    frame = pd.DataFrame(
        {
            "x": pd.array([1, None, 3], dtype="Int16"),
            "label": pd.Categorical(["a", "b", None], categories=["b", "a", "unused"]),
            "when": pd.to_datetime(["2020-01-01", "2021-01-01", None]),
        },
        index=pd.Index(["r1", "r2", "r3"], name="key"),
    )
    path, out = tmp_path / "table.parquet", tmp_path / "out.parquet"
    frame.to_parquet(path)
    table = read_table(path)
    assert table.values("label") == ["a", "b", None]
    assert list(table.frame().columns) == ["x", "label", "when", "key"]
    table.write(out, {})
    assert pq.read_table(out).schema.equals(pq.read_table(path).schema, check_metadata=True)
    table.write(out, {"label": ["b", "b", "a"], "label_status": ["changed", "kept", "proposed"]})
    written = pd.read_parquet(out)
    pd.testing.assert_frame_equal(written[["x", "when"]], frame[["x", "when"]])
    assert written["label"].dtype == frame["label"].dtype
    assert written["label"].tolist() == ["b", "b", "a"]
    assert written["label_status"].tolist() == ["changed", "kept", "proposed"]


@pytest.mark.parametrize("kind", [pa.int8(), pa.float32(), pa.string(), pa.bool_()])
def test_labels_of_a_parquet_file_keep_their_type(tmp_path, kind):
    values = {pa.string(): ["a", "b"], pa.bool_(): [True, False]}.get(kind, [1, 2])
    pq.write_table(pa.table({"label": pa.array([*values, None], kind)}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    table.write(tmp_path / "out.parquet", {"label": [*values[::-1], values[0]]})
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.schema.field("label").type == kind
    assert written.column("label").to_pylist() == [*values[::-1], values[0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", r"table\.csv, line 3: 1 cells, but there are 2 columns"),
        ("a,a\n1,2\n", "columns of one name: 'a'"),
        ('a,b\n1,"2"3\n', "line 2"),
        ('a,b\n1,"2\n', "line 2"),
    ],
)
def test_bad_csv_files_are_named_with_their_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        csv_table(tmp_path, text)


def test_other_encodings_are_named_with_their_line(tmp_path):
    with pytest.raises(ValueError, match=r"table\.csv is not UTF-8 in line 2.*Save it as UTF-8"):
        csv_table(tmp_path, "a,b\né,1\n", "latin-1")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named(tmp_path, encoding):
    with pytest.raises(ValueError, match="UTF-16, it seems. Save it as UTF-8"):
        csv_table(tmp_path, "a,b\n1,2\n", encoding)


def test_a_table_may_have_thousands_of_columns(tmp_path):
    names = [f"c{i}" for i in range(2000)]
    table = csv_table(tmp_path, "\n".join([",".join(names), ",".join("1" * 2000), ",".join("2" * 2000)]))
    assert table.frame().shape == (2, 2000)
    with pytest.raises(ValueError, match=r"no column 'd'.* It has 'c0', .*'c29' and 1,970 more\."):
        labels_of(table, "d")


def test_half_a_character_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"A label holds '\\ud800', half a character"):
        csv_table(tmp_path, "a,b\n1,2\n").write(tmp_path / "out.csv", {"b": ["\ud800"]})
    with pytest.raises(ValueError, match="column 'b' cannot hold a new value"):
        parquet_table(tmp_path, a=["1"], b=["2"]).write(tmp_path / "out.pq", {"b": ["\ud800"]})
    with pytest.raises(ValueError, match="column 'b' cannot hold a new value"):
        parquet_table(tmp_path, a=["1"], b=pa.array([2], pa.int8())).write(tmp_path / "out.pq", {"b": [300]})
    assert not (tmp_path / "out.csv").exists()


def test_columns_are_written_as_a_table_of_text(tmp_path):
    columns = {"path": ["a,b", 'x"', "\r", "=1"], "share": [0.5, None, 1, 2]}
    assert "1 cells that a spreadsheet may run" in write_csv(tmp_path / "out.csv", columns)
    assert (tmp_path / "out.csv").read_bytes() == b'path,share\n"a,b",0.5\n"x""",\n"\r",1\n=1,2\n'
    assert write_csv(tmp_path / "out.csv", columns, safe_cells=True) == ""
    assert (tmp_path / "out.csv").read_bytes().endswith(b"'=1,2\n")


def test_a_table_is_written_in_its_own_kind(tmp_path):
    for out, source in (("o.parquet", "t.csv"), ("o.CSV", "t.pq"), ("o.pq", "images")):
        with pytest.raises(ValueError, match="must not end in .* it is written in the kind"):
            check_ending(tmp_path / out, tmp_path / source)
    for out, source in (("o.tsv", "t.csv"), ("o", "t.pq"), ("o.parquet", "t.pq"), ("o.csv", "images")):
        check_ending(tmp_path / out, tmp_path / source)


def parquet_table(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    return read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([[1.0], None, [2.0]], r"\[1.0\]"),
        ([{"u": 1}, {"u": 2}, {"u": 3}], r"\{'u': 1\}"),
        ([1.0, None, float("-inf")], "-inf"),
        (pa.array([None, None, 1e39]), r"1e\+39"),
        ([1, None, decimal.Decimal("1e39")], r"Decimal\('1"),
    ],
)
def test_what_cannot_be_learned_from_is_named_with_column_and_row(tmp_path, values, held):
    table = parquet_table(tmp_path, x=[1.0, 2.0, float("nan")], y=pa.array(values))
    with pytest.raises(ValueError, match=rf"t\.parquet, row [02], counted from 0: column 'y' holds {held}.*--drop"):
        check_values(table, table.frame())


def test_numbers_are_not_looked_through_one_by_one(tmp_path, monkeypatch):
    table = parquet_table(tmp_path, x=[1.0, 2.0], y=pa.array([1.0, 1e38], pa.float32()), z=[1.0, 1e39])
    frame = table.frame()
    monkeypatch.setattr(pd.Series, "__iter__", None)
    check_values(table, frame[["x", "y"]])
    check_values(table, frame[["x"]].astype("Float64").replace(2.0, pd.NA))
    with pytest.raises(ValueError, match="row 1, counted from 0: column 'z' holds 1e"):
        check_values(table, frame)


def test_all_other_kinds_of_columns_can_be_learned_from(tmp_path):
    day = datetime.datetime(2020, 1, 1)
    kinds = {
        "bytes": [b"a", b"b"],
        "decimal": [decimal.Decimal("1.5"), None],
        "date": [day.date(), None],
        "time": [day.time(), None],
        "span": [day - day, None],
        "day": [day, None],
        "flag": [True, None],
        "int": [1, None],
        "text": ["a", None],
        "large": pa.array([2**64 - 1, 1], pa.uint64()),
        "half": pa.array(np.array([1, 2], np.float16)),
        "category": pa.array(["a", "b"]).dictionary_encode(),
        "nothing": pa.nulls(2),
    }
    table = parquet_table(tmp_path, **kinds)
    frame = table.frame()
    check_values(table, frame)
    assert np.isfinite(as_numbers(choose_features(frame, ["nothing"]), frame)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1], [2]], r"\[1\], of type list\. Labels must be text"),
        ([{"u": 1}, {"u": 2}], "of type dict"),
        ([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)], "of type date"),
        ([decimal.Decimal(1), decimal.Decimal(2)], "of type Decimal"),
        ([b"a", b"b"], "of type bytes"),
        (["a", "a\0"], r"'a\\x00', with a NUL character"),
        ([1.0, float("inf")], "inf, which is no number"),
    ],
)
def test_values_that_are_no_labels_are_named_with_their_row(tmp_path, labels, message):
    table = parquet_table(tmp_path, label=labels * 2)
    with pytest.raises(ValueError, match=rf"t\.parquet, row [01], counted from 0: column 'label' holds .*{message}"):
        labels_of(table, "label")


def test_names_of_rows_are_looked_through_with_their_line(tmp_path):
    with pytest.raises(ValueError, match="line 4: column 'a' must name each row, got 'x' for several"):
        ids_of(csv_table(tmp_path, "a,b\nx,1\n\nx,2\n"), "a")
    with pytest.raises(ValueError, match="line 3: column 'a' must name each row, got None"):
        ids_of(csv_table(tmp_path, "a,b\nx,1\n ,2\n"), "a")
    with pytest.raises(ValueError, match=r"line 3: column 'a' must name each row, got 'x\\x00'"):
        ids_of(csv_table(tmp_path, "a,b\nx,1\nx\0,2\n"), "a")
    with pytest.raises(ValueError, match=r"row 0, counted from 0: column 'a' must name each row, got \[1\]"):
        ids_of(parquet_table(tmp_path, a=[[1], [2]]), "a")


def test_text_of_a_parquet_file_must_be_utf_8(tmp_path):
    wrong = pa.array([b"\xff", b"a"], pa.binary()).view(pa.string())
    with pytest.raises(ValueError, match="no Parquet file that can be read.*Invalid UTF8 sequence at string index 0"):
        parquet_table(tmp_path, a=wrong)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        read_table(tmp_path / "table.xlsx")
    (tmp_path / "table.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="no Parquet file"):
        read_table(tmp_path / "table.parquet")


def test_columns_that_are_no_labels(tmp_path):
    rows = "".join(f"{i},{i % 2},c\n" for i in range(30))
    table = csv_table(tmp_path, "price,label,one\n" + rows)
    assert labels_of(table, "label") == ["0", "1"] * 15
    with pytest.raises(ValueError, match=r"no column 'lable'. Is it 'label'\? It has 'price', 'label', 'one'"):
        labels_of(table, "lable")
    with pytest.raises(ValueError, match="30 different values in 30 rows"):
        labels_of(table, "price")
    with pytest.raises(ValueError, match="2 different labels"):
        labels_of(table, "one")


@pytest.fixture
def frame():
    rng, n = np.random.RandomState(0), 60
    words = np.array(["red", "green", "blue", "dark", "light", "sky"])
    return pd.DataFrame(
        {
            "row": np.arange(n),
            "row as float": np.where(np.arange(n) == 5, np.nan, np.arange(n)),
            "code": [f"A{i:03}" for i in range(n)],
            "text": [" ".join(words[rng.randint(6, size=5)]) + f" {i}" for i in range(n)],
            "day": [str(datetime.date(2020, 1, 1) + datetime.timedelta(days=i)) for i in range(n)],
            "stamp": pd.date_range("2020", periods=n),
            "weight": rng.randn(n),
            "gaps": np.where(rng.rand(n) < 0.5, np.nan, rng.rand(n)),
            "colour": pd.Categorical(words[rng.randint(3, size=n)]),
            "flag": rng.rand(n) < 0.5,
            "empty": np.nan,
            "phrase": np.array(["a b c", "d e f"])[rng.randint(2, size=n)],
        }
    )


def test_identifiers_and_empty_columns_are_left_out(frame):
    features = choose_features(frame, drop=["weight"])
    assert set(features.left_out) == {"row", "row as float", "code", "empty"}
    assert set(features.used) == set(frame) - set(features.left_out) - {"weight"}
    assert "code" in choose_features(frame, [], keep=["code"]).used
    assert not choose_features(frame.head(10)[["row", "weight"]], []).left_out  # too few to judge


def test_features_are_numbers_without_gaps(frame):
    X = as_numbers(choose_features(frame, []), frame)
    assert X.dtype == np.float32
    assert X.shape[0] == len(frame)
    assert np.isfinite(X).all()


def test_no_column_left(frame):
    with pytest.raises(ValueError, match=r"No column is left to learn from. Left out: 'row' \(different in every row"):
        choose_features(frame[["row", "weight"]], ["weight"])


def test_kinds(tmp_path):
    assert isinstance(csv_table(tmp_path, "a,b\n1,2\n"), CsvTable)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.pq")
    assert isinstance(read_table(tmp_path / "t.pq"), ParquetTable)
