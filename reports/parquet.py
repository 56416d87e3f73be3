"""credentials.parquet: every credential of a run with the run's id, so that the files of all runs are one table.

Needs pyarrow, which is an extra; nothing else of the project does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scanner.errors import ConfigError
from scanner.models import Assessment

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "1.0"
"""In the file's metadata, as `credaudit.schema_version`; counted as that of findings.json."""
VERDICT = "verdict:"
"""How the columns of the frame begin that hold a check's verdicts."""
ROW_GROUP = 100_000
"""Rows that a reader takes, or skips, at a time."""


def check_available() -> None:
    """Raises ConfigError where pyarrow is not installed: better before a scan than after it."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(
            "[output] formats: parquet needs pyarrow", 'Install it with: pip install "credaudit[parquet]"'
        )


def write_parquet(assessment: Assessment, path: Path) -> None:
    """Write one file; the run's columns first, then those of credentials.csv, typed, and the verdict of each check."""
    import pyarrow.parquet as pq

    table = as_table(assessment)
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP, version="2.6")


def as_table(assessment: Assessment) -> pa.Table:
    """The credentials as Arrow has them; the same columns and types whatever the run holds."""
    import pyarrow as pa

    run, frame = assessment.run, assessment.credentials
    columns: dict[str, Any] = {
        "run_id": pa.repeat(pa.scalar(run.run_id, pa.string()), len(frame)),
        "organization_id": pa.repeat(pa.scalar(run.organization_id, pa.string()), len(frame)),
        "as_of": pa.repeat(pa.scalar(run.as_of, pa.timestamp("us", "UTC")), len(frame)),
    }
    for name in frame.columns:
        if not name.startswith(VERDICT):
            columns[name] = _failed_checks(frame[name]) if name == "failed_checks" else _column(frame[name])
    columns["verdicts"] = _verdicts(frame)
    return pa.table(
        columns, metadata={"credaudit.schema_version": SCHEMA_VERSION, "credaudit.version": run.tool_version}
    )


def _column(values: pd.Series) -> pa.Array:
    import pyarrow as pa

    if isinstance(values.dtype, pd.DatetimeTZDtype):
        moments = values.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
        return pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    missing = values.isna().to_numpy()
    if pd.api.types.is_bool_dtype(values.dtype):
        return pa.array(values.fillna(False).to_numpy(dtype=bool), pa.bool_(), mask=missing)
    if pd.api.types.is_integer_dtype(values.dtype):
        return pa.array(values.fillna(0).to_numpy(dtype=np.int64), pa.int64(), mask=missing)
    return _texts(values)


def _texts(values: pd.Series) -> pa.Array:
    """Each different text once, as most are repeated; half of a surrogate pair, which UTF-8 has not, as an escape."""
    import pyarrow as pa

    codes, distinct = pd.factorize(values.astype(object))
    texts = [str(text).encode("utf-8", "backslashreplace").decode() for text in distinct.tolist()]
    positions = pa.array(codes, pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(positions, pa.array(texts, pa.string())).cast(pa.string())


def _failed_checks(values: pd.Series) -> pa.Array:
    """The ids as a list."""
    import pyarrow as pa

    codes, distinct = pd.factorize(values.astype(object))
    lists = pa.array([text.split() for text in distinct.tolist()], pa.list_(pa.string()))
    return lists.take(pa.array(codes, pa.int64(), mask=codes < 0))


def _verdicts(frame: pd.DataFrame) -> pa.Array:
    """Check id → verdict, of the checks that apply to the row: runs with other checks have the same column."""
    import pyarrow as pa

    names = [name for name in frame.columns if name.startswith(VERDICT)]
    words = np.stack([frame[name].fillna("").to_numpy(dtype=object) for name in names], axis=1)
    applies = words != ""
    offsets = np.concatenate([[0], np.cumsum(applies.sum(axis=1))]).astype(np.int32)
    checks = pa.array([name.removeprefix(VERDICT) for name in names], pa.string())
    return pa.MapArray.from_arrays(
        pa.array(offsets), checks.take(pa.array(np.nonzero(applies)[1])), pa.array(words[applies], pa.string())
    )
