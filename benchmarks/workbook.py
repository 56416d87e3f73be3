"""`python -m benchmarks.workbook`: the workbook of an organization, and openpyxl's fastest way to the same values.

The bare loop appends the values of the same tables as plain Python values to one write-only sheet: no styles, no safe
text, no row heights, no filters. Each contender has a process of its own, and only its writing is measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from rich.console import Console
from rich.table import Table

from reports.tables import tables
from reports.workbook import write_workbook
from scanner.evaluate import assess, read_frame
from scanner.evidence import RunFolder, run_id, sha256_of
from scanner.models import Account, Assessment, Caller, LedgerEntry, Outcome, Rules, Run
from scanner.simulator import SimulatedAccount, SimulatedOrganization, benchmark_organization, render_report

AS_OF = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
USERS = 20
FAILING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender's run: seconds, MB of memory beyond what it started with, bytes of its file."""

    name: str
    seconds: float
    memory: float
    size: int


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="access keys, one of each user")
    rows = max(parser.parse_args().rows, USERS)
    with tempfile.TemporaryDirectory() as folder:
        organization = benchmark_organization(rows // USERS, USERS, AS_OF, FAILING_SHARE)
        assessment = assessment_of(organization, Path(folder), Rules(checks=("access-key-not-rotated",)))
        values = list(_values(assessment))
        contenders = {
            "credaudit, the whole workbook": lambda path: write_workbook(assessment, path),
            "openpyxl, a bare write-only loop": lambda path: _write_bare(values, path),
        }
        results = [_measure(name, write, Path(folder) / "workbook.xlsx") for name, write in contenders.items()]
    cells = sum(value is not None for row in values for value in row)
    _show(results, cells, f"{len(values):,} rows of all tables, {cells:,} cells")


def assessment_of(organization: SimulatedOrganization, folder: Path, rules: Rules) -> Assessment:
    """What is to be written of an organization, by these rules; its evidence is left in the folder."""
    evidence = RunFolder.create(folder, run_id(AS_OF, organization.organization_id))
    evidence.write_population([_listed(account) for account in organization.accounts], [])
    with evidence.open_ledger() as ledger:
        for account in organization.accounts:
            evidence.write_report(account.account_id, render_report(account))
            ledger.append(
                LedgerEntry(
                    account_id=account.account_id,
                    outcome=Outcome.SCANNED,
                    report_generated=AS_OF,
                    report_sha256=sha256_of(evidence.path / "evidence" / f"{account.account_id}.csv"),
                    users=len(account.users) + 1,
                    started=AS_OF,
                    finished=AS_OF,
                    attempts=3,
                )
            )
    return assess(evidence, _run(organization, evidence.path.name, rules), read_frame(evidence))


def _listed(account: SimulatedAccount) -> Account:
    path = "/".join(("Root", *account.ou_path))
    return Account(
        account_id=account.account_id, name=account.name, email=account.email, state=account.state, ou_path=path
    )


def _run(organization: SimulatedOrganization, name: str, rules: Rules) -> Run:
    caller = organization.caller_account_id
    return Run(
        run_id=name,
        tool_version="",
        python_version=platform.python_version(),
        organization_id=organization.organization_id,
        management_account_id=organization.management_account_id,
        caller=Caller(account_id=caller, arn=f"arn:aws:iam::{caller}:user/auditor", partition="aws"),
        role_name=organization.role_name,
        external_id_used=False,
        session_name=name,
        session_policy={},
        organization_role_arn="",
        endpoints={},
        as_of=AS_OF,
        rules=rules,
        parameters={},
        started=AS_OF,
        finished=AS_OF,
    )


def _values(assessment: Assessment) -> Iterator[list[Any]]:
    """The rows of all tables; None where a cell is empty."""
    for table in tables(assessment):
        columns = [column.read(table.rows(0, len(table))) for column in table.columns]
        yield from ([None if value == "" else value for value in row] for row in zip(*columns, strict=True))


def _write_bare(values: list[list[Any]], path: Path) -> None:
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet()
    for row in values:
        sheet.append(row)
    workbook.save(path)


def _measure(name: str, write: Callable[[Path], None], path: Path) -> Measurement:
    context = multiprocessing.get_context("fork")  # a child has the values without a copy
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_write_and_tell, args=(write, path, sender))
    process.start()
    sender.close()
    try:
        seconds, memory = receiver.recv()
    except EOFError:
        raise SystemExit(f"{name} did not finish") from None
    finally:
        process.join()
    return Measurement(name, seconds, memory, path.stat().st_size)


def _write_and_tell(write: Callable[[Path], None], path: Path, sender: Any) -> None:
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    write(path)
    seconds = time.perf_counter() - started
    sender.send((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start) / 1024))


def _show(results: list[Measurement], cells: int, title: str) -> None:
    bare = results[-1]
    table = Table(title=title)
    for position, heading in enumerate(("", "seconds", "cells/s", "× bare loop", "file MB", "memory, + MB")):
        table.add_column(heading, justify="right" if position else "left")
    for result in results:
        table.add_row(
            result.name,
            f"{result.seconds:.2f}",
            f"{cells / result.seconds:,.0f}",
            f"{bare.seconds / result.seconds:.2f}",
            f"{result.size / 1e6:.1f}",
            f"{result.memory:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
