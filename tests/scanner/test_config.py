"""config.toml and the flags: what is accepted, and that every refusal names the key and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scanner.config import Config, load_config
from scanner.errors import ConfigError
from scanner.models import Rules
from scanner.rules import rules_of

SECRET = "hunter2-do-not-print"


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def load(path: Path, text: str, flags: dict[str, dict[str, Any]] | None = None) -> Config:
    path.write_text(text, encoding="utf-8")
    return load_config(path, flags)


def refusal(path: Path, text: str) -> str:
    """The message, without the file's name that begins each of its lines."""
    with pytest.raises(ConfigError) as caught:
        load(path, text)
    assert caught.value.exit_code == 2
    assert caught.value.advice
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


# What is accepted


def test_without_a_file_there_are_defaults() -> None:
    config = load_config(None)
    assert config == Config()
    assert config.access.role_name == "CredentialAudit"
    assert config.output.runs_dir == "runs"
    assert config.limits.access_key_max_age_days == 90
    assert rules_of(config) == Rules()


def test_an_empty_file_says_the_same_as_none(config_file: Path) -> None:
    assert load(config_file, "") == Config()


def test_every_key_can_be_set(config_file: Path) -> None:
    config = load(
        config_file,
        """
        [organization]
        include_accounts = ["111122223333"]
        exclude_accounts = ["012345678901"]
        include_ous = ["Root", "Root/Prod/Payments é", "r-ab12"]
        exclude_ous = ["ou-ab12-cdef3456", "Root/Sandbox"]
        role_arn = "arn:aws-us-gov:iam::111122223333:role/path/OrganizationReader"
        [access]
        role_name = "audit/CredentialAudit"
        external_id = "a:b/c-1"
        session_duration_seconds = 900
        profile = "audit"
        [scan]
        concurrency = 7
        account_timeout_seconds = 60
        run_timeout_seconds = 3600
        report_max_age_hours = 4
        cross_check = false
        [scan.rates]
        list_accounts = 1
        list_roots = 5
        describe_organization = 6
        describe_account = 7
        organizations = 2
        sts = 3
        iam = 4
        [limits]
        access_key_max_age_days = 45
        credential_max_unused_days = 30
        root_unused_days = 1
        access_key_setup_window_seconds = 10
        password_max_age_days = 365
        inactive_access_key_max_age_days = 7
        [checks]
        only = ["access-key-not-rotated", "root-without-mfa"]
        skip = ["password-not-changed"]
        severity = { root-without-mfa = "high" }
        [[override]]
        ou = "Root/Prod"
        limits = { access_key_max_age_days = 30 }
        severity = { access-key-not-rotated = "critical" }
        [exemptions]
        file = "exemptions.toml"
        max_days = 180
        [output]
        runs_dir = "/var/lib/credaudit"
        formats = ["csv"]
        next_audit_days = 30
        """,
    )
    assert config.model_dump() == {
        "organization": {
            "include_accounts": ["111122223333"],
            "exclude_accounts": ["012345678901"],
            "include_ous": ["Root", "Root/Prod/Payments é", "r-ab12"],
            "exclude_ous": ["ou-ab12-cdef3456", "Root/Sandbox"],
            "role_arn": "arn:aws-us-gov:iam::111122223333:role/path/OrganizationReader",
        },
        "access": {
            "role_name": "audit/CredentialAudit",
            "external_id": "a:b/c-1",
            "session_duration_seconds": 900,
            "profile": "audit",
        },
        "scan": {
            "concurrency": 7,
            "account_timeout_seconds": 60,
            "run_timeout_seconds": 3600,
            "report_max_age_hours": 4,
            "cross_check": False,
            "rates": {
                "list_accounts": 1,
                "list_roots": 5,
                "describe_organization": 6,
                "describe_account": 7,
                "organizations": 2,
                "sts": 3,
                "iam": 4,
            },
        },
        "limits": {
            "access_key_max_age_days": 45,
            "credential_max_unused_days": 30,
            "root_unused_days": 1,
            "access_key_setup_window_seconds": 10,
            "password_max_age_days": 365,
            "inactive_access_key_max_age_days": 7,
        },
        "checks": {
            "only": ["access-key-not-rotated", "root-without-mfa"],
            "skip": ["password-not-changed"],
            "severity": {"root-without-mfa": "high"},
        },
        "override": [
            {
                "ou": "Root/Prod",
                "limits": Config().limits.model_copy(update={"access_key_max_age_days": 30}).model_dump(),
                "severity": {"access-key-not-rotated": "critical"},
            }
        ],
        "exemptions": {"file": "exemptions.toml", "max_days": 180},
        "output": {"runs_dir": "/var/lib/credaudit", "formats": ["csv"], "next_audit_days": 30},
    }


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().limits.access_key_max_age_days = 1


BOUNDS = [
    ("limits.access_key_max_age_days", 0, 3650),
    ("limits.credential_max_unused_days", 0, 3650),
    ("limits.root_unused_days", 0, 3650),
    ("limits.access_key_setup_window_seconds", 0, 86_400),
    ("limits.password_max_age_days", 0, 3650),
    ("limits.inactive_access_key_max_age_days", 0, 3650),
    ("exemptions.max_days", 1, 3650),
    ("output.next_audit_days", 0, 3650),
    ("access.session_duration_seconds", 900, 43_200),
    ("scan.concurrency", 1, 1000),
    ("scan.account_timeout_seconds", 1, 3600),
    ("scan.run_timeout_seconds", 1, 172_800),
    ("scan.report_max_age_hours", 4, 8760),
    ("scan.rates.list_accounts", 1, 10_000),
    ("scan.rates.list_roots", 1, 10_000),
    ("scan.rates.describe_organization", 1, 10_000),
    ("scan.rates.describe_account", 1, 10_000),
    ("scan.rates.organizations", 1, 10_000),
    ("scan.rates.sts", 1, 10_000),
    ("scan.rates.iam", 1, 10_000),
]


@pytest.mark.parametrize(("key", "least", "most"), BOUNDS)
def test_a_number_is_accepted_at_its_bounds_and_refused_beyond(
    config_file: Path, key: str, least: int, most: int
) -> None:
    for value in (least, most):
        found: Any = load(config_file, f"{key} = {value}")
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value
    assert refusal(config_file, f"{key} = {least - 1}") == (
        f"{key}: must be greater than or equal to {least} (got {least - 1})"
    )
    assert (
        refusal(config_file, f"{key} = {most + 1}") == f"{key}: must be less than or equal to {most} (got {most + 1})"
    )


def test_every_number_of_the_config_has_its_bounds_tested() -> None:
    def numbers(values: dict[str, Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, value in values.items():
            if isinstance(value, dict):
                found |= numbers(value, f"{prefix}{name}.")
            elif isinstance(value, int) and not isinstance(value, bool):
                found.add(f"{prefix}{name}")
        return found

    assert numbers(Config().model_dump()) == {key for key, _, _ in BOUNDS}


# Flags


def test_flags_override_the_file_and_leave_the_rest(config_file: Path) -> None:
    text = '[access]\nrole_name = "FromFile"\nexternal_id = "kept"\n[output]\nruns_dir = "from-file"\n'
    config = load(config_file, text, {"access": {"role_name": "FromFlag"}, "output": {"runs_dir": "from-flag"}})
    assert config.access.role_name == "FromFlag"
    assert config.access.external_id == "kept"
    assert config.output.runs_dir == "from-flag"


def test_flags_alone() -> None:
    assert load_config(None, {"output": {"runs_dir": "elsewhere"}}).output.runs_dir == "elsewhere"


def test_a_wrong_flag_is_refused_as_one() -> None:
    with pytest.raises(ConfigError, match=r"^the flags: access\.role_name: must be a role's name") as caught:
        load_config(None, {"access": {"role_name": "no spaces"}})
    assert caught.value.exit_code == 2


def test_a_flag_does_not_hide_a_table_that_is_none(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"output: must be a table, written as \[output\]"):
        load(config_file, "output = 1", {"output": {"runs_dir": "x"}})


# What is refused


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[acess]\nrole_name = 'x'", "unknown key acess; did you mean access?"),
        ("[access]\nrolename = 'x'", "unknown key access.rolename; did you mean role_name?"),
        ("[scan.rates]\niaam = 3", "unknown key scan.rates.iaam; did you mean iam?"),
        ("[limits]\nmax_age_days = 90", "unknown key limits.max_age_days; did you mean password_max_age_days?"),
        (
            "[limits]\nzzz = 90",
            "unknown key limits.zzz; known here: access_key_max_age_days, credential_max_unused_days, "
            "root_unused_days, access_key_setup_window_seconds, password_max_age_days, "
            "inactive_access_key_max_age_days",
        ),
        (
            "zzz = 1",
            "unknown key zzz; known here: organization, access, scan, limits, checks, override, exemptions, output",
        ),
    ],
)
def test_an_unknown_key_is_named_with_what_it_may_have_meant(config_file: Path, text: str, wanted: str) -> None:
    assert refusal(config_file, text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        f'[access]\nsecret_access_key = "{SECRET}"',
        f'aws_secret_access_key = "{SECRET}"',
        f'[secrets]\nkey = "{SECRET}"',
        f'[access]\nextrenal_id = "{SECRET}"',
        f'[access]\nexternal_id = "{SECRET} with a space"',
        f'[access]\nexternal_id = ["{SECRET}"]',
        f'[access]\nexternal_id = {{ value = "{SECRET}" }}',
        f'access = "{SECRET}"',
        f'[access]\nexternal_id = "{SECRET}\nrole_name = "x"',
        f"[access]\nexternal_id = {SECRET}",
    ],
)
def test_what_may_be_a_secret_is_never_printed(config_file: Path, text: str) -> None:
    assert "hunter2" not in refusal(config_file, text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('[limits]\naccess_key_max_age_days = "90"', "limits.access_key_max_age_days: must be a integer (got '90')"),
        ("[limits]\naccess_key_max_age_days = 90.5", "limits.access_key_max_age_days: must be a integer (got 90.5)"),
        ("[limits]\naccess_key_max_age_days = true", "limits.access_key_max_age_days: must be a integer (got True)"),
        ("[output]\nruns_dir = 5", "output.runs_dir: must be text in quotes (got 5)"),
        ("[output]\nruns_dir = ''", "output.runs_dir: must be the path of a folder (got '')"),
        ("[output]\nformats = 'csv'", "output.formats: must be a list (got 'csv')"),
        (
            "[output]\nformats = ['pdf']",
            "output.formats[1]: must be 'xlsx', 'csv', 'html', 'json', 'ocsf' or 'parquet' (got 'pdf')",
        ),
        ("scan = 5", "scan: must be a table, written as [scan]"),
        ("[scan]\nrates = 5", "scan.rates: must be a table, written as [scan.rates]"),
        ("[[scan]]\nconcurrency = 5", "scan: must be a table, written as [scan]"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_expected(config_file: Path, text: str, wanted: str) -> None:
    assert refusal(config_file, text).replace("must be an integer", "must be a integer") == wanted


def test_an_empty_list_of_formats_is_refused(config_file: Path) -> None:
    assert refusal(config_file, "[output]\nformats = []").startswith("output.formats: List should have at least 1 item")


@pytest.mark.parametrize("key", ["include_accounts", "exclude_accounts"])
@pytest.mark.parametrize("value", ["12345678901", "1234567890123", "1234-5678-9012", "payments", "", "111122223333\\n"])
def test_an_account_id_that_is_none(config_file: Path, key: str, value: str) -> None:
    message = refusal(config_file, f'[organization]\n{key} = ["111122223333", "{value}"]')
    assert message.startswith(f"organization.{key}[2]: must be an account id: 12 digits in quotes (got ")


def test_an_account_id_written_as_a_number(config_file: Path) -> None:
    message = refusal(config_file, "[organization]\nexclude_accounts = [111122223333]")
    assert message == "organization.exclude_accounts[1]: must be text in quotes (got 111122223333)"
    assert refusal(config_file, "[organization]\nexclude_accounts = [012345678901]").startswith("not valid TOML: ")


@pytest.mark.parametrize(
    "value",
    [
        "Prod",
        "/Root/Prod",
        "root/Prod",
        "Root/",
        "Root/Prod/",
        "Root//Prod",
        "ou-ab12",
        "ou-ab12-short",
        "r-1",
        "RootX",
        "",
    ],
)
def test_an_ou_that_is_none(config_file: Path, value: str) -> None:
    message = refusal(config_file, f'[organization]\ninclude_ous = ["{value}"]')
    assert message == (
        "organization.include_ous[1]: must be an OU id such as ou-ab12-cdef3456, "
        f"or a path such as Root/Prod, without a slash at its end (got '{value}')"
    )


@pytest.mark.parametrize(
    "value",
    [
        "OrganizationReader",
        "arn:aws:iam::111122223333:user/OrganizationReader",
        "arn:aws:iam::11112222333:role/OrganizationReader",
        "arn:aws:iam:us-east-1:111122223333:role/OrganizationReader",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/Reader x",
        " arn:aws:iam::111122223333:role/Reader",
    ],
)
def test_a_role_arn_that_is_none(config_file: Path, value: str) -> None:
    message = refusal(config_file, f'[organization]\nrole_arn = "{value}"')
    assert message.startswith(
        "organization.role_arn: must be the ARN of a role, such as arn:aws:iam::111122223333:role/"
    )


@pytest.mark.parametrize("value", ["CredentialAudit", "a", "x" * 64, "path/to/Audit", "A+=,.@_-"])
def test_a_role_name(config_file: Path, value: str) -> None:
    assert load(config_file, f'[access]\nrole_name = "{value}"').access.role_name == value


@pytest.mark.parametrize(
    "value", ["", "a b", "/Audit", "path/", "a//b", "x" * 65, "arn:aws:iam::111122223333:role/Audit", "Audit\\n", "*"]
)
def test_a_role_name_that_is_none(config_file: Path, value: str) -> None:
    message = refusal(config_file, f'[access]\nrole_name = "{value}"')
    assert message.startswith("access.role_name: must be a role's name or path and name, without the ARN before it")


@pytest.mark.parametrize(
    ("kind", "value"), [("account", "111122223333"), ("OU", "ou-ab12-cdef3456"), ("OU", "Root/Prod")]
)
def test_both_included_and_excluded(config_file: Path, kind: str, value: str) -> None:
    key = "accounts" if kind == "account" else "ous"
    text = f'[organization]\ninclude_{key} = ["{value}"]\nexclude_{key} = ["{value}"]'
    assert refusal(config_file, text) == f"[organization]: {kind} {value} is both included and excluded"


def test_everything_that_is_wrong_is_told_at_once(config_file: Path) -> None:
    lines = refusal(config_file, "[scan]\nconcurrency = 0\n[limits]\nnothing = 1\n").splitlines()
    assert len(lines) == 2


def test_a_long_value_is_cut(config_file: Path) -> None:
    message = refusal(config_file, f'[access]\nrole_name = "{"x" * 500}"')
    assert message.endswith("xxx...)")
    assert len(message) < 200


# The file itself


def test_a_syntax_error_tells_its_place(config_file: Path) -> None:
    assert refusal(config_file, "[scan]\nconcurrency = = 5") == "not valid TOML: Invalid value (at line 2, column 15)"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        load_config(tmp_path / "absent.toml")
    assert "config.example.toml" in caught.value.advice


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: IsADirectoryError"):
        load_config(tmp_path)


def test_a_file_that_is_not_utf8(config_file: Path) -> None:
    config_file.write_bytes(b'[access]\nprofile = "\xe9"\n')
    with pytest.raises(ConfigError, match="cannot be read: UnicodeDecodeError"):
        load_config(config_file)


def test_an_ou_with_a_slash_in_its_name_can_be_named(config_file: Path) -> None:
    config = load(config_file, "[organization]\ninclude_ous = ['Root/A\\/B']")
    assert config.organization.include_ous == ["Root/A\\/B"]
