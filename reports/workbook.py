"""workbook.xlsx: what an auditor opens, from Summary to Method; reports.tables has the sheets between them.

No cell is a formula but the recounts on Summary, which are ours; see reports.sheets for how that is kept.
"""

from __future__ import annotations

import errno
import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

from lxml.etree import LxmlError
from openpyxl import Workbook

from reports.controls import write_controls
from reports.method import write_method
from reports.package import save
from reports.sheets import DataRows
from reports.summary import write_summary
from reports.tables import tables
from reports.words import coverage
from scanner.models import Assessment


def write_workbook(assessment: Assessment, path: Path) -> None:
    """Write the workbook. Same assessment, same cells. Raises OSError where the disk is full, or that of $TMPDIR."""
    try:
        _write(assessment, path)
    except LxmlError as error:  # a full disk comes from libxml2, which writes the sheets to temporary files
        raise OSError(errno.EIO, f"{error} (temporary files are in {tempfile.gettempdir()})") from None


def _write(assessment: Assessment, path: Path) -> None:
    run = assessment.run
    data = tables(assessment)
    workbook = Workbook(write_only=True)
    properties = workbook.properties
    properties.title = f"Credential audit of {run.organization_id}"
    properties.category = "IAM credential audit"
    properties.keywords = f"{run.organization_id} {run.run_id} credential rotation"
    properties.description = coverage(run)
    properties.subject = run.run_id
    properties.creator = properties.lastModifiedBy = "credaudit"
    properties.created = (run.finished or run.as_of).astimezone(UTC).replace(tzinfo=None)
    workbook.calculation.fullCalcOnLoad = True  # openpyxl stores no results; the recounts are made when it is opened
    summary = workbook.create_sheet("Summary")
    links = {summary: write_summary(summary, assessment, data)}
    rows: dict[Any, DataRows] = {}
    for table in data:
        rows |= table.write(workbook, run.run_id)
    links |= {sheet: each.links() for sheet, each in rows.items()}
    controls = workbook.create_sheet("Controls")
    links[controls] = write_controls(controls, assessment, data.findings)
    write_method(workbook.create_sheet("Method"), assessment)
    save(workbook, path, rows, links)
