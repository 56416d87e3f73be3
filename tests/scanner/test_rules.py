"""What config.toml asks for, and which limits and severities hold for which account."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from scanner.checks import CATALOGUE
from scanner.config import Config
from scanner.errors import ConfigError
from scanner.evaluate import evaluate
from scanner.models import Account, Limits, Override, Rules, Severity
from scanner.normalize import normalize
from scanner.rules import (
    CHECK_IDS,
    STRICTER_WHEN_LONGER,
    check_id,
    chosen_checks,
    override_notes,
    rules_by_account,
    rules_of,
)

from .report_lines import ACCOUNT, AS_OF, ago, cells_of, key, password, raw, report

CHECK = "access-key-not-rotated"
DAY = timedelta(days=1)
OU_ID = "ou-ab12-11111111"


def account(account_id: str, path: str, *ou_ids: str) -> Account:
    return replace(ACCOUNT, account_id=account_id, ou_path=path, ou_ids=ou_ids)


PROD = account("111122223333", "Root/Prod", "r-ab12", "ou-ab12-00000000")
PAYMENTS = account("123456789012", "Root/Prod/Payments", "r-ab12", "ou-ab12-00000000", OU_ID)
PRODUCTION = account("444455556666", "Root/Production", "r-ab12", "ou-ab12-22222222")
SLASH = account("999999999999", r"Root/a\/b", "r-ab12", "ou-ab12-33333333")
UNPLACED = account("777788889999", "")
POPULATION = (PROD, PAYMENTS, PRODUCTION, SLASH, UNPLACED)


def override(ou: str, days: int | None = None, **severities: Severity) -> Override:
    limits = {} if days is None else {"access_key_max_age": days * DAY}
    return Override(
        ou=ou, limits=limits, severities={name.replace("_", "-"): each for name, each in severities.items()}
    )


def ages(*overrides: Override, population: tuple[Account, ...] = POPULATION) -> list[int]:
    """The oldest that a key may be in each account, in days."""
    by_account = rules_by_account(Rules(overrides=overrides), population)
    return [by_account[each.account_id].limits.access_key_max_age.days for each in population]


# What the configuration asks for


def of(values: dict[str, Any]) -> Rules:
    return rules_of(Config.model_validate(values))


def test_without_a_configuration_all_checks_are_asked_by_the_default_limits() -> None:
    rules = of({})
    assert rules == Rules()
    assert [each.id for each in chosen_checks(rules)] == [each.id for each in CATALOGUE]


def test_what_the_configuration_says_is_in_the_rules() -> None:
    rules = of(
        {
            "limits": {"access_key_max_age_days": 30, "access_key_setup_window_seconds": 5},
            "checks": {"skip": ["password-not-changed"], "severity": {CHECK: "critical"}},
            "override": [{"ou": "Root/Prod", "limits": {"root_unused_days": 7}, "severity": {CHECK: "low"}}],
            "output": {"next_audit_days": 30},
        }
    )
    assert rules.limits == Limits(access_key_max_age=30 * DAY, access_key_setup_window=timedelta(seconds=5))
    assert rules.checks == tuple(each for each in CHECK_IDS if each != "password-not-changed")
    assert rules.severities == {CHECK: Severity.CRITICAL}
    wanted = Override(ou="Root/Prod", limits={"root_unused": 7 * DAY}, severities={CHECK: Severity.LOW})
    assert rules.overrides == (wanted,)
    assert rules.next_audit == 30 * DAY
    assert chosen_checks(rules)[0].severity is Severity.CRITICAL


def test_chosen_checks_keep_the_order_of_the_catalogue() -> None:
    rules = of({"checks": {"only": [CHECK_IDS[4], CHECK_IDS[1]]}})
    assert [each.id for each in chosen_checks(rules)] == [CHECK_IDS[1], CHECK_IDS[4]]


@pytest.mark.parametrize(
    "values",
    [
        {"checks": {"only": ["access-key-not-rotate"]}},
        {"checks": {"skip": ["access-key-not-rotate"]}},
        {"checks": {"severity": {"access-key-not-rotate": "low"}}},
        {"override": [{"ou": "Root", "severity": {"access-key-not-rotate": "low"}}]},
    ],
)
def test_a_check_that_there_is_not_is_refused_wherever_it_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match="there is no check access-key-not-rotate; did you mean access-key-not-rotated"
    ):
        of(values)


def test_no_check_left_is_refused() -> None:
    with pytest.raises(ConfigError, match="no check is left"):
        of({"checks": {"skip": list(CHECK_IDS)}})


def test_a_name_is_a_checks_or_an_error() -> None:
    assert check_id(CHECK) == CHECK
    with pytest.raises(ConfigError, match="`credaudit checks` lists them") as caught:
        check_id("zzz")
    assert caught.value.exit_code == 2


# Whose rules hold where


def test_without_overrides_the_same_holds_everywhere() -> None:
    assert ages() == [90] * 5


def test_an_override_holds_below_its_ou_and_nowhere_else() -> None:
    assert ages(override("Root/Prod", 120)) == [120, 120, 90, 90, 90]
    assert ages(override("Root/Pro", 120)) == [90] * 5
    assert ages(override("Root/Prod/Payments", 120)) == [90, 120, 90, 90, 90]
    assert ages(override("Root", 120))[:4] == [120] * 4


def test_an_ou_is_named_by_id_as_well() -> None:
    assert ages(override(OU_ID, 120)) == [90, 120, 90, 90, 90]
    assert ages(override("r-ab12", 120))[:4] == [120] * 4


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("Root/Prod", "Root/Prod/Payments"),
        ("Root/Prod", OU_ID),
        ("ou-ab12-00000000", "Root/Prod/Payments"),
        ("ou-ab12-00000000", OU_ID),
        ("Root", OU_ID),
        ("r-ab12", "Root/Prod/Payments"),
    ],
)
def test_the_longest_path_wins_whatever_the_order_and_the_spelling(outer: str, inner: str, flipped: bool) -> None:
    overrides = [override(outer, 30), override(inner, 60)]
    assert ages(*(reversed(overrides) if flipped else overrides))[:2] == [30, 60]


def test_the_outer_override_says_nothing_where_an_inner_one_holds() -> None:
    inner = Override(ou="Root/Prod/Payments", severities={CHECK: Severity.LOW})
    assert ages(override("Root/Prod", 30), inner)[:2] == [30, 90]


def test_a_slash_within_a_name_is_no_level() -> None:
    deep = account("999999999999", r"Root/a\/b/c", "r-ab12", "ou-ab12-33333333", "ou-ab12-44444444")
    assert ages(override(r"Root/a\/b", 30), override("ou-ab12-44444444", 60), population=(deep,)) == [60]
    assert ages(override(r"Root/a\/b", 30), override("Root/a", 60), population=(SLASH,)) == [30]


def test_an_account_whose_place_is_not_known_is_held_to_the_strictest_of_all() -> None:
    assert ages(override("Root/Prod", 30), override("Root/Dev", 365), population=(UNPLACED,)) == [30]
    assert ages(override("Root/Prod", 120), population=(UNPLACED,)) == [90], "the base is one of them"
    overrides = tuple(
        Override(ou=f"Root/{number}", limits={each.name: timedelta(days=days) for each in fields(Limits)})
        for number, days in enumerate((0, 10_000))
    )
    held = rules_by_account(Rules(overrides=overrides), [UNPLACED])[UNPLACED.account_id].limits
    for each in fields(Limits):
        assert getattr(held, each.name).days == (10_000 if each.name in STRICTER_WHEN_LONGER else 0)


def test_stricter_is_what_fails_more() -> None:
    """For each limit the users that fail with a short and a long one: the stricter of the two fails more."""
    lines = {
        "<root_account>": password(ago(20)),
        "a": password(ago(20), ago(20)) | key(made=ago(20), used=ago(20)) | key(2, ago(20), ago(20), "false"),
        "b": password(created=ago(20)) | key(made=ago(19)),
    }
    frame = normalize([raw(report(cells_of(user, cells) for user, cells in lines.items()))])

    def fails(name: str, days: int) -> int:
        _, findings, _ = evaluate(frame, (), Rules(limits=Limits(**{name: days * DAY})), AS_OF)
        return len(findings)

    for each in fields(Limits):
        assert (fails(each.name, 1000) > fails(each.name, 0)) == (each.name in STRICTER_WHEN_LONGER), each.name


def test_the_strictest_severity_is_the_highest() -> None:
    rules = Rules(
        severities={"root-without-mfa": Severity.LOW},
        overrides=(
            override("Root/Prod", access_key_not_rotated=Severity.HIGH),
            override("Root/Dev", access_key_not_rotated=Severity.LOW, root_without_mfa=Severity.MEDIUM),
        ),
    )
    by_account = rules_by_account(rules, POPULATION)
    assert dict(by_account[PROD.account_id].severities) == {CHECK: Severity.HIGH, "root-without-mfa": Severity.LOW}
    assert dict(by_account[PRODUCTION.account_id].severities) == {"root-without-mfa": Severity.LOW}
    held = dict(by_account[UNPLACED.account_id].severities)
    assert held == {CHECK: Severity.HIGH, "root-without-mfa": Severity.MEDIUM}


def test_each_account_is_judged_by_its_own_rules() -> None:
    """Accounts of three groups, in turn: verdict, due date, reason and severity are of the account's own rules."""
    overrides = (override("Root/Prod", 200, access_key_not_rotated=Severity.LOW), override(OU_ID, 30))
    rules = Rules(checks=(CHECK,), severities={CHECK: Severity.HIGH}, overrides=overrides)
    lines = {"old": key(made=ago(250)), "middle": key(made=ago(100)), "young": key(made=ago(50))}
    frame = normalize(
        raw(report(cells_of(user, cells, each.account_id) for user, cells in lines.items()), each)
        for each in POPULATION
    )
    credentials, findings, (summary,) = evaluate(frame, POPULATION, rules, AS_OF)

    limit = {PROD: 200, PAYMENTS: 30, PRODUCTION: 90, SLASH: 90, UNPLACED: 30}
    severity = dict.fromkeys(POPULATION, "high") | {PROD: "low"}
    wanted = {
        (each.account_id, user): (severity[each], limit[each])
        for each in POPULATION
        for user, age in (("old", 250), ("middle", 100), ("young", 50))
        if age > limit[each]
    }
    found = {
        (each.account_id, each.user): (each.severity, int(each.reason.split("the limit is ")[1].split()[0]))
        for each in findings.itertuples()
    }
    assert found == wanted
    assert summary.severity is Severity.HIGH
    assert sum(summary.verdicts.values()) == 15
    keys = credentials[credentials["credential"].eq("access_key_1")]
    days = (keys["due_on"] - keys["last_rotated"]).dt.days
    assert days.tolist() == [limit[each] for each in POPULATION for _ in lines]
    assert findings["severity"].tolist() == sorted(findings["severity"], key=["high", "low"].index)


def test_an_override_that_holds_nowhere_is_said_and_so_are_accounts_of_unknown_place() -> None:
    accounts = [
        Account(account_id="111122223333", name="a", email="", state="ACTIVE", ou_path="Root/Prod", ou_ids=("r-ab12",)),
        Account(account_id="444455556666", name="b", email="", state="ACTIVE"),
        Account(account_id="555566667777", name="c", email="", state="SUSPENDED"),
    ]
    rules = Rules(overrides=(Override(ou="Root/Prod"), Override(ou="Root/Prd")))
    assert override_notes(rules, accounts) == [
        "[[override]] Root/Prd matches no account.",
        "Accounts of unknown place in the tree: 1; the strictest of all overrides holds for them.",
    ]
    assert override_notes(Rules(), accounts) == []


def test_where_only_the_ids_of_a_place_are_known_a_path_may_hold() -> None:
    nameless = account("111122223333", "", "r-ab12", OU_ID)
    strict = {"access_key_max_age": 30 * DAY}
    by_path = Rules(overrides=(Override(ou="Root/Prod", limits=strict),))
    assert rules_by_account(by_path, [nameless])["111122223333"].limits.access_key_max_age == 30 * DAY
    assert override_notes(by_path, [nameless])[-1].startswith("Accounts of unknown place in the tree: 1;")
    by_id = Rules(overrides=(Override(ou="ou-ab12-99999999", limits=strict),))
    assert rules_by_account(by_id, [nameless])["111122223333"].limits.access_key_max_age == 90 * DAY


def test_two_overrides_of_one_ou_give_the_strictest_of_both() -> None:
    here = account("111122223333", "Root/Prod", "r-ab12", OU_ID)
    loose, strict = ({"access_key_max_age": days * DAY} for days in (90, 30))
    for first, second in (("Root/Prod", OU_ID), (OU_ID, "Root/Prod")):
        rules = Rules(overrides=(Override(ou=first, limits=loose), Override(ou=second, limits=strict)))
        assert rules_by_account(rules, [here])["111122223333"].limits.access_key_max_age == 30 * DAY
