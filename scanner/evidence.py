"""The run folder: what was seen, kept so that it survives the process and can be checked by others.

Every file is written to a temporary name and renamed; the ledger is appended and flushed line by line. Files are named
by account id only, never by anybody's text. Folders are 0700, files 0600.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from scanner.errors import EvidenceError
from scanner.models import Account, Caller, LedgerEntry, Outcome, Rules, Run, Stop

ACCOUNT_ID = re.compile(r"[0-9]{12}")
MANIFEST = "manifest.json"
HISTORY, BEFORE = "history.jsonl.gz", "before.jsonl.gz"
NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file raises that is not as we write it."""


@contextmanager
def lock_runs(runs_dir: Path) -> Iterator[None]:
    """Hold the runs folder for this process; the lock dies with it. Raises EvidenceError where another run holds it."""
    make_folder(runs_dir)
    try:
        descriptor = os.open(runs_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _cannot_write(runs_dir, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EvidenceError(
                f"another run is writing to {runs_dir}",
                "Wait until it has finished, or give this one a folder of its own with --runs-dir.",
            ) from None
        except OSError as error:
            raise _cannot_write(runs_dir, error) from None
        yield
    finally:
        os.close(descriptor)


def run_id(started: datetime, organization_id: str) -> str:
    """The run's name and folder, such as 20261123T061500Z-o-a1b2c3d4e5."""
    return f"{started:%Y%m%dT%H%M%SZ}-{organization_id}"


class RunFolder:
    """One run on disk: the only store, and the only input of normalize, evaluate and the reports."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reports = path / "reports"
        self._evidence = path / "evidence"

    @classmethod
    def create(cls, runs_dir: Path, name: str) -> RunFolder:
        """Make the folder of a new run; its name must be free."""
        if not re.fullmatch(r"\d{8}T\d{6}Z-o-[a-z0-9]{1,64}", name):
            raise EvidenceError(f"AWS sent an organization id that cannot name a folder: {name[17:60]!r}")
        folder = cls(runs_dir / name)
        if folder.path.exists():
            raise EvidenceError(f"{folder.path} exists already", "Start again in a second.")
        for path in (folder.path, folder._evidence, folder.reports):
            make_folder(path)
        return folder

    # What the scan writes

    def write_run(self, run: Run) -> None:
        """run.json, at the start of the run and again at its end."""
        derived = {"interrupted": run.interrupted, "complete": run.is_complete}
        content = asdict(run) | {"rules": _rules().dump_python(run.rules, mode="json")} | derived
        self._write(self.path / "run.json", _to_json(content))

    def write_population(self, accounts: Iterable[Account], request_ids: Iterable[str]) -> None:
        """evidence/organization.json: every account as AWS Organizations listed it, and the requests that listed it."""
        content = {"request_ids": list(request_ids), "accounts": [asdict(account) for account in accounts]}
        self._write(self._evidence / "organization.json", _to_json(content))

    def write_report(self, account_id: str, content: bytes) -> None:
        """evidence/ID.csv: the credential report, byte for byte."""
        self._write(self._account_file(account_id, ".csv"), content)

    def write_keys(self, account_id: str, answers: dict[str, Any]) -> None:
        """evidence/ID.keys.json: what ListAccessKeys answered for each user that was looked up."""
        self._write(self._account_file(account_id, ".keys.json"), _to_json(answers))

    def write_summary(self, account_id: str, content: dict[str, Any]) -> None:
        """evidence/ID.summary.json: what GetAccountSummary answered."""
        self._write(self._account_file(account_id, ".summary.json"), _to_json(content))

    def write_history(self, name: str, content: bytes) -> None:
        """HISTORY: what this run knows of findings, for the runs after it; BEFORE: what those before it knew."""
        self._write(self.path / name, content)

    @contextmanager
    def open_ledger(self) -> Iterator[Ledger]:
        """The ledger, open for appending while accounts are collected."""
        try:
            descriptor = os.open(self.path / "ledger.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise _cannot_write(self.path, error) from None
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # a killed process left half a line; the next must not continue it
            yield Ledger(descriptor, self.path)
        finally:
            os.close(descriptor)

    def write_manifest(self, previous: Path | None) -> str:
        """manifest.json: SHA-256 and size of every other file, and of the previous run's manifest; written last.

        Gives its own SHA-256.
        """
        entries = {
            path.relative_to(self.path).as_posix(): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and path != self.path / MANIFEST
        }
        content = {
            "run_id": self.path.name,
            "previous": {"run_id": previous.name, "sha256": _hash_or_none(previous / MANIFEST)} if previous else None,
            "files": entries,
        }
        sealed = seal(content)
        self._write(self.path / MANIFEST, sealed)
        return hashlib.sha256(sealed).hexdigest()

    # What everything after it reads

    def read_run(self) -> Run:
        """run.json as the Run it was written from."""
        raw = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        for derived in ("interrupted", "complete"):
            del raw[derived]
        for key in ("as_of", "started", "finished"):
            raw[key] = _moment(raw[key])
        raw["caller"] = Caller(**raw["caller"])
        raw["rules"] = _rules().validate_python(raw["rules"])
        raw["notes"] = tuple(raw["notes"])
        raw["stopped_by"] = Stop(raw["stopped_by"]) if raw["stopped_by"] else None
        return Run(**raw)

    def read_population(self) -> list[Account]:
        """The accounts of evidence/organization.json."""
        path = self._evidence / "organization.json"
        try:
            raw = json.loads(_read(path))
            return [Account(**{**account, "ou_ids": tuple(account["ou_ids"])}) for account in raw["accounts"]]
        except NOT_OURS as error:
            raise EvidenceError(f"{path} is not as credaudit writes it: {type(error).__name__}") from None

    def read_ledger(self) -> dict[str, LedgerEntry]:
        """The last line of each account. What is unfinished, or not as we write it, is no line."""
        entries: dict[str, LedgerEntry] = {}
        path = self.path / "ledger.jsonl"
        text = _read(path).decode(errors="replace") if path.exists() else ""
        for line in text.splitlines():
            try:
                raw = json.loads(line)
                for key in ("report_generated", "started", "finished"):
                    raw[key] = _moment(raw[key])
                raw["outcome"] = Outcome(raw["outcome"])
                raw["request_ids"] = tuple(raw["request_ids"])
                entries[raw["account_id"]] = LedgerEntry(**raw)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return entries

    def read_report(self, account_id: str) -> bytes:
        """The raw credential report of an account."""
        return _read(self._account_file(account_id, ".csv"))

    def report_path(self, account_id: str) -> Path:
        """Where the raw credential report of an account stands."""
        return self._account_file(account_id, ".csv")

    def read_keys(self, account_id: str) -> dict[str, Any]:
        """The key look-ups of an account; empty where there were none."""
        path = self._account_file(account_id, ".keys.json")
        content: dict[str, Any] = json.loads(_read(path)) if path.exists() else {}
        return content

    def read_summary(self, account_id: str) -> dict[str, Any]:
        """The summary of an account; empty where there is none."""
        path = self._account_file(account_id, ".summary.json")
        try:
            content = json.loads(_read(path)) if path.exists() else {}
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"{path} is not as credaudit writes it: {type(error).__name__}") from None
        return content if isinstance(content, dict) else {}

    def read_history(self, name: str) -> bytes | None:
        """HISTORY or BEFORE as it was written; None where the run has none."""
        path = self.path / name
        return _read(path) if path.exists() else None

    def _account_file(self, account_id: str, suffix: str) -> Path:
        if not ACCOUNT_ID.fullmatch(account_id):
            raise EvidenceError(f"AWS sent an account id that is not 12 digits: {account_id[:40]!r}")
        return self._evidence / f"{account_id}{suffix}"

    def _write(self, path: Path, content: bytes) -> None:
        with open_for_replacement(path) as temporary:
            temporary.write_bytes(content)


class Ledger:
    """ledger.jsonl while it is open: one line per account, on disk the moment its outcome is known."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def append(self, entry: LedgerEntry) -> None:
        """Add one line."""
        line = json.dumps(asdict(entry), default=_plain, separators=(",", ":")).encode() + b"\n"
        try:
            while line:  # a disk that is full takes a part, and says what is wrong when it is asked to take the rest
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise _cannot_write(self._path, error) from None


@contextmanager
def open_for_replacement(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, 0600, that takes its name when the block ends well, and else is removed."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        if temporary.exists():
            temporary.unlink()


def previous_run(runs_dir: Path, organization_id: str, before: str) -> Path | None:
    """The newest finished run of the same organization before `before`, or None."""
    finished = [path.parent for path in runs_dir.glob(f"*-{organization_id}/{MANIFEST}") if path.parent.name < before]
    return max(finished, key=lambda path: path.name, default=None)


def seal(content: dict[str, Any]) -> bytes:
    """manifest.json, which ends with the SHA-256 of what stands before it: there is one way only to write it."""
    return _to_json(content | {"sha256": hashlib.sha256(_to_json(content)).hexdigest()})


def _hash_or_none(path: Path) -> str | None:
    """An older run that cannot be read must not keep this one from being closed: the chain shows the gap."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None


def make_folder(path: Path) -> None:
    """A folder of mode 0700, if it is not there yet; raises EvidenceError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> EvidenceError:
    advice = "Check the disk's space and permissions, or choose another folder with --runs-dir."
    if error.errno == errno.EMFILE:
        advice = "Allow more open files (`ulimit -n 1024`), or lower [scan] concurrency."
    return EvidenceError(f"{path} cannot be written: {error.strerror or error or type(error).__name__}", advice)


@cache
def _rules() -> TypeAdapter[Rules]:
    """How rules stand in run.json; durations as ISO 8601 has them, such as P90D."""
    return TypeAdapter(Rules)


def _to_json(content: Any) -> bytes:
    return json.dumps(content, default=_plain, indent=1, sort_keys=False).encode() + b"\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no place in the evidence")


def _moment(text: str | None) -> datetime | None:
    moment = datetime.fromisoformat(text) if text else None
    if moment and moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment
