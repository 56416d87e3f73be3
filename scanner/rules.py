"""config.toml and the exemptions → the Rules of a run; and which of them hold for each account."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from scanner.checks import CATALOGUE, Check
from scanner.config import Config
from scanner.errors import ConfigError
from scanner.models import Account, Exemption, Limits, Override, Rules, Severity

CHECK_IDS = tuple(check.id for check in CATALOGUE)
STRICTER_WHEN_LONGER = frozenset({"root_unused", "access_key_setup_window"})
"""Limits of which a longer one fails more; of all others it is a shorter one."""


def rules_of(config: Config, exemptions: Sequence[Exemption] = ()) -> Rules:
    """The rules that a configuration asks for; raises ConfigError for a check that there is not."""
    only, skip = config.checks.only, config.checks.skip
    named = [*only, *skip, *config.checks.severity, *(name for each in config.override for name in each.severity)]
    for name in named:
        check_id(name)
    chosen = tuple(each for each in CHECK_IDS if (not only or each in only) and each not in skip)
    if not chosen:
        raise ConfigError("[checks]: no check is left to ask")
    return Rules(
        limits=replace(Limits(), **config.limits.durations()),
        checks=None if chosen == CHECK_IDS else chosen,
        severities=dict(config.checks.severity),
        overrides=tuple(
            Override(ou=each.ou, limits=each.limits.durations(), severities=dict(each.severity))
            for each in config.override
        ),
        exemptions=tuple(exemptions),
        next_audit=timedelta(days=config.output.next_audit_days),
    )


def check_id(name: str) -> str:
    """The name, if it is a check's; raises ConfigError, with the nearest that is."""
    if name not in CHECK_IDS:
        near = difflib.get_close_matches(name, CHECK_IDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "`credaudit checks` lists them"
        raise ConfigError(f"there is no check {name}; {hint}", "`credaudit checks` lists them.")
    return name


def chosen_checks(rules: Rules, catalogue: Sequence[Check] = CATALOGUE) -> tuple[Check, ...]:
    """The checks that are asked, with the severities that hold where no override does."""
    return tuple(
        replace(check, severity=rules.severities.get(check.id, check.severity))
        for check in catalogue
        if rules.checks is None or check.id in rules.checks
    )


@dataclass(frozen=True, slots=True)
class AccountRules:
    """What holds for some accounts."""

    limits: Limits
    severities: tuple[tuple[str, Severity], ...]
    """Check id and severity, where it is not that of the catalogue."""


def rules_by_account(rules: Rules, accounts: Iterable[Account]) -> dict[str, AccountRules]:
    """Account id → what holds there: of the overrides above it the one of the longest path.

    Where an account stands is not known, the strictest of all holds.
    """
    base = AccountRules(rules.limits, tuple(sorted(rules.severities.items())))
    if not rules.overrides:
        return dict.fromkeys((account.account_id for account in accounts), base)
    by_index = [_laid_over(base, override) for override in rules.overrides]
    strictest = _strictest([base, *by_index])
    found = {}
    for account in accounts:
        if _is_lost(account, rules):
            found[account.account_id] = strictest
            continue
        above = [at for at, override in enumerate(rules.overrides) if account.stands_under(override.ou)]
        depth = max((_depth(account, rules.overrides[at].ou) for at in above), default=0)
        deepest = [by_index[at] for at in above if _depth(account, rules.overrides[at].ou) == depth]
        # Two that are as deep are of one OU, named by its id and by its path.
        found[account.account_id] = _strictest(deepest) if len(deepest) > 1 else (deepest or [base])[0]
    return found


def _is_lost(account: Account, rules: Rules) -> bool:
    """Whether an override may hold for it and nobody can say: its place is unknown, or what its place is called."""
    return not account.ou_path and (
        not account.ou_ids or any(override.ou.startswith("Root") for override in rules.overrides)
    )


def override_notes(rules: Rules, accounts: Sequence[Account]) -> list[str]:
    """What a reader must know of the overrides: those that hold nowhere, and accounts of which nobody knows."""
    if not rules.overrides:
        return []
    notes = [
        f"[[override]] {override.ou} matches no account."
        for override in rules.overrides
        if not any(account.stands_under(override.ou) for account in accounts)
    ]
    lost = sum(account.is_in_scope and _is_lost(account, rules) for account in accounts)
    if lost:
        notes.append(f"Accounts of unknown place in the tree: {lost:,}; the strictest of all overrides holds for them.")
    return notes


def _depth(account: Account, ou: str) -> int:
    """How far below the root this OU above the account stands."""
    return account.ou_ids.index(ou) if ou in account.ou_ids else re.sub(r"\\.", "", ou).count("/")


def _laid_over(base: AccountRules, override: Override) -> AccountRules:
    severities = tuple(sorted({**dict(base.severities), **override.severities}.items()))
    return AccountRules(replace(base.limits, **override.limits), severities)


def _strictest(all_rules: Sequence[AccountRules]) -> AccountRules:
    limits = {}
    for name in (each.name for each in fields(Limits)):
        values = [getattr(each.limits, name) for each in all_rules]
        limits[name] = max(values) if name in STRICTER_WHEN_LONGER else min(values)
    catalogue = {check.id: check.severity for check in CATALOGUE}
    severities = {}
    for check_name, severity in catalogue.items():
        highest = max(
            (dict(each.severities).get(check_name, severity) for each in all_rules), key=lambda each: each.rank
        )
        if highest is not severity:
            severities[check_name] = highest
    return AccountRules(Limits(**limits), tuple(sorted(severities.items())))
