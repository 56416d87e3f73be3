"""Four runs over the wire, and what each says of those before it; then cases that no organization shows by chance."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.compare import KEPT
from scanner.errors import EvidenceError
from scanner.evidence import BEFORE, HISTORY, RunFolder
from scanner.history import between, decode, encode, with_history
from scanner.models import (
    CHANGE_COLUMNS,
    Assessment,
    Exemption,
    Limits,
    Outcome,
    Rules,
    Stop,
)
from scanner.reevaluate import reevaluate
from scanner.simulator import Behaviour, SimulatedAccount, SimulatedKey, Simulator
from scanner.simulator.report import render_report

from .scanning import NOW, Scan, scanner_in
from .simulation import member, organization
from .stored_runs import (
    ASKED,
    DAY,
    KEY,
    MFA,
    OLD,
    SHOWN_OLD,
    START,
    A,
    B,
    C,
    D,
    Runs,
    aged,
    finished,
    of_user,
    reported,
    user,
)

T1, T2, T3, T4 = TIMES = [NOW - 90 * DAY * back for back in (3, 2, 1, 0)]
CHECKS = {"only": [KEY, MFA]}


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
    assert notes(second)["resolved", "bob"] == (
        f"the access key no longer exists; the user has one created on {T2 - DAY:%Y-%m-%d}"
    )
    assert notes(second)["resolved", "gus"] == "it is not active any more"
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
    assert notes(third)["reappeared", "gus"] == f"first seen on {T1:%Y-%m-%d}, found resolved on {T2:%Y-%m-%d}"
    assert account_changes(third) == [("left", D), ("not read", B)]


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
            ("resolved", A, "cid", KEY, 2, 90),  # the third run has seen it last
            ("resolved", A, "dan", MFA, 1, 180),
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


# Cases that no organization shows by chance: runs written to their folders without a wire


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


def rows(assessment: Assessment) -> list[tuple[str, str, str, str, int]]:
    """change, credential, verdict before, verdict now, days open."""
    assert assessment.changes is not None
    names = ["change", "credential", "old_verdict", "verdict", "open_days"]
    return list(assessment.changes.findings[names].itertuples(index=False, name=None))


def only_note(assessment: Assessment) -> str:
    assert assessment.changes is not None
    (note,) = assessment.changes.findings["note"]
    return str(note)


def test_of_two_keys_of_one_second_that_which_is_left_is_still_open(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD), aged(2, OLD)))
    _, both = runs.add(of_user(aged(1, OLD), aged(2, OLD)))
    _, one = runs.add(of_user(aged(2, OLD)))

    assert rows(both) == [("open", "access_key_1", "FAIL", "FAIL", 1), ("open", "access_key_2", "FAIL", "FAIL", 1)]
    assert rows(one) == [("open", "access_key_1", "FAIL", "FAIL", 2), ("resolved", "access_key_2", "FAIL", "", 1)]


def test_a_key_is_not_resolved_by_a_report_that_does_not_date_it(runs: Runs) -> None:
    dated = of_user(aged(1, OLD), created=OLD - DAY)
    undated = reported(dated, SHOWN_OLD, "not_supported")
    runs.add(dated)
    _, second = runs.add(undated)
    _, third = runs.add(dated)

    new, unknown = rows(second)
    assert new == ("new", "access_key_1", "", "UNKNOWN", 0)
    assert unknown == ("not_rechecked", "access_key_1", "FAIL", "", 1)
    assert notes(second)["not_rechecked", "ann"] == "the report does not show, or not date, all keys of the user"
    assert ("open", "access_key_1", "FAIL", "FAIL", 2) in rows(third)
    assert [row[0] for row in rows(third)] == ["open", "resolved"]


def test_a_key_is_not_resolved_while_the_report_hides_some_of_the_user(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)))
    lines = render_report(of_user()).decode().split("\n")
    hidden = "\n".join([f"{lines[0]},additional_credentials_info", f"{lines[1]},N/A", f"{lines[2]},2"])
    _, second = runs.add(replace(of_user(), report=hidden.encode()))

    assert ("not_rechecked", "access_key_1", "FAIL", "", 1) in rows(second)
    assert "resolved" not in [row[0] for row in rows(second)]


def test_nobody_is_created_again_by_a_report_that_does_not_say_when(runs: Runs) -> None:
    told_when = of_user(aged(1, OLD + DAY))
    runs.add(told_when)
    _, second = runs.add(reported(told_when, SHOWN_OLD, "N/A"))
    _, third = runs.add(told_when)

    assert rows(second) == [("open", "access_key_1", "FAIL", "FAIL", 1)]
    assert rows(third) == [("open", "access_key_1", "FAIL", "FAIL", 2)]


def test_nor_by_the_first_report_that_does(runs: Runs) -> None:
    told_when = of_user(aged(1, OLD + DAY))
    runs.add(reported(told_when, SHOWN_OLD, "N/A"))
    _, second = runs.add(told_when)

    assert rows(second) == [("open", "access_key_1", "FAIL", "FAIL", 1)]


def test_of_two_keys_without_a_date_that_which_is_left_is_still_open(runs: Runs) -> None:
    def undated(*keys: SimulatedKey) -> SimulatedAccount:
        return reported(of_user(*keys, created=OLD - DAY), SHOWN_OLD, "not_supported")

    runs.add(undated(aged(1, OLD), aged(2, OLD)))
    _, one = runs.add(undated(aged(2, OLD)))
    _, dated = runs.add(of_user(aged(2, OLD), created=OLD - DAY))

    assert [row[0] for row in rows(one)] == ["open", "resolved"]
    assert [row[0] for row in rows(dated)] == ["new", "resolved"]
    assert notes(dated)["resolved", "ann"] == "the access key has a date now, or no longer exists"


def test_a_user_of_another_moment_is_another_though_the_key_is_of_the_same(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)))
    _, second = runs.add(of_user(aged(2, OLD), created=OLD - DAY))

    assert [row[0] for row in rows(second)] == ["new", "resolved"]
    assert notes(second)["resolved", "ann"] == "the user was deleted; there is another of that name now"


def test_a_verdict_that_comes_to_be_known_opens_nothing_new(runs: Runs) -> None:
    keys = (aged(1, OLD), aged(2, START))
    unknown = reported(of_user(*keys, created=OLD - DAY), f"true,{SHOWN_OLD}", f"perhaps,{SHOWN_OLD}")
    runs.add(unknown)
    _, second = runs.add(of_user(*keys, created=OLD - DAY))

    assert rows(second) == [("open", "access_key_1", "UNKNOWN", "FAIL", 1)]
    assert only_note(second) == "was UNKNOWN"


def test_what_becomes_exempt_is_still_open_and_since_the_same_day(runs: Runs) -> None:
    exemption = Exemption(
        id="EX-1", checks=(KEY,), reason="r", owner="o", approver="a", ticket="t", expires=START + 2000 * DAY
    )
    runs.add(of_user(aged(1, OLD)))
    _, second = runs.add(of_user(aged(1, OLD)), rules=replace(ASKED, exemptions=(exemption,)))
    _, third = runs.add(of_user(aged(1, OLD)))

    assert (rows(second), only_note(second)) == ([("open", "access_key_1", "FAIL", "EXEMPT", 1)], "was FAIL")
    assert (rows(third), only_note(third)) == ([("open", "access_key_1", "EXEMPT", "FAIL", 2)], "was EXEMPT")


def test_a_check_that_is_not_asked_resolves_nothing(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)))
    _, second = runs.add(of_user(aged(1, OLD)), rules=Rules(checks=(MFA,)))
    _, third = runs.add(of_user(aged(1, OLD)))

    assert rows(second) == [("not_rechecked", "access_key_1", "FAIL", "", 1)]
    assert only_note(second) == "the check was not asked"
    assert rows(third) == [("open", "access_key_1", "FAIL", "FAIL", 2)]


@pytest.mark.parametrize(
    ("outcome", "note"),
    [
        (Outcome.EXCLUDED, "the account is excluded by configuration"),
        (Outcome.NOT_ACTIVE, "the account is not active"),
        *((outcome, f"the account was not read: {outcome}") for outcome in Outcome if outcome.is_gap),
    ],
)
def test_nothing_of_an_account_that_is_not_read_is_resolved(outcome: Outcome, note: str, runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)), member(B))
    _, second = runs.add(of_user(aged(1, OLD)), member(B), outcomes={A: outcome})
    _, third = runs.add(of_user(), member(B))

    assert rows(second) == [("not_rechecked", "access_key_1", "FAIL", "", 1)]
    assert only_note(second) == note
    assert account_changes(second) == [("not read", A)]
    assert rows(third) == [("resolved", "access_key_1", "FAIL", "", 0)]


def test_an_account_that_was_not_listed_yet_has_not_left(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)), member(B))
    _, stopped = runs.add(member(B), stopped_by=Stop.SIGNAL)
    _, whole = runs.add(member(B))

    assert (only_note(stopped), account_changes(stopped)) == (
        "the account was not listed before the run was stopped",
        [],
    )
    assert (only_note(whole), account_changes(whole)) == (
        "the account is no longer in the organization",
        [("left", A)],
    )


def test_what_an_incomplete_run_has_seen_is_not_lost_when_the_next_cannot_read_it(runs: Runs) -> None:
    runs.add(of_user(), member(B))
    runs.add(of_user(aged(1, OLD)), member(B), outcomes={B: Outcome.ACCESS_DENIED})
    _, third = runs.add(of_user(aged(1, OLD)), member(B), outcomes={A: Outcome.ACCESS_DENIED})
    _, fourth = runs.add(of_user(aged(1, OLD)), member(B))

    assert rows(third) == [("not_rechecked", "access_key_1", "", "", 1)]
    assert rows(fourth) == [("new", "access_key_1", "", "FAIL", 2)]


def test_while_no_run_is_complete_the_last_one_is_compared_with(runs: Runs) -> None:
    first, _ = runs.add(of_user(aged(1, OLD)), member(B), outcomes={B: Outcome.ACCESS_DENIED})
    second, told_of_second = runs.add(of_user(aged(1, OLD)), member(B), outcomes={B: Outcome.ERROR})
    _, third = runs.add(of_user(aged(1, OLD)), member(B))

    assert rows(told_of_second) == [("open", "access_key_1", "FAIL", "FAIL", 1)]
    for earlier, later in ((first, told_of_second), (second, third)):
        assert later.run.notes == (
            f"No complete run before this one: compared with {earlier.path.name}, which is incomplete.",
        )


def test_a_resolved_finding_is_forgotten_in_the_end(runs: Runs) -> None:
    for is_too_late, change in ((False, "reappeared"), (True, "new")):
        runs.add(of_user(aged(1, OLD)))
        runs.add(of_user())
        runs.add(of_user(), days=KEPT.days - 1 + is_too_late)
        _, last = runs.add(of_user(aged(1, OLD)))
        assert [row[0] for row in rows(last)] == [change]


def test_other_limits_are_named_once_also_in_a_report(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)))
    folder, second = runs.add(
        of_user(aged(1, OLD)), rules=replace(ASKED, limits=Limits(access_key_max_age=timedelta(days=400)))
    )

    assert rows(second) == [("resolved", "access_key_1", "FAIL", "", 0)]
    assert only_note(second) == "it passes now"
    (note,) = second.run.notes
    assert "was judged by other limits: some of the changes may come from that" in note
    again = with_history(folder, reevaluate(folder, folder.read_run(), at=NOW), write=False)
    assert again.run.notes == second.run.notes


# What is kept


def test_a_run_says_the_same_when_the_runs_before_it_are_gone(runs: Runs, tmp_path: Path) -> None:
    first, _ = runs.add(of_user(aged(1, OLD)))
    second, _ = runs.add(of_user(aged(1, OLD)))
    third, told_of_third = runs.add(of_user(aged(1, OLD)))
    alone = RunFolder(tmp_path / "alone" / third.path.name)
    shutil.copytree(third.path, alone.path)
    for folder in (first, second):
        shutil.rmtree(folder.path)

    again = with_history(alone, reevaluate(alone, alone.read_run(), at=NOW), write=False)
    assert again.changes is not None
    assert told_of_third.changes is not None
    pd.testing.assert_frame_equal(again.findings, told_of_third.findings)
    pd.testing.assert_frame_equal(again.changes.findings, told_of_third.changes.findings)
    pd.testing.assert_frame_equal(again.changes.accounts, told_of_third.changes.accounts)
    _, fourth = runs.add(of_user(aged(1, OLD)))
    assert rows(fourth) == [("open", "access_key_1", "FAIL", "FAIL", 3)]


def cut(content: bytes) -> bytes:
    """The file without its last line."""
    lines = gzip.decompress(content).splitlines(keepends=True)
    return gzip.compress(b"".join(lines[:-1]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: gzip.compress(b"{}\n"),
        lambda content: gzip.compress(b"not json\n"),
        cut,
    ],
)
def test_a_damaged_history_is_passed_over_and_said(damage: Any, runs: Runs) -> None:
    first, _ = runs.add(of_user(aged(1, OLD)))
    second, _ = runs.add(of_user(aged(1, OLD)))
    path = second.path / HISTORY
    path.write_bytes(damage(path.read_bytes()))
    second.write_manifest(None)
    _, third = runs.add(of_user(aged(1, OLD)))

    assert third.changes is not None
    assert third.changes.old_run == first.path.name
    assert third.run.notes == (f"Not compared with {second.path.name}: its history cannot be read.",)
    assert rows(third) == [("open", "access_key_1", "FAIL", "FAIL", 2)]


def test_a_history_that_was_changed_is_passed_over(runs: Runs) -> None:
    first, _ = runs.add(of_user(aged(1, OLD)))
    second, _ = runs.add(of_user(aged(1, OLD)))
    history = decode((second.path / HISTORY).read_bytes())
    (second.path / HISTORY).write_bytes(encode(replace(history, findings=history.findings.iloc[:0])))
    _, third = runs.add(of_user(aged(1, OLD)))

    assert third.changes is not None
    assert third.changes.old_run == first.path.name


def test_a_report_does_not_guess_what_its_run_knew_before(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)))
    folder, assessment = runs.add(of_user(aged(1, OLD)))
    (folder.path / BEFORE).write_bytes(b"")

    with pytest.raises(EvidenceError, match=r"before\.jsonl\.gz is not as credaudit writes it"):
        with_history(folder, assessment, write=False)


def test_a_history_is_the_same_bytes_and_comes_back_as_it_was(runs: Runs) -> None:
    runs.add(of_user(aged(1, OLD)))
    folder, _ = runs.add(of_user(aged(2, OLD + DAY)), member(B, users=[user("\u2028=1\x1b[31m", aged(3, OLD))]))
    content = (folder.path / HISTORY).read_bytes()
    history = decode(content)

    assert encode(history) == content
    assert sorted(history.findings["state"]) == ["open", "open", "resolved"]
    header, *lines = gzip.decompress(content).decode("ascii").splitlines()
    assert json.loads(header)["findings"] == len(lines)


# Asked for: two runs, whatever there was in between


def test_two_runs_are_compared_whatever_there_was_in_between(runs: Runs) -> None:
    first = runs.add(of_user(aged(1, OLD), account_id=A), of_user(aged(2, OLD), account_id=B), member(C))
    runs.add(of_user(account_id=A), of_user(aged(2, OLD), account_id=B), of_user(aged(3, OLD), account_id=C))
    runs.add(
        of_user(aged(1, OLD), account_id=A), of_user(aged(2, OLD), account_id=B), of_user(aged(3, OLD), account_id=C)
    )
    last = runs.add(of_user(aged(1, OLD), account_id=A), of_user(account_id=B), of_user(aged(3, OLD), account_id=C))

    assessment = between(*first, *last)
    assert assessment.changes is not None
    assert assessment.changes.old_run == first[0].path.name
    findings = assessment.changes.findings
    assert list(findings[["change", "account_id", "open_days"]].itertuples(index=False, name=None)) == [
        ("new", C, 2),
        ("reappeared", A, 1),
        ("resolved", B, 2),
    ]
    pd.testing.assert_series_equal(assessment.findings["first_seen"], last[1].findings["first_seen"])


states = st.sampled_from(["absent", "old", "young", "inactive", "undated", "again"])
accounts_of_a_run = st.tuples(
    st.tuples(states, states), st.sampled_from(Outcome), st.booleans(), st.sampled_from([(KEY, MFA), (MFA,), (KEY,)])
)


def drawn(state: str) -> SimulatedAccount:
    moment = {"young": START, "undated": datetime(2001, 1, 1, tzinfo=UTC)}.get(state, OLD)
    keys = [] if state == "absent" else [aged(1, moment, active=state != "inactive")]
    created = OLD + DAY if state == "again" else OLD
    account = of_user(*keys, created=created, password_enabled=state != "young", password_last_changed=OLD)
    return reported(account, "2001-01-01T00:00:00+00:00", "no_information") if state == "undated" else account


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(accounts_of_a_run, min_size=2, max_size=4))
def test_whatever_two_runs_are_every_finding_is_told_once_and_nothing_unread_is_resolved(
    tmp_path_factory: pytest.TempPathFactory, plan: list[Any]
) -> None:
    runs = Runs(tmp_path_factory.mktemp("drawn"))
    made = []
    for (first, second), outcome, is_listed, checks in plan:
        accounts = [drawn(first), *([replace(drawn(second), account_id=B, report=None)] if is_listed else [])]
        made.append(runs.add(*accounts, outcomes={A: outcome}, rules=Rules(checks=checks)))
    names = ["account_id", "user", "credential", "check"]
    told_twice = [(made[0], made[-1], between(*made[0], *made[-1]))]
    told_twice += [(earlier, later, later[1]) for earlier, later in pairwise(made)]
    for (_, old), (_, new), told_now in told_twice:
        assert told_now.changes is not None
        changes = told_now.changes.findings
        present = changes[changes["change"].isin(("new", "reappeared", "open"))]
        assert sorted(map(tuple, present[names].astype(str).to_numpy())) == sorted(
            map(tuple, new.findings[names].astype(str).to_numpy())
        )
        scanned = new.accounts.loc[new.accounts["outcome"].eq("scanned"), "account_id"]
        resolved = changes[changes["change"].eq("resolved")]
        assert resolved["account_id"].isin(scanned).all()
        assert resolved["check"].isin([check.check_id for check in new.checks]).all()
        assert changes["first_seen"].notna().all()
        assert changes["open_days"].ge(0).all()
        if told_now.changes.old_run == old.run.run_id:
            of_old = changes[changes["old_verdict"].ne("")]
            assert len(of_old) >= len(old.findings) - changes["change"].eq("reappeared").sum()
