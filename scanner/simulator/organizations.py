"""The simulated AWS Organizations."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence

from .identity import Principal
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


class Organizations:
    """Answers the reading operations on the tree of units and accounts."""

    def __init__(self, organization: SimulatedOrganization, caller: Principal) -> None:
        """Derive the tree from the accounts' paths."""
        self._organization = organization
        self._caller = caller
        self._arn = f"arn:{organization.partition}:organizations::{organization.management_account_id}"
        self._root_id = f"r-{_fingerprint(organization.organization_id, 4)}"
        self._accounts: list[Document] = []
        self._units_of: dict[str, list[Document]] = {self._root_id: []}
        self._accounts_of: dict[str, list[Document]] = {self._root_id: []}
        for account in organization.accounts:
            self._add(account)

    def _add(self, account: SimulatedAccount) -> None:
        document = self._account(account)
        self._accounts.append(document)
        parent_id = self._root_id
        for depth in range(len(account.ou_path)):
            parent_id = self._unit(parent_id, account.ou_path[: depth + 1])
        self._accounts_of[parent_id].append(document)

    def _unit(self, parent_id: str, path: tuple[str, ...]) -> str:
        unit_id = f"ou-{self._root_id[2:]}-{_fingerprint(json.dumps(path), 8)}"
        if unit_id not in self._units_of:
            arn = f"{self._arn}:ou/{self._organization.organization_id}/{unit_id}"
            self._units_of[parent_id].append({"Id": unit_id, "Arn": arn, "Name": path[-1]})
            self._units_of[unit_id], self._accounts_of[unit_id] = [], []
        return unit_id

    def _account(self, account: SimulatedAccount) -> Document:
        is_management = account.account_id == self._organization.management_account_id
        document: Document = {
            "Id": account.account_id,
            "Arn": f"{self._arn}:account/{self._organization.organization_id}/{account.account_id}",
            "Email": account.email,
            "Name": account.name,
            "JoinedMethod": "INVITED" if is_management else "CREATED",
            "JoinedTimestamp": account.root.created.timestamp(),
        }
        if self._organization.lists_state:
            document["State"] = account.state
        if self._organization.lists_status:
            document["Status"] = LEGACY_STATUS[account.state]
        return document

    def describe_organization(self, principal: Principal, _parameters: Mapping[str, str]) -> Document:
        """Tell the organization's id and its management account."""
        self._authorize(principal, "DescribeOrganization")
        organization = self._organization
        management_id = organization.management_account_id
        email = next(account.email for account in organization.accounts if account.account_id == management_id)
        document = {
            "Id": organization.organization_id,
            "Arn": f"{self._arn}:organization/{organization.organization_id}",
            "FeatureSet": "ALL",
            "MasterAccountArn": f"{self._arn}:account/{organization.organization_id}/{management_id}",
            "MasterAccountId": management_id,
            "MasterAccountEmail": email,
            "AvailablePolicyTypes": [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}],
        }
        return {"Organization": document}

    def list_roots(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List the one root."""
        self._authorize(principal, "ListRoots")
        arn = f"{self._arn}:root/{self._organization.organization_id}/{self._root_id}"
        root: Document = {"Id": self._root_id, "Arn": arn, "Name": "Root", "PolicyTypes": []}
        return _page("Roots", [root], "ListRoots", parameters)

    def list_accounts(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List all accounts, the management account among them."""
        self._authorize(principal, "ListAccounts")
        return _page("Accounts", self._accounts, "ListAccounts", parameters)

    def list_organizational_units_for_parent(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List the units directly below a root or unit."""
        self._authorize(principal, "ListOrganizationalUnitsForParent")
        units = _children(self._units_of, parameters)
        return _page("OrganizationalUnits", units, f"units of {parameters['ParentId']}", parameters)

    def list_accounts_for_parent(self, principal: Principal, parameters: Mapping[str, str]) -> Document:
        """List the accounts directly below a root or unit."""
        self._authorize(principal, "ListAccountsForParent")
        accounts = _children(self._accounts_of, parameters)
        return _page("Accounts", accounts, f"accounts of {parameters['ParentId']}", parameters)

    def _authorize(self, principal: Principal, operation: str) -> None:
        organization = self._organization
        is_reader = (
            principal.role_name == READER_ROLE_NAME and principal.account_id == organization.management_account_id
        )
        if not is_reader and not (organization.caller_may_list and principal is self._caller):
            raise AwsError("AccessDenied", "You don't have permissions to access this resource.", 403)
        principal.authorize(f"organizations:{operation}")


def _fingerprint(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _children(children: Mapping[str, list[Document]], parameters: Mapping[str, str]) -> list[Document]:
    parent_id = parameters.get("ParentId", "")
    if parent_id not in children:
        raise AwsError("ParentNotFoundException", "You specified parent that doesn't exist.")
    return children[parent_id]


def _page(name: str, entries: Sequence[Document], listing: str, parameters: Mapping[str, str]) -> Document:
    size = _page_size(parameters)
    offset, is_gap = _position(listing, parameters)
    if is_gap:
        return {name: [], "NextToken": _token(listing, offset, False)}
    end = offset + size
    page: Document = {name: list(entries[offset:end])}
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
