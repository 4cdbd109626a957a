from __future__ import annotations

from pathlib import Path

import pytest

from napari_followup.io.errors import ReadError
from napari_followup.io.table import Row, column_names, read_table, write_table


def test_rows_know_their_line_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n\n 1 ,"x, y"\n3\n')

    assert read_table(tmp_path / "a.csv") == [
        Row(3, {"a": "1", "b": "x, y"}),
        Row(4, {"a": "3", "b": ""}),
    ]


def test_columns_go_by_their_synonyms_whatever_their_case() -> None:
    found = column_names(["Patient-ID", "AGE"], {"subject": ("patient_id",), "age": ()})

    assert found == {"subject": "Patient-ID", "age": "AGE"}


def test_given_names_stand_above_synonyms_and_must_exist() -> None:
    synonyms = {"age": (), "date": ()}

    assert column_names(["age", "alter"], synonyms, {"age": "alter"}) == {"age": "alter"}
    with pytest.raises(ReadError, match="got 'years': 'age'; give one of age, date"):
        column_names(["age"], synonyms, {"years": "age"})


def test_rows_are_written_and_read_again(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", [{"a": 1, "b": "x, y"}, {"a": 2, "c": "ä"}])

    assert [dict(row.cells) for row in read_table(path)] == [
        {"a": "1", "b": "x, y", "c": ""},
        {"a": "2", "b": "", "c": "ä"},
    ]
