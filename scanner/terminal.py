"""What a person sees while a scan runs and when it ends: all of it on stderr, none of it markup."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from reports.changes import since
from reports.table import safe_text
from reports.words import GAPS, OUTCOME_WORDS, coverage, failing_in_words, outcome_counts, plural, result
from scanner.models import Assessment, LedgerEntry, Outcome, Run, Verdict

if TYPE_CHECKING:
    from scanner.verify import Verification

PLAIN_LINE_SECONDS = 5.0
LOG_WIDTH = 140
WORST_FINDINGS = 5
GAPS_SHOWN = 5

ADVICE = {
    Outcome.ACCESS_DENIED: (
        "The role is missing there, its trust policy does not name {caller}, the external id differs, "
        "or a service control policy forbids it."
    ),
    Outcome.REPORT_DENIED: (
        "Allow the role iam:GenerateCredentialReport and iam:GetCredentialReport there; "
        "where a service control policy refuses them, except the role from it."
    ),
    Outcome.REPORT_TIMEOUT: "AWS was slow to generate the report: scan again, or raise [scan] account_timeout_seconds.",
    Outcome.REPORT_MALFORMED: "What AWS sent is kept in evidence/; look at it, and scan again.",
    Outcome.ERROR: "The reason is in ledger.jsonl and on the Accounts sheet; scan again.",
    Outcome.INTERRUPTED: "The run was stopped before these; `credaudit scan --resume latest` goes on from here.",
}


PHASES = {
    "start": "Asking who is there",
    "collect": "Reading accounts",
    "normalize": "Reading the reports",
    "evaluate": "Deciding the checks",
    "workbook": "Writing the workbook",
    "csv": "Writing the CSV files",
    "html": "Writing the page",
    "json": "Writing findings.json",
    "ocsf": "Writing findings.ocsf.jsonl",
    "parquet": "Writing credentials.parquet",
    "close": "Closing the run folder",
}
"""What a run does, one after the other, and what is shown of it."""


class Stopwatch:
    """How long each phase takes, in seconds of the clock and of the CPU."""

    def __init__(self) -> None:
        self._marks = [("start", time.monotonic(), time.process_time())]

    def enters(self, phase: str) -> None:
        """The phase before it has ended."""
        self._marks.append((phase, time.monotonic(), time.process_time()))

    def phases(self) -> dict[str, dict[str, float]]:
        """Each phase so far, until now."""
        ends = [*self._marks[1:], ("", time.monotonic(), time.process_time())]
        return {
            phase: {"seconds": round(end - began, 3), "cpu_seconds": round(cpu_end - cpu, 3)}
            for (phase, began, cpu), (_, end, cpu_end) in zip(self._marks, ends, strict=True)
        }


def peak_memory_mb() -> int:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


class Terminal:
    """Progress and summary of one scan; a live display where stderr is a terminal, lines where it is not."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._console = Console(
            stderr=True,
            markup=False,
            highlight=False,
            emoji=False,
            soft_wrap=True,
            width=None if sys.stderr.isatty() else LOG_WIDTH,
        )
        self._progress: Progress | None = None
        self._task: Any = None
        self._outcomes: Counter[Outcome] = Counter()
        self._outcome_of: dict[str, Outcome] = {}
        self._listed = 0
        self._is_listed = self._has_begun = False
        self._stopwatch = Stopwatch()
        self._started = self._last_line = time.monotonic()

    # While the scan runs

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show a live display for the length of the block, where there is somebody to see it."""
        if self._quiet or self._as_json or not self._console.is_terminal:
            yield
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            self._progress = progress
            self._task = progress.add_task("Listing the organization", total=None, state="")
            yield
        self._progress = None

    def begins(self, run: Run) -> None:
        """The first accounts are listed."""
        resumed = f", resuming {run.resumed_from}" if run.resumed_from else ""
        self._say("run_started", f"{run.run_id}{resumed}", run_id=run.run_id, resumed_from=run.resumed_from)
        self._has_begun = True
        self.enters("collect")
        self._say_listed()

    def lists(self, accounts: int, *, is_complete: bool) -> None:
        """So many accounts are listed by now."""
        self._listed = accounts
        self._is_listed = is_complete
        if self._progress:
            self._progress.update(self._task, total=accounts)
        if is_complete:
            self._say_listed()

    def _say_listed(self) -> None:
        """That the listing is complete, which it may be before the run has its name."""
        if self._has_begun and self._is_listed:
            text = f"{plural(self._listed, 'account')} listed"
            self._say("accounts_listed", text, accounts=self._listed)

    def had_outcome(self, entry: LedgerEntry) -> None:
        """One account is done."""
        if before := self._outcome_of.get(entry.account_id):
            self._outcomes[before] -= 1
        self._outcome_of[entry.account_id] = entry.outcome
        self._outcomes[entry.outcome] += 1
        if self._as_json:
            self._json(
                "account",
                account_id=entry.account_id,
                outcome=str(entry.outcome),
                reason=safe_text(entry.reason),
                attempts=entry.attempts,
            )
        done = self._outcomes.total()
        if self._progress:
            self._progress.update(self._task, completed=done, state=self._state())
        elif time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS and not self._as_json:
            self._last_line = time.monotonic()
            of = f"{self._listed:,}" if self._is_listed else f"{self._listed:,} or more"
            self._say("progress", f"{done:,} of {of} accounts done, {self._state()}")

    def enters(self, phase: str) -> None:
        """What is done from now on."""
        self._stopwatch.enters(phase)
        self._show(PHASES[phase], self._listed if phase == "collect" else None)

    def _state(self) -> str:
        failed = sum(count for outcome, count in self._outcomes.items() if outcome.is_gap)
        done = self._outcomes.total()
        rate = done / max(time.monotonic() - self._started, 0.001)
        return f"{failed} failed, {self._listed - done} waiting, {rate:.1f} a second"

    def _show(self, description: str, total: int | None) -> None:
        if self._progress:
            self._progress.reset(self._task, description=description, total=total, state="")

    def _say(self, event: str, text: str, **values: Any) -> None:
        if self._as_json:
            self._json(event, **values)
        elif not self._quiet and not self._progress:
            self._console.print(Text(f"credaudit: {safe_text(text)}"))

    def _json(self, event: str, **values: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        print(json.dumps({"time": now, "event": event, **values}), file=sys.stderr, flush=True)  # noqa: T201

    # When it ends

    def closed(self, run: Run, sha256: str) -> None:
        """The run's manifest stands; a copy of its hash elsewhere is what no one can change along with it."""
        self._say("run_closed", f"SHA-256 of manifest.json: {sha256}", run_id=run.run_id, manifest_sha256=sha256)

    def verified(self, result: Verification) -> None:
        """What holds, or every difference by its place; then how many more there are."""
        more = result.count - len(result.differences)
        if self._as_json:
            shown = [{"where": safe_text(each.where), "what": safe_text(each.what)} for each in result.differences]
            counted = {"files": result.files, "runs": result.runs, "manifest_sha256": result.sha256}
            self._json("verified", run_id=result.run_id, holds=result.holds, **counted, differences=shown, more=more)
            return
        if result.holds:
            if not self._quiet:
                checked = f": {plural(result.files, 'file')}, a chain of {plural(result.runs, 'run')}, every finding"
                self._line("VERIFIED", "bold green", f" {result.run_id}{checked}")
                self._line("", "", f"SHA-256 of manifest.json: {result.sha256}")
            return
        self._line("DIFFERS", "bold red", f" {result.run_id}: {plural(result.count, 'difference')}")
        for each in result.differences:
            self._line("", "", f"  {each}")
        if more:
            self._line("", "", f"  … and {more:,} more")
        if result.note:
            self._line("Note", "yellow", f": {result.note}")

    def leave(self, message: str) -> None:
        """The last word of a process that ends without unwinding: the terminal is left as it was found."""
        if self._progress:
            self._progress.stop()
        self.fail(message, "")
        sys.stderr.flush()

    def fail(self, message: str, advice: str) -> None:
        """An error as its reader needs it: what, and what to do. No traceback."""
        if self._as_json:
            self._json("error", message=safe_text(message), advice=advice)
            return
        for line in message.splitlines():
            self._console.print(Text(f"credaudit: {safe_text(line)}", style="bold red"))
        if advice:
            self._console.print(Text(f"           {safe_text(advice)}"))

    def summarize(self, assessment: Assessment, *, all_is_well: bool) -> None:
        """Complete or not first, then why not, then what each check found, then the worst findings."""
        run, counts = assessment.run, outcome_counts(assessment.run)
        if self._as_json:
            self._json(
                "run_finished",
                run_id=run.run_id,
                complete=run.is_complete,
                stopped_by=run.stopped_by,
                accounts=counts,
                verdicts={check.check_id: check.verdicts for check in assessment.checks},
                phases=self._stopwatch.phases(),
                peak_memory_mb=peak_memory_mb(),
            )
            return
        if self._quiet and all_is_well:
            return
        head, style = ("COMPLETE", "bold green") if run.is_complete else ("INCOMPLETE", "bold red")
        self._line(head, style, coverage(run).removeprefix(head))
        parts = [f"{counts[outcome]:,} {OUTCOME_WORDS[outcome]}" for outcome in Outcome if counts[outcome]]
        self._line("", "", f"  {plural(counts['listed'], 'account')} listed = {' + '.join(parts)}")
        self._gaps(assessment)
        self._line("", "", failing_in_words(assessment))
        for check in assessment.checks:
            self._line("", "", f"  {result(check, run)}")
        if assessment.changes is not None:
            self._line("", "", since(assessment.changes))
        self._worst(assessment.findings)
        for note in run.notes:
            self._line("Note", "yellow", f": {note}")

    def tell(self, lines: Iterable[str]) -> None:
        """Lines that are an answer in themselves."""
        for line in lines:
            self._line("", "", line)

    def _gaps(self, assessment: Assessment) -> None:
        """Each kind of failure once, with its likely cause; not one line per account."""
        accounts = assessment.accounts
        for outcome in GAPS:
            failed = accounts[accounts["outcome"].eq(str(outcome))]
            if failed.empty:
                continue
            self._line(f"  {outcome}", "bold", f": {plural(len(failed), 'account')}")
            if outcome is Outcome.ACCESS_DENIED and self._is_denied_everywhere(assessment):
                self._line(
                    "",
                    "",
                    f"    The role {assessment.run.role_name} could be assumed in no account: its name is probably "
                    "wrong ([access] role_name, --role-name), it is not deployed yet, or it does not trust "
                    f"{assessment.run.caller.arn}.",
                )
                self._line("", "", f"    AWS said: {failed.iloc[0]['reason']}")
                continue
            for row in failed.head(GAPS_SHOWN).itertuples():
                self._line("", "", f"    {row.account_id} {row.account_name}: {row.reason}")
            if len(failed) > GAPS_SHOWN:
                self._line("", "", f"    … and {len(failed) - GAPS_SHOWN} more, on the Accounts sheet")
            self._line("", "", f"    → {ADVICE[outcome].format(caller=assessment.run.caller.arn)}")

    def _is_denied_everywhere(self, assessment: Assessment) -> bool:
        """Whether the role opened no account at all: of the caller's own, its own credentials may have served."""
        others = assessment.accounts[assessment.accounts["account_id"].ne(assessment.run.caller.account_id)]
        counts = others["outcome"].value_counts()
        denied = counts.get(str(Outcome.ACCESS_DENIED), 0)
        return bool(denied > 1 and denied == sum(counts.get(str(o), 0) for o in Outcome if o.is_gap or o == "scanned"))

    def _worst(self, findings: pd.DataFrame) -> None:
        if findings.empty:
            return
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        table.add_column("  Worst", no_wrap=True, min_width=9)
        table.add_column("days", no_wrap=True, min_width=5, justify="right")
        table.add_column("account", no_wrap=True, min_width=12, max_width=36, overflow="ellipsis")
        table.add_column("user", no_wrap=True, max_width=32, overflow="ellipsis")
        table.add_column("credential", no_wrap=True, min_width=20)
        table.add_column("check", no_wrap=True, min_width=10)
        row: Any
        for row in findings.head(WORST_FINDINGS).itertuples():
            style = "red" if row.verdict == Verdict.FAIL else "yellow"
            cells = (
                # Of a check without a date, the age of the password says nothing.
                "" if pd.isna(row.age_days) or pd.isna(row.due_on) else str(row.age_days),
                f"{row.account_id} {row.account_name}",
                str(row.user),
                str(row.credential) if pd.isna(row.key_id) else str(row.key_id),
                str(row.check),
            )
            table.add_row(Text(f"  {row.verdict}", style=style), *(Text(safe_text(cell)) for cell in cells))
        self._console.print(table)
        if len(findings) > WORST_FINDINGS:
            self._line("", "", f"  … and {len(findings) - WORST_FINDINGS} more, on the Findings sheet")

    def _line(self, head: str, style: str, rest: str) -> None:
        self._console.print(Text.assemble((head, style), safe_text(rest)))
