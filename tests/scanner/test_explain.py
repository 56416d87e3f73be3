"""The catalogue in words: `credaudit checks` and docs/checks.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scanner.checks import CATALOGUE, Check
from scanner.checks.explain import explanation, facts, listing
from scanner.cli import app
from scanner.config import Config

DOCS = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", DOCS, re.DOTALL | re.MULTILINE))
EACH = pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.id)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["checks", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_document_has_a_section_for_each_check_in_the_order_of_the_catalogue() -> None:
    assert list(SECTIONS) == [check.id for check in CATALOGUE]


@EACH
def test_the_document_states_the_facts_of_the_record(check: Check) -> None:
    section = SECTIONS[check.id]
    assert re.findall(r"^- (.*)$", section, re.MULTILINE) == facts(check)
    assert section.strip().startswith(f"{check.title}.")
    assert re.findall(r"^\*\*(\w+)\.\*\* .", section, re.MULTILINE) == ["Question", "Boundary", "Unknown", "Elsewhere"]


@EACH
def test_facts_are_all_that_the_record_says(check: Check) -> None:
    text = "\n".join(facts(check))
    assert f"Severity: {check.severity}" in text
    for control in check.controls:
        (line,) = (each for each in facts(check) if each.startswith(f"Control: {control.framework} "))
        assert control.number in re.split(r"[ ,;]+", line)
        assert control.version in line
        assert control.note in line
    defaults = Config().limits.model_dump()
    shown = dict(re.findall(r"`\[limits\] (\w+) = (\d+)`", text.replace(", `", "\n`")))
    assert set(shown.items()) <= {(name, str(value)) for name, value in defaults.items()}
    assert {name.rpartition("_")[0] for name in shown} == set(check.limits)


def test_the_list_has_a_line_for_each_check() -> None:
    code, out, _ = run()
    lines = out.splitlines()
    assert code == 0
    assert out == listing(CATALOGUE) + "\n"
    assert [line.split()[:2] for line in lines] == [[check.id, str(check.severity)] for check in CATALOGUE]
    assert all(check.title in line for check, line in zip(CATALOGUE, lines, strict=True))
    assert lines[0].endswith("access_key_max_age_days = 90")


@EACH
def test_one_is_explained_with_its_commands(check: Check) -> None:
    code, out, _ = run(check.id)
    assert code == 0
    assert out == explanation(check) + "\n"
    assert check.why in out
    assert all(line in out for line in facts(check))
    fix, undo = out.split("Fix, for an example:\n")[1].split("Undo, for an example:\n")
    assert "111122223333" in fix
    assert undo.strip()
    assert "None" not in out
    of_root = check.id.startswith("root-")
    assert ("--user-name alice" in fix) != of_root


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("access-key-not-rotate", "did you mean access-key-not-rotated?"),
        ("root-mfa", "did you mean root-without-mfa?"),
        ("Root-Without-MFA", "did you mean root-without-mfa?"),
        ("zzz", "`credaudit checks` lists them"),
        ("\x1b[31m", "`credaudit checks` lists them"),
    ],
)
def test_a_check_that_there_is_not(name: str, hint: str) -> None:
    code, out, err = run(name)
    assert (code, out) == (2, "")
    assert hint in err
    assert "\x1b" not in err
