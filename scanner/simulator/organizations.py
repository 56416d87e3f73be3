"""The simulated AWS Organizations."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from .accounts import Accounts
from .identity import CredentialStore, Principal
from .model import READER_ROLE_NAME, SimulatedAccount, SimulatedOrganization
from .wire import AwsError

PAGE_SIZE = 20
"""AWS's largest page."""

LEGACY_STATUS = {
    "PENDING_ACTIVATION": "ACTIVE",
    "ACTIVE": "ACTIVE",
    "SUSPENDED": "SUSPENDED",
    "PENDING_CLOSURE": "PENDING_CLOSURE",
    "CLOSED": "SUSPENDED",
}
"""The retired `Status`, which knew three values, for each `State`."""

Document = dict[str, object]
Entry = TypeVar("Entry")


class Organizations:
    """Answers the reading operations on the tree of units and accounts."""

    def __init__(self, organization: SimulatedOrganization, accounts: Accounts, credentials: CredentialStore) -> None:
        """Derive the tree from the accounts' paths."""
        self._organization = organization
        self._registry = accounts
        self._credentials = credentials
        self._arn = f"arn:{organization.partition}:organizations::{organization.management_account_id}"
        self._root_id = f"r-{_fingerprint(organization.organization_id, 4)}"
        self._units_of: dict[str, list[Document]] = {self._root_id: []}
        self._accounts_of: dict[str, list[SimulatedAccount]] = {self._root_id: []}
        self._ids_of: dict[tuple[str, ...], tuple[str, ...]] = {(): (self._root_id,)}
        for account in organization.accounts:
            self._accounts_of[self._unit_ids(account.ou_path)[-1]].append(account)

    def _unit_ids(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ids of the root and of each unit down to the path's last, which are made at first sight."""
        ids = self._ids_of.get(path)
        if ids is None:
            above = self._unit_ids(path[:-1])
            unit_id = f"ou-{self._root_id[2:]}-{_fingerprint(json.dumps(path), 8)}"
            arn = f"{self._arn}:ou/{self._organization.organization_id}/{unit_id}"
            self._units_of[above[-1]].append({"Id": unit_id, "Arn": arn, "Name": path[-1]})
            self._units_of[unit_id], self._accounts_of[unit_id] = [], []
            ids = self._ids_of[path] = (*above, unit_id)
        return ids

    def _document(self, account: SimulatedAccount) -> Document:
        organization = self._organization
        is_management = account.account_id == organization.management_account_id
        document: Document = {
            "Id": account.account_id,
            "Arn": f"{self._arn}:account/{organization.organization_id}/{account.account_id}",
            "Email": account.email,
            "Name": account.name,
            "JoinedMethod": "INVITED" if is_management else "CREATED",
            "JoinedTimestamp": account.root.created.timestamp(),
        }
        state = self._registry.state(account)
        if organization.lists_state:
            document["State"] = state
        if organization.lists_status:
            document["Status"] = LEGACY_STATUS[state]
        if organization.sends_paths:
            ids = (organization.organization_id, *self._unit_ids(account.ou_path), account.account_id)
            document["Paths"] = [f"{'/'.join(ids)}/"]
        return document

    def describe_organization(self, principal: Principal, _parameters: Mapping[str, str]) -> Document:
        """Tell the organization's id and its management account."""
        self._authorize(principal, "DescribeOrganization")
        organization = self._organization
        management_id = organization.management_account_id
        document = {
            "Id": organization.organization_id,
            "Arn": f"{self._arn}:organization/{organization.organization_id}",
            "FeatureSet": "ALL",
            "MasterAccountArn": f"{self._arn}:account/{organization.organization_id}/{management_id}",
            "MasterAccountId": management_id,
            "MasterAccountEmail": self._registry.by_id[management_id].email,
            "AvailablePolicyTypes": [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}],
        }
        return {"Organization": document}

    def list_roots(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List the one root."""
        self._authorize(principal, "ListRoots")
        arn = f"{self._arn}:root/{self._organization.organization_id}/{self._root_id}"
        root: Document = {"Id": self._root_id, "Arn": arn, "Name": "Root", "PolicyTypes": []}
        return _page("Roots", [root], dict, "ListRoots", parameters)

    def list_accounts(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List all accounts, the management account among them."""
        self._authorize(principal, "ListAccounts")
        return _page("Accounts", self._organization.accounts, self._document, "ListAccounts", parameters)

    def describe_account(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """Tell what a listing tells of one account."""
        self._authorize(principal, "DescribeAccount")
        account = self._registry.by_id.get(parameters.get("AccountId", ""))
        if account is None:
            raise AwsError("AccountNotFoundException", "You specified an account that doesn't exist.")
        return {"Account": self._document(account)}

    def list_organizational_units_for_parent(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List the units directly below a root or unit."""
        self._authorize(principal, "ListOrganizationalUnitsForParent")
        units = _children(self._units_of, parameters)
        return _page("OrganizationalUnits", units, dict, f"units of {parameters['ParentId']}", parameters)

    def list_accounts_for_parent(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List the accounts directly below a root or unit."""
        self._authorize(principal, "ListAccountsForParent")
        accounts = _children(self._accounts_of, parameters)
        return _page("Accounts", accounts, self._document, f"accounts of {parameters['ParentId']}", parameters)

    def _authorize(self, principal: Principal, operation: str) -> None:
        organization = self._organization
        is_reader = (
            principal.role_name == READER_ROLE_NAME and principal.account_id == organization.management_account_id
        )
        if not is_reader and not (organization.caller_may_list and self._credentials.is_auditor(principal)):
            raise AwsError("AccessDenied", "You don't have permissions to access this resource.", 403)
        principal.authorize(f"organizations:{operation}")


def _fingerprint(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _children(children: Mapping[str, list[Entry]], parameters: Mapping[str, str]) -> list[Entry]:
    parent_id = parameters.get("ParentId", "")
    if parent_id not in children:
        raise AwsError("ParentNotFoundException", "You specified parent that doesn't exist.")
    return children[parent_id]


def _page(
    name: str,
    entries: Sequence[Entry],
    document: Callable[[Entry], Document],
    listing: str,
    parameters: Mapping[str, str],
) -> Document:
    size = _page_size(parameters)
    offset, is_gap = _position(listing, parameters)
    if is_gap:
        return {name: [], "NextToken": _token(listing, offset, False)}
    end = offset + size
    page: Document = {name: [document(entry) for entry in entries[offset:end]]}
    if end < len(entries):
        # AWS may send an empty page although more follows; here the second one always is.
        page["NextToken"] = _token(listing, end, offset == 0)
    return page


def _page_size(parameters: Mapping[str, str]) -> int:
    size = parameters.get("MaxResults", str(PAGE_SIZE))
    if not size.isdecimal() or not 1 <= int(size) <= PAGE_SIZE:
        raise AwsError("InvalidInputException", f"MaxResults must be between 1 and {PAGE_SIZE}.")
    return int(size)


def _token(listing: str, offset: int, is_gap: bool) -> str:
    return base64.b64encode(json.dumps([listing, offset, is_gap]).encode()).decode()


def _position(listing: str, parameters: Mapping[str, str]) -> tuple[int, bool]:
    if "NextToken" not in parameters:
        return 0, False
    try:
        tokens_listing, offset, is_gap = json.loads(base64.b64decode(parameters["NextToken"], validate=True))
    except (TypeError, ValueError) as error:
        raise _invalid_token() from error
    if tokens_listing != listing:
        raise _invalid_token()
    return int(offset), bool(is_gap)


def _invalid_token() -> AwsError:
    return AwsError("InvalidInputException", "You provided an invalid next token.")
