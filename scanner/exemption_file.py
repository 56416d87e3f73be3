"""The file of accepted findings, in TOML. Whatever is not understood stops the run before it calls AWS."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from scanner.config import AccountId, CheckId, OuReference, explain
from scanner.errors import ConfigError
from scanner.models import Exemption
from scanner.rules import check_id

ADVICE = "docs/exemptions.md explains the file. Nothing was asked of AWS."
DAY = timedelta(days=1)
FIRST_YEAR, LAST_YEAR = 2000, 2199
"""Near the years 0 and 9999 Python's dates end."""


def _moment(value: object) -> datetime:
    """A day or a moment with its zone; UTC."""
    if isinstance(value, date) and not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must be of the years {FIRST_YEAR} to {LAST_YEAR}")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("must say its zone, such as 2027-03-31T18:00:00Z, or be a day")
        return value.astimezone(UTC).replace(microsecond=0)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise ValueError("must be a day without quotes, such as 2027-03-31")


def _end(value: object) -> datetime:
    """A day is its end: what expires on it still holds on it."""
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return _moment(value) + DAY if is_day else _moment(value)


def _pattern(value: str) -> str:
    if not value.strip("*"):
        raise ValueError("must name somebody: a pattern of * alone stands for all")
    return value


Start = Annotated[datetime, BeforeValidator(_moment)]
End = Annotated[datetime, BeforeValidator(_end)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_pattern)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Entry(BaseModel):
    """One [[exemption]]."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Id
    checks: Annotated[list[CheckId], Field(min_length=1)]
    accounts: list[AccountId] = []
    ous: list[OuReference] = []
    user: Pattern | None = None
    arn: Pattern | None = None
    reason: Words
    owner: Words
    approver: Words
    ticket: Words
    starts: Start | None = None
    expires: End


class _File(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    exemption: list[_Entry] = []


def load_exemptions(path: Path, *, now: datetime, max_days: int) -> tuple[Exemption, ...]:
    """Read the file; raises ConfigError for all that is wrong with it, one line each.

    An exemption may end `max_days` days after `now` at the latest. One that has ended already is accepted: its
    findings fail again, and the reports say so.
    """
    entries = _read(path).exemption
    wrong = list(_wrong(entries, now, max_days))
    if wrong:
        raise ConfigError("\n".join(f"{path}: {each}" for each in wrong), ADVICE)
    return tuple(_exemption(entry) for entry in entries)


def _read(path: Path) -> _File:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; [exemptions] file names it", ADVICE) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}", ADVICE) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", ADVICE) from None
    try:
        return _File.model_validate(values)
    except ValidationError as error:
        lines = (f"{path}: {explain(detail, _File)}" for detail in error.errors())
        raise ConfigError("\n".join(lines), ADVICE) from None


def _wrong(entries: list[_Entry], now: datetime, max_days: int) -> Iterator[str]:
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        where = f"exemption[{number}] ({entry.id})"
        if entry.id in seen:
            yield f"{where}: its id is not unique"
        seen.add(entry.id)
        for name in entry.checks:
            try:
                check_id(name)
            except ConfigError as error:
                yield f"{where}: {error}"
        if not (entry.accounts or entry.ous or entry.user or entry.arn):
            yield f"{where}: must name accounts, ous, a user or an arn; for all of them, skip the check in [checks]"
        if not (entry.accounts or entry.ous or entry.user) and entry.arn and not _names_somebody(entry.arn):
            yield f"{where}: arn must name an account or a user; for all of them, skip the check in [checks]"
        if entry.expires > now + timedelta(days=max_days) + DAY:
            yield f"{where}: expires more than {max_days} days ahead ([exemptions] max_days)"
        if entry.starts is not None and entry.starts >= entry.expires:
            yield f"{where}: starts after it expires"


def _names_somebody(arn: str) -> bool:
    """Whether a pattern has anything of its own for the account or the user of an ARN."""
    fields = [*arn.split(":", 5), "", "", "", "", "", ""]
    return bool(fields[4].strip("*") or fields[5].removeprefix("user/").strip("*/"))


def _exemption(entry: _Entry) -> Exemption:
    return Exemption(
        id=entry.id,
        checks=tuple(entry.checks),
        accounts=tuple(entry.accounts),
        ous=tuple(entry.ous),
        user=entry.user or "",
        arn=entry.arn or "",
        reason=entry.reason,
        owner=entry.owner,
        approver=entry.approver,
        ticket=entry.ticket,
        starts=entry.starts,
        expires=entry.expires,
    )
