"""What the documents say is what the code does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scanner import __version__, cli
from scanner.actions import CALLER_ACTIONS, MEMBER_ACTIONS, session_policy
from scanner.config import Config, load_config
from scanner.models import Outcome

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = str(Path(sys.executable).with_name("credaudit"))


def help_of(*arguments: str) -> str:
    environment = os.environ | {"COLUMNS": "100", "TERM": "dumb"}
    result = subprocess.run(
        [COMMAND, *arguments, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout


@pytest.mark.parametrize("command", ["scan", "verify"])
def test_readme_shows_the_help_as_it_is(command: str) -> None:
    block = re.search(rf"<!-- help: {command} -->\n```\n(.*?)\n```", README, re.DOTALL)
    assert block
    assert block.group(1) == help_of(command).strip()


def test_readme_begins_with_the_two_commands() -> None:
    commands = re.findall(r"^    (.+)$", README, re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]


def test_readme_explains_every_exit_code() -> None:
    table = README[README.index("| exit code |") :]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert codes == {cli.EXIT_OK, 1, 2, cli.EXIT_FINDINGS, cli.EXIT_INCOMPLETE, cli.EXIT_INTERRUPTED}


def test_readme_explains_every_outcome() -> None:
    table = README[README.index("| outcome |") : README.index("**Exit code.**")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(Outcome)


def test_readme_shows_the_policies_in_force() -> None:
    policies = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]
    assert policies[0] == session_policy(cross_check=True)
    assert policies[0]["Statement"][0]["Action"] == list(MEMBER_ACTIONS)
    assert policies[2]["Statement"][0]["Action"] == list(CALLER_ACTIONS)


def test_the_example_configuration_is_every_key_with_its_default() -> None:
    path = ROOT / "config.example.toml"
    assert load_config(path) == Config()
    assert tomllib.loads(path.read_text(encoding="utf-8")) == Config().model_dump(exclude={"override"})
    assert Config().override == [], "the file shows one in a comment"


def test_every_key_of_the_example_configuration_is_explained() -> None:
    lines = (ROOT / "config.example.toml").read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"\w+ =", line)]
    assert len(keys) > 15
    for number in keys:
        above = lines[number - 1]
        assert "#" in lines[number] or above.startswith("#") or "#" in above, lines[number]


@pytest.mark.parametrize("module", ["pandas", "boto3", "botocore", "aiobotocore", "openpyxl", "pydantic", "aiohttp"])
def test_help_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, scanner.cli; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_told_in_one_voice() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    result = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"credaudit {__version__}\n"
