"""The page: what is in it, that nobody's text is markup, and what a browser makes of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import lxml.html
import pandas as pd
import pytest

from reports.html import MOST_FINDINGS, write_html
from scanner.config import Config
from scanner.models import Assessment, Exemption, Outcome, Run, Verdict
from scanner.rules import rules_of

from .test_workbook import AS_OF, MIXED, assessment_of, new_run

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>document.title='taken'</script>",
    "{{7*7}}{% raw %}",
    '" onmouseover="alert(1)',
    "\u202egnp.exe",
    "javascript:alert(1)",
    "]]><!--",
    "&lt;b&gt;",
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def with_names(assessment: Assessment) -> Assessment:
    """Every text of the frames that others choose is hostile."""

    def hostile(frame: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in ("account_name", "ou_path", "user", "email", "reason") if name in frame]
        texts = [HOSTILE[at % len(HOSTILE)] for at in range(len(frame))]
        return frame.assign(**dict.fromkeys(names, pd.array(texts, dtype="string")))

    return replace(
        assessment,
        findings=hostile(assessment.findings),
        accounts=hostile(assessment.accounts),
        due_soon=hostile(assessment.due_soon),
        run=replace(assessment.run, notes=tuple(HOSTILE)),
    )


def full_run() -> Run:
    exemption = Exemption(
        id="E-1",
        checks=("credential-unused",),
        user="old",
        reason=HOSTILE[0],
        owner=HOSTILE[1],
        approver="a",
        ticket="t",
        expires=AS_OF - timedelta(days=1),
    )
    return replace(new_run(), rules=replace(rules_of(Config()), exemptions=(exemption,)))


@pytest.fixture(scope="module")
def assessment(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    return assessment_of(tmp_path_factory.mktemp("runs"), MIXED, run=full_run())


@pytest.fixture(scope="module")
def page(assessment: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(with_names(assessment), path)
    return path


def parsed(path: Path) -> Any:
    return lxml.html.fromstring(path.read_text(encoding="utf-8"))


def test_the_verdict_comes_first_and_the_accounts_add_up(assessment: Assessment, tmp_path: Path) -> None:
    write_html(assessment, tmp_path / "report.html")
    text = parsed(tmp_path / "report.html").text_content()
    gaps = sum(outcome.is_gap for outcome in Outcome)
    assert f"INCOMPLETE: {gaps} of" in text
    assert f"{len(MIXED)} listed = the sum of the outcomes below" in " ".join(text.split())
    totals = assessment.run.totals or {}
    failing = sum(count for name, count in totals.items() if name not in ("EXEMPT", "UNKNOWN"))
    assert f"{failing:,} findings fail" in text


def test_nothing_on_the_page_acts_or_leads_elsewhere(page: Path) -> None:
    tree = parsed(page)
    assert len(tree.xpath("//script")) == 1
    assert not tree.xpath("//img|//iframe|//object|//embed|//link|//form|//base")
    assert not tree.xpath("//@style|//@src|//@onerror|//@onmouseover|//@onclick")
    assert all(target.startswith("#") for target in tree.xpath("//@href"))
    assert {target[1:] for target in tree.xpath("//@href")} <= set(tree.xpath("//@id"))
    text = tree.text_content()
    assert all(name in text for name in HOSTILE if name.isprintable()), "shown as the text that it is"
    assert "\u202e" not in text
    assert r"\u202egnp.exe" in text
    assert "49" not in {cell.text_content() for cell in tree.xpath("//td")}


def test_the_policy_allows_our_own_style_and_script_alone(page: Path) -> None:
    tree = parsed(page)
    (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for kind, element in (("style-src", "style"), ("script-src", "script")):
        (content,) = tree.xpath(f"//{element}/text()")
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"


def test_same_assessment_same_bytes(assessment: Assessment, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_html(assessment, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_many_findings_are_cut_and_the_page_says_where_the_rest_is(assessment: Assessment, tmp_path: Path) -> None:
    findings = pd.concat([assessment.findings] * 4, ignore_index=True)
    open_findings = int(findings["verdict"].ne(Verdict.EXEMPT).sum())
    assert open_findings > MOST_FINDINGS
    write_html(replace(assessment, findings=findings), tmp_path / "report.html")
    tree = parsed(tmp_path / "report.html")
    assert len(tree.xpath("//section[@id='findings']//tbody/tr")) == MOST_FINDINGS
    assert f"{open_findings - MOST_FINDINGS:,} more" in tree.text_content()


@pytest.mark.parametrize("outcomes", [[], [Outcome.ACCESS_DENIED], [Outcome.SCANNED]])
def test_small_organizations(outcomes: list[Outcome], tmp_path: Path) -> None:
    run = replace(full_run(), rules=rules_of(Config()))
    write_html(assessment_of(tmp_path / "runs", outcomes, [[]] if not outcomes else None, run), tmp_path / "r.html")
    text = parsed(tmp_path / "r.html").text_content()
    assert "None is configured: nothing was accepted." in text
    assert "There is no earlier run of this organization to compare with." in text


def test_charts_say_in_a_table_what_they_show(page: Path, assessment: Assessment) -> None:
    figures = parsed(page).xpath("//figure")
    assert len(figures) == 2
    for figure in figures:
        (shapes,) = [figure.xpath(".//*[name()='rect'][./*[name()='title']]")]
        shown = sum(int(re.search(r": ([\d,]+) ", each.text_content())[1].replace(",", "")) for each in shapes)
        cells = figure.xpath(".//td[contains(@class,'n')]")
        assert shown == sum(int(cell.text_content().replace(",", "")) for cell in cells) > 0


# In a browser


class Browser:
    """Chromium without a window, spoken to over its debugging port."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = json.loads(await self._socket.receive_str(timeout=30))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    async def run(self, expression: str) -> Any:
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


def browse(page: Path, profile: Path, steps: Callable[[Browser], Any]) -> Any:
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
        *("--remote-allow-origins=*", f"--user-data-dir={profile}", "about:blank"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return asyncio.run(_browse(page, profile, steps))
    finally:
        process.terminate()
        process.wait(timeout=30)


async def _browse(page: Path, profile: Path, steps: Callable[[Browser], Any]) -> Any:
    port_file, until = profile / "DevToolsActivePort", time.monotonic() + 60
    while not port_file.exists() or not port_file.read_text().strip():
        assert time.monotonic() < until, "chromium did not start"
        await asyncio.sleep(0.1)
    port = port_file.read_text().split()[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            (target,) = [each for each in await answer.json() if each["type"] == "page"]
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            browser = Browser(socket)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await browser.ask(f"{domain}.enable")
            await browser.ask("Page.navigate", url=page.as_uri())
            while await browser.run("document.readyState") != "complete":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return await steps(browser)


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
FINDINGS = "document.querySelector('#findings table')"
SHOWN = f"[...{FINDINGS}.tBodies[0].rows].filter((row) => !row.hidden)"


@needs_chromium
def test_the_script_sorts_and_filters_and_nothing_else_runs(page: Path, tmp_path: Path) -> None:
    async def steps(browser: Browser) -> None:
        rows = await browser.run(f"{SHOWN}.length")
        assert rows == await browser.run(f"{FINDINGS}.tBodies[0].rows.length") > 10
        await browser.run(f"{FINDINGS}.tHead.querySelectorAll('button')[6].click()")
        ages = await browser.run(f"{SHOWN}.map((row) => row.cells[6].textContent.replace(/,/g, ''))")
        known = [int(age) for age in ages if age]
        assert known == sorted(known)
        await browser.run(f"{FINDINGS}.tHead.querySelectorAll('button')[6].click()")
        down = await browser.run(f"{SHOWN}.map((row) => row.cells[6].textContent.replace(/,/g, ''))")
        assert [int(age) for age in down if age] == sorted(known, reverse=True)
        assert await browser.run(f"{FINDINGS}.tHead.rows[0].cells[6].getAttribute('aria-sort')") == "descending"
        field = "document.querySelector('#findings input')"
        await browser.run(f"{field}.value = '{{{{7*7'; {field}.dispatchEvent(new Event('input'))")
        some = await browser.run(f"{SHOWN}.length")
        assert 0 < some < rows
        assert f"{some} of {rows} shown" == await browser.run(
            "document.querySelector('#findings [role=status]').textContent"
        )
        await browser.run(f"{field}.value = ''; {field}.dispatchEvent(new Event('input'))")
        choice = "document.querySelector('#findings select[aria-label=Verdict]')"
        await browser.run(f"{choice}.value = 'UNKNOWN'; {choice}.dispatchEvent(new Event('input'))")
        assert set(await browser.run(f"{SHOWN}.map((row) => row.cells[0].textContent)")) == {"UNKNOWN"}
        assert await browser.run("document.title") == "Credential audit of o-a1b2c3d4e5"
        said = [each for each in browser.events if each["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled")]
        assert said == [], "the policy was violated, or something spoke"
        assert not [each for each in browser.events if each["method"] == "Page.javascriptDialogOpening"]
        requests = [
            each["params"]["request"]["url"] for each in browser.events if each["method"] == "Network.requestWillBeSent"
        ]
        assert set(requests) == {page.as_uri()}

    browse(page, tmp_path / "profile", steps)


@needs_chromium
def test_it_is_read_without_script_on_a_phone_and_in_the_dark(page: Path, tmp_path: Path) -> None:
    async def steps(browser: Browser) -> None:
        await browser.ask("Emulation.setScriptExecutionDisabled", value=True)
        await browser.ask("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        await browser.ask("Page.reload")
        await asyncio.sleep(0.3)
        metrics = await browser.ask("Page.getLayoutMetrics")
        assert metrics["cssContentSize"]["width"] <= 390, "the page itself is not wider than the phone"
        document = await browser.ask("DOM.getDocument")
        root = document["root"]["nodeId"]
        for controls in ("#findings button", "#findings input", "#findings select"):
            found = await browser.ask("DOM.querySelectorAll", nodeId=root, selector=controls)
            assert found["nodeIds"] == [], "no control that does nothing"
        await browser.ask("Emulation.setScriptExecutionDisabled", value=False)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await browser.ask("Emulation.setEmulatedMedia", features=dark)
        color = await browser.run("getComputedStyle(document.body).backgroundColor")
        assert color == "rgb(18, 24, 31)"
        await browser.ask("Emulation.setEmulatedMedia", media="print", features=dark)
        assert await browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

    browse(page, tmp_path / "profile", steps)
