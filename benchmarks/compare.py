"""`make bench`: credaudit and plain boto3 over the same simulated organizations, one after the other, over TLS.

Ratios are what counts: the contenders run in turn on the same machine, and the machine may be busy with other things.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import LOOK_UP, Bench, Measurement, Organization

RESULTS = Path(__file__).with_name("RESULTS.md")
SMALL = Organization(500)
SIZES = (500, 2_000, 10_000)
LARGEST = Organization(50_000, users=5)
FAILING = Organization(2_000, failing_share=0.1)
FAULTY = Organization(2_000, fault_rate=0.1)
PHASES = ("collect", "normalize", "evaluate", "workbook", "csv", "close")

Row = Sequence[str]


def main() -> None:
    """Measure, and print the tables; with --record, write them to RESULTS.md as well."""
    options = _options()
    # Files of all contenders once read, so that the first does not pay for the disk.
    subprocess.run([sys.executable, "-c", "import boto3, scanner.scan, reports.workbook, reports.csv"], check=True)
    lines = [*_machine()]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for section in (_against_boto3, _sizes, _look_ups, _faults, *([_largest] if options.largest else [])):
            for line in section(bench):
                lines.append(line)
                print(line, flush=True)
    for section in (_workbook, _reports, _help):
        for line in section():
            lines.append(line)
            print(line, flush=True)
    if options.record:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write benchmarks/RESULTS.md")
    parser.add_argument("--largest", action="store_true", help="50,000 accounts too; takes a quarter of an hour more")
    return parser.parse_args()


def _machine() -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        "Written by `make bench-record`. Each contender runs in a process of its own, in turn, against a simulated "
        "organization in another: TLS on loopback, 50 ms latency, a report is ready 2 s after it was asked for, AWS's "
        "documented quotas are in force. The machine is shared; ratios within one run are what counts."
    )
    yield ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    )


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or "unknown processor"


def _against_boto3(bench: Bench) -> Iterator[str]:
    ours = bench.credaudit(SMALL)
    others = [
        bench.boto3(SMALL, *each) for each in (("sessions", 20), ("sessions", 50), ("clients", 20), ("clients", 50))
    ]
    yield from _heading(f"Beside plain boto3: {SMALL.accounts} accounts of {SMALL.users} users")
    yield from _table(
        ("", "× wall", "× CPU", "wall s", "CPU s", "peak MB", "connections", "requests an account"),
        [
            (
                each.name,
                f"{each.wall / ours.wall:.1f}",
                f"{each.cpu / ours.cpu:.1f}",
                f"{each.wall:.1f}",
                f"{each.cpu:.1f}",
                f"{each.memory:.0f}",
                str(each.connections),
                f"{each.account_requests:.2f}",
            )
            for each in (ours, *others)
        ],
    )
    yield ""
    yield "credaudit's row has it all: start, listing, evidence, workbook, CSV files. The scripts write nothing."


def _sizes(bench: Bench) -> Iterator[str]:
    runs = [bench.credaudit(Organization(accounts)) for accounts in SIZES]
    yield from _heading("By size: accounts of 20 users, no key to look up")
    yield from _by_size(runs)
    ratio = runs[-1].per_account_ms("collect") / runs[0].per_account_ms("collect")
    yield ""
    yield f"CPU an account, {SIZES[-1]:,} accounts beside {SIZES[0]:,}: {ratio:.2f} ×."


def _largest(bench: Bench) -> Iterator[str]:
    yield from _heading(f"The largest organization: {LARGEST.accounts:,} accounts of {LARGEST.users} users")
    yield from _by_size([bench.credaudit(LARGEST)])


def _by_size(runs: Sequence[Measurement]) -> Iterator[str]:
    yield from _table(
        (
            *("accounts", "accounts/s", "collect: CPU ms an account", "requests an account", "connections", "peak MB"),
            *(f"{phase} s" for phase in PHASES),
        ),
        [
            (
                f"{each.organization.accounts:,}",
                f"{each.organization.accounts / each.phases['collect']['seconds']:.0f}",
                f"{each.per_account_ms('collect'):.2f}",
                f"{each.account_requests:.2f}",
                str(each.connections),
                f"{each.memory:.0f}",
                *(f"{each.phases[phase]['seconds']:.1f}" for phase in PHASES),
            )
            for each in runs
        ],
    )
    yield ""
    yield "accounts/s: from the first page of accounts to the last report. AWS lists 160 accounts a second."


def _look_ups(bench: Bench) -> Iterator[str]:
    without, with_ = bench.credaudit(Organization(FAILING.accounts)), bench.credaudit(FAILING)
    looked_up = with_.requests[LOOK_UP]
    cost = (with_.phases["collect"]["cpu_seconds"] - without.phases["collect"]["cpu_seconds"]) / looked_up * 1000
    share = f"{FAILING.failing_share:.0%}"
    yield from _heading(f"Key look-ups and verdicts: {FAILING.accounts:,} accounts of {FAILING.users} users")
    yield from _table(
        ("users with an old key", "normalize + evaluate: CPU µs a user", "look-ups", "CPU ms a look-up"),
        [
            ("none", f"{without.per_user_us('normalize', 'evaluate'):.1f}", "0", ""),
            (share, f"{with_.per_user_us('normalize', 'evaluate'):.1f}", f"{looked_up:,}", f"{cost:.2f}"),
        ],
    )


def _faults(bench: Bench) -> Iterator[str]:
    well, faulty = bench.credaudit(Organization(FAULTY.accounts)), bench.credaudit(FAULTY)
    yield from _heading(
        f"A tenth of all answers faulty, in every way the simulator knows: {FAULTY.accounts:,} accounts"
    )
    yield from _table(
        ("answers", "× wall", "wall s", "requests an account", "complete"),
        [
            ("sound", "1.0", f"{well.wall:.1f}", f"{well.account_requests:.2f}", "yes"),
            (
                "10 % faulty",
                f"{faulty.wall / well.wall:.2f}",
                f"{faulty.wall:.1f}",
                f"{faulty.account_requests:.2f}",
                "yes",
            ),
        ],
    )


def _workbook() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.workbook", "--rows", "200000"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    yield from _heading("The workbook beside a bare openpyxl write-only loop over the same values")
    yield "```"
    yield text.strip()
    yield "```"


def _reports() -> Iterator[str]:
    text = subprocess.run(
        [sys.executable, "-m", "benchmarks.reports"], capture_output=True, text=True, check=True
    ).stdout
    yield from _heading("Evaluating and every format, beside the workbook alone: 500 accounts of 20 users")
    yield "```"
    yield text.strip()
    yield "```"


def _help() -> Iterator[str]:
    alone = min(_cpu_of([sys.executable, "-c", "import typer, rich.console"]) for _ in range(5))
    ours = min(_cpu_of([str(Path(sys.executable).with_name("credaudit")), "--help"]) for _ in range(5))
    yield from _heading("`credaudit --help`")
    shown = f"{ours * 1000:.0f} ms beside {alone * 1000:.0f} ms"
    yield f"{ours / alone:.2f} × the CPU of importing typer and rich alone ({shown})."


def _cpu_of(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield f"## {text}"
    yield ""


def _table(headings: Row, rows: Sequence[Row]) -> Iterator[str]:
    widths = [max(len(row[position]) for row in (headings, *rows)) for position in range(len(headings))]

    def line(cells: Row) -> str:
        aligned = (c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return f"| {' | '.join(aligned)} |"

    yield line(headings)
    yield f"| {' | '.join('-' * (w - 1) + (':' if n else '-') for n, w in enumerate(widths))} |"
    for row in rows:
        yield line(row)


if __name__ == "__main__":
    main()
