"""One run beside those before it: new, reappeared, still open, resolved; not re-checked is never resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from scanner.errors import EvidenceError
from scanner.evidence import NOT_OURS, RunFolder
from scanner.history import (
    HISTORY_COLUMNS,
    KEPT,
    NOT_RECHECKED,
    OPEN,
    RESOLVED,
    SHOWN,
    empty_history,
    read_history,
    write_history,
)
from scanner.identity import SEPARATOR, findings_by_identity, identify
from scanner.models import (
    CHANGE_COLUMNS,
    TREND_COLUMNS,
    Account,
    Assessment,
    Changes,
    LedgerEntry,
    Outcome,
    Run,
    Verdict,
)

TREND_RUNS = 12
NEW, REAPPEARED = "new", "reappeared"
CHANGE_ORDER = (NEW, REAPPEARED, OPEN, NOT_RECHECKED, RESOLVED)


@dataclass(frozen=True, slots=True)
class Before:
    """The run that another is compared with."""

    run: Run
    history: pd.DataFrame
    accounts: Mapping[str, tuple[Account, Outcome]]


def with_history(folder: RunFolder, assessment: Assessment, *, write: bool) -> Assessment:
    """The assessment with what is known of its findings from the runs before it, and what changed since the last
    complete one; `write` leaves history.jsonl in the folder for the runs after it."""
    earlier = list(_earlier_runs(folder, assessment.run))
    before, notes = _last_complete(earlier)
    seen_since = _seen_since(earlier, before)
    changes, history = compare(before, assessment, seen_since)
    if write:
        write_history(folder, history)
    elif before is None:
        history = _own_history(folder, history)
    return replace(
        assessment,
        run=replace(assessment.run, notes=(*assessment.run.notes, *notes)),
        findings=with_first_seen(assessment, history),
        changes=changes,
        trend=_trend([run for _, run in earlier], assessment.run),
    )


def _earlier_runs(folder: RunFolder, run: Run) -> Iterator[tuple[RunFolder, Run]]:
    """The finished runs of the same organization before this one, the latest first."""
    runs_dir, name = folder.path.parent, folder.path.name
    paths = [path for path in runs_dir.glob(f"*-{run.organization_id}") if path.name < name]
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            other = RunFolder(path).read_run()
            if other.organization_id == run.organization_id and other.finished is not None:
                yield RunFolder(path), other
        except (OSError, *NOT_OURS):
            continue  # no run, or one that was killed before it had written anything


def _last_complete(earlier: list[tuple[RunFolder, Run]]) -> tuple[Before | None, list[str]]:
    """The last complete run, else the last that finished; and what a reader must know of those passed over."""
    notes: list[str] = []
    complete = [each for each in earlier if each[1].is_complete]
    for folder, run in [*complete, *(each for each in earlier if each not in complete)]:
        try:
            before = before_of(folder, run)
        except EvidenceError:
            notes.append(f"Not compared with {folder.path.name}: its history cannot be read.")
            continue
        if not run.is_complete:
            notes.append(f"No complete run before this one: compared with {run.run_id}, which is incomplete.")
        return before, notes
    return None, notes


def before_of(folder: RunFolder, run: Run) -> Before:
    """A run as another can be compared with it; raises EvidenceError where it cannot."""
    ledger = folder.read_ledger()
    missing = LedgerEntry(account_id="", outcome=Outcome.INTERRUPTED)
    accounts = {
        account.account_id: (account, ledger.get(account.account_id, missing).outcome)
        for account in folder.read_population()
    }
    return Before(run, read_history(folder), accounts)


def _seen_since(earlier: list[tuple[RunFolder, Run]], before: Before | None) -> pd.Series:
    """Identity → first_seen, of findings that are open in incomplete runs after the one that is compared with."""
    found = [empty_history()]
    for folder, run in earlier:
        if before is not None and run.run_id <= before.run.run_id:
            break
        try:
            found.append(read_history(folder))
        except EvidenceError:
            continue
    histories = pd.concat(found, ignore_index=True)
    is_open = histories["state"].eq(OPEN)
    return histories[is_open].groupby("identity")["first_seen"].min()


def compare(
    before: Before | None, new: Assessment, seen_since: pd.Series | None = None
) -> tuple[Changes | None, pd.DataFrame]:
    """What changed from `before` (None: there is no such run), and what the runs after this one are to know."""
    as_of = pd.Timestamp(new.run.as_of).as_unit("s")
    old = before.history if before else empty_history()
    both = _joined(findings_by_identity(new), old)
    is_new, was_known = both["_merge"].ne("right_only"), both["_merge"].ne("left_only")
    was_resolved = both["old_state"].eq(RESOLVED).fillna(False)
    asked = pd.Series([check.check_id for check in new.checks], dtype="string")
    scanned = new.accounts.loc[new.accounts["outcome"].eq(Outcome.SCANNED), "account_id"]
    was_checked = both["account_id"].isin(scanned) & both["check"].isin(asked)
    cases = [
        is_new & ~was_known,
        is_new & was_resolved,
        is_new & was_known,
        ~is_new & ~was_resolved & ~was_checked,
        ~is_new & ~was_resolved,
    ]
    both["change"] = np.select(cases, CHANGE_ORDER, default="")
    begins = both["change"].isin((NEW, REAPPEARED))
    both["first_seen"] = both["old_first_seen"].mask(begins, as_of)
    if seen_since is not None and len(seen_since):
        since = seen_since.reindex(both["identity"]).reset_index(drop=True)
        both["first_seen"] = both["first_seen"].mask(begins & since.notna(), since)
    both["last_seen"] = both["old_last_seen"].mask(is_new, as_of)
    both["state"] = both["change"].replace({NEW: OPEN, REAPPEARED: OPEN, "": RESOLVED})
    history = both[list(HISTORY_COLUMNS)]
    history = history[~(history["state"].eq(RESOLVED) & (history["last_seen"] < as_of - KEPT))]
    if before is None:
        return None, history
    changed = both[both["change"].ne("")].reset_index(drop=True)
    changed["open_days"] = _whole_days(
        changed["last_seen"].mask(changed["change"].ne(RESOLVED), as_of) - changed["first_seen"]
    )
    changed["verdict"] = changed["new_verdict"].fillna("")
    changed["old_verdict"] = changed["old_verdict"].fillna("")
    changed["note"] = pd.array(_notes(changed, before, new), dtype="string")
    order = changed["change"].map({name: at for at, name in enumerate(CHANGE_ORDER)})
    findings = changed.iloc[np.argsort(order.to_numpy(), kind="stable")][list(CHANGE_COLUMNS)].reset_index(drop=True)
    changes = Changes(
        old_run=before.run.run_id,
        old_as_of=before.run.as_of,
        findings=findings,
        accounts=_account_changes(before, new),
    )
    return changes, history


def _joined(new: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
    """One row per finding of either, the new ones' values where there are both; those of the old with `old_`."""
    told = ["verdict", "first_seen", "last_seen", "state"]
    new = new[["identity", "user_created", "made", *SHOWN]]
    known = old.rename(columns={name: f"old_{name}" for name in told})
    both = new.merge(known, on="identity", how="outer", suffixes=("", "_old"), indicator=True, sort=False)
    for name in ("user_created", "made", *SHOWN):
        if f"{name}_old" in both:
            both[name] = both[name].where(both["_merge"].ne("right_only"), both[f"{name}_old"])
    both["new_verdict"] = both["verdict"]
    both["verdict"] = both["verdict"].fillna(both["old_verdict"])
    return both


def _whole_days(age: pd.Series) -> Any:
    return pd.array(np.trunc(age.dt.total_seconds() / 86_400), dtype="Int64")


def _notes(changed: pd.DataFrame, before: Before, new: Assessment) -> list[str]:
    """Why a finding is resolved, was not re-checked, or is there again."""
    notes = [""] * len(changed)
    outcomes = dict(zip(new.accounts["account_id"], new.accounts["outcome"], strict=True))
    asked = {check.check_id for check in new.checks}
    now = _now_of(changed[changed["change"].eq(RESOLVED)], new)
    row: Any
    for at, row in enumerate(changed.itertuples()):
        if row.change == RESOLVED:
            notes[at] = now.why(row)
        elif row.change == NOT_RECHECKED:
            outcome = outcomes.get(row.account_id)
            if outcome is None:
                notes[at] = "the account is no longer in the organization"
            elif outcome != Outcome.SCANNED:
                notes[at] = f"the account was not read: {outcome}"
            elif row.check not in asked:
                notes[at] = "the check was not asked"
        elif row.change == REAPPEARED:
            notes[at] = f"was there before, from {row.old_first_seen:%Y-%m-%d} to {row.old_last_seen:%Y-%m-%d}"
        elif row.change == OPEN and row.verdict != row.old_verdict:
            notes[at] = f"was {row.old_verdict}"
    return notes


@dataclass(frozen=True, slots=True)
class _Now:
    """What the new run says of credentials that have no finding any more."""

    users: Mapping[tuple[str, str], str]
    """Account and ARN → when the user was created."""
    verdicts: Mapping[str, str]
    """Check and identity → the verdict; empty where the check does not apply."""

    def why(self, row: Any) -> str:
        created = self.users.get((row.account_id, row.arn))
        if created is None:
            return "the user no longer exists"
        if created != row.identity.split(SEPARATOR)[3]:
            return "the user was deleted; there is another of that name now"
        verdict = self.verdicts.get(row.identity)
        if verdict is None:
            return "the credential no longer exists"
        return "it passes now" if verdict == Verdict.PASS else "the check no longer applies to it"


def _now_of(resolved: pd.DataFrame, new: Assessment) -> _Now:
    concerned = new.credentials["arn"].isin(resolved["arn"].unique())
    rows = identify(new.credentials[concerned])
    parts = rows["identity"].str.split(SEPARATOR)
    users = {(each[0], each[1]): each[2] for each in parts}
    verdicts: dict[str, str] = {}
    for check in resolved["check"].unique():
        if (name := f"verdict:{check}") in rows:
            verdicts |= dict(zip(check + SEPARATOR + rows["identity"], rows[name], strict=True))
    return _Now(users, verdicts)


def _account_changes(before: Before, new: Assessment) -> pd.DataFrame:
    """Accounts that joined or left, and those that only one of the two runs has read."""
    rows = []
    now: dict[str, Any] = {str(row.account_id): row for row in new.accounts.itertuples()}
    for account_id in sorted({*before.accounts, *now}):
        row = now.get(account_id)
        if row is None:
            account, outcome = before.accounts[account_id]
            rows.append(("left", account_id, account.name, f"was {outcome} in {before.run.run_id}"))
        elif account_id not in before.accounts:
            rows.append(("joined", account_id, row.account_name, f"{row.outcome} now"))
        else:
            outcome = before.accounts[account_id][1]
            if (outcome is Outcome.SCANNED) != (row.outcome == Outcome.SCANNED):
                change = "read again" if row.outcome == Outcome.SCANNED else "not read"
                rows.append((change, account_id, row.account_name, f"was {outcome}, is {row.outcome}"))
    return pd.DataFrame(rows, columns=["change", "account_id", "account_name", "note"]).astype("string")


def _own_history(folder: RunFolder, history: pd.DataFrame) -> pd.DataFrame:
    """What the run itself knew, where the run it knew it from is gone."""
    try:
        return read_history(folder)
    except EvidenceError:
        return history


def with_first_seen(assessment: Assessment, history: pd.DataFrame) -> pd.DataFrame:
    """The findings, each with the moment that the history knows it from."""
    identity = findings_by_identity(assessment)["identity"]
    known = history.set_index("identity")["first_seen"].reindex(identity)
    first_seen = known.fillna(pd.Timestamp(assessment.run.as_of).as_unit("s"))
    return assessment.findings.assign(first_seen=first_seen.array)


def _trend(earlier: list[Run], run: Run) -> pd.DataFrame:
    """The runs that counted their findings, the oldest first, and this one."""
    runs = [run, *(each for each in earlier if each.totals is not None)][:TREND_RUNS]
    rows = [
        (
            each.run_id,
            each.as_of,
            each.is_complete,
            (each.counts or {}).get(Outcome.SCANNED, 0),
            *((each.totals or {}).get(name, 0) for name in TREND_COLUMNS[4:]),
        )
        for each in reversed(runs)
    ]
    frame = pd.DataFrame(rows, columns=list(TREND_COLUMNS))
    frame["as_of"] = pd.to_datetime(frame["as_of"], utc=True).astype("datetime64[s, UTC]")
    return frame


def as_known(assessment: Assessment) -> pd.DataFrame:
    """The history of a run that is taken by itself, for a comparison that somebody asks for."""
    return compare(None, assessment)[1]
