"""The installed `credaudit`, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .server import CALLER, Aws, Request


@dataclass(frozen=True)
class Finished:
    """One run of the installed command."""

    code: int
    stdout: str
    stderr: str
    requests: list[Request]
    """What it asked of AWS."""
    served: dict[str, tuple[bytes, datetime]]
    started: datetime
    finished: datetime
    home: Path
    """A folder that holds all that the process may write to: the working directory, HOME and TMPDIR."""

    @property
    def folder(self) -> Path:
        """The run folder, as printed."""
        return self.home / "work" / self.stdout.removesuffix("\n")


class Command:
    """The installed `credaudit`, run against the server in an environment that knows nothing else."""

    def __init__(self, aws: Aws, home: Path) -> None:
        self._aws = aws
        self._home = home
        for name in ("work", "home", "tmp"):
            (home / name).mkdir()

    def __call__(self, config: str, *arguments: str) -> Finished:
        work = self._home / "work"
        (work / "config.toml").write_text(config, encoding="utf-8")
        self._aws.requests.clear()
        self._aws.served.clear()
        started = datetime.now(UTC)
        process = subprocess.run(
            [Path(sys.executable).with_name("credaudit"), *arguments],
            cwd=work,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Finished(
            code=process.returncode,
            stdout=process.stdout,
            stderr=process.stderr,
            requests=list(self._aws.requests),
            served=dict(self._aws.served),
            started=started,
            finished=datetime.now(UTC),
            home=self._home,
        )

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
        }
        return kept | {
            **CALLER,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self._aws.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "HOME": str(self._home / "home"),
            "TMPDIR": str(self._home / "tmp"),
            "COLUMNS": "200",
            "TZ": "<+14>-14",  # where a local time is taken for UTC, the boundary moves
        }
