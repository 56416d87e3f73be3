"""The accounts by id, and the state that each is in by now."""

from __future__ import annotations

from .model import SimulatedAccount, SimulatedOrganization


class Accounts:
    """What AWS knows of the accounts, some of which it suspends in the middle of a run."""

    def __init__(self, organization: SimulatedOrganization) -> None:
        """Begin with no call made."""
        self.by_id = {account.account_id: account for account in organization.accounts}
        self._calls_left = {
            account.account_id: account.suspended_after_calls
            for account in organization.accounts
            if account.suspended_after_calls is not None
        }

    def count_call(self, account_id: str) -> None:
        """Take note of a call about the account that was carried out."""
        if account_id in self._calls_left:
            self._calls_left[account_id] -= 1

    def is_suspended(self, account_id: str) -> bool:
        """Whether AWS has suspended the account since the beginning."""
        return self._calls_left.get(account_id, 1) <= 0

    def state(self, account: SimulatedAccount) -> str:
        """Return the account's present `State`."""
        is_suspended = account.state == "ACTIVE" and self.is_suspended(account.account_id)
        return "SUSPENDED" if is_suspended else account.state
