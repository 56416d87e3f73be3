"""Session policies: what an inline policy leaves of a role's permissions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from .wire import AwsError

MAX_POLICY_LENGTH = 2048
_UNSUPPORTED = {"Condition", "NotAction", "NotResource", "Principal", "NotPrincipal"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its wildcards compiled."""

    is_allow: bool
    actions: re.Pattern[str]
    resources: re.Pattern[str]

    def matches(self, action: str, resource: str) -> bool:
        """Whether the statement speaks of this action on this resource."""
        return bool(self.actions.fullmatch(action) and self.resources.fullmatch(resource))


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """The statements of one inline session policy."""

    statements: tuple[Statement, ...]

    def allows(self, action: str, resource: str) -> bool:
        """Whether a statement allows the action and none denies it."""
        effects = [statement.is_allow for statement in self.statements if statement.matches(action, resource)]
        return bool(effects) and all(effects)


@lru_cache(maxsize=256)  # one text for all accounts of a run, as a rule
def parse_policy(text: str) -> SessionPolicy:
    """Return the policy in the text; what the simulator cannot evaluate is refused rather than ignored."""
    if len(text) > MAX_POLICY_LENGTH:
        raise AwsError(
            "ValidationError",
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_POLICY_LENGTH}",
        )
    try:
        document = json.loads(text)
    except ValueError as error:
        raise AwsError("MalformedPolicyDocument", "This policy contains invalid Json") from error
    if not isinstance(document, dict) or not document.get("Statement"):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    return SessionPolicy(tuple(_statement(entry) for entry in _as_list(document["Statement"])))


def _statement(entry: object) -> Statement:
    if not isinstance(entry, dict) or entry.get("Effect") not in ("Allow", "Deny") or _UNSUPPORTED & entry.keys():
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    actions, resources = _as_list(entry.get("Action")), _as_list(entry.get("Resource"))
    return Statement(entry["Effect"] == "Allow", _pattern(actions, re.IGNORECASE), _pattern(resources))


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _pattern(texts: list[object], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    if not texts or not all(isinstance(text, str) for text in texts):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    alternatives = (re.escape(str(text)).replace(r"\*", ".*").replace(r"\?", ".") for text in texts)
    return re.compile("|".join(alternatives), flags)
