"""All that a scan may ask of AWS, the session policies that allow no more, and what an answer must hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

CROSS_CHECK = "iam:GetAccountSummary"

MEMBER_ACTIONS = ("iam:GenerateCredentialReport", "iam:GetCredentialReport", "iam:ListAccessKeys", CROSS_CHECK)
"""All that a scan calls inside an account; the session policy allows exactly these."""

CALLER_ACTIONS = (
    "sts:GetCallerIdentity",
    "sts:AssumeRole",
    "organizations:DescribeOrganization",
    "organizations:ListAccounts",
    "organizations:ListRoots",
    "organizations:ListOrganizationalUnitsForParent",
    "organizations:ListAccountsForParent",
    "organizations:DescribeAccount",
)
"""All that a scan calls with the caller's own credentials, or with those of the hop role."""


def _policy(actions: Iterable[str]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


def session_policy(*, cross_check: bool) -> dict[str, Any]:
    """Goes with every AssumeRole into an account."""
    return _policy(action for action in MEMBER_ACTIONS if cross_check or action != CROSS_CHECK)


LISTING_POLICY = _policy(action for action in CALLER_ACTIONS if action.startswith("organizations:"))
"""Goes with the AssumeRole of the hop role."""

ANSWER_KEYS = {
    "GetCallerIdentity": ("Account", "Arn"),
    "AssumeRole": ("Credentials",),
    "DescribeOrganization": ("Organization",),
    "ListAccounts": ("Accounts",),
    "DescribeAccount": ("Account",),
    "ListRoots": ("Roots",),
    "ListAccountsForParent": ("Accounts",),
    "ListOrganizationalUnitsForParent": ("OrganizationalUnits",),
    "GenerateCredentialReport": ("State",),
    "GetCredentialReport": ("Content", "GeneratedTime"),
    "ListAccessKeys": ("AccessKeyMetadata",),
    "GetAccountSummary": ("SummaryMap",),
}
"""What an answer must have to be one: a proxy's sign-in page comes with status 200, and parses to nothing."""
