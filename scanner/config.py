"""config.toml and the flags → one frozen Config. Whatever is not understood is an error that names the key."""

from __future__ import annotations

import difflib
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from scanner.errors import ConfigError
from scanner.models import Severity

ROLE_ARN = r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]{1,512}"


def _matches(pattern: str, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


AccountId = Annotated[str, _matches(r"[0-9]{12}", "must be an account id: 12 digits in quotes")]
OuReference = Annotated[
    str,
    _matches(
        r"r-[a-z0-9]{4,32}|ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}|Root(/(\\.|[^/\\])+)*",
        "must be an OU id such as ou-ab12-cdef3456, or a path such as Root/Prod, without a slash at its end",
    ),
]
Format = Literal["xlsx", "csv", "html", "json", "ocsf", "parquet"]
Location = tuple[int | str, ...]
Rate = Annotated[int, Field(ge=1, le=10_000)]
Days = Annotated[int, Field(ge=0, le=3650)]
CheckId = Annotated[str, _matches(r"[a-z]+(-[a-z]+)*", "must be a check, such as access-key-not-rotated")]
SeverityName = Annotated[Severity, Field(strict=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OrganizationTable(_Table):
    """[organization]: which accounts are in scope, and who may list them."""

    include_accounts: list[AccountId] = []
    exclude_accounts: list[AccountId] = []
    include_ous: list[OuReference] = []
    exclude_ous: list[OuReference] = []
    role_arn: Annotated[
        str,
        _matches(
            rf"|{ROLE_ARN}",
            "must be the ARN of a role, such as arn:aws:iam::111122223333:role/OrganizationReader",
        ),
    ] = ""


class AccessTable(_Table):
    """[access]: how credaudit enters an account."""

    role_name: Annotated[
        str,
        _matches(
            r"([a-zA-Z0-9_+=,.@-]+/)*[a-zA-Z0-9_+=,.@-]{1,64}",
            "must be a role's name or path and name, without the ARN before it",
        ),
    ] = "CredentialAudit"
    external_id: Annotated[
        str, _matches(r"|[a-zA-Z0-9_+=,.@:/-]{2,1224}", "must be 2 to 1224 letters, digits or any of + = , . @ : / -")
    ] = ""
    session_duration_seconds: int = Field(default=3600, ge=900, le=43_200)
    profile: str = ""


class RatesTable(_Table):
    """[scan.rates]: calls a second of each API, at most."""

    list_accounts: Rate = 8
    list_roots: Rate = 1
    describe_organization: Rate = 1
    describe_account: Rate = 20
    organizations: Rate = 5
    sts: Rate = 500
    iam: Rate = 500


class ScanTable(_Table):
    """[scan]: how many accounts at once, and how long one may take."""

    concurrency: int = Field(default=200, ge=1, le=1000)
    account_timeout_seconds: int = Field(default=600, ge=1, le=3600)
    run_timeout_seconds: int = Field(default=14_400, ge=1, le=172_800)
    report_max_age_hours: int = Field(default=24, ge=4, le=8760)
    cross_check: bool = True
    rates: RatesTable = RatesTable()


class LimitsTable(_Table):
    """[limits]: the thresholds that the checks decide by. A name is that of models.Limits, and its unit."""

    access_key_max_age_days: Days = 90
    credential_max_unused_days: Days = 45
    root_unused_days: Days = 90
    access_key_setup_window_seconds: int = Field(default=60, ge=0, le=86_400)
    password_max_age_days: Days = 90
    inactive_access_key_max_age_days: Days = 30

    def durations(self) -> dict[str, timedelta]:
        """Limit → its duration, for those that the file sets; `Limits` knows the others."""
        durations = {}
        for name in self.model_fields_set:
            limit, _, unit = name.rpartition("_")
            durations[limit] = timedelta(**{unit: getattr(self, name)})
        return durations


class ChecksTable(_Table):
    """[checks]: which checks are asked, and how much each matters."""

    only: list[CheckId] = []
    skip: list[CheckId] = []
    severity: dict[CheckId, SeverityName] = {}


class OverrideTable(_Table):
    """[[override]]: what differs for the accounts below an OU."""

    ou: OuReference
    limits: LimitsTable = LimitsTable()
    severity: dict[CheckId, SeverityName] = {}


class ExemptionsTable(_Table):
    """[exemptions]: the file of accepted findings, and how far ahead one may end."""

    file: Annotated[str, _matches(r"[^\0]*", "must be the path of a file")] = ""
    max_days: int = Field(default=365, ge=1, le=3650)


class OutputTable(_Table):
    """[output]: where runs go, and in which formats."""

    runs_dir: Annotated[str, _matches(r"[^\0]+", "must be the path of a folder")] = "runs"
    formats: Annotated[list[Format], Field(min_length=1)] = ["xlsx", "csv", "html", "json", "ocsf"]
    next_audit_days: Days = 90


class Config(_Table):
    """Everything that config.toml can say; defaults where it says nothing."""

    organization: OrganizationTable = OrganizationTable()
    access: AccessTable = AccessTable()
    scan: ScanTable = ScanTable()
    limits: LimitsTable = LimitsTable()
    checks: ChecksTable = ChecksTable()
    override: list[OverrideTable] = []
    exemptions: ExemptionsTable = ExemptionsTable()
    output: OutputTable = OutputTable()


def load_config(path: Path | None, flags: dict[str, dict[str, Any]] | None = None) -> Config:
    """Read `path` (None: defaults only) and lay the flags over it; raise ConfigError for all that is wrong."""
    values: dict[str, Any] = {}
    source = "the flags"
    _validate(flags or {}, source)
    if path is not None:
        source = str(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file", "Copy config.example.toml, or leave out --config.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error.__class__.__name__}") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for table, settings in (flags or {}).items():
        base = values.setdefault(table, {})
        if isinstance(base, dict):
            base.update(settings)
    config = _validate(values, source)
    _check_together(config, source)
    return config


def _validate(values: dict[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {explain(detail, Config)}" for detail in error.errors())) from None


def _check_together(config: Config, source: str) -> None:
    scope = config.organization
    for kind, both in (
        ("account", set(scope.include_accounts) & set(scope.exclude_accounts)),
        ("OU", set(scope.include_ous) & set(scope.exclude_ous)),
    ):
        if both:
            raise ConfigError(f"{source}: [organization]: {kind} {min(both)} is both included and excluded")
    named = [override.ou for override in config.override]
    if twice := [ou for ou in named if named.count(ou) > 1]:
        raise ConfigError(f"{source}: [[override]]: there are two for {twice[0]}")
    if both := set(config.checks.only) & set(config.checks.skip):
        raise ConfigError(f"{source}: [checks]: {min(both)} is both in only and in skip")


def explain(detail: ErrorDetails, table: type[BaseModel]) -> str:
    """One line: the key, what was expected, and (never for an unknown key, whose value may be a secret) what came."""
    location = detail["loc"]
    key = _dotted(location)
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {key}{_suggestion(location, table)}"
        case "value_error":
            expected = str(detail["ctx"]["error"])
        case "string_type":
            expected = "must be text in quotes"
        case "missing":
            return f"{key} is missing"
        case "model_type":
            return f"{key}: must be a table, written as [{key}]"
        case _:
            expected = detail["msg"].replace("Input should be", "must be").replace("a valid ", "a ")
    if location[-1] == "external_id":
        return f"{key}: {expected}"
    return f"{key}: {expected} (got {_shown(detail['input'])})"


def _dotted(location: Location) -> str:
    """`scan.rates.iam`, `organization.include_accounts[2]`."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _suggestion(location: Location, table: Any) -> str:
    for part in location[:-1]:
        # A list of tables is followed by a number, which stands for one of them.
        table = get_args(table)[0] if isinstance(part, int) else table.model_fields[part].annotation
    near = difflib.get_close_matches(str(location[-1]), table.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(table.model_fields)}"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
