"""Builds the planned organization in moto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moto.iam.models import AccessKeyLastUsed, iam_backends

from .plan import Account, User
from .server import CALLER_ACCOUNT, OTHER_ROLE, ROLE, Aws


class Planter:
    """Builds an organization through the API, as its people would, and then turns the clock back in moto."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def organization(self, accounts: Sequence[Account], empty_ous: Sequence[tuple[str, ...]] = ()) -> None:
        """Create the accounts with their users; fill in the ids and ARNs that AWS chose."""
        with self._aws.client("organizations") as organizations:
            self._organization(organizations, accounts, empty_ous)

    def _organization(
        self, organizations: Any, accounts: Sequence[Account], empty_ous: Sequence[tuple[str, ...]]
    ) -> None:
        organizations.create_organization(FeatureSet="ALL")
        root = organizations.list_roots()["Roots"][0]["Id"]
        ous = {("Root",): root}
        for path in [*empty_ous, *(account.ou for account in accounts)]:
            for depth in range(2, len(path) + 1):
                if path[:depth] not in ous:
                    ou = organizations.create_organizational_unit(ParentId=ous[path[: depth - 1]], Name=path[depth - 1])
                    ous[path[:depth]] = ou["OrganizationalUnit"]["Id"]
        for account in accounts:
            if account.account_id != CALLER_ACCOUNT:
                self._account(organizations, account, root, ous[account.ou])
            self._users(account)

    def _account(self, organizations: Any, account: Account, root: str, ou: str) -> None:
        answer = organizations.create_account(AccountName=account.name, Email=account.email, RoleName=OTHER_ROLE)
        account.account_id = answer["CreateAccountStatus"]["AccountId"]
        if ou != root:
            organizations.move_account(AccountId=account.account_id, SourceParentId=root, DestinationParentId=ou)
        if account.has_role:
            self.open(account)
        if account.is_closed:
            organizations.close_account(AccountId=account.account_id)

    def open(self, account: Account) -> None:
        """Deploy the role that the scan assumes."""
        account.has_role = True
        with self._aws.iam_of(account.account_id) as iam:
            iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}")

    def _users(self, account: Account) -> None:
        with self._aws.iam_of(account.account_id) as iam:
            for user in account.users:
                user.arn = iam.create_user(UserName=user.name)["User"]["Arn"]
                if user.has_password:
                    iam.create_login_profile(UserName=user.name, Password="example-Passw0rd")
                if user.has_mfa:
                    serial = f"arn:aws:iam::{account.account_id}:mfa/device"
                    iam.enable_mfa_device(
                        UserName=user.name,
                        SerialNumber=serial,
                        AuthenticationCode1="123456",
                        AuthenticationCode2="234567",
                    )
                for key in user.keys:
                    key.key_id = iam.create_access_key(UserName=user.name)["AccessKey"]["AccessKeyId"]
                    if not key.is_active:
                        iam.update_access_key(UserName=user.name, AccessKeyId=key.key_id, Status="Inactive")
                self.age(account, user)

    def age(self, account: Account, user: User) -> None:
        """Give a user and its keys the dates of the plan; through the API they are all of this minute."""
        stored = iam_backends[account.account_id]["aws"].users[user.name]
        stored.create_date = user.created.replace(tzinfo=None)  # moto's own clock has no zone
        stored.password_last_used = user.password_used
        for key, stored_key in zip(user.keys, stored.access_keys, strict=True):
            assert stored_key.access_key_id == key.key_id
            stored_key.create_date = key.created.replace(tzinfo=None)
            stored_key.last_used = AccessKeyLastUsed(key.used, "s3", "eu-west-1") if key.used else None
