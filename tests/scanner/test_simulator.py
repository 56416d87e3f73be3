"""The simulated organization, driven over HTTP by the clients that the scanner uses."""

from __future__ import annotations

import json
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import HTTPClientError, SSLError

import scanner
from scanner.simulator import (
    BASE_CREDENTIALS,
    READER_ROLE_NAME,
    Behaviour,
    FaultKind,
    Faults,
    SimulatedOrganization,
    SimulatedRoot,
    SimulatedUser,
    Simulator,
    demo_organization,
    render_report,
    run_in_thread,
)
from scanner.simulator.wire import xml_text

from .simulation import (
    BASE,
    CALLER,
    CREATED,
    LISTING,
    MANAGEMENT,
    MEMBER,
    NOW,
    READ_POLICY,
    Api,
    Clock,
    Keys,
    key,
    make_certificate,
    member,
    organization,
    post,
    refused,
    serve,
)


@pytest.fixture
def api() -> Iterator[Api]:
    with serve(
        organization(member(users=(SimulatedUser("alice", CREATED, keys=(key(1), key(2, active=False))),)))
    ) as api:
        yield api


# Who calls


def test_the_base_credentials_are_a_user_of_the_callers_account(api: Api) -> None:
    identity = api.client("sts").get_caller_identity()

    assert identity["Account"] == CALLER
    assert identity["Arn"] == f"arn:aws:iam::{CALLER}:user/auditor"


def test_a_session_is_the_assumed_role_in_the_member_account(api: Api) -> None:
    keys = api.assume(DurationSeconds=900)
    identity = api.client("sts", keys).get_caller_identity()

    assert identity["Arn"] == f"arn:aws:sts::{MEMBER}:assumed-role/CredentialAudit/test"
    assert keys.access_key_id.startswith("ASIAIOSFODNN7")
    assert len(keys.access_key_id) == 20


def test_no_two_sessions_share_a_credential(api: Api) -> None:
    first, second = api.assume(), api.assume()

    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (Keys("AKIAIOSFODNN7UNKNOWN", BASE.secret), "InvalidClientTokenId"),
        (Keys(BASE.access_key_id, "wrong"), "SignatureDoesNotMatch"),
        (Keys(BASE.access_key_id, BASE.secret, "a token that a user does not have"), "InvalidClientTokenId"),
    ],
)
def test_wrong_base_credentials_are_refused(api: Api, keys: Keys, code: str) -> None:
    with refused(code, 403):
        api.client("sts", keys).get_caller_identity()


@pytest.mark.parametrize(
    ("id_of", "secret_of", "token_of", "code"),
    [
        (0, 0, 1, "InvalidClientTokenId"),
        (0, 1, 1, "InvalidClientTokenId"),
        (0, 1, 0, "SignatureDoesNotMatch"),
        (1, 0, 1, "SignatureDoesNotMatch"),
    ],
)
def test_credentials_of_two_sessions_cannot_be_mixed(
    api: Api, id_of: int, secret_of: int, token_of: int, code: str
) -> None:
    sessions = [api.assume(MEMBER), api.assume(MANAGEMENT)]
    mixed = Keys(sessions[id_of].access_key_id, sessions[secret_of].secret, sessions[token_of].token)

    with refused(code, 403):
        api.client("iam", mixed).generate_credential_report()


def test_a_session_without_its_token_is_refused(api: Api) -> None:
    with refused("InvalidClientTokenId", 403):
        api.client("iam", api.assume()._replace(token=None)).generate_credential_report()


def test_a_json_service_has_its_own_name_for_a_wrong_signature(api: Api) -> None:
    with refused("InvalidSignatureException", 400):
        api.client("organizations", BASE._replace(secret="wrong")).describe_organization()


@pytest.mark.parametrize("part", ["body", "x-amz-date", "no date"])
def test_the_signature_covers_body_and_headers(api: Api, part: str) -> None:
    client = api.client("iam", api.assume())
    client.meta.events.register("before-send", lambda request, **_: tamper(request, part))
    with refused("SignatureDoesNotMatch", 403):
        client.list_access_keys(UserName="alice")


def tamper(request: Any, part: str) -> None:
    if part == "body":
        request.body = request.body.replace("alice", "bobby")
    elif part == "x-amz-date":
        day = request.headers["X-Amz-Date"].decode()[:8]
        del request.headers["X-Amz-Date"]
        request.headers["X-Amz-Date"] = f"{day}T000000Z"
    else:
        del request.headers["X-Amz-Date"]


@pytest.mark.parametrize("header", ["host", "x-amz-date"])
def test_the_signature_must_cover_host_and_date(api: Api, header: str) -> None:
    class CarelessAuth(SigV4Auth):  # type: ignore[misc, unused-ignore]
        def headers_to_sign(self, request: Any) -> Any:
            headers = super().headers_to_sign(request)
            del headers[header]
            return headers

    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest("POST", api.endpoint_url + "/", data=body)
    CarelessAuth(Credentials(*BASE_CREDENTIALS), "sts", "us-east-1").add_auth(request)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(api.endpoint_url + "/", body, dict(request.headers)))
    with caught.value as answer:
        assert b"<Code>SignatureDoesNotMatch</Code>" in answer.read()


def test_an_unsigned_request_is_refused(api: Api) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(api.endpoint_url, b"Action=GetCallerIdentity&Version=2011-06-15")
    with caught.value as answer:
        assert answer.code == 403
        assert b"<Code>MissingAuthenticationToken</Code>" in answer.read()


def test_an_expired_session_is_refused() -> None:
    clock = Clock()
    with serve(organization(member()), clock=clock) as api:
        iam = api.iam(DurationSeconds=900)
        clock.now += timedelta(seconds=899)
        iam.generate_credential_report()
        clock.now += timedelta(seconds=1)
        with refused("ExpiredToken", 403):
            iam.generate_credential_report()


# AssumeRole


def test_the_expiration_follows_the_duration() -> None:
    with serve(organization(member()), clock=Clock()) as api:
        answer = api.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{MEMBER}:role/CredentialAudit", RoleSessionName="test", DurationSeconds=1200
        )
    assert answer["Credentials"]["Expiration"] == NOW + timedelta(seconds=1200)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{MEMBER}:assumed-role/CredentialAudit/test"


@pytest.mark.parametrize(
    ("account_id", "role"),
    [(MEMBER, "Administrator"), ("999999999999", "CredentialAudit"), (CALLER, "CredentialAudit")],
    ids=["another role", "an unknown account", "the caller's own account"],
)
def test_a_role_that_does_not_trust_the_caller_is_denied(api: Api, account_id: str, role: str) -> None:
    message = (
        f"User: arn:aws:iam::{CALLER}:user/auditor is not authorized to perform: sts:AssumeRole"
        f" on resource: arn:aws:iam::{account_id}:role/{role}"
    )
    with refused("AccessDenied", 403, message):
        api.assume(account_id, role)


@pytest.mark.parametrize("state", ["PENDING_ACTIVATION", "SUSPENDED", "PENDING_CLOSURE", "CLOSED"])
def test_only_active_accounts_can_be_entered(state: str) -> None:
    with serve(organization(member(state=state))) as api, refused("AccessDenied", 403):
        api.assume()


def test_a_session_cannot_hop_on(api: Api) -> None:
    keys = api.assume()
    with refused("AccessDenied", 403):
        api.client("sts", keys).assume_role(
            RoleArn=f"arn:aws:iam::{MANAGEMENT}:role/CredentialAudit", RoleSessionName="test"
        )


def test_the_external_id_must_be_the_one_of_the_trust_policy() -> None:
    with serve(organization(member(), external_id="only-us")) as api:
        assert api.assume(ExternalId="only-us")
        for parameters in ({}, {"ExternalId": "others"}):
            with refused("AccessDenied", 403):
                api.assume(**parameters)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"RoleSessionName": "a name"}, "ValidationError"),
        ({"DurationSeconds": 43201}, "ValidationError"),
        ({"RoleArn": "arn:aws:iam::12345:role/CredentialAudit"}, "ValidationError"),
        ({"ExternalId": "not allowed!"}, "ValidationError"),
        ({"Policy": READ_POLICY + " " * 2048}, "ValidationError"),
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": "[]"}, "MalformedPolicyDocument"),
        (
            {"Policy": '{"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]}'},
            "MalformedPolicyDocument",
        ),
        ({"Policy": '{"Statement": [{"Effect": "Allow", "Action": "iam:*"}]}'}, "MalformedPolicyDocument"),
    ],
)
def test_invalid_parameters_are_refused(api: Api, parameters: dict[str, Any], code: str) -> None:
    valid = {"RoleArn": f"arn:aws:iam::{MEMBER}:role/CredentialAudit", "RoleSessionName": "test"}
    with refused(code, 400):
        api.client("sts").assume_role(**{**valid, **parameters})


@pytest.mark.parametrize(("seconds", "is_valid"), [("899", False), ("900", True), ("43200", True), ("43201", False)])
def test_the_duration_has_bounds_of_its_own(api: Api, seconds: str, is_valid: bool) -> None:
    client = api.client("sts")
    # botocore would refuse 899 itself.
    client.meta.events.register("before-call", lambda params, **_: params["body"].update(DurationSeconds=seconds))
    call = {"RoleArn": f"arn:aws:iam::{MEMBER}:role/CredentialAudit", "RoleSessionName": "test"}
    if is_valid:
        client.assume_role(**call)
        return
    with refused("ValidationError", 400, "durationSeconds"):
        client.assume_role(**call)


def test_the_session_policy_is_enforced(api: Api) -> None:
    iam = api.iam(Policy=READ_POLICY)

    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.get_credential_report()["Content"]
    with refused("AccessDenied", 403, "because no session policy allows the iam:ListAccessKeys action"):
        iam.list_access_keys(UserName="alice")


@pytest.mark.parametrize(
    ("statements", "is_allowed"),
    [
        ([{"Effect": "Allow", "Action": "iam:List*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "Action": "IAM:listaccesskeys", "Resource": f"arn:aws:iam::{MEMBER}:user/*"}], True),
        ([{"Effect": "Allow", "Action": "iam:List*", "Resource": "arn:aws:iam::999999999999:user/*"}], False),
        ([{"Effect": "Allow", "Action": "iam:ListAccessKey", "Resource": "*"}], False),
        (
            [
                {"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "Action": "iam:ListAccessKeys", "Resource": "*"},
            ],
            False,
        ),
    ],
)
def test_session_policies_know_wildcards_resources_and_denials(
    api: Api, statements: list[dict[str, str]], is_allowed: bool
) -> None:
    iam = api.iam(Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    if is_allowed:
        assert len(iam.list_access_keys(UserName="alice")["AccessKeyMetadata"]) == 2
        return
    with refused("AccessDenied", 403):
        iam.list_access_keys(UserName="alice")


# Credential reports


def test_the_life_of_a_report() -> None:
    clock = Clock()
    with serve(organization(member()), Faults(report_delay_seconds=5), clock=clock) as api:
        iam = api.iam(DurationSeconds=43200)
        with refused("ReportNotPresent", 410):
            iam.get_credential_report()
        started = iam.generate_credential_report()
        assert (started["State"], started["Description"][:17]) == ("STARTED", "No report exists.")
        clock.now += timedelta(seconds=4)
        assert iam.generate_credential_report()["State"] == "INPROGRESS"
        with refused("ReportInProgress", 404):
            iam.get_credential_report()

        clock.now += timedelta(seconds=1)
        complete = iam.generate_credential_report()
        assert (complete["State"], "Description" in complete) == ("COMPLETE", False)
        report = iam.get_credential_report()
        assert report["ReportFormat"] == "text/csv"
        assert report["GeneratedTime"] == NOW + timedelta(seconds=5)
        assert report["Content"] == render_report(member())


def test_a_report_is_kept_for_four_hours() -> None:
    clock = Clock()
    with serve(organization(member()), clock=clock) as api:
        iam = api.iam(DurationSeconds=43200)
        iam.generate_credential_report()
        clock.now += timedelta(hours=4, seconds=-1)
        assert iam.generate_credential_report()["State"] == "COMPLETE"
        assert iam.get_credential_report()["GeneratedTime"] == NOW
        clock.now += timedelta(seconds=1)
        with refused("ReportExpired", 410):
            iam.get_credential_report()
        assert iam.generate_credential_report()["State"] == "STARTED"
        assert iam.get_credential_report()["GeneratedTime"] == NOW + timedelta(hours=4)


def test_every_account_has_a_report_of_its_own(api: Api) -> None:
    api.iam(MEMBER).generate_credential_report()
    with refused("ReportNotPresent", 410):
        api.iam(MANAGEMENT).get_credential_report()


def test_the_base_credentials_fetch_the_report_of_their_own_account(api: Api) -> None:
    iam = api.client("iam")
    iam.generate_credential_report()

    assert f"arn:aws:iam::{CALLER}:root".encode() in iam.get_credential_report()["Content"]


def test_a_given_report_is_sent_as_it_is() -> None:
    with serve(organization(member(report=b"\xff\x00broken"))) as api:
        iam = api.iam()
        iam.generate_credential_report()
        assert iam.get_credential_report()["Content"] == b"\xff\x00broken"


def test_a_report_looks_as_aws_writes_it() -> None:
    used = datetime(2026, 11, 20, 10, 11, 12, tzinfo=UTC)
    users = (
        SimulatedUser("Zoe", CREATED),
        SimulatedUser(
            "alice",
            CREATED,
            path="/team/",
            password_enabled=True,
            mfa_active=True,
            keys=(key(1, last_used=used), key(2, active=False), key(3)),
            certificates=((CREATED, True),),
        ),
        SimulatedUser("doe,jane", CREATED, password_enabled=True, password_last_used=used, keys=(None, key(4))),
    )
    root = SimulatedRoot(created=CREATED)
    nothing = "false,N/A,N/A,N/A,N/A"
    date = "2026-05-07T06:15:00+00:00"

    lines = render_report(member(users=users, root=root), "aws-cn").decode().split("\n")

    assert lines[0] == (
        "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
        "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
        "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
        "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
        "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
    )
    assert lines[1:] == [
        f"<root_account>,arn:aws-cn:iam::{MEMBER}:root,{date},false,N/A,N/A,not_supported,false,"
        f"{nothing},{nothing},false,N/A,false,N/A",
        f"alice,arn:aws-cn:iam::{MEMBER}:user/team/alice,{date},true,no_information,{date},N/A,true,"
        f"true,{date},2026-11-20T10:11:00+00:00,us-east-1,s3,false,{date},N/A,N/A,N/A,true,{date},false,N/A",
        f'"doe,jane","arn:aws-cn:iam::{MEMBER}:user/doe,jane",{date},true,2026-11-20T10:11:12+00:00,{date},N/A,false,'
        f"{nothing},true,{date},N/A,N/A,N/A,false,N/A,false,N/A",
        f"Zoe,arn:aws-cn:iam::{MEMBER}:user/Zoe,{date},false,N/A,N/A,N/A,false,{nothing},{nothing},false,N/A,false,N/A",
    ]


# Access keys


def test_the_keys_of_a_user(api: Api) -> None:
    answer = api.iam().list_access_keys(UserName="alice")

    assert answer["IsTruncated"] is False
    assert answer["AccessKeyMetadata"] == [
        {"UserName": "alice", "AccessKeyId": "AKIAEXAMPLE000000001", "Status": "Active", "CreateDate": CREATED},
        {"UserName": "alice", "AccessKeyId": "AKIAEXAMPLE000000002", "Status": "Inactive", "CreateDate": CREATED},
    ]


def test_keys_come_in_pages(api: Api) -> None:
    pages = list(
        api.iam().get_paginator("list_access_keys").paginate(UserName="alice", PaginationConfig={"PageSize": 1})
    )

    assert [len(page["AccessKeyMetadata"]) for page in pages] == [1, 1]
    assert [page["IsTruncated"] for page in pages] == [True, False]
    with refused("ValidationError", 400):
        api.iam().list_access_keys(UserName="alice", Marker="nonsense")


def test_unknown_and_deleted_users_are_not_found() -> None:
    account = member(users=(SimulatedUser("gone", CREATED, keys=(key(1),)),), deleted_since_report=frozenset({"gone"}))
    assert b"gone" in render_report(account)
    with serve(organization(account)) as api:
        iam = api.iam()
        for name in ("gone", "nobody"):
            with refused("NoSuchEntity", 404, f"The user with name {name} cannot be found."):
                iam.list_access_keys(UserName=name)


def test_keys_may_have_changed_since_the_report() -> None:
    account = member(
        users=(
            SimulatedUser("alice", CREATED, keys=(key(1), key(2))),
            SimulatedUser("bob", CREATED, keys=(None, key(3))),
        ),
        keys_deleted_since_report=frozenset({key(1).key_id}),
        inactive_since_report=frozenset({key(2).key_id}),
    )
    with serve(organization(account)) as api:
        iam = api.iam()
        alice, bob = (iam.list_access_keys(UserName=name)["AccessKeyMetadata"] for name in ("alice", "bob"))
    assert [(entry["AccessKeyId"], entry["Status"]) for entry in alice] == [(key(2).key_id, "Inactive")]
    assert [(entry["AccessKeyId"], entry["Status"]) for entry in bob] == [(key(3).key_id, "Active")]
    assert render_report(account).count(b",true,2026") == 3


def test_a_session_must_name_the_user(api: Api) -> None:
    with refused("ValidationError", 400, "userName"):
        api.iam().list_access_keys()


@pytest.mark.parametrize("name", ["+alice", "-bob", "=1+1", "@SUM", "doe,jane", "null"])
def test_peculiar_user_names_survive_the_wire(name: str) -> None:
    with serve(organization(member(users=(SimulatedUser(name, CREATED, keys=(key(1),)),)))) as api:
        answer = api.iam().list_access_keys(UserName=name)
    assert answer["AccessKeyMetadata"][0]["UserName"] == name


def test_xml_carries_any_text() -> None:
    assert (
        xml_text('<a href="b">&\t\r\n\x00\x07\ufffe\U0001f600')
        == "&lt;a href=&quot;b&quot;&gt;&amp;&#x9;&#xD;&#xA;\U0001f600"
    )


def test_an_operation_that_changes_something_is_unknown_and_remembered(api: Api) -> None:
    iam = api.iam()
    with refused("InvalidAction", 400):
        iam.delete_access_key(UserName="alice", AccessKeyId=key(1).key_id)

    last = api.simulator.requests[-1]
    assert (last.service, last.action, last.account_id, last.status) == ("iam", "DeleteAccessKey", MEMBER, 400)


# Behaviours


def test_an_account_that_denies_the_role() -> None:
    with serve(organization(member(behaviour=Behaviour.ASSUME_DENIED))) as api, refused("AccessDenied", 403):
        api.assume()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour.REPORT_DENIED, " because no identity-based policy allows the {action} action"),
        (Behaviour.REPORT_DENIED_BY_SCP, " with an explicit deny in a service control policy"),
    ],
)
def test_an_account_that_denies_the_report(behaviour: Behaviour, reason: str) -> None:
    principal = f"User: arn:aws:sts::{MEMBER}:assumed-role/CredentialAudit/test"
    with serve(organization(member(behaviour=behaviour))) as api:
        iam = api.iam()
        for call, action in (
            (iam.generate_credential_report, "iam:GenerateCredentialReport"),
            (iam.get_credential_report, "iam:GetCredentialReport"),
        ):
            ending = reason.format(action=action)
            with refused(
                "AccessDenied", 403, f"{principal} is not authorized to perform: {action} on resource: *{ending}"
            ):
                call()


def test_an_account_whose_report_never_gets_ready() -> None:
    clock = Clock()
    with serve(organization(member(behaviour=Behaviour.REPORT_NEVER_READY)), clock=clock) as api:
        iam = api.iam(DurationSeconds=43200)
        assert iam.generate_credential_report()["State"] == "STARTED"
        clock.now += timedelta(hours=9)
        assert iam.generate_credential_report()["State"] == "INPROGRESS"
        with refused("ReportInProgress", 404):
            iam.get_credential_report()


def test_an_account_that_denies_the_keys() -> None:
    account = member(behaviour=Behaviour.KEYS_DENIED, users=(SimulatedUser("alice", CREATED),))
    with serve(organization(account)) as api:
        iam = api.iam()
        assert iam.generate_credential_report()["State"] == "STARTED"
        with refused("AccessDenied", 403, f"on resource: arn:aws:iam::{MEMBER}:user/alice"):
            iam.list_access_keys(UserName="alice")


# Organizations


def crowd(count: int, **fields: Any) -> SimulatedOrganization:
    accounts = (member(f"{555500000000 + number}", ou_path=("Prod", "Data")) for number in range(count - 2))
    return organization(*accounts, **fields)


def test_accounts_come_in_pages_one_of_which_is_empty() -> None:
    with serve(crowd(45)) as api:
        pages = list(api.client("organizations").get_paginator("list_accounts").paginate())
    ids = [account["Id"] for page in pages for account in page["Accounts"]]

    assert [len(page["Accounts"]) for page in pages] == [20, 0, 20, 5]
    assert ["NextToken" in page for page in pages] == [True, True, True, False]
    assert ids == [account.account_id for account in crowd(45).accounts]


@pytest.mark.parametrize("count", [19, 20])
def test_one_page_is_the_last_page(count: int) -> None:
    with serve(crowd(count)) as api:
        answer = api.client("organizations").list_accounts()
    assert (len(answer["Accounts"]), "NextToken" in answer) == (count, False)


def test_a_token_belongs_to_its_listing() -> None:
    with serve(crowd(45)) as api:
        client = api.client("organizations")
        root_id = client.list_roots()["Roots"][0]["Id"]
        token = client.list_accounts()["NextToken"]
        for foreign in (token, "nonsense"):
            with refused("InvalidInputException", 400):
                client.list_accounts_for_parent(ParentId=root_id, NextToken=foreign)


def test_the_tree_of_units_holds_every_account_once() -> None:
    simulated = demo_organization(NOW)
    with serve(simulated) as api:
        client = api.client("organizations")
        root_id = client.list_roots()["Roots"][0]["Id"]
        found = dict(walk(client, root_id, ()))
    assert found == {account.account_id: account.ou_path for account in simulated.accounts}


def walk(client: Any, parent_id: str, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for page in client.get_paginator("list_accounts_for_parent").paginate(ParentId=parent_id):
        yield from ((account["Id"], path) for account in page["Accounts"])
    for page in client.get_paginator("list_organizational_units_for_parent").paginate(ParentId=parent_id):
        for unit in page["OrganizationalUnits"]:
            yield from walk(client, unit["Id"], (*path, unit["Name"]))


def test_units_and_the_accounts_in_them_come_in_pages() -> None:
    accounts = [member(f"{555500000000 + number}", ou_path=(f"Unit {number}",)) for number in range(20)]
    crowded = [member(f"{666600000000 + number}", ou_path=("Security",)) for number in range(30)]
    with serve(organization(*accounts, *crowded)) as api:
        client = api.client("organizations")
        root_id = client.list_roots()["Roots"][0]["Id"]
        units = list(client.get_paginator("list_organizational_units_for_parent").paginate(ParentId=root_id))
        security_id = units[0]["OrganizationalUnits"][0]["Id"]
        pages = list(client.get_paginator("list_accounts_for_parent").paginate(ParentId=security_id))
    assert [len(page["OrganizationalUnits"]) for page in units] == [20, 0, 1]
    assert [len(page["Accounts"]) for page in pages] == [20, 0, 11]


def test_an_unknown_parent_is_refused(api: Api) -> None:
    with refused("ParentNotFoundException", 400):
        api.client("organizations").list_accounts_for_parent(ParentId="ou-abcd-12345678")


@pytest.mark.parametrize("operation", ["list_accounts", "list_roots"])
def test_a_page_has_twenty_entries_at_most(api: Api, operation: str) -> None:
    client = api.client("organizations")
    client.meta.events.register("before-call", lambda params, **_: params.update(body=b'{"MaxResults": 21}'))
    with refused("InvalidInputException", 400):
        getattr(client, operation)()


def test_the_organization_and_its_ids(api: Api) -> None:
    client = api.client("organizations")
    described = client.describe_organization()["Organization"]
    account = client.list_accounts()["Accounts"][0]

    assert (described["Id"], described["MasterAccountId"]) == ("o-exampleorg1", MANAGEMENT)
    assert account["Arn"] == f"arn:aws:organizations::{MANAGEMENT}:account/o-exampleorg1/{MANAGEMENT}"
    assert client.list_roots()["Roots"][0]["Id"].startswith("r-")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"State": "CLOSED", "Status": "SUSPENDED"}),
        ({"lists_status": False}, {"State": "CLOSED"}),
        ({"lists_state": False}, {"Status": "SUSPENDED"}),
        ({"lists_state": False, "lists_status": False}, {}),
    ],
)
def test_state_and_status_can_be_left_out(fields: dict[str, bool], expected: dict[str, str]) -> None:
    with serve(organization(member(state="CLOSED"), **fields)) as api:
        account = api.client("organizations").list_accounts()["Accounts"][-1]
    assert {name: account[name] for name in ("State", "Status") if name in account} == expected


def test_an_account_is_described_as_it_is_listed(api: Api) -> None:
    client = api.client("organizations")
    for account in client.list_accounts()["Accounts"]:
        assert client.describe_account(AccountId=account["Id"])["Account"] == account
    with refused("AccountNotFoundException", 400):
        client.describe_account(AccountId="999999999999")
    for account_id in (MEMBER, MANAGEMENT):
        with refused("AccessDeniedException", 400):
            api.client("organizations", api.assume(account_id)).describe_account(AccountId=MEMBER)


def documents(api: Api, operation: str, **parameters: str) -> list[dict[str, Any]]:
    """Call Organizations and return the accounts as they were sent: this botocore drops their Paths."""
    headers = LISTING | {"X-Amz-Target": f"AWSOrganizationsV20161128.{operation}"}
    answer = json.loads(post(api, "organizations", json.dumps(parameters), headers).body)
    return list(answer["Accounts"]) if "Accounts" in answer else [answer["Account"]]


def test_the_paths_of_an_account_lead_from_the_organization_to_it() -> None:
    deep = member(ou_path=("Prod", "Data"))
    with serve(organization(deep, sends_paths=True)) as api:
        client = api.client("organizations")
        root_id = client.list_roots()["Roots"][0]["Id"]
        units = [root_id]
        for _ in deep.ou_path:
            below = client.list_organizational_units_for_parent(ParentId=units[-1])["OrganizationalUnits"]
            units.append(below[-1]["Id"])
        in_root, *_, in_unit = documents(api, "ListAccounts")
        (by_parent,) = documents(api, "ListAccountsForParent", ParentId=units[-1])
        (described,) = documents(api, "DescribeAccount", AccountId=MEMBER)
    assert in_root["Paths"] == [f"o-exampleorg1/{root_id}/{MANAGEMENT}/"]
    assert in_unit["Paths"] == [f"o-exampleorg1/{'/'.join(units)}/{MEMBER}/"]
    assert in_unit == by_parent == described
    # The pattern of botocore's service model.
    pattern = r"o-[a-z0-9]{10,32}/r-[0-9a-z]{4,32}(/ou-[0-9a-z]{4,32}-[a-z0-9]{8,32})*(/\d{12})*/"
    assert re.fullmatch(pattern, in_unit["Paths"][0])


def test_paths_are_not_sent_unless_asked_for(api: Api) -> None:
    assert all("Paths" not in account for account in documents(api, "ListAccounts"))


def test_names_survive_json() -> None:
    name = '\tlegacy\x07 "<é😀>"'
    with serve(organization(replace(member(), name=name))) as api:
        assert api.client("organizations").list_accounts()["Accounts"][-1]["Name"] == name


def test_a_member_session_may_not_list(api: Api) -> None:
    for account_id in (MEMBER, MANAGEMENT):
        with refused("AccessDeniedException", 400):
            api.client("organizations", api.assume(account_id)).list_accounts()


def test_only_the_reader_role_may_list_when_the_caller_may_not() -> None:
    with serve(organization(member(), caller_may_list=False)) as api:
        with refused("AccessDeniedException", 400):
            api.client("organizations").list_accounts()
        with refused("AccessDenied", 403):
            api.assume(MEMBER, READER_ROLE_NAME)
        reader = api.assume(MANAGEMENT, READER_ROLE_NAME)
        assert len(api.client("organizations", reader).list_accounts()["Accounts"]) == 3


def test_the_readers_session_policy_is_enforced_too() -> None:
    with serve(organization(caller_may_list=False)) as api:
        reader = api.assume(MANAGEMENT, READER_ROLE_NAME, Policy=READ_POLICY)
        with refused("AccessDeniedException", 400):
            api.client("organizations", reader).list_accounts()


def test_another_partition_is_in_every_arn() -> None:
    with serve(organization(member(), partition="aws-us-gov")) as api:
        with refused("AccessDenied", 403):
            api.assume()
        arns = [
            api.client("sts").get_caller_identity()["Arn"],
            api.client("organizations").list_accounts()["Accounts"][0]["Arn"],
        ]
    assert all(arn.startswith("arn:aws-us-gov:") for arn in arns)


def test_an_organization_refuses_to_be_incomplete() -> None:
    with pytest.raises(ValueError, match="must be among"):
        SimulatedOrganization("o-exampleorg1", MANAGEMENT, CALLER, (member(),))
    with pytest.raises(ValueError, match="twice"):
        organization(member(), member())


# The log


def test_the_log_tells_what_a_session_was_asked_for(api: Api) -> None:
    keys = api.assume(Policy=READ_POLICY, ExternalId="us", DurationSeconds=900)
    api.client("iam", keys).generate_credential_report()

    asked, generated = api.simulator.requests
    assert (asked.service, asked.action, asked.account_id, asked.status) == ("sts", "AssumeRole", CALLER, 200)
    assert asked.access_key_id == BASE.access_key_id
    assert asked.parameters == {
        "RoleArn": f"arn:aws:iam::{MEMBER}:role/CredentialAudit",
        "RoleSessionName": "test",
        "Policy": READ_POLICY,
        "ExternalId": "us",
        "DurationSeconds": "900",
    }
    assert (generated.account_id, generated.access_key_id) == (MEMBER, keys.access_key_id)


def test_the_counters_work_without_the_log() -> None:
    with serve(organization(), log_requests=False) as api:
        first, second = api.client("sts"), api.client("sts")
        for client in (first, first, second):
            client.get_caller_identity()
        assert api.simulator.requests == []
        assert api.simulator.counts == {("sts", "GetCallerIdentity"): 3}
        assert api.simulator.connections == 2


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_it_speaks_https_when_it_is_given_a_certificate(tls: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    simulator = Simulator(organization(), ssl_context=context)
    with run_in_thread(simulator) as endpoint_url:
        assert endpoint_url.startswith("https://127.0.0.1:")
        assert call_identity(Api(simulator, endpoint_url, tls[0])) == CALLER
        with pytest.raises(SSLError):
            call_identity(Api(simulator, endpoint_url))


@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER, FaultKind.TRUNCATED_BODY])
def test_connections_break_under_https_too(tls: tuple[Path, Path], kind: FaultKind) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    faults = Faults(fault_rate=1.0, kinds=(kind,), max_faults_per_account=1)
    simulator = Simulator(organization(), faults, ssl_context=context)
    with run_in_thread(simulator) as endpoint_url:
        api = Api(simulator, endpoint_url, tls[0])
        with pytest.raises(HTTPClientError):
            call_identity(api)
        assert call_identity(api) == CALLER


def call_identity(api: Api) -> str:
    client = api.client("sts")
    with closing(client):
        return str(client.get_caller_identity()["Account"])


def test_only_tests_make_certificates() -> None:
    # cryptography comes with moto, which is no dependency of the package.
    sources = Path(scanner.__file__).parent.rglob("*.py")
    assert not [source for source in sources if "cryptography" in source.read_text()]


def test_a_stopped_simulator_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with serve(organization()) as api:
        api.client("sts").get_caller_identity()
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) == before


def test_a_simulator_can_be_started_once_at_a_time() -> None:
    simulator = Simulator(organization())
    with (
        run_in_thread(simulator),
        pytest.raises(RuntimeError, match="running already"),
        run_in_thread(simulator),
    ):
        pass
    with run_in_thread(simulator) as endpoint_url:
        assert Api(simulator, endpoint_url).client("sts").get_caller_identity()["Account"] == CALLER
