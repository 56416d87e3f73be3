"""findings.json: all that an assessment says, for programs; schema/findings-1.0.schema.json describes it.

Text is kept as its owner wrote it. The file is ASCII: a character that controls a terminal, or turns a line around, is
an escape in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from scanner.models import Assessment, Changes, CheckSummary, Rules, Run

SCHEMA_VERSION = "1.0"
"""The first number changes when a reader must change, the second when there is more to read."""
CHUNK_ROWS = 5_000
"""Rows that are in memory as Python values at a time."""
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)


def write_json(assessment: Assessment, path: Path) -> None:
    """Write one document; each row of a table stands on a line of its own."""
    controls = {check.check_id: to_json(_controls(check)) for check in assessment.checks}
    of_findings = {"controls": [controls[each] for each in assessment.findings["check"]]}
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f'{{\n"schema_version": {to_json(SCHEMA_VERSION)}')
        _member(file, "run", _run(assessment.run, assessment.reevaluated))
        _member(file, "checks", (to_json(_check(check)) for check in assessment.checks))
        _member(file, "findings", encoded_rows(assessment.findings, of_findings))
        _member(file, "accounts", encoded_rows(assessment.accounts))
        _member(file, "exemptions", encoded_rows(assessment.exemptions))
        _member(file, "due_soon", encoded_rows(assessment.due_soon))
        _member(file, "changes", _changes(assessment.changes))
        _member(file, "trend", None if assessment.trend is None else encoded_rows(assessment.trend))
        file.write("\n}\n")


def to_json(value: object) -> str:
    """The value in ASCII, on one line."""
    return _ENCODER.encode(value)


def plain_rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as JSON has them: None where a value is missing, moments ISO 8601 in UTC."""
    names = [str(name) for name in frame.columns]
    for start in range(0, len(frame), CHUNK_ROWS):
        chunk = frame.iloc[start : start + CHUNK_ROWS]
        for values in zip(*(_plain(chunk[name]) for name in frame.columns), strict=True):
            yield dict(zip(names, values, strict=True))


def encoded_rows(frame: pd.DataFrame, encoded: Mapping[str, Sequence[str]] | None = None) -> Iterator[str]:
    """The rows as JSON texts: column by column, each distinct text once; `encoded` has columns ready made."""
    encoded = encoded or {}
    keys = [f"{to_json(str(name))}: " for name in frame.columns]
    for start in range(0, len(frame), CHUNK_ROWS):
        chunk = frame.iloc[start : start + CHUNK_ROWS]
        columns = []
        for name in frame.columns:
            values = encoded[name][start : start + CHUNK_ROWS] if name in encoded else _encoded(_plain(chunk[name]))
            columns.append(values)
        for row in zip(*columns, strict=True):
            yield "{" + ", ".join(map(str.__add__, keys, row)) + "}"


def _encoded(values: list[Any]) -> list[str]:
    encode = cache(to_json)
    try:
        return [encode(value) for value in values]
    except TypeError:  # a list has no hash
        return [to_json(value) for value in values]


def _controls(check: CheckSummary) -> list[dict[str, str]]:
    """As each finding has them; what there is to say about them stands once, with the check."""
    return [{name: getattr(each, name) for name in ("framework", "version", "number")} for each in check.controls]


def _plain(values: pd.Series) -> list[Any]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        moments = values.dt.tz_convert(None).to_numpy().astype("datetime64[s]")
        texts = np.datetime_as_string(moments, unit="s").tolist()
        return [None if text == "NaT" else f"{text}Z" for text in texts]
    missing: Any = None
    plain: list[Any] = values.to_numpy(dtype=object, na_value=missing).tolist()
    return plain


def utc(moment: datetime) -> str:
    """`2026-11-23T06:15:00Z`; all of an assessment's moments are UTC and whole seconds."""
    return moment.isoformat().replace("+00:00", "Z")


def _member(file: TextIO, name: str, value: Any) -> None:
    """A member of the document; an iterator of JSON texts becomes an array, written as it comes."""
    file.write(f",\n{to_json(name)}: ")
    if not isinstance(value, Iterator):
        file.write(to_json(value))
        return
    file.write("[")
    for number, each in enumerate(value):
        file.write(f"{',' if number else ''}\n{each}")
    file.write("]")


def _run(run: Run, reevaluated: datetime | None) -> dict[str, Any]:
    """What a reader must know of the run; run.json has the rest."""
    rules = _rules().dump_python(run.rules, mode="json", exclude={"exemptions"})
    return {
        "run_id": run.run_id,
        "tool_version": run.tool_version,
        "organization_id": run.organization_id,
        "management_account_id": run.management_account_id,
        "caller": asdict(run.caller),
        "as_of": utc(run.as_of),
        "started": utc(run.started),
        "finished": utc(run.finished) if run.finished else None,
        "reevaluated": utc(reevaluated) if reevaluated else None,
        "complete": run.is_complete,
        "stopped_by": run.stopped_by,
        "resumed_from": run.resumed_from,
        "notes": list(run.notes),
        "counts": run.counts,
        "totals": run.totals,
        "rules": rules,
    }


@cache
def _rules() -> TypeAdapter[Rules]:
    """How rules stand in run.json, too; durations as ISO 8601 has them, such as P90D."""
    return TypeAdapter(Rules)


def _check(check: CheckSummary) -> dict[str, Any]:
    return {
        "id": check.check_id,
        "title": check.title,
        "severity": check.severity,
        "why": check.why,
        "controls": list(map(asdict, check.controls)),
        "verdicts": dict(check.verdicts),
    }


def _changes(changes: Changes | None) -> dict[str, Any] | None:
    if changes is None:
        return None
    return {
        "old_run": changes.old_run,
        "old_as_of": utc(changes.old_as_of),
        "findings": list(plain_rows(changes.findings)),
        "accounts": list(plain_rows(changes.accounts)),
    }
