from __future__ import annotations

import csv
import io

import pytest

from noisyfit.files.delimited import DelimitedText, find_delimiter, read_lines


def text_of(text, delimiter=","):
    return DelimitedText(read_lines(text, delimiter), delimiter)


TEXTS = [
    "a,b\n1,2\n",
    'a,b\r\n"1",2\r\n\r\n"3""\r"," 4 "',
    "a,b\r1,2\r\r3,4\r",
    '\n\na,b\n5" disk,"x\ny"\n,""\n',
    'a\n\n"x,y"\n\n',
    'a,b\n"=1","\0"\n\x0b,\u2028\n',
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_not_changed_stays_as_it_stands(text):
    assert str(text_of(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_cells_say_what_another_reader_reads(text):
    found = text_of(text)
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    one = len(found.columns) == 1
    rows = [row or [""] for row in read if row or one]
    assert [list(row) for row in zip(*map(found.values, found.columns), strict=True)] == rows[1:]
    assert found.columns == rows[0]


def test_a_cell_is_replaced_in_its_own_quotes():
    text = text_of('a,label\n1,"x"\n2,x\n3,\n4,"  "\n5, x\n')
    new = text.with_columns({"label": ["y", 'y"', "y", None, " x"], "more": [1, "a,b", None, "\r", 0.5]})
    assert str(new) == 'a,label,more\n1,"y",1\n2,"y""","a,b"\n3,y,\n4,"  ","\r"\n5, x,0.5\n'


def test_a_label_that_is_removed_from_a_table_of_one_column_leaves_no_blank_line():
    assert str(text_of("label\nx\n\ny").with_columns({"label": [None, None, "z"]})) == 'label\n""\n\nz'


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a\tb\n1,5\t2\n", "\t"),
        ('id;"size, cm";"name, first, last";label\n1;2,5;x;y\n', ";"),
        ("id;size, cm, mm, x;label\n1;2;y\n2;3;y\n", ";"),
        ("a, b;c\n1,5;2\n2,5;3\n", ";"),  # both fit
        ('a;b,c\n1,"x;y"\n2,z\n', ","),
        ("a|b\nx;y|z\n", "|"),
        ("label\nx\ny\n", ","),
        ("a;b\n1\n", ";"),  # none fits
        ('a,b\n1,"2\n', ","),
        ("", ","),
    ],
)
def test_the_delimiter_is_found_by_lines_of_equal_length(text, delimiter):
    assert find_delimiter(text) == delimiter


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n\n"1\n2","3\n', "line 4: a quote that is not closed"),
        ('a,b\n"1\r\n2",3\n"4"4,5\n', "line 4: a quote that is not closed, or text behind"),
        ('a,b\n"1\n2",3\n4\n', "line 4: 1 cells, but there are 2 columns, divided by ','"),
        ("\n\r\n", "line 1: the file is empty"),
    ],
)
def test_errors_name_the_line(text, message):
    with pytest.raises(ValueError, match=message):
        text_of(text)


def test_long_cells_need_no_setting_of_the_process():
    limit = csv.field_size_limit()
    cell = 'x"' * 200_000
    text = text_of('a,b\n"' + cell.replace('"', '""') + '",1\n')
    assert text.values("a") == [cell]
    assert csv.field_size_limit() == limit < len(cell)


def test_formulas_are_found_and_become_text():
    cells = ["=1+1", "+A1", "-2+3", "@x", "\ty", "-1.5e3", "+1,5", "-", "=", "- ", " =1", "'=1", "-5%", "1-2"]
    text = text_of("=a\n" + "".join(f'"{cell}"\n' for cell in cells))
    assert [(line, column) for line, column, _ in text.formulas()] == [(line, "=a") for line in (1, 2, 3, 4, 5, 6, 11)]
    safe = text.without_formulas()
    assert safe.formulas() == []
    assert safe.values("'=a") == [f"'{cell}" if i < 5 or cell == "- " else cell for i, cell in enumerate(cells)]
