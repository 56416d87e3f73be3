"""Who is in the organization: the accounts, where they stand in the tree, and which of them are in scope."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from scanner.aws import Aws, CallRecord
from scanner.config import OrganizationTable
from scanner.errors import AccessDenied, AwsError, CallerExpired, CredauditError, NoOrganization, OrganizationError
from scanner.models import Account

ACCOUNT_ID = re.compile(r"[0-9]{12}")
IDS_SHOWN = 20
"""In a note; all of them stand in the reports."""

WHO_MAY_LIST = (
    "Run from the management account or a delegated administrator, "
    "or set [organization] role_arn to a role that may list."
)


class OnPage(Protocol):
    """Hears how far a listing is."""

    def __call__(self, accounts: int, *, is_complete: bool) -> None:
        """So many accounts are listed by now."""


@dataclass(frozen=True, slots=True)
class Organization:
    """Which organization was scanned."""

    organization_id: str
    management_account_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account stands in the tree."""

    ou_path: str
    ou_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """The OU tree as it was walked."""

    places: dict[str, Place]
    accounts: dict[str, Account]
    """The accounts met on the way: a second listing, which must agree with ListAccounts."""
    failure: str = ""
    """Why the tree could not be read to its end; empty where it was."""
    units: dict[str, Place] = field(default_factory=dict)
    """The root and every OU by id. Where AWS sends each account's `Paths`, these say what its place is called."""

    def place_of(self, account: Account) -> Place:
        """Where an account stands, as far as that is known."""
        named = self.units.get(account.ou_ids[-1]) if account.ou_ids else None
        return self.places.get(account.account_id) or named or Place("", account.ou_ids)


@dataclass(frozen=True, slots=True)
class Population:
    """Every account of the organization, each once, ordered by id; those out of scope say by which rule."""

    accounts: tuple[Account, ...]
    notes: tuple[str, ...]
    """What a reader must know about how complete this is."""


async def describe_organization(aws: Aws, record: CallRecord) -> Organization:
    """Which organization this is; raises OrganizationError where the caller is in none."""
    try:
        answer = await aws.call("organizations:DescribeOrganization", record)
    except NoOrganization:
        raise OrganizationError("the caller's account is in no AWS Organization", WHO_MAY_LIST) from None
    except AwsError as error:
        raise OrganizationError(f"the organization could not be described: {error}", WHO_MAY_LIST) from None
    raw = answer["Organization"] or {}
    if not raw.get("Id") or not raw.get("MasterAccountId"):
        raise OrganizationError("AWS described the organization without its id or its management account", WHO_MAY_LIST)
    return Organization(raw["Id"], raw["MasterAccountId"])


async def describe_account(aws: Aws, record: CallRecord, account_id: str) -> Account:
    """One account as it is now; raises AwsError where that cannot be had."""
    return _account((await aws.call("organizations:DescribeAccount", record, {"AccountId": account_id}))["Account"])


def select(listed: dict[str, Account], tree: Tree, scope: OrganizationTable, *, is_complete: bool = True) -> Population:
    """The population with places and scope; raises OrganizationError for a scope that names what is not there.

    A listing that was stopped is not `is_complete`: the tree may well have more accounts.
    """
    only_in_tree = sorted(tree.accounts.keys() - listed.keys())
    population = listed | {account_id: tree.accounts[account_id] for account_id in only_in_tree}
    accounts = []
    for _, account in sorted(population.items()):
        place = tree.place_of(account)
        placed = replace(account, ou_path=place.ou_path, ou_ids=place.ou_ids)
        accounts.append(replace(placed, excluded_by=excluded_by(placed, scope)))
    notes = _check_scope(accounts, scope)
    if tree.failure:
        notes.append(f"The OU tree could not be read, so OU paths are missing: {tree.failure}")
    if only_in_tree and is_complete:
        notes.append(f"Accounts in the OU tree that ListAccounts did not list; added: {_shown(only_in_tree)}")
    if (tree.places or tree.units) and (lost := [account.account_id for account in accounts if not account.ou_path]):
        notes.append(f"Accounts that ListAccounts listed and the OU tree did not show: {_shown(lost)}")
    return Population(tuple(accounts), tuple(notes))


def _shown(account_ids: list[str]) -> str:
    """The ids, or the first of very many."""
    more = f" and {len(account_ids) - IDS_SHOWN:,} more" if len(account_ids) > IDS_SHOWN else ""
    return ", ".join(account_ids[:IDS_SHOWN]) + more


async def _pages(aws: Aws, action: str, record: CallRecord, **parameters: str) -> AsyncIterator[dict[str, Any]]:
    """All pages of a listing. A page may be empty and still be followed by others: only the token says."""
    seen: set[str] = set()
    while True:
        answer = await aws.call(action, record, parameters)
        yield answer
        token = answer.get("NextToken")
        if not token:
            return
        if token in seen:
            raise OrganizationError(f"{action} answered with the same NextToken twice; the listing cannot be completed")
        seen.add(token)
        parameters["NextToken"] = token


class Listing:
    """ListAccounts while it goes on: each account is to be had as soon as its page has come."""

    def __init__(self, aws: Aws, record: CallRecord, on_page: OnPage) -> None:
        """`on_page` hears after each page how many accounts are listed by now, and whether they are all."""
        self._on_page = on_page
        self.accounts: dict[str, Account] = {}
        """Every account by id, in all states."""
        self.is_complete = False
        self._order: list[str] = []  # a dict cannot be read on from a position
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._list(aws, record))
        self._task.add_done_callback(lambda _: self._news.set())

    async def _list(self, aws: Aws, record: CallRecord) -> None:
        try:
            async for page in _pages(aws, "organizations:ListAccounts", record):
                for raw in page["Accounts"]:
                    account = _account(raw)
                    if account.account_id not in self.accounts:
                        self._order.append(account.account_id)
                    _add(self.accounts, account)
                self._on_page(len(self._order), is_complete=False)
                self._news.set()
        except AccessDenied as error:
            raise OrganizationError(
                f"the caller may not list the organization's accounts: {error}", WHO_MAY_LIST
            ) from None
        except CallerExpired:
            raise
        except AwsError as error:
            raise OrganizationError(f"the organization's accounts could not be listed: {error}") from None
        self.is_complete = True
        self._on_page(len(self._order), is_complete=True)

    async def as_listed(self) -> AsyncIterator[Account]:
        """Each account once, as it was first listed. Raises OrganizationError where the listing cannot be completed."""
        position = 0
        while True:
            while position < len(self._order):
                yield self.accounts[self._order[position]]
                position += 1
            if self._task.done():
                await self._task
                return
            self._news.clear()
            await self._news.wait()

    async def complete(self) -> dict[str, Account]:
        """Every account, once all are listed; raises as `as_listed` does."""
        await self._task
        return self.accounts

    async def sends_paths(self) -> bool:
        """Whether AWS says of each account where it stands, as the first page shows."""
        async for account in self.as_listed():
            return bool(account.ou_ids)
        return False

    async def stop(self) -> None:
        """List no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _add(accounts: dict[str, Account], account: Account) -> None:
    """Pages may shift while they are listed: of an account that comes twice, the one that is active counts."""
    known = accounts.get(account.account_id)
    if known is None or account.is_active or not known.is_active:
        accounts[account.account_id] = account


def _account(raw: dict[str, Any]) -> Account:
    """`State` replaced `Status` in 2026; an account that has neither cannot be judged, so the run is refused."""
    if not ACCOUNT_ID.fullmatch(str(raw.get("Id"))):
        raise OrganizationError(
            f"AWS sent an account whose id is not 12 digits: {str(raw.get('Id'))[:40]!r}", "Check AWS_ENDPOINT_URL."
        )
    state = raw.get("State") or raw.get("Status")
    if not state:
        raise OrganizationError(
            f"AWS sent neither State nor Status for account {raw['Id']}",
            "Whether it is active cannot be known. Please report this: AWS may have changed its answer.",
        )
    return Account(
        account_id=raw["Id"],
        name=raw.get("Name", ""),
        email=raw.get("Email", ""),
        state=state,
        ou_ids=_ids_of_path((raw.get("Paths") or [""])[0]),
    )


def _ids_of_path(path: str) -> tuple[str, ...]:
    """`o-ORGANIZATION/r-ROOT/ou-…/ou-…/ACCOUNT/` → the ids of the root and of the OUs above the account."""
    return tuple(part for part in path.split("/") if part.startswith(("r-", "ou-")))


async def walk_tree(aws: Aws, record: CallRecord, *, required: bool, with_accounts: bool = True) -> Tree:
    """Where every account stands, from the root down. Not being allowed to is fatal only where it is `required`.

    Without accounts, only the OUs are listed. One request after the other: AWS allows five a second, so that more at
    once would only wait.
    """
    tree = Tree({}, {})
    try:
        waiting = [
            (root["Id"], Place(root["Name"], (root["Id"],)))
            async for page in _pages(aws, "organizations:ListRoots", record)
            for root in page["Roots"]
        ]
        while waiting:
            parent, place = waiting.pop()
            if parent in tree.units:
                raise OrganizationError(f"the OU tree leads to {parent} a second time")
            tree.units[parent] = place
            if with_accounts:
                await _add_accounts(tree, aws, record, parent)
            async for page in _pages(aws, "organizations:ListOrganizationalUnitsForParent", record, ParentId=parent):
                for ou in page["OrganizationalUnits"]:
                    name = ou["Name"].replace("\\", r"\\").replace("/", r"\/")
                    waiting.append((ou["Id"], Place(f"{place.ou_path}/{name}", (*place.ou_ids, ou["Id"]))))
    except CallerExpired:
        raise
    except (AwsError, OrganizationError, KeyError, TypeError) as error:
        if required:
            raise OrganizationError(
                f"[organization] names OUs, and the OU tree could not be read: {error}",
                "Allow organizations:ListRoots, ListOrganizationalUnitsForParent and ListAccountsForParent.",
            ) from None
        why = str(error) if isinstance(error, CredauditError) else f"unreadable answer: {type(error).__name__}: {error}"
        return Tree({}, tree.accounts, why)
    return tree


async def _add_accounts(tree: Tree, aws: Aws, record: CallRecord, parent: str) -> None:
    async for page in _pages(aws, "organizations:ListAccountsForParent", record, ParentId=parent):
        for raw in page["Accounts"]:
            account = _account(raw)
            tree.places[account.account_id] = tree.units[parent]
            tree.accounts[account.account_id] = account


def excluded_by(account: Account, scope: OrganizationTable) -> str:
    """The rule that leaves an account out, or nothing. Exclusion wins.

    No account is left out by OU while its place is unknown.
    """
    if account.account_id in scope.exclude_accounts:
        return "exclude_accounts"
    for reference in scope.exclude_ous:
        if account.stands_under(reference):
            return f"exclude_ous: {reference}"
    if not scope.include_accounts and not scope.include_ous:
        return ""
    if account.account_id in scope.include_accounts or any(account.stands_under(ou) for ou in scope.include_ous):
        return ""
    if scope.include_ous and not account.ou_ids:
        return ""
    return "not in include_accounts or include_ous" if scope.include_ous else "not in include_accounts"


def _check_scope(accounts: list[Account], scope: OrganizationTable) -> list[str]:
    """Including what is not there is an error; excluding it is a note; a scope of nothing is an error."""
    known = {account.account_id for account in accounts}
    references = [
        (
            key,
            reference,
            reference in known if "accounts" in key else any(a.stands_under(reference) for a in accounts),
        )
        for key in ("include_accounts", "include_ous", "exclude_accounts", "exclude_ous")
        for reference in getattr(scope, key)
    ]
    unmatched = [f"{key}: {reference} matches no account" for key, reference, matches in references if not matches]
    if missing := [text for text in unmatched if text.startswith("include")]:
        raise OrganizationError(f"[organization] {missing[0]} of this organization", "Check config.toml.")
    if not any(account.is_active and not account.excluded_by for account in accounts):
        raise OrganizationError(
            "no active account is in scope, so there is nothing to audit", "Check [organization] in config.toml."
        )
    return [f"[organization] {text}" for text in unmatched]
