from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from reports.csv import write_csv


def written(frame: pd.DataFrame, path: Path) -> list[list[str]]:
    """What another program reads: strictly by RFC 4180."""
    write_csv(frame, path)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def cell(value: object, path: Path, *, column: str = "user", dtype: str = "string") -> str:
    header, row = written(pd.DataFrame({column: pd.Series([value], dtype=dtype), "next": ["x"]}), path)
    assert header == [column, "next"]
    assert row[1] == "x"
    return row[0]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("alice", "alice"),
        ("=1+1", "'=1+1"),
        ('=HYPERLINK("http://example.com","click")', '\'=HYPERLINK("http://example.com","click")'),
        ("+alice", "'+alice"),
        ("-bob", "'-bob"),
        ("@SUM(1+1)", "'@SUM(1+1)"),
        ("＝1+1", "'＝1+1"),
        ("'quoted", "''quoted"),
        ("\t=1+1", r"\t=1+1"),
        ("\n=1+1", r"\n=1+1"),
        ("\0", r"\u0000"),
        ("x\u202ey", r"x\u202ey"),
        ('doe, "jane"', 'doe, "jane"'),
        ("NA", "NA"),
        ("null", "null"),
        ("012345678901", "012345678901"),
        ("Zürich", "Zürich"),
        (pd.NA, ""),
        ("", ""),
    ],
)
def test_no_text_is_a_formula_and_none_is_lost(text: object, stored: str, tmp_path: Path) -> None:
    assert cell(text, tmp_path / "t.csv") == stored


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("last_rotated", "2026-08-25T06:15:00Z", "2026-08-25T06:15:00Z"),
        ("last_rotated", None, ""),
        ("due_on", "2026-11-23T06:15:00Z", "2026-11-23"),
        ("due_on", None, ""),
    ],
)
def test_moments_are_iso_8601_and_due_is_a_day(column: str, value: str | None, stored: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({column: pd.to_datetime(pd.Series([value], dtype="object"), utc=True)})
    frame[column] = frame[column].astype("datetime64[s, UTC]")

    assert written(frame, tmp_path / "t.csv") == [[column], [stored]] if stored else [[column], []]


@pytest.mark.parametrize(
    ("value", "dtype", "stored"),
    [
        (True, "bool", "true"),
        (False, "boolean", "false"),
        (pd.NA, "boolean", ""),
        (93, "Int64", "93"),
        (-1, "Int64", "-1"),
        (pd.NA, "Int64", ""),
        ("access_key_1", "category", "access_key_1"),
    ],
)
def test_other_values_are_plain_and_missing_ones_empty(value: object, dtype: str, stored: str, tmp_path: Path) -> None:
    assert cell(value, tmp_path / "t.csv", column="value", dtype=dtype) == stored


def test_our_own_commands_keep_their_lines_and_nothing_else_does(tmp_path: Path) -> None:
    commands = "# step 1\naws iam list-access-keys --user-name 'a\tb'"

    assert cell(commands, tmp_path / "t.csv", column="fix") == commands.replace("\t", r"\t")
    assert "\n" not in cell(commands, tmp_path / "t.csv", column="reason")


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    assert written(pd.DataFrame({"a": pd.Series(dtype="string"), "b": []}), tmp_path / "t.csv") == [["a", "b"]]
