"""What AWS answers to a request, and what goes wrong with the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from .accounts import Accounts
from .faults import ERRORS, Fault, FaultInjector
from .iam import Iam
from .identity import CredentialStore, Principal
from .model import FaultKind, Faults, SimulatedOrganization
from .organizations import Organizations
from .quotas import Quotas
from .sts import Sts
from .wire import (
    NO_ANSWER,
    Answer,
    AwsError,
    Call,
    ReceivedRequest,
    error_answer,
    json_answer,
    parse_authorization,
    parse_call,
    query_answer,
    verify_age,
)

UNKNOWN = "unknown"

QueryOperation = Callable[[Principal, Mapping[str, str]], str]
JsonOperation = Callable[[Principal, Mapping[str, str]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class RequestLogEntry:
    """One request and how it ended."""

    service: str
    action: str
    account_id: str
    """The signer's; empty for a request that was not authenticated."""
    access_key_id: str
    status: int
    """0 for a connection reset."""
    at: datetime
    parameters: Mapping[str, str] = field(default_factory=dict)


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class Service:
    """The simulated AWS without its network: a request in, an answer out."""

    def __init__(
        self, organization: SimulatedOrganization, faults: Faults, clock: Callable[[], datetime], log_requests: bool
    ) -> None:
        """Know the organization; nothing has been asked yet."""
        self.requests: list[RequestLogEntry] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._skew = timedelta(seconds=faults.clock_skew_seconds)
        self._given_clock = clock
        self.injector = FaultInjector(faults)
        self.quotas = Quotas(faults.quotas, self._clock)
        self._log_requests = log_requests
        self._accounts = Accounts(organization)
        self._credentials = CredentialStore(organization.partition, organization.caller_account_id)
        self._iam = Iam(self._accounts, organization.partition, self._clock, faults)
        sts = Sts(organization, self._accounts, self._credentials, self._clock, faults.session_seconds)
        self._query_operations: dict[tuple[str, str], QueryOperation] = {
            ("sts", "AssumeRole"): sts.assume_role,
            ("sts", "GetCallerIdentity"): sts.get_caller_identity,
            ("sts", "GetSessionToken"): sts.get_session_token,
            ("iam", "GenerateCredentialReport"): self._iam.generate_credential_report,
            ("iam", "GetCredentialReport"): self._iam.get_credential_report,
            ("iam", "ListAccessKeys"): self._iam.list_access_keys,
            ("iam", "GetAccountSummary"): self._iam.get_account_summary,
        }
        organizations = Organizations(organization, self._accounts, self._credentials)
        self._json_operations: dict[str, JsonOperation] = {
            "DescribeAccount": organizations.describe_account,
            "DescribeOrganization": organizations.describe_organization,
            "ListRoots": organizations.list_roots,
            "ListAccounts": organizations.list_accounts,
            "ListOrganizationalUnitsForParent": organizations.list_organizational_units_for_parent,
            "ListAccountsForParent": organizations.list_accounts_for_parent,
        }

    def now(self) -> datetime:
        """Return the moment that AWS takes it to be, by which signatures are fresh or not."""
        return utc_now() + self._skew

    def _clock(self) -> datetime:
        return self._given_clock() + self._skew

    def answer(self, request: ReceivedRequest, request_id: str) -> Answer:
        """Carry the request out, unless it may not be or something goes wrong."""
        call, principal, fault = Call(UNKNOWN, UNKNOWN, {}), None, None
        try:
            authorization = parse_authorization(request)
            call = parse_call(request, authorization.service)
            principal = self._credentials.authenticate(request, authorization, self._clock())
            verify_age(request, self.now())
            subject = _subject(call, principal)
            self._refuse_suspended(call, principal)
            self.quotas.take(call, subject)
            fault = self._draw(call, principal, subject)
            answer = self._perform(call, principal, subject, fault, request_id)
        except AwsError as error:
            answer = error_answer(error, request.is_json, call.service, request_id)
        if fault is not None:
            answer = _spoil(answer, fault)
        self._record(call, principal, answer)
        return answer

    def _refuse_suspended(self, call: Call, principal: Principal) -> None:
        if call.service == "iam" and self._accounts.is_suspended(principal.account_id):
            raise principal.denied(f"iam:{call.action}")

    def _draw(self, call: Call, principal: Principal, subject: str) -> Fault | None:
        fault = self.injector.draw(call, subject, is_session=bool(principal.role_name))
        if fault is None or not self._iam.can_befall(fault):
            return None
        self.injector.record(fault)
        return fault

    def _perform(self, call: Call, principal: Principal, subject: str, fault: Fault | None, request_id: str) -> Answer:
        if fault is None:
            return self._carry_out(call, principal, subject, request_id)
        self._refuse(fault, principal)
        if fault.kind is FaultKind.RESET_BEFORE:
            return NO_ANSWER
        answer = self._carry_out(call, principal, subject, request_id)
        if fault.kind is FaultKind.STUCK_REPORT:
            self._iam.stick(subject)
        if fault.kind is FaultKind.MALFORMED_REPORT:
            return query_answer(call, self._iam.damaged_report(fault), request_id)
        return answer

    def _refuse(self, fault: Fault, principal: Principal) -> None:
        """Raise the answer of a fault that is one, and see to what it means for later calls."""
        if fault.kind is FaultKind.EXPIRED_TOKEN:
            self._credentials.expire(principal, self._clock())
        if fault.kind is FaultKind.EXPIRED_REPORT:
            self._iam.forget(fault.account_id)
        if fault.kind in ERRORS:
            raise AwsError(*ERRORS[fault.kind])

    def _carry_out(self, call: Call, principal: Principal, subject: str, request_id: str) -> Answer:
        try:
            return self._dispatch(call, principal, request_id)
        finally:
            if call.service == "iam" or call.action == "AssumeRole":
                self._accounts.count_call(subject)

    def _dispatch(self, call: Call, principal: Principal, request_id: str) -> Answer:
        if call.service == "organizations":
            list_operation = self._json_operations.get(call.action)
            if list_operation is None:
                raise AwsError("InvalidAction", f"Could not find operation {call.action}")
            return json_answer(list_operation(principal, call.parameters))
        operation = self._query_operations.get((call.service, call.action))
        if operation is None:
            raise AwsError("InvalidAction", f"Could not find operation {call.action}")
        return query_answer(call, operation(principal, call.parameters), request_id)

    def _record(self, call: Call, principal: Principal | None, answer: Answer) -> None:
        self.counts[call.service, call.action] += 1
        if not self._log_requests:
            return
        account_id, key_id = (principal.account_id, principal.access_key_id) if principal else ("", "")
        entry = RequestLogEntry(
            call.service, call.action, account_id, key_id, answer.status, self._clock(), call.parameters
        )
        self.requests.append(entry)


def _subject(call: Call, principal: Principal) -> str:
    """Return the account that a call is about: the target's for AssumeRole and DescribeAccount, else the signer's."""
    if call.action == "AssumeRole":
        parts = call.parameters.get("RoleArn", "").split(":")
        return parts[4] if len(parts) > 4 else ""
    if call.action == "DescribeAccount":
        return call.parameters.get("AccountId", "")
    return principal.account_id


def _spoil(answer: Answer, fault: Fault) -> Answer:
    if fault.kind in (FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER):
        return replace(NO_ANSWER, fault=fault.kind)
    if fault.kind is FaultKind.CUT_DOCUMENT:
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    return replace(answer, fault=fault.kind)
