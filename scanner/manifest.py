"""manifest.json held against the files it names, and against the manifests of the runs around it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from scanner.errors import EvidenceError
from scanner.evidence import MANIFEST, NOT_OURS, seal, sha256_of

MOST_BYTES = 256 * 1024 * 1024
"""Of a manifest that is read; one of 100,000 accounts has 30 MB."""
RUN_NAME = re.compile(r"\d{8}T\d{6}Z-o-[a-z0-9]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
FOLDERS = frozenset({"evidence", "reports"})
"""They are there in every run, be there files in them or not."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was when the run was closed. Both texts may hold other people's."""

    where: str
    """The file of the run, row and column, or the run of the chain."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the manifest says of a file, or of the run before."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Link:
    """The run before, as a manifest names it."""

    run_id: str
    sha256: str | None
    """Of its manifest; None where it could not be read."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of manifest.json."""

    run_id: str
    previous: Link | None
    files: Mapping[str, Sealed]
    """Path within the run folder → what it was."""
    sha256: str
    """Of manifest.json itself, as it stands on disk."""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run; raises EvidenceError, which says why it cannot be relied on."""
    content = _read(folder / MANIFEST)
    try:
        raw: dict[str, Any] = json.loads(content)
        claimed = raw.pop("sha256")
        sealed = seal(raw)
        manifest = _parse(raw, hashlib.sha256(content).hexdigest())
    except NOT_OURS as error:
        raise EvidenceError(f"is not as credaudit writes it: {type(error).__name__}") from None
    if sealed != content:
        what = "its spacing" if sealed.endswith(f'"{claimed}"\n}}\n'.encode()) else "its content"
        raise EvidenceError(f"was changed: {what} is not what its own SHA-256 was taken of")
    return manifest


def _read(path: Path) -> bytes:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise EvidenceError(f"is {_kind(status.st_mode)}, not a file")
        if status.st_size > MOST_BYTES:
            raise EvidenceError(f"has {status.st_size:,} bytes, more than any manifest")
        return path.read_bytes()
    except FileNotFoundError:
        raise EvidenceError("is missing: the run did not finish, or the file was removed") from None
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror}") from None


def _parse(raw: dict[str, Any], sha256: str) -> Manifest:
    """Raises one of NOT_OURS where it is not what write_manifest writes."""
    if set(raw) != {"run_id", "previous", "files"} or not RUN_NAME.fullmatch(raw["run_id"]):
        raise ValueError("fields")
    previous = raw["previous"]
    if previous is not None:
        previous = Link(**previous)
        hash_is_one = previous.sha256 is None or SHA256.fullmatch(previous.sha256)
        if not RUN_NAME.fullmatch(previous.run_id) or not hash_is_one:
            raise ValueError("previous")
    files = {}
    for name, entry in raw["files"].items():
        file = Sealed(**entry)
        if not _is_within(name) or not SHA256.fullmatch(file.sha256) or type(file.bytes) is not int or file.bytes < 0:
            raise ValueError("files")
        files[name] = file
    return Manifest(raw["run_id"], previous, files, sha256)


def _is_within(name: str) -> bool:
    """Whether the name leads to a file below the run folder, by its one spelling."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name and str(path) == name != "."


# The files


def compare_files(folder: Path, manifest: Manifest) -> Iterator[Difference]:
    """Every file that is missing, changed, no file any more, or not in the manifest. Follows no symbolic link."""
    if folder.name != manifest.run_id:
        yield Difference(MANIFEST, f"is of run {manifest.run_id}, not of {folder.name}")
    found, unreadable = _walk(folder)
    yield from unreadable
    for name, sealed in manifest.files.items():
        if what := _compare(folder / name, found.get(name), sealed):
            yield Difference(name, what)
    expected = {*manifest.files, MANIFEST, *FOLDERS}
    expected |= {str(parent) for name in manifest.files for parent in PurePosixPath(name).parents}
    for name, mode in found.items():
        if name not in expected:
            yield Difference(name, f"is not in the manifest: {_kind(mode)} that was added")


def _walk(folder: Path) -> tuple[dict[str, int], list[Difference]]:
    """Everything below the folder, with its mode; and the folders that cannot be read."""
    found: dict[str, int] = {}
    unreadable = []
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
        except OSError as error:
            unreadable.append(Difference(inside or ".", f"cannot be read: {error.strerror}"))
            continue
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            found[name] = entry.stat(follow_symlinks=False).st_mode
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
    return found, unreadable


def irregular(folder: Path) -> list[str]:
    """What is neither a file nor a folder: reading it could wait for ever, or lead elsewhere."""
    found, _ = _walk(folder)
    return [name for name, mode in found.items() if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)]


def _compare(path: Path, mode: int | None, sealed: Sealed) -> str:
    """What is not as it was; empty where nothing is."""
    if mode is None:
        return "is missing"
    if not stat.S_ISREG(mode):
        return f"is {_kind(mode)}, not the file that it was"
    try:
        size = path.stat().st_size
        sha256 = sha256_of(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if size != sealed.bytes:
        return f"was changed: {size:,} bytes, {sealed.bytes:,} in the manifest"
    return "" if sha256 == sealed.sha256 else f"was changed: SHA-256 {sha256}, {sealed.sha256} in the manifest"


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
    return kinds.get(stat.S_IFMT(mode), "a device, pipe or socket")


# The chain


def compare_chain(folder: Path, manifest: Manifest | None) -> tuple[int, list[Difference]]:
    """How many runs of the organization stand beside this one, itself included; where the chain of them is broken.

    Each must name the one before it, by the manifest that it has now. `manifest` is the run's own, where it is sound.
    """
    runs = {folder}
    if RUN_NAME.fullmatch(folder.name):
        organization_id = folder.name.partition("Z-")[2]
        found = (path.parent for path in folder.parent.glob(f"*-{organization_id}/{MANIFEST}"))
        runs |= {path for path in found if RUN_NAME.fullmatch(path.name)}
    differences: list[Difference] = []
    for before, run in pairwise([None, *sorted(runs, key=lambda path: path.name)]):
        assert run is not None
        try:
            named = (manifest if manifest and run == folder else read_manifest(run)).previous
        except EvidenceError as error:
            if run != folder:  # its own manifest is spoken of already
                differences.append(Difference(f"{run.name}/{MANIFEST}", str(error)))
            continue
        differences += _compare_link(run, named, before)
    return len(runs), differences


def _compare_link(run: Path, named: Link | None, before: Path | None) -> Iterator[Difference]:
    """What a run says of the one before it, and what stands there."""
    chain = f"chain, {run.name}"
    if named is None:
        if before is not None:
            yield Difference(chain, f"names no run before it, but {before.name} is")
        return
    if before is not None and before.name > named.run_id:
        yield Difference(chain, f"names {named.run_id} as the run before it, but {before.name} is later")
    if named.run_id >= run.name:
        yield Difference(chain, f"names {named.run_id} as the run before it, which began later")
        return
    path = run.parent / named.run_id
    try:
        content_hash = hashlib.sha256(_read(path / MANIFEST)).hexdigest()
    except EvidenceError as error:
        what = f"its {MANIFEST} {error}" if os.path.lexists(path) else f"it is not in {run.parent}"
        yield Difference(chain, f"the run before it was {named.run_id}: {what}")
        return
    if named.sha256 is None:
        yield Difference(chain, f"the manifest of {named.run_id} could not be read when this run was closed")
    elif content_hash != named.sha256:
        yield Difference(
            chain,
            f"{named.run_id}/{MANIFEST} was changed after this run: its SHA-256 is {content_hash}, "
            f"and was {named.sha256}",
        )
