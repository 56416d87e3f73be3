"""`python -m benchmarks.reports`: evaluating and writing every format, beside writing the workbook alone.

500 accounts of 20 users, a tenth of the keys too old, every check asked. In one process, one after the other, each the
fastest of several rounds; the evidence is read before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.workbook import AS_OF, FAILING_SHARE, assessment_of
from reports.csv import tables, write_csv
from reports.html import write_html
from reports.json import write_json
from reports.ocsf import write_ocsf
from reports.parquet import write_parquet
from reports.workbook import write_workbook
from scanner.evaluate import assess, read_frame
from scanner.evidence import RunFolder
from scanner.models import Assessment, Rules
from scanner.simulator import benchmark_organization

ROUNDS = 5


def main() -> None:
    """Measure and print one line for each part, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--users", type=int, default=20)
    options = parser.parse_args()
    organization = benchmark_organization(options.accounts, options.users, AS_OF, FAILING_SHARE)
    with tempfile.TemporaryDirectory() as folder:
        assessment = assessment_of(organization, Path(folder), Rules())
        evidence = RunFolder(Path(folder) / assessment.run.run_id)
        frame, run = read_frame(evidence), replace(assessment.run, counts=None)
        seconds = {"evaluate": _fastest(lambda: assess(evidence, run, frame))}
        seconds |= {name: _fastest(write) for name, write in _writers(assessment, Path(folder)).items()}
    alone = seconds["workbook.xlsx"]
    for name, each in seconds.items():
        print(f"{name:22} {each:7.3f} s  {each / alone:5.2f}")
    together = sum(seconds.values())
    print(f"{'all together':22} {together:7.3f} s  {together / alone:5.2f} times the workbook alone")


def _writers(assessment: Assessment, folder: Path) -> dict[str, Callable[[], None]]:
    def csv() -> None:
        for name, frame in tables(assessment).items():
            write_csv(frame, folder / name)

    writers = {
        "workbook.xlsx": write_workbook,
        "report.html": write_html,
        "findings.json": write_json,
        "findings.ocsf.jsonl": write_ocsf,
        "credentials.parquet": write_parquet,
    }
    return {"csv": csv} | {
        name: lambda name=name, write=write: write(assessment, folder / name) for name, write in writers.items()
    }


def _fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
