"""Who is in scope: selection as a table, and listings that AWS should not, but may, answer with."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scanner.aws import Aws, CallRecord
from scanner.config import Config, OrganizationTable
from scanner.errors import OrganizationError
from scanner.evidence import RunFolder
from scanner.models import Account, Outcome
from scanner.organization import Listing, Place, Tree, excluded_by, select, walk_tree
from scanner.simulator import SimulatedAccount, Simulator, benchmark_organization

from .scanning import NOW, outcomes, scanner_in

PAYMENTS = Account(
    account_id="111122223333",
    name="payments",
    email="payments@example.com",
    state="ACTIVE",
    ou_path="Root/Prod/Payments",
    ou_ids=("r-ab12", "ou-ab12-prod0000", "ou-ab12-payments"),
)
UNPLACED = Account(account_id="444455556666", name="new", email="new@example.com", state="ACTIVE")


@pytest.mark.parametrize(
    ("account", "scope", "rule"),
    [
        (PAYMENTS, {}, ""),
        (PAYMENTS, {"include_accounts": ["111122223333"]}, ""),
        (PAYMENTS, {"include_accounts": ["444455556666"]}, "not in include_accounts"),
        (PAYMENTS, {"exclude_accounts": ["111122223333"]}, "exclude_accounts"),
        (PAYMENTS, {"include_ous": ["Root"]}, ""),
        (PAYMENTS, {"include_ous": ["Root/Prod"]}, ""),
        (PAYMENTS, {"include_ous": ["Root/Prod/Payments"]}, ""),
        (PAYMENTS, {"include_ous": ["ou-ab12-prod0000"]}, ""),
        (PAYMENTS, {"include_ous": ["r-ab12"]}, ""),
        (PAYMENTS, {"include_ous": ["Root/Pro"]}, "not in include_accounts or include_ous"),
        (PAYMENTS, {"include_ous": ["Root/Sandbox"]}, "not in include_accounts or include_ous"),
        (PAYMENTS, {"include_ous": ["Root/Sandbox"], "include_accounts": ["111122223333"]}, ""),
        (PAYMENTS, {"include_ous": ["Root"], "exclude_ous": ["Root/Prod"]}, "exclude_ous: Root/Prod"),
        (PAYMENTS, {"include_accounts": ["111122223333"], "exclude_ous": ["Root/Prod"]}, "exclude_ous: Root/Prod"),
        (UNPLACED, {"exclude_ous": ["Root"]}, ""),
        (UNPLACED, {"include_ous": ["Root/Prod"]}, ""),
        (UNPLACED, {"include_accounts": ["111122223333"]}, "not in include_accounts"),
    ],
)
def test_scope(account: Account, scope: dict[str, list[str]], rule: str) -> None:
    assert excluded_by(account, OrganizationTable(**scope)) == rule


def bare(account_id: str, state: str = "ACTIVE") -> Account:
    return Account(account_id=account_id, name=account_id, email="", state=state)


def unheard(accounts: int, *, is_complete: bool) -> None: ...


LISTED = {account_id: bare(account_id) for account_id in ("111122223333", "444455556666")}
ROOT = Place("Root", ("r-ab12",))


def test_places_are_joined_and_accounts_ordered_by_id() -> None:
    tree = Tree({"111122223333": ROOT, "444455556666": Place("Root/Prod", ("r-ab12", "ou-ab12-prod0000"))}, LISTED)
    population = select(dict(reversed(LISTED.items())), tree, OrganizationTable())
    assert [(a.account_id, a.ou_path) for a in population.accounts] == [
        ("111122223333", "Root"),
        ("444455556666", "Root/Prod"),
    ]
    assert population.notes == ()


def test_an_account_that_only_the_tree_shows_is_in_the_population() -> None:
    tree = Tree(dict.fromkeys([*LISTED, "777788889999"], ROOT), LISTED | {"777788889999": bare("777788889999")})
    population = select(LISTED, tree, OrganizationTable())
    assert [account.account_id for account in population.accounts] == [*LISTED, "777788889999"]
    (note,) = population.notes
    assert "777788889999" in note


def test_what_the_tree_has_beyond_a_listing_that_was_stopped_is_no_surprise() -> None:
    tree = Tree(dict.fromkeys([*LISTED, "777788889999"], ROOT), LISTED | {"777788889999": bare("777788889999")})
    population = select(LISTED, tree, OrganizationTable(), is_complete=False)
    assert len(population.accounts) == 3
    assert population.notes == ()


def test_a_note_names_some_of_very_many_accounts() -> None:
    many = {f"{number:012}": bare(f"{number:012}") for number in range(1, 1001)}
    (note,) = select({}, Tree(dict.fromkeys(many, ROOT), many), OrganizationTable()).notes
    assert note.endswith("000000000019, 000000000020 and 980 more")


def test_places_come_from_the_paths_of_the_accounts_and_the_names_of_the_ous() -> None:
    placed = replace(LISTED["111122223333"], ou_ids=("r-ab12", "ou-ab12-prod0000"))
    lost = replace(LISTED["444455556666"], ou_ids=("r-ab12", "ou-ab12-made1ater"))
    tree = Tree({}, {}, units={"r-ab12": ROOT, "ou-ab12-prod0000": Place("Root/Prod", ("r-ab12", "ou-ab12-prod0000"))})
    population = select({a.account_id: a for a in (placed, lost)}, tree, OrganizationTable())
    assert [(a.ou_path, a.ou_ids) for a in population.accounts] == [("Root/Prod", placed.ou_ids), ("", lost.ou_ids)]
    assert population.notes == ("Accounts that ListAccounts listed and the OU tree did not show: 444455556666",)


def test_an_account_that_the_tree_does_not_show_is_noted() -> None:
    population = select(LISTED, Tree({"111122223333": ROOT}, {}), OrganizationTable())
    assert len(population.accounts) == 2
    assert population.notes == ("Accounts that ListAccounts listed and the OU tree did not show: 444455556666",)


def test_a_tree_that_could_not_be_read_is_noted() -> None:
    population = select(LISTED, Tree({}, {}, "access denied"), OrganizationTable())
    assert population.notes == ("The OU tree could not be read, so OU paths are missing: access denied",)
    assert all(account.ou_path == "" for account in population.accounts)


@pytest.mark.parametrize(
    "scope", [{"include_accounts": ["999999999999"]}, {"include_ous": ["Root/Nowhere"]}], ids=["account", "ou"]
)
def test_including_what_is_not_there_is_an_error(scope: dict[str, list[str]]) -> None:
    with pytest.raises(OrganizationError, match="matches no account of this organization"):
        select(LISTED, Tree(dict.fromkeys(LISTED, ROOT), LISTED), OrganizationTable(**scope))


def test_excluding_what_is_not_there_is_noted() -> None:
    population = select(LISTED, Tree({}, {}), OrganizationTable(exclude_accounts=["999999999999"]))
    assert population.notes == ("[organization] exclude_accounts: 999999999999 matches no account",)


@pytest.mark.parametrize("scope", [{"exclude_accounts": [*LISTED]}, {"exclude_ous": ["Root"]}], ids=["accounts", "ou"])
def test_a_scope_of_nothing_is_an_error(scope: dict[str, list[str]]) -> None:
    with pytest.raises(OrganizationError, match="no active account is in scope"):
        select(LISTED, Tree(dict.fromkeys(LISTED, ROOT), LISTED), OrganizationTable(**scope))


def listed(account: SimulatedAccount, state: str = "ACTIVE") -> dict[str, Any]:
    return {"Id": account.account_id, "Name": account.name, "State": state}


def test_accounts_that_come_to_be_known_late_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = benchmark_organization(4, 1, NOW)
    first, second, twice, in_the_tree = simulated.accounts

    def answer(operation: str, parameters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match operation:
            case "DescribeOrganization":
                return 200, {"Organization": {"Id": "o-benchmark01", "MasterAccountId": first.account_id}}
            case "ListAccounts" if "NextToken" not in parameters:
                page = [listed(first), listed(twice, "SUSPENDED"), listed(second)]
                return 200, {"Accounts": page, "NextToken": "2"}
            case "ListAccounts":
                return 200, {"Accounts": [listed(twice)]}
            case "ListRoots":
                return 200, {"Roots": [{"Id": "r-ab12", "Name": "Root"}]}
            case "ListAccountsForParent":
                return 200, {"Accounts": [listed(account) for account in simulated.accounts]}
            case _:
                return 200, {"OrganizationalUnits": []}

    with organizations(answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ORGANIZATIONS", endpoint)
        folder, assessment = scanner_in(tmp_path, monkeypatch)(Simulator(simulated))

    assert outcomes(assessment) == {account.account_id: "scanned" for account in simulated.accounts}
    lines = (folder.path / "ledger.jsonl").read_text().splitlines()
    assert len(lines) == 4, "an outcome for each, and only one"
    assert any(in_the_tree.account_id in note for note in assessment.run.notes)


def test_a_listing_that_breaks_off_ends_the_run_and_keeps_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = benchmark_organization(3, 1, NOW)
    first = [listed(account) for account in simulated.accounts]

    def answer(operation: str, parameters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if operation == "DescribeOrganization":
            return 200, {"Organization": {"Id": "o-benchmark01", "MasterAccountId": first[0]["Id"]}}
        if operation != "ListAccounts":
            return 400, {"__type": "AccessDeniedException"}
        if "NextToken" not in parameters:
            return 200, {"Accounts": first, "NextToken": "2"}
        deadline = time.monotonic() + 30
        while simulator.counts["iam", "GetCredentialReport"] < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        return 400, {"__type": "InvalidInputException", "Message": "You provided an invalid next token."}

    simulator = Simulator(simulated)
    with organizations(answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ORGANIZATIONS", endpoint)
        with pytest.raises(OrganizationError, match="could not be listed") as caught:
            scanner_in(tmp_path, monkeypatch)(simulator)

    assert "scan --resume latest" in caught.value.advice
    (folder,) = tmp_path.glob("2*")
    assert [entry.outcome for entry in RunFolder(folder).read_ledger().values()] == [Outcome.SCANNED] * 3
    assert not RunFolder(folder).read_run().is_complete
    assert not list(folder.glob("reports/*"))


Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


@contextmanager
def organizations(answer: Answer) -> Iterator[str]:
    """An Organizations endpoint that answers (operation, parameters) with (status, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parameters = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answer(self.headers["X-Amz-Target"].split(".")[1], parameters)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(answer: Answer, question: Callable[[Aws], Any]) -> Any:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")

        async def with_clients() -> Any:
            async with Aws(Config()) as aws:
                return await question(aws)

        with organizations(answer) as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            return asyncio.run(with_clients())

    return run


def raw(account_id: str, **state: str) -> dict[str, str]:
    return {"Id": account_id, "Name": "n", "Email": "e@example.com", **(state or {"State": "ACTIVE"})}


def test_empty_pages_do_not_end_a_listing(ask: Any) -> None:
    pages: dict[str | None, dict[str, Any]] = {
        None: {"Accounts": [], "NextToken": "1"},
        "1": {"Accounts": [raw("111122223333")], "NextToken": "2"},
        "2": {"Accounts": [], "NextToken": "3"},
        "3": {"Accounts": [raw("444455556666")]},
    }
    listed = ask(
        lambda _, p: (200, pages[p.get("NextToken")]), lambda aws: Listing(aws, CallRecord(), unheard).complete()
    )
    assert list(listed) == ["111122223333", "444455556666"]


def test_a_token_that_comes_twice_is_refused(ask: Any) -> None:
    with pytest.raises(OrganizationError, match="same NextToken twice"):
        ask(
            lambda *_: (200, {"Accounts": [raw("111122223333")], "NextToken": "again"}),
            lambda aws: Listing(aws, CallRecord(), unheard).complete(),
        )


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        ({"State": "ACTIVE", "Status": "SUSPENDED"}, "ACTIVE"),
        ({"State": "PENDING_CLOSURE", "Status": "SUSPENDED"}, "PENDING_CLOSURE"),
        ({"Status": "SUSPENDED"}, "SUSPENDED"),
        ({"State": "", "Status": "ACTIVE"}, "ACTIVE"),
    ],
)
def test_state_before_status(ask: Any, sent: dict[str, str], state: str) -> None:
    page = {"Accounts": [raw("111122223333", **sent)]}
    listed = ask(lambda *_: (200, page), lambda aws: Listing(aws, CallRecord(), unheard).complete())
    assert listed["111122223333"].state == state


def denied(*_: Any) -> tuple[int, dict[str, Any]]:
    return 400, {"__type": "AccessDeniedException", "Message": "You don't have permissions"}


def test_a_tree_that_may_not_be_walked_is_told_and_not_fatal(ask: Any) -> None:
    tree = ask(denied, lambda aws: walk_tree(aws, CallRecord(), required=False))
    assert tree.places == {}
    assert tree.failure == "organizations:ListRoots: AccessDeniedException: You don't have permissions"


def test_a_tree_that_may_not_be_walked_is_fatal_where_the_scope_names_ous(ask: Any) -> None:
    with pytest.raises(OrganizationError, match="names OUs, and the OU tree could not be read"):
        ask(denied, lambda aws: walk_tree(aws, CallRecord(), required=True))


def test_a_slash_in_the_name_of_an_ou_does_not_look_like_a_level(ask: Any) -> None:
    answers = {
        ("ListRoots", None): {"Roots": [{"Id": "r-ab12", "Name": "Root"}]},
        ("ListAccountsForParent", "r-ab12"): {"Accounts": []},
        ("ListOrganizationalUnitsForParent", "r-ab12"): {"OrganizationalUnits": [{"Id": "ou-1", "Name": "A/B"}]},
        ("ListAccountsForParent", "ou-1"): {"Accounts": [raw("111122223333")]},
        ("ListOrganizationalUnitsForParent", "ou-1"): {"OrganizationalUnits": []},
    }
    tree = ask(
        lambda operation, p: (200, answers[operation, p.get("ParentId")]),
        lambda aws: walk_tree(aws, CallRecord(), required=False),
    )
    assert tree.places["111122223333"] == Place(r"Root/A\/B", ("r-ab12", "ou-1"))


def test_no_two_ous_have_the_same_path(ask: Any) -> None:
    children = {"r-ab12": [("ou-1", "a/b"), ("ou-2", "a\\")], "ou-2": [("ou-3", "b")]}

    def answer(operation: str, parameters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if operation == "ListRoots":
            return 200, {"Roots": [{"Id": "r-ab12", "Name": "Root"}]}
        if operation == "ListAccountsForParent":
            return 200, {"Accounts": []}
        ous = [{"Id": i, "Name": name} for i, name in children.get(parameters["ParentId"], [])]
        return 200, {"OrganizationalUnits": ous}

    tree = ask(answer, lambda aws: walk_tree(aws, CallRecord(), required=False))
    paths = {ou: place.ou_path for ou, place in tree.units.items()}
    assert paths == {"r-ab12": "Root", "ou-1": r"Root/a\/b", "ou-2": "Root/a\\\\", "ou-3": "Root/a\\\\/b"}


def test_an_account_that_comes_twice_counts_as_active_if_one_of_them_is(ask: Any) -> None:
    page = {"Accounts": [raw("111122223333"), raw("111122223333", State="SUSPENDED")]}
    listed = ask(lambda *_: (200, page), lambda aws: Listing(aws, CallRecord(), unheard).complete())
    assert listed["111122223333"].state == "ACTIVE"


@pytest.mark.parametrize("account_id", ["../../etc", "1111222233334", "１１１１２２２２３３３３", ""])
def test_an_account_id_that_is_none_is_refused(ask: Any, account_id: str) -> None:
    with pytest.raises(OrganizationError, match="not 12 digits"):
        ask(
            lambda *_: (200, {"Accounts": [raw(account_id)]}),
            lambda aws: Listing(aws, CallRecord(), unheard).complete(),
        )


@pytest.mark.parametrize(
    "body",
    [{}, {"Roots": [{}]}, {"Roots": [{"Id": "r-ab12", "Name": "Root"}], "Accounts": [{"Id": "x"}]}],
    ids=["nothing", "a root without an id", "an account that is none"],
)
def test_a_tree_that_cannot_be_understood_is_told_and_not_fatal(
    ask: Any, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanner.aws.TRIES", 1)
    monkeypatch.setattr("scanner.aws.BACK_OFF_SECONDS", 0)
    tree = ask(lambda *_: (200, body), lambda aws: walk_tree(aws, CallRecord(), required=False))
    assert tree.places == {}
    assert tree.failure


def test_a_tree_that_leads_in_a_circle_is_told(ask: Any) -> None:
    body = {
        "Roots": [{"Id": "r-ab12", "Name": "Root"}],
        "Accounts": [],
        "OrganizationalUnits": [{"Id": "r-ab12", "Name": "again"}],
    }
    tree = ask(lambda *_: (200, body), lambda aws: walk_tree(aws, CallRecord(), required=False))
    assert tree.failure == "the OU tree leads to r-ab12 a second time"
