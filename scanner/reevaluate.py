"""A stored run, evaluated again offline: its own evidence, if need be by other rules or at another moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from scanner.errors import EvidenceError
from scanner.evaluate import assess, read_frame
from scanner.evidence import RunFolder, sha256_of
from scanner.models import Account, Assessment, Outcome, Rules, Run
from scanner.rules import override_notes


def reevaluate(
    folder: RunFolder, run: Run, *, at: datetime, rules: Rules | None = None, as_of: datetime | None = None
) -> Assessment:
    """The assessment of a stored run; None keeps the run's own. `at` is now. Asks nothing of AWS, writes nothing.

    Raises EvidenceError where a report is no longer what was collected.
    """
    if run.finished is None:
        raise EvidenceError(
            f"{run.run_id} did not finish, so there is nothing to report",
            f"`credaudit scan --resume {run.run_id}` goes on from what it collected.",
        )
    _check_reports(folder)
    asked = replace(run, rules=rules or run.rules, as_of=as_of or run.as_of)
    population = folder.read_population()
    # What was said of the run's overrides is not true of others.
    stale = override_notes(run.rules, population) if asked.rules.overrides != run.rules.overrides else []
    kept = [note for note in run.notes if note not in stale]
    asked = replace(asked, notes=(*_differences(run, asked, population), *kept))
    return replace(assess(folder, asked, read_frame(folder)), reevaluated=at)


def _check_reports(folder: RunFolder) -> None:
    for entry in folder.read_ledger().values():
        if entry.outcome is Outcome.SCANNED:
            path = folder.report_path(entry.account_id)
            try:
                is_same = sha256_of(path) == entry.report_sha256
            except OSError as error:
                raise EvidenceError(f"{path} cannot be read: {error.strerror}") from None
            if not is_same:
                raise EvidenceError(
                    f"{path} is not the report that was collected: its SHA-256 differs from the ledger's",
                    "`credaudit verify` says what else was changed.",
                )


def _differences(run: Run, asked: Run, population: Sequence[Account]) -> list[str]:
    """What is not as it was in the run, for the reader of the reports."""
    notes = []
    if asked.as_of != run.as_of:
        notes.append(
            f"Ages are measured at {asked.as_of:%Y-%m-%d %H:%M:%S} UTC; the run measured them at"
            f" {run.as_of:%Y-%m-%d %H:%M:%S} UTC. The credentials are those that existed then."
        )
    names = {
        "limits": "limits",
        "checks": "checks",
        "severities": "severities",
        "overrides": "overrides of OUs",
        "exemptions": "exemptions",
        "next_audit": "days of the forecast",
    }
    if asked.rules.overrides != run.rules.overrides:
        notes += override_notes(asked.rules, population)
    changed = [words for name, words in names.items() if getattr(asked.rules, name) != getattr(run.rules, name)]
    if changed:
        notes.append(f"Not those of the run: {', '.join(changed)}. Method has those in force here.")
    if notes:
        notes.append(
            "Key ids were looked up when the evidence was collected, for the users with findings by the run's own"
            " rules; other keys have none."
        )
    return notes
