"""Four runs over the wire, and what each says of those before it; then cases that no organization shows by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scanner.compare import with_history
from scanner.evidence import RunFolder
from scanner.models import CHANGE_COLUMNS, Assessment, Verdict
from scanner.reevaluate import reevaluate
from scanner.simulator import Behaviour, SimulatedAccount, SimulatedKey, SimulatedUser, Simulator

from .scanning import NOW, Scan, scanner_in
from .simulation import key, member, organization

A, B, C, D = "444455556666", "555566667777", "666677778888", "777788889999"
DAY = timedelta(days=1)
T1, T2, T3, T4 = TIMES = [NOW - 90 * DAY * back for back in (3, 2, 1, 0)]
KEY, MFA = "access-key-not-rotated", "console-user-without-mfa"
CHECKS = {"only": [KEY, MFA]}


def user(name: str, *keys: SimulatedKey | None, created: datetime = T1 - 400 * DAY, **fields: Any) -> SimulatedUser:
    return SimulatedUser(name, created, keys=keys, **fields)


def aged(number: int, created: datetime, **fields: Any) -> SimulatedKey:
    return key(number, created=created, **fields)


def accounts_of_run(run: int) -> list[SimulatedAccount]:
    """What there is at each of the four runs, numbered from 1."""
    old = T1 - 200 * DAY
    bob = aged(2, T1 - 100 * DAY) if run == 1 else aged(3, T2 - DAY)
    # A deleted key frees the first slot, so that what was the second key may be the first one next time.
    hal = (aged(7, old), aged(8, old + DAY)) if run == 1 else (aged(8, old + DAY),)
    dan = T1 - 300 * DAY if run < 4 else T4 - DAY
    in_a = [
        user("ann", aged(1, old)),
        user("bob", bob),
        user("cid", aged(4, T1 - 10 * DAY, active=run < 4)),
        user("dan", created=dan, password_enabled=True, password_last_changed=dan),
        user("gus", aged(5, old, active=run != 2)),
        user("hal", *hal),
    ]
    in_b = [user("eve", aged(9, old)), *([user("fay", aged(10, old))] if run < 3 else [])]
    in_b += [user("new", aged(12, T4 - 100 * DAY))] if run == 4 else []
    accounts = [
        member(A, users=in_a),
        member(B, users=in_b, behaviour=Behaviour.ASSUME_DENIED if run == 3 else Behaviour.NORMAL),
    ]
    accounts += [member(C)] if run >= 2 else []
    accounts += [member(D, users=[user("ida", aged(11, old))])] if run < 3 else []
    return accounts


def finished(folder: RunFolder, assessment: Assessment) -> Assessment:
    """As the command does it at the end of a scan."""
    known = with_history(folder, assessment, write=True)
    folder.write_run(known.run)
    return known


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[RunFolder, Assessment]]:
    runs_dir = tmp_path_factory.mktemp("runs")
    runs = []
    with pytest.MonkeyPatch.context() as patch:
        scan: Scan = scanner_in(runs_dir, patch)
        for number, started in enumerate(TIMES, start=1):
            simulator = Simulator(organization(*accounts_of_run(number)))
            folder, assessment = scan(simulator, started=started, checks=CHECKS)
            runs.append((folder, finished(folder, assessment)))
    return runs


def told(assessment: Assessment) -> list[tuple[Any, ...]]:
    assert assessment.changes is not None
    frame = assessment.changes.findings
    assert tuple(frame.columns) == CHANGE_COLUMNS
    return sorted(
        (
            row.change,
            row.account_id,
            row.user,
            row.check,
            TIMES.index(row.first_seen.to_pydatetime()) + 1,
            row.open_days,
        )
        for row in frame.itertuples()
    )


def notes(assessment: Assessment) -> dict[tuple[str, str], str]:
    assert assessment.changes is not None
    return {(row.change, row.user): row.note for row in assessment.changes.findings.itertuples()}


def account_changes(assessment: Assessment) -> list[tuple[str, str]]:
    assert assessment.changes is not None
    return [(row.change, row.account_id) for row in assessment.changes.accounts.itertuples()]


def test_the_first_run_has_nothing_to_be_compared_with(history: list[tuple[RunFolder, Assessment]]) -> None:
    _, first = history[0]
    assert first.changes is None
    assert first.findings["first_seen"].eq(T1).all()
    assert len(first.findings) == 9  # ann, bob, gus, hal twice, dan; eve, fay; ida


def test_second_run(history: list[tuple[RunFolder, Assessment]]) -> None:
    _, second = history[1]
    assert told(second) == sorted(
        [
            ("new", A, "cid", KEY, 2, 0),
            ("open", A, "ann", KEY, 1, 90),
            ("open", A, "dan", MFA, 1, 90),
            ("open", A, "hal", KEY, 1, 90),
            ("open", B, "eve", KEY, 1, 90),
            ("open", B, "fay", KEY, 1, 90),
            ("open", D, "ida", KEY, 1, 90),
            ("resolved", A, "bob", KEY, 1, 0),
            ("resolved", A, "gus", KEY, 1, 0),
            ("resolved", A, "hal", KEY, 1, 0),
        ]
    )
    assert notes(second)["resolved", "bob"] == "the credential no longer exists"
    assert notes(second)["resolved", "gus"] == "the check no longer applies to it"
    assert account_changes(second) == [("joined", C)]


def test_third_run_calls_nothing_of_the_denied_account_resolved(history: list[tuple[RunFolder, Assessment]]) -> None:
    _, third = history[2]
    assert not third.run.is_complete
    assert told(third) == sorted(
        [
            ("new", A, "bob", KEY, 3, 0),
            ("reappeared", A, "gus", KEY, 3, 0),
            ("open", A, "ann", KEY, 1, 180),
            ("open", A, "cid", KEY, 2, 90),
            ("open", A, "dan", MFA, 1, 180),
            ("open", A, "hal", KEY, 1, 180),
            ("not_rechecked", B, "eve", KEY, 1, 180),
            ("not_rechecked", B, "fay", KEY, 1, 180),
            ("not_rechecked", D, "ida", KEY, 1, 180),
        ]
    )
    assert notes(third)["not_rechecked", "eve"] == "the account was not read: access_denied"
    assert notes(third)["not_rechecked", "ida"] == "the account is no longer in the organization"
    assert notes(third)["reappeared", "gus"] == f"was there before, from {T1:%Y-%m-%d} to {T1:%Y-%m-%d}"
    assert account_changes(third) == [("not read", B), ("left", D)]


def test_fourth_run_is_compared_with_the_last_complete_one(history: list[tuple[RunFolder, Assessment]]) -> None:
    (second, _), (_, fourth) = history[1], history[3]
    assert fourth.changes is not None
    assert fourth.changes.old_run == second.path.name
    assert told(fourth) == sorted(
        [
            ("new", A, "bob", KEY, 3, 90),  # the incomplete third run has seen it
            ("new", A, "dan", MFA, 4, 0),
            ("new", B, "new", KEY, 4, 0),
            ("reappeared", A, "gus", KEY, 3, 90),
            ("open", A, "ann", KEY, 1, 270),
            ("open", A, "hal", KEY, 1, 270),
            ("open", B, "eve", KEY, 1, 270),
            ("not_rechecked", D, "ida", KEY, 1, 270),
            ("resolved", A, "cid", KEY, 2, 0),
            ("resolved", A, "dan", MFA, 1, 90),
            ("resolved", B, "fay", KEY, 1, 90),
        ]
    )
    assert notes(fourth)["resolved", "dan"] == "the user was deleted; there is another of that name now"
    assert notes(fourth)["resolved", "fay"] == "the user no longer exists"
    assert account_changes(fourth) == [("left", D)]


def test_every_finding_stands_in_the_comparison_once(history: list[tuple[RunFolder, Assessment]]) -> None:
    for _, assessment in history[1:]:
        assert assessment.changes is not None
        changes = assessment.changes.findings
        current = changes[changes["change"].isin(("new", "reappeared", "open"))]
        names = ["account_id", "user", "credential", "check"]
        assert sorted(map(tuple, current[names].astype(str).to_numpy())) == sorted(
            map(tuple, assessment.findings[names].astype(str).to_numpy())
        )
        merged = assessment.findings.astype({"credential": str}).merge(
            current.astype({"credential": str}), on=names, suffixes=("", "_change")
        )
        assert merged["first_seen"].equals(merged["first_seen_change"])
        scanned = assessment.accounts.loc[assessment.accounts["outcome"].eq("scanned"), "account_id"]
        assert changes.loc[changes["change"].eq("resolved"), "account_id"].isin(scanned).all()


def test_trend_has_the_runs_in_their_order(history: list[tuple[RunFolder, Assessment]]) -> None:
    trend = history[3][1].trend
    assert trend is not None
    assert trend["run_id"].tolist() == [folder.path.name for folder, _ in history]
    assert trend["complete"].tolist() == [True, True, False, True]
    assert trend["medium"].tolist() == [
        int((run.findings["check"].eq(KEY) & run.findings["verdict"].eq("FAIL")).sum()) for _, run in history
    ]


def test_a_report_on_a_stored_run_says_the_same(history: list[tuple[RunFolder, Assessment]]) -> None:
    for folder, assessment in history:
        before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.path.rglob("*"))
        again = with_history(folder, reevaluate(folder, folder.read_run(), at=NOW), write=False)
        pd.testing.assert_frame_equal(again.findings, assessment.findings)
        if assessment.changes is not None:
            assert again.changes is not None
            pd.testing.assert_frame_equal(again.changes.findings, assessment.changes.findings)
        assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.path.rglob("*")) == before


def scans(runs_dir: Path, monkeypatch: pytest.MonkeyPatch, *users: Sequence[SimulatedUser]) -> list[Any]:
    """One run for each state of one account, a day apart."""
    scan = scanner_in(runs_dir, monkeypatch)
    runs = []
    for number, each in enumerate(users):
        simulator = Simulator(organization(member(A, users=each)))
        folder, assessment = scan(simulator, started=NOW - (len(users) - number) * DAY, checks=CHECKS)
        runs.append((folder, assessment))
    return runs


def test_a_damaged_history_is_passed_over_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [user("ann", aged(1, T1))]
    (first, one), (second, two), (third, three) = scans(tmp_path, monkeypatch, old, old, old)
    finished(first, one)
    finished(second, two)
    for damage in (b"", b"{}\n", b"[]\n", b'{"identity": 1}\n', b"\xff", b"not json\n", b'"a"\n'):
        (second.path / "history.jsonl").write_bytes(damage or b"{\n")
        known = with_history(third, three, write=False)
        assert known.changes is not None
        assert known.changes.old_run == first.path.name
        assert known.run.notes[-1] == f"Not compared with {second.path.name}: its history cannot be read."
        assert known.findings["first_seen"].eq(one.run.as_of).all()


def test_keys_of_one_second_and_keys_without_a_date_are_told_apart_by_their_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = [user("ann", aged(1, T1), aged(2, T1))]
    (first, one), (second, two) = scans(tmp_path, monkeypatch, twins, twins)
    finished(first, one)
    known = finished(second, two)
    assert known.changes is not None
    assert known.changes.findings["change"].tolist() == ["open", "open"]
    assert len(known.changes.findings) == len(known.findings) == 2


def test_what_becomes_exempt_is_still_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [user("ann", aged(1, T1))]
    (first, one), (second, two) = scans(tmp_path, monkeypatch, old, old)
    finished(first, one)
    exempt = replace(two, findings=two.findings.assign(verdict=pd.array(["EXEMPT"], dtype="string")))
    known = finished(second, exempt)
    assert known.changes is not None
    (row,) = known.changes.findings.itertuples()
    assert (row.change, row.verdict, row.old_verdict, row.note) == ("open", Verdict.EXEMPT, Verdict.FAIL, "was FAIL")


def test_a_check_that_is_no_longer_asked_resolves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [user("ann", aged(1, T1))]
    (first, one), (second, _) = scans(tmp_path, monkeypatch, old, old)
    finished(first, one)
    run = second.read_run() if (second.path / "run.json").exists() else one.run
    asked = replace(run, rules=replace(run.rules, checks=(MFA,)), finished=run.finished or one.run.finished)
    known = with_history(second, reevaluate(second, asked, at=NOW), write=False)
    assert known.changes is not None
    (row,) = known.changes.findings.itertuples()
    assert (row.change, row.note) == ("not_rechecked", "the check was not asked")
