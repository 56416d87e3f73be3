"""The runs that the tests look at: one organization in three states, each scanned by the installed command."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest

from .command import Command, Finished
from .expected import Scan
from .plan import INACTIVE, PASS, Account, at, plan
from .planting import Planter
from .server import Aws, serve

CONFIG = """
[scan.rates]
list_accounts = 100  # moto has no quota
organizations = 100

[checks]
only = ["access-key-not-rotated"]  # what the plan's numbers are of
"""


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    with serve() as aws:
        yield aws


@pytest.fixture(scope="session")
def plant(aws: Aws) -> Planter:
    return Planter(aws)


@pytest.fixture(scope="session")
def credaudit(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(aws, tmp_path_factory.mktemp("end_to_end"))


@pytest.fixture(scope="session")
def organization(plant) -> list[Account]:
    accounts = plan()
    plant.organization(accounts, empty_ous=[("Root", "Sandbox", "Empty")])
    accounts.sort(key=lambda account: account.account_id)
    return accounts


@pytest.fixture(scope="session")
def incomplete(organization, credaudit) -> Scan:
    """One account does not have the role."""
    return Scan(credaudit(CONFIG, "scan", "--as-of", "2025-06-30T12:00:00Z"), deepcopy(organization))


@pytest.fixture(scope="session")
def complete(incomplete, organization, plant, credaudit) -> Scan:
    """The role has been deployed there."""
    plant.open(next(account for account in organization if account.name == "Denied"))
    # The same moment, in another zone.
    return Scan(credaudit(CONFIG, "scan", "--as-of", "2025-06-30T21:00:00+09:00"), deepcopy(organization))


@pytest.fixture(scope="session")
def tolerated(complete, credaudit) -> dict[str, Finished]:
    """The same again, where findings of a higher severity only set the exit code, or none."""
    common = ("scan", "--as-of", "2025-06-30T12:00:00Z", "--runs-dir", "runs-tolerated", "--fail-on")
    return {fail_on: credaudit(CONFIG, *common, fail_on) for fail_on in ("never", "high")}


@pytest.fixture(scope="session")
def rotated(tolerated, organization, plant, credaudit) -> Scan:
    """All keys have been rotated."""
    for account in organization:
        for user in account.users:
            for key in user.keys:
                key.created, key.verdict = at("2025-06-15T00:00:00"), PASS if key.is_active else INACTIVE
            plant.age(account, user)
    return Scan(credaudit(CONFIG, "scan", "--as-of", "2025-06-30T12:00:00Z", "--quiet"), deepcopy(organization))


@pytest.fixture(scope="session", params=["incomplete", "complete", "rotated"])
def scan(request, incomplete, complete, rotated) -> Scan:
    """Each of the three runs; whatever their outcome, their numbers must be right."""
    return {"incomplete": incomplete, "complete": complete, "rotated": rotated}[request.param]
