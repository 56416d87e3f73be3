from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import csv as writer
from reports.csv import MULTI_LINE_COLUMNS, write_csv
from reports.table import DATE_COLUMNS, FORMULA_TRIGGERS, safe_text


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


# Every byte as Python's own csv writes it


def by_csv_writer(frame: pd.DataFrame) -> bytes:
    """The oracle: value by value."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(frame.columns)
    for position in range(len(frame)):
        lines.writerow([field(frame[name].iloc[position], name) for name in frame.columns])
    return text.getvalue().encode()


def field(value: object, column: str) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d" if column in DATE_COLUMNS else "%Y-%m-%dT%H:%M:%SZ")
    if str(value) in ("True", "False") and not isinstance(value, str):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    lines = value.split("\n") if column in MULTI_LINE_COLUMNS else [value]
    text = "\n".join(map(safe_text, lines))
    return f"'{text}" if text.startswith((*FORMULA_TRIGGERS, "'")) else text


HOSTILE = (
    *("alice", "", " ", "a,b", 'a"b', '"', '""', ",", "a\nb", "a\r\nb", "\r", "\n=1", "'x", "''", "=1+1", "+1", "-1"),
    *(
        "@x",
        "\t=1",
        "\0",
        "＝1",
        'x,"y"\n=z',
        "\ud800",
        "\uffff",
        "\u2028",
        "Zürich 日本 😀",
        "NA",
        "nan",
        "TRUE",
        "1E5",
    ),
)
MOMENTS = (
    *("2026-08-25T06:15:00Z", None, "1969-12-31T23:59:59Z", "1900-01-01T00:00:00Z", "2199-12-31T23:59:59Z"),
    *("9999-12-31T23:59:59Z", "1000-01-01T00:00:00Z", "2026-08-25T06:15:00Z", "2024-02-29T12:00:01Z"),
)


def hostile_frame(texts: list[str | None], unit: str = "s") -> pd.DataFrame:
    def cycle(values: tuple[object, ...]) -> list[object]:
        return [values[number % len(values)] for number in range(len(texts))]

    moments = pd.to_datetime(pd.Series(cycle(MOMENTS), dtype="object"), utc=True).astype(f"datetime64[{unit}, UTC]")
    return pd.DataFrame(
        {
            "user": pd.Series(texts, dtype="string"),
            'name, or "nick"': pd.Series(texts, dtype="string"),
            "fix": pd.Series(texts, dtype="string"),
            "object": pd.Series(texts, dtype="object"),
            "credential": pd.Categorical(cycle(("password", "access_key_1"))),
            "last_rotated": moments,
            "due_on": moments,
            "active": pd.Series(cycle((True, False, pd.NA)), dtype="boolean"),
            "is_root": pd.Series(cycle((True, False)), dtype="bool"),
            "age_days": pd.Series(cycle((0, -45_474, pd.NA, 2**53)), dtype="Int64"),
            "attempts": pd.Series(cycle((1, 2)), dtype="int64"),
        }
    )


@pytest.mark.parametrize("unit", ["s", "us"])
@pytest.mark.parametrize("rows", [1, 7, 20_000])
def test_hostile_tables_are_written_as_csv_writes_them(
    unit: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHUNK_ROWS", rows)
    frame = hostile_frame([*HOSTILE, None] * 2, unit)

    write_csv(frame, tmp_path / "t.csv")

    assert (tmp_path / "t.csv").read_bytes() == by_csv_writer(frame)


@pytest.mark.parametrize("text", ["", None, "a"])
def test_a_table_of_one_column_is_written_as_csv_writes_it(text: str | None, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": pd.Series([text, "b"], dtype="string")})

    write_csv(frame, tmp_path / "t.csv")

    assert (tmp_path / "t.csv").read_bytes() == by_csv_writer(frame)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=30))
def test_any_text_is_written_as_csv_writes_it(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    frame = hostile_frame([*texts])
    path = tmp_path_factory.mktemp("csv") / "t.csv"

    write_csv(frame, path)

    assert path.read_bytes() == by_csv_writer(frame)
