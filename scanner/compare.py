"""What differs from the runs before: new, reappeared, still open, not checked again, resolved. Asks no clock, no disk.

A finding is the same in two runs when check, account, ARN, the user's creation and the credential are; a key or a
certificate is known by its creation, since its slot moves when another is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from scanner.credentials import MORE
from scanner.identity import IDENTITY, KINDS, identify, joined_texts, with_identity
from scanner.models import CHANGE_COLUMNS, TREND_COLUMNS, Assessment, Changes, Outcome, Rules, Severity, Verdict

NEW, REAPPEARED, OPEN, NOT_RECHECKED, RESOLVED = "new", "reappeared", "open", "not_rechecked", "resolved"
CHANGES = (NEW, REAPPEARED, OPEN, NOT_RECHECKED, RESOLVED)
JOINED, LEFT, NOT_READ, READ_AGAIN = "joined", "left", "not read", "read again"

SHOWN = ("account_name", "ou_path", "user", "credential", "key_id", "title", "severity", "verdict")
HISTORY_SCHEMA: dict[str, Any] = {
    "check": "string",
    "account_id": "string",
    "arn": "string",
    "user_created": "datetime64[s, UTC]",
    "kind": "string",
    "made": "datetime64[s, UTC]",
    "nth": "Int64",
    **dict.fromkeys(SHOWN, "string"),
    "was": "string",
    "was_verdict": "string",
    "state": "string",
    "first_seen": "datetime64[s, UTC]",
    "earlier": "datetime64[s, UTC]",
    "last_seen": "datetime64[s, UTC]",
    "resolved": "datetime64[s, UTC]",
}
"""One row per finding that was ever seen. `kind`, `made` and `nth` say which credential of the user it is: `nth`
tells those apart that were created in the same second, or have no date. `was` is its state in the run to compare with
(open, resolved, or empty where that did not know it), `state` what is known since. Of what came back, `earlier` is when
it was first seen before that, and `resolved` when it was found resolved."""

ACCOUNT_COLUMNS = ("account_id", "account_name", "outcome")
KEPT = timedelta(days=730)
"""So long a resolved finding, or one of an account that has left, is remembered."""
MOST_TREND_ROWS = 12
WORDS = {"access_key": "access key", "cert": "certificate"}


def empty_frame(schema: dict[str, Any]) -> pd.DataFrame:
    """No rows, with these columns."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in schema.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the runs so far know: each finding ever seen, and the run to compare with."""

    run_id: str = ""
    """The last complete run; while there is none, the last that finished; empty before the first."""
    is_complete: bool = False
    """Whether that run is."""
    as_of: datetime | None = None
    rules: Rules = field(default_factory=Rules)
    accounts: pd.DataFrame = field(default_factory=lambda: empty_frame(dict.fromkeys(ACCOUNT_COLUMNS, "string")))
    """Those of that run, with ACCOUNT_COLUMNS."""
    findings: pd.DataFrame = field(default_factory=lambda: empty_frame(HISTORY_SCHEMA))
    """With the columns of HISTORY_SCHEMA."""
    trend: tuple[tuple[Any, ...], ...] = ()
    """TREND_COLUMNS of the runs so far, the oldest first; moments as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A run against what the runs before it know."""

    assessment: Assessment
    """With `first_seen`, `changes` and `trend`."""
    after: History
    """What the next run is compared with."""


def compare(before: History, new: Assessment, *, is_asked_for: bool = False) -> Comparison:
    """Old and new findings, matched. The new run becomes the one to compare with if it is complete, or if there is
    no complete one, or if somebody asks for it."""
    as_of = new.run.as_of
    old, now, credentials = _matched(before.findings, new)
    found = _ids(old).get_indexer(_ids(now))
    now = _judged(now, old, found, before.as_of, as_of)
    is_gone = np.ones(len(old), dtype=bool)
    is_gone[found[found >= 0]] = False
    gone = old[is_gone]
    gone = gone.assign(not_checked=_why_not_checked(gone, credentials, new))
    is_next = is_asked_for or new.run.is_complete or not before.is_complete
    trend = (*before.trend, _trend_row(new))[-MOST_TREND_ROWS:]
    changes = None
    if before.run_id and before.as_of:
        rows = pd.concat([_present_rows(now, as_of), _gone_rows(gone, credentials, new)], ignore_index=True)
        changes = Changes(
            old_run=before.run_id,
            old_as_of=before.as_of,
            findings=_ordered(rows),
            accounts=_account_changes(before.accounts, new),
        )
    assessment = replace(
        new,
        findings=new.findings.assign(first_seen=now["first_seen"].array),
        changes=changes,
        trend=_trend_frame(trend),
    )
    findings = _remembered(now, gone, new, is_next)
    if is_next:
        accounts = new.accounts[list(ACCOUNT_COLUMNS)].astype("string")
        after = History(
            run_id=new.run.run_id,
            is_complete=new.run.is_complete,
            as_of=as_of,
            rules=new.run.rules,
            accounts=accounts,
            findings=findings,
            trend=trend,
        )
    else:
        after = replace(before, findings=findings, trend=trend)
    return Comparison(assessment=assessment, after=after)


# Which finding is which


def _matched(old: pd.DataFrame, new: Assessment) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The known findings, the new run's, and the credentials of all their users, with SAME_CREDENTIAL in each."""
    arns = pd.concat([old["arn"], new.findings["arn"]], ignore_index=True).unique()
    is_meant = new.credentials["arn"].isin(arns)
    columns = ["account_id", "user", "arn", "credential", "active", "user_created", "last_rotated"]
    verdicts = [name for name in new.credentials.columns if name.startswith("verdict:")]
    credentials = new.credentials.loc[is_meant, [*columns, *verdicts]].reset_index(drop=True)
    credentials["credential"] = credentials["credential"].astype("string")
    # A creation that one of the two reports does not tell is taken from the other: nobody was re-created by that.
    users = old.sort_values("last_seen", kind="stable").drop_duplicates("arn", keep="last").set_index("arn")
    credentials["user_created"] = _filled(credentials, users["user_created"])
    users = credentials.drop_duplicates("arn").set_index("arn")
    old = old.assign(user_created=_filled(old, users["user_created"]))
    credentials = identify(credentials)
    now = with_identity(new.findings, credentials)
    now["credential"] = now["credential"].astype("string")
    return old, now, credentials


def _filled(frame: pd.DataFrame, by_arn: pd.Series) -> pd.Series:
    missing = frame["user_created"].isna()
    if not missing.any():
        return frame["user_created"]
    filled = frame["user_created"].copy()
    filled[missing] = by_arn.reindex(frame.loc[missing, "arn"]).array
    return filled


def _ids(findings: pd.DataFrame) -> pd.Index:
    return joined_texts(findings, ("check", *IDENTITY))


# What became of each


def _judged(
    now: pd.DataFrame, old: pd.DataFrame, found: npt.NDArray[np.intp], since: datetime | None, as_of: datetime
) -> pd.DataFrame:
    """The new run's findings with what was known of each, `change` (since the old run) and `first_seen`."""
    is_known = found >= 0
    known = old.iloc[np.where(is_known, found, 0)] if len(old) else old.reindex(range(len(now)))
    known = known.reset_index(drop=True)

    def told(name: str) -> pd.Series:
        return known[name].where(is_known)

    is_open = told("state").eq(OPEN).fillna(False).to_numpy(dtype=bool)
    was = told("was").fillna("")
    # Open then and open now, but not all the while: it is only since its return that it is open.
    is_back = is_open & (told("first_seen") > pd.Timestamp(since or as_of)).to_numpy(dtype=bool)
    cases = [is_known & ~is_open, is_open & was.eq(RESOLVED), is_back & was.eq(OPEN), is_open & was.eq(OPEN)]
    change = np.select(cases, [REAPPEARED, REAPPEARED, REAPPEARED, OPEN], NEW)
    return now.assign(
        change=pd.array(change, dtype="string"),
        was=was.array,
        was_verdict=told("was_verdict").fillna("").array,
        first_seen=told("first_seen").where(is_open, pd.Timestamp(as_of)).astype("datetime64[s, UTC]").array,
        earlier=told("earlier").where(is_open, told("first_seen")).array,
        resolved=told("resolved").array,
    )


def _present_rows(now: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    note = np.full(len(now), "", dtype=object)
    is_again = now["change"].eq(REAPPEARED).to_numpy(dtype=bool)
    note[is_again] = [
        f"first seen on {_day(first)}" + ("" if pd.isna(resolved) else f", found resolved on {_day(resolved)}")
        for first, resolved in zip(now.loc[is_again, "earlier"], now.loc[is_again, "resolved"], strict=True)
    ]
    is_other = (now["was_verdict"].ne("") & now["was_verdict"].ne(now["verdict"])).to_numpy(dtype=bool)
    is_other &= now["change"].eq(OPEN).to_numpy(dtype=bool)
    note[is_other] = [f"was {verdict}" for verdict in now.loc[is_other, "was_verdict"]]
    rows = now.assign(
        old_verdict=now["was_verdict"].where(now["was"].eq(OPEN), ""),
        open_days=_days_between(now["first_seen"], pd.Timestamp(as_of)),
        note=pd.array(note, dtype="string"),
    )
    return rows[list(CHANGE_COLUMNS)]


def _gone_rows(gone: pd.DataFrame, credentials: pd.DataFrame, new: Assessment) -> pd.DataFrame:
    """Known findings that the new run does not have: resolved, or not checked again."""
    was_checked = gone["not_checked"].eq("")
    # What came and went between the two runs is no change from the one to the other; what nobody looked at may be.
    gone = gone[gone["was"].eq(OPEN) | (gone["state"].eq(OPEN) & ~was_checked)]
    is_checked = gone["not_checked"].eq("").to_numpy(dtype=bool)
    note = gone["not_checked"].copy()
    note[is_checked] = _why_resolved(gone[is_checked], credentials)
    until = gone["last_seen"].where(is_checked, pd.Timestamp(new.run.as_of))
    rows = gone.assign(
        change=pd.array(np.where(is_checked, RESOLVED, NOT_RECHECKED), dtype="string"),
        old_verdict=gone["was_verdict"],
        verdict=pd.array([""] * len(gone), dtype="string"),
        open_days=_days_between(gone["first_seen"], until),
        note=note,
    )
    return rows[list(CHANGE_COLUMNS)]


def _why_not_checked(gone: pd.DataFrame, credentials: pd.DataFrame, new: Assessment) -> Any:
    """Why nothing is known of each by now; empty where it was checked, and so is resolved."""
    accounts = dict(zip(new.accounts["account_id"], _account_notes(new.accounts), strict=True))
    if new.run.interrupted:
        missing = "the account was not listed before the run was stopped"
    else:
        missing = "the account is no longer in the organization"
    why = gone["account_id"].map(lambda account_id: accounts.get(account_id, missing)).astype("string")
    asked = {check.check_id for check in new.checks}
    why = why.mask(why.eq("") & ~gone["check"].isin(asked), "the check was not asked")
    # A key without a date, or one that the report does not show, may be the one that seems to be gone.
    is_hidden = credentials["kind"].isin(set(KINDS.values())) & credentials["made"].isna()
    of_kind = ("account_id", "arn", "kind")
    hidden = joined_texts(credentials[is_hidden], of_kind)
    more = joined_texts(credentials[credentials["kind"].eq(MORE)].assign(kind="access_key"), of_kind)
    is_dated = gone["made"].notna().to_numpy(dtype=bool)
    may_be = is_dated & joined_texts(gone, of_kind).isin(hidden.append(more))
    may_be &= ~joined_texts(gone, IDENTITY).isin(joined_texts(credentials, IDENTITY))
    return why.mask(why.eq("") & may_be, "the report does not show, or not date, all keys of the user").array


def _account_notes(accounts: pd.DataFrame) -> list[str]:
    """Why the findings of each account are not known; empty where it was scanned."""
    special = {
        str(Outcome.SCANNED): "",
        str(Outcome.EXCLUDED): "the account is excluded by configuration",
        str(Outcome.NOT_ACTIVE): "the account is not active",
    }
    return [special.get(outcome, f"the account was not read: {outcome}") for outcome in accounts["outcome"]]


def _why_resolved(gone: pd.DataFrame, credentials: pd.DataFrame) -> Any:
    """Why each of these, all checked, is no finding any more."""
    users = credentials.drop_duplicates(["account_id", "arn"])
    user = joined_texts(users, ["account_id", "arn"]).get_indexer(joined_texts(gone, ["account_id", "arn"]))
    same = joined_texts(credentials, IDENTITY).get_indexer(joined_texts(gone, IDENTITY))
    created = users["user_created"].array
    keys = credentials[credentials["kind"].isin(set(KINDS.values()))]
    newest = keys.groupby(["account_id", "arn", "kind"])["made"].max().to_dict()
    columns = {name: credentials[name].tolist() for name in credentials.columns if name.startswith("verdict:")}
    active = credentials["active"].tolist()
    notes = []
    row: Any
    for row, at_user, at in zip(gone.itertuples(), user.tolist(), same.tolist(), strict=True):
        if at >= 0:
            verdict = columns[f"verdict:{row.check}"][at]
            inactive = "it is not active any more" if active[at] is False else "the check no longer applies to it"
            notes.append("it passes now" if verdict == Verdict.PASS else inactive)
        elif at_user < 0:
            notes.append("the user no longer exists")
        elif created[at_user] != row.user_created:
            notes.append("the user was deleted; there is another of that name now")
        else:
            other = newest.get((row.account_id, row.arn, row.kind))
            notes.append(_why_gone(row, other))
    return pd.array(notes, dtype="string")


def _why_gone(row: Any, other: datetime | None) -> str:
    """Of a credential that is not there, when the user has none of its kind, or `other` is the newest."""
    what = f"the {WORDS.get(row.kind, row.kind)}"
    if other is None or pd.isna(other):
        return f"{what} no longer exists"
    if pd.isna(row.made):
        return f"{what} has a date now, or no longer exists"
    return f"{what} no longer exists" + (f"; the user has one created on {_day(other)}" if other > row.made else "")


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """What is new first, the resolved last; the worst first within each."""
    rank = rows["severity"].map({str(each): -each.rank for each in Severity})
    keys = rows.assign(change=rows["change"].map({name: at for at, name in enumerate(CHANGES)}), severity=rank)
    order = ["change", "severity", "account_id", "user", "credential", "check", "first_seen"]
    return rows.loc[keys.sort_values(order, kind="stable").index].reset_index(drop=True)


def _days_between(first: pd.Series, last: Any) -> pd.Series:
    return pd.Series(((last - first).dt.total_seconds() // 86_400).clip(lower=0), index=first.index).astype("Int64")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


# What the next run must know


def _remembered(now: pd.DataFrame, gone: pd.DataFrame, new: Assessment, is_next: bool) -> pd.DataFrame:
    as_of = pd.Timestamp(new.run.as_of)
    present = now.assign(state=OPEN, last_seen=as_of)
    is_resolved = gone["state"].eq(OPEN) & gone["not_checked"].eq("")
    is_left = ~gone["account_id"].isin(new.accounts["account_id"]) & ~new.run.interrupted
    rest = gone.assign(
        state=gone["state"].mask(is_resolved, RESOLVED), resolved=gone["resolved"].mask(is_resolved, as_of)
    )
    rest = rest[~((rest["state"].eq(RESOLVED) | is_left) & (rest["last_seen"] < as_of - KEPT))]
    columns = list(HISTORY_SCHEMA)
    parts = [part[columns].astype(HISTORY_SCHEMA) for part in (present, rest)]
    findings = pd.concat(parts, ignore_index=True)
    if is_next:
        findings = findings.assign(was=findings["state"], was_verdict=findings["verdict"])
    order = ["account_id", "arn", "user_created", "kind", "made", "nth", "check"]
    return findings.sort_values(order, kind="stable").reset_index(drop=True)


def rebased(before: History, on: History) -> History:
    """What is known, to be compared with the run that `on` ends at."""
    at = _ids(on.findings).get_indexer(_ids(before.findings))
    is_in_both = at >= 0
    findings = before.findings.copy()
    for name in ("was", "was_verdict"):
        values = np.full(len(findings), "", dtype=object)
        values[is_in_both] = on.findings[name].to_numpy(object)[at[is_in_both]]
        findings[name] = pd.array(values, dtype="string")
    others = np.ones(len(on.findings), dtype=bool)
    others[at[is_in_both]] = False
    findings = pd.concat([findings, on.findings[others]], ignore_index=True)
    return replace(on, findings=findings, trend=before.trend or on.trend)


# Accounts and totals


def _account_changes(old: pd.DataFrame, new: Assessment) -> pd.DataFrame:
    scanned = str(Outcome.SCANNED)
    before = dict(zip(old["account_id"], zip(old["account_name"], old["outcome"], strict=True), strict=True))
    accounts = new.accounts
    after = dict(
        zip(accounts["account_id"], zip(accounts["account_name"], accounts["outcome"], strict=True), strict=True)
    )
    rows = []
    for account_id, (name, outcome) in after.items():
        was = before.get(account_id, (name, ""))[1]
        if not was:
            rows.append((JOINED, account_id, name, f"is {outcome}"))
        elif (was == scanned) != (outcome == scanned):
            change = READ_AGAIN if outcome == scanned else NOT_READ
            rows.append((change, account_id, name, f"was {was}, is {outcome}"))
    gone = [] if new.run.interrupted else [account_id for account_id in before if account_id not in after]
    rows += [(LEFT, account_id, before[account_id][0], f"was {before[account_id][1]}") for account_id in gone]
    order = (JOINED, LEFT, NOT_READ, READ_AGAIN)
    rows.sort(key=lambda row: (order.index(row[0]), row[1]))
    return pd.DataFrame(rows, columns=["change", "account_id", "account_name", "note"], dtype="string")


def _trend_row(new: Assessment) -> tuple[Any, ...]:
    run = new.run
    counts = {**(run.counts or {}), **(run.totals or {})}
    numbers = (counts.get(name, 0) for name in TREND_COLUMNS[3:])
    return (run.run_id, f"{run.as_of:%Y-%m-%dT%H:%M:%SZ}", run.is_complete, *numbers)


def _trend_frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(TREND_COLUMNS)).astype({"run_id": "string", "complete": "bool"})
    frame["as_of"] = pd.to_datetime(frame["as_of"], utc=True).astype("datetime64[s, UTC]")
    return frame.astype(dict.fromkeys(TREND_COLUMNS[3:], "Int64"))
