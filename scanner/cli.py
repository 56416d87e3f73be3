"""The commands: the only place that builds concrete things, prints and exits."""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from scanner import __version__
from scanner.errors import ConfigError, CredauditError, EvidenceError
from scanner.models import Severity, Stop, Verdict

if TYPE_CHECKING:
    from scanner.config import Config
    from scanner.evidence import RunFolder
    from scanner.models import Assessment, Rules, Run
    from scanner.terminal import Terminal

DEFAULT_CONFIG = Path("config.toml")
FIRST_CREDENTIALS = datetime(2006, 1, 1, tzinfo=UTC)
"""AWS began in this year."""
LAST_YEAR = 2199
"""Later than any date that is read; near the year 9999 Python's dates end."""
OPEN_FILES = 1024
"""Connections and evidence files of a scan at the default concurrency need more than the 256 of some systems."""

EXIT_OK = 0
EXIT_DIFFERS = 1
EXIT_FINDINGS = 3
EXIT_INCOMPLETE = 4
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="credaudit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its locals could hold credentials
    rich_markup_mode=None,
    help="Prove, account by account, that IAM credentials are rotated and protected, and keep the evidence.",
)


class FailOn(StrEnum):
    """From which severity on a finding sets the exit code."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
    NEVER = "never"


class LogFormat(StrEnum):
    """How progress is written to stderr."""

    TEXT = "text"
    JSON = "json"


class CompareFormat(StrEnum):
    """How a comparison is told."""

    TEXT = "text"
    JSON = "json"


RunsDir = Annotated[Path | None, typer.Option("--runs-dir", help="Where runs are kept.", show_default="runs")]
FailOnOption = Annotated[FailOn, typer.Option(help="Exit 3 for findings of this severity and above.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr while all is well: for cron.")]
LogFormatOption = Annotated[LogFormat, typer.Option(help="Progress and summary as text, or as JSON lines.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Prove, account by account, that IAM credentials are rotated and protected, and keep the evidence."""
    if version:
        typer.echo(f"credaudit {__version__}")
        raise typer.Exit


@app.command()
def scan(
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings, in TOML.", show_default="config.toml, where there is one")
    ] = None,
    runs_dir: RunsDir = None,
    role_name: Annotated[
        str | None, typer.Option(help="The role to assume in each account.", show_default="CredentialAudit")
    ] = None,
    fail_on: FailOnOption = FailOn.LOW,
    as_of: Annotated[
        str | None,
        typer.Option(help="Measure ages at this moment: a day, or a date and time with its zone.", show_default="now"),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="<run>|latest",
            help="Go on from an unfinished run: take the reports it has, if young enough, and read the other accounts.",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Scan every account of the organization and write the reports. Only reads.

    Progress goes to stderr, the run folder's path to stdout.

    Exit codes: 0 complete, nothing fails; 1 no audit was performed; 2 wrong usage or configuration;
    3 complete, with findings; 4 incomplete, an account could not be assessed; 130 interrupted.
    """
    from scanner.config import load_config
    from scanner.terminal import Terminal

    terminal = Terminal(quiet=quiet, as_json=log_format is LogFormat.JSON)
    started = datetime.now(UTC).replace(microsecond=0)
    with _errors_as_exit_codes(terminal):
        path = config or (DEFAULT_CONFIG if os.path.lexists(DEFAULT_CONFIG) else None)
        settings = load_config(path, _flags(runs_dir, role_name))
        moment = started if as_of is None else _moment(as_of)
        if resume == "":
            raise ConfigError(
                "--resume: names no run", "Give a run, or `latest`; leave --resume out to begin from nothing."
            )
        code = _scan_and_report(settings, started, moment, fail_on, terminal, resume=resume or "")
    raise typer.Exit(code)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="<run>", help="A run's folder, or its name in the runs folder.")],
    runs_dir: RunsDir = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Take limits, checks, exemptions and formats from here.", show_default="the run's"
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="Measure ages at this moment: a day, or a time with its zone.", show_default="the run's"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A new folder for the reports.", show_default="beside the run's folder"),
    ] = None,
    fail_on: FailOnOption = FailOn.LOW,
    quiet: Quiet = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Evaluate a stored run again, offline, and write its reports anew. The run's folder is not changed.

    Without --config and --as-of the findings are the same, to the byte. Exit codes as those of scan.
    """
    from scanner.config import Config, load_config
    from scanner.history import with_history
    from scanner.reevaluate import reevaluate
    from scanner.resume import open_run
    from scanner.terminal import Terminal

    terminal = Terminal(quiet=quiet, as_json=log_format is LogFormat.JSON)
    now = datetime.now(UTC).replace(microsecond=0)
    with _errors_as_exit_codes(terminal):
        settings = load_config(config) if config else Config()
        folder, stored = open_run(runs_dir or Path(settings.output.runs_dir), run, "report")
        moment = None if as_of is None else _moment(as_of)
        rules = _load_rules(settings, now) if config else None
        terminal.enters("evaluate")
        assessment = with_history(folder, reevaluate(folder, stored, at=now, rules=rules, as_of=moment), write=False)
        path = _new_folder(out, folder, now)
        formats = settings.output.formats if config else _formats_of(stored)
        _write_reports(path, assessment, formats, terminal)
        code = _exit_code(assessment, fail_on)
        terminal.summarize(assessment, all_is_well=code == EXIT_OK)
        typer.echo(path)
    raise typer.Exit(code)


@app.command()
def verify(
    run: Annotated[str, typer.Argument(metavar="<run>", help="A run's folder, or its name in the runs folder.")],
    runs_dir: RunsDir = None,
    quiet: Quiet = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Check a stored run, offline: its files by its manifest, its findings by its evidence, its place among the runs.

    Says which file, row and column, or run of the chain differs. Writes nothing into the run's folder.
    The manifest's SHA-256 goes to stdout: keep it where the runs are not.

    Exit codes: 0 everything holds; 1 something differs, or cannot be verified; 2 no such run.
    """
    from scanner.config import Config
    from scanner.terminal import Terminal
    from scanner.verify import find_run
    from scanner.verify import verify as verify_run

    terminal = Terminal(quiet=quiet, as_json=log_format is LogFormat.JSON)
    with _errors_as_exit_codes(terminal):
        path = find_run(runs_dir or Path(Config().output.runs_dir), run)
        result = verify_run(path)
        terminal.verified(result)
        if result.holds:
            typer.echo(f"{result.sha256}  {path.name}/manifest.json")
    raise typer.Exit(EXIT_OK if result.holds else EXIT_DIFFERS)


@app.command()
def checks(
    check: Annotated[str | None, typer.Argument(metavar="[<check>]", help="Explain this one.")] = None,
) -> None:
    """List the checks with their severity and limits, or explain one: why, controls, and the commands that fix it."""
    from scanner.checks import CATALOGUE
    from scanner.checks.explain import explanation, listing
    from scanner.rules import check_id
    from scanner.terminal import Terminal

    with _errors_as_exit_codes(Terminal(quiet=False, as_json=False)):
        if check is None:
            typer.echo(listing(CATALOGUE))
        else:
            wanted = check_id(check)
            typer.echo(next(explanation(each) for each in CATALOGUE if each.id == wanted))


@app.command()
def compare(
    old: Annotated[str, typer.Argument(metavar="<old>", help="The earlier run: its folder, or its name.")],
    new: Annotated[str, typer.Argument(metavar="<new>", help="The later run.")],
    runs_dir: RunsDir = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder for changes.csv and account_changes.csv.")
    ] = None,
    output: Annotated[
        CompareFormat, typer.Option("--format", help="A summary on stderr, or every change on stdout, as JSON.")
    ] = CompareFormat.TEXT,
    fail_on: FailOnOption = FailOn.LOW,
) -> None:
    """Tell what changed from one stored run to another, offline: each judged anew by its own rules and moment.

    Exit codes: 0 nothing is new; 1 the evidence cannot be read; 2 wrong usage, no run, or of another organization;
    3 findings are new or reappeared; 4 the later run is incomplete.
    """
    from reports.changes import as_json, in_words
    from reports.csv import change_tables, write_csv
    from scanner.evidence import open_for_replacement
    from scanner.history import between
    from scanner.reevaluate import reevaluate
    from scanner.resume import open_run
    from scanner.terminal import Terminal

    terminal = Terminal()
    now = datetime.now(UTC).replace(microsecond=0)
    with _errors_as_exit_codes(terminal):
        runs = runs_dir or Path("runs")
        (old_folder, old_run), (new_folder, new_run) = (open_run(runs, name, "compare") for name in (old, new))
        if old_run.organization_id != new_run.organization_id:
            raise ConfigError("compare: the two runs are of different organizations", "Name two runs of the same one.")
        if old_run.run_id >= new_run.run_id:
            raise ConfigError(
                f"compare: {old_run.run_id} is not earlier than {new_run.run_id}", "Name the earlier run first."
            )
        before = reevaluate(old_folder, old_run, at=now)
        assessment = between(old_folder, before, new_folder, reevaluate(new_folder, new_run, at=now))
        changes = assessment.changes
        assert changes is not None
        if out is not None:
            folder = _new_folder(out, new_folder, now)
            for name, frame in change_tables(changes).items():
                with open_for_replacement(folder / name) as path:
                    write_csv(frame, path)
        if output is CompareFormat.JSON:
            typer.echo(json.dumps(as_json(assessment), indent=1))
        else:
            terminal.tell([*in_words(changes), *(f"Note: {note}" for note in assessment.run.notes)])
        is_new = changes.findings["change"].isin(("new", "reappeared"))
        code = _exit_code(replace(assessment, findings=changes.findings[is_new]), fail_on)
    raise typer.Exit(code)


@app.command()
def demo(
    runs_dir: Annotated[Path, typer.Option("--runs-dir", help="Where the demo's run is kept.")] = Path("demo-runs"),
    fail_on: FailOnOption = FailOn.LOW,
    quiet: Quiet = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Scan a simulated organization of 40 accounts on this machine. Needs no AWS account and no credentials.

    Two of its accounts refuse to be read, so a demo that works ends with exit code 4: incomplete.
    """
    from scanner.config import load_config
    from scanner.simulator import Faults, Simulator, demo_organization, run_in_thread
    from scanner.terminal import Terminal

    terminal = Terminal(quiet=quiet, as_json=log_format is LogFormat.JSON)
    started = datetime.now(UTC).replace(microsecond=0)
    faults = Faults(latency_seconds=0.02, report_delay_seconds=1.0)
    with _errors_as_exit_codes(terminal):
        # The simulated organization sets no rate: the demo need not wait for AWS's.
        rates = {"scan": {"rates": {"list_accounts": 100, "organizations": 100}}}
        settings = load_config(None, _flags(runs_dir, None) | rates)
        with run_in_thread(Simulator(demo_organization(started), faults)) as endpoint:
            _use_simulated_aws(endpoint)
            code = _scan_and_report(settings, started, started, fail_on, terminal)
    raise typer.Exit(code)


def main() -> None:
    """The installed command."""
    # A reader of stderr or stdout that goes away, or a full disk behind them, is no reason to stop an audit.
    sys.stderr = _Unbreakable.around(sys.stderr, errors="backslashreplace")
    sys.stdout = _Unbreakable.around(sys.stdout, errors="surrogateescape")
    app()


class _Unbreakable(io.TextIOWrapper):
    """A standard stream that falls silent, instead of raising, when it can no longer be written."""

    @classmethod
    def around(cls, stream: TextIO | None, errors: str) -> _Unbreakable:
        if stream is None:  # it was closed before we started; its number must not go to a file of ours
            return cls(Path(os.devnull).open("wb"), encoding="utf-8", errors=errors)
        buffer = stream.detach() if isinstance(stream, io.TextIOWrapper) else stream.buffer
        return cls(buffer, encoding=stream.encoding, errors=errors, line_buffering=True)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._fall_silent()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, self.fileno())
        os.close(silent)


def _flags(runs_dir: Path | None, role_name: str | None) -> dict[str, dict[str, Any]]:
    flags: dict[str, dict[str, Any]] = {}
    if runs_dir is not None:
        flags["output"] = {"runs_dir": str(runs_dir)}
    if role_name is not None:
        flags["access"] = {"role_name": role_name}
    return flags


def _moment(text: str) -> datetime:
    """A day is its first second in UTC; a time must say its zone."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and len(text) == len("2026-11-23"):
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--as-of: must be a day such as 2026-12-31, or a time with its zone, 2026-12-31T12:00:00Z (got {text!r})"
        ) from None
    if moment < FIRST_CREDENTIALS:
        raise ConfigError(f"--as-of: no credential is older than {FIRST_CREDENTIALS:%Y}, so everything would pass")
    if moment.year > LAST_YEAR:
        raise ConfigError(f"--as-of: must not lie after the year {LAST_YEAR}")
    return moment


def _use_simulated_aws(endpoint: str) -> None:
    """Point this process at the simulator, with AWS's documented example key; nothing of the user's own is read."""
    from scanner.simulator import BASE_CREDENTIALS

    for name in [name for name in os.environ if name.startswith("AWS_") or name == "REQUESTS_CA_BUNDLE"]:
        del os.environ[name]
    key_id, secret = BASE_CREDENTIALS
    os.environ.update(
        AWS_ACCESS_KEY_ID=key_id,
        AWS_SECRET_ACCESS_KEY=secret,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL=endpoint,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )


def _scan_and_report(
    settings: Config, started: datetime, as_of: datetime, fail_on: FailOn, terminal: Terminal, *, resume: str = ""
) -> int:
    """Lock, scan, write the reports, close the run folder; return the exit code."""
    import uvloop

    from scanner.evidence import lock_runs, previous_run
    from scanner.history import with_history
    from scanner.scan import judge, scan

    rules = _load_rules(settings, started)
    _allow_open_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with lock_runs(Path(settings.output.runs_dir)), terminal.live(), ExitStack() as at_end:
        signals: list[int] = []
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            work = scan(
                settings,
                started=started,
                as_of=as_of,
                rules=rules,
                watcher=terminal,
                resume=resume,
                on_collected=lambda: at_end.enter_context(_signals_held(terminal, signals)),
            )
            folder, run = runner.run(work)
        try:
            assessment = with_history(folder, judge(folder, run, terminal), write=True)
            _write_reports(folder.reports, assessment, settings.output.formats, terminal)
            terminal.enters("close")
            folder.write_run(assessment.run)
            previous = previous_run(folder.path.parent, assessment.run.organization_id, folder.path.name)
            sealed = folder.write_manifest(previous)
        except EvidenceError as error:
            advice = f"{error.advice} What was collected is kept: `credaudit scan --resume latest` goes on from it."
            raise EvidenceError(str(error), advice.strip()) from None
    code = EXIT_INTERRUPTED if signals else _exit_code(assessment, fail_on)
    terminal.closed(assessment.run, sealed)
    terminal.summarize(assessment, all_is_well=code == EXIT_OK)
    typer.echo(folder.path)
    return code


@contextmanager
def _signals_held(terminal: Terminal, held: list[int]) -> Iterator[None]:
    """The first SIGINT or SIGTERM of the block waits for its end, and comes into the list; the second acts at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hold(number: int, _frame: object) -> None:
        if held:
            # Not by an exception: the libraries that write the reports would say a lot about it.
            terminal.leave("left at once, before all reports were written")
            os._exit(EXIT_INTERRUPTED)
        held.append(number)

    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _write_reports(to: Path, assessment: Assessment, formats: Sequence[str], terminal: Terminal) -> None:
    """Write each format that is wanted, in the folder `to`."""
    from scanner.evidence import open_for_replacement

    for name, write in _writers(assessment, formats, terminal):
        with open_for_replacement(to / name) as path:
            write(path)


def _writers(
    assessment: Assessment, formats: Sequence[str], terminal: Terminal
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """File name → what writes it; each format is imported when its turn comes."""
    if "xlsx" in formats:
        terminal.enters("workbook")
        from reports.workbook import write_workbook

        yield "workbook.xlsx", partial(write_workbook, assessment)
    if "csv" in formats:
        terminal.enters("csv")
        from reports.csv import tables, write_csv

        for name, frame in tables(assessment).items():
            yield name, partial(write_csv, frame)
    if "html" in formats:
        terminal.enters("html")
        from reports.html import write_html

        yield "report.html", partial(write_html, assessment)
    if "json" in formats:
        terminal.enters("json")
        from reports.json import write_json

        yield "findings.json", partial(write_json, assessment)
    if "ocsf" in formats:
        terminal.enters("ocsf")
        from reports.ocsf import write_ocsf

        yield "findings.ocsf.jsonl", partial(write_ocsf, assessment)
    if "parquet" in formats:
        terminal.enters("parquet")
        from reports.parquet import write_parquet

        yield "credentials.parquet", partial(write_parquet, assessment)


def _load_rules(settings: Config, now: datetime) -> Rules:
    """The rules in force, with the exemptions that their file holds; raises ConfigError for what cannot be done."""
    from scanner.exemption_file import load_exemptions
    from scanner.rules import rules_of

    if "parquet" in settings.output.formats:
        from reports.parquet import check_available

        check_available()
    table = settings.exemptions
    exemptions = load_exemptions(Path(table.file), now=now, max_days=table.max_days) if table.file else ()
    return rules_of(settings, exemptions)


def _formats_of(run: Run) -> list[str]:
    """Those that the run itself was written in."""
    formats: list[str] = run.parameters.get("output", {}).get("formats", [])
    return formats


def _new_folder(wanted: Path | None, folder: RunFolder, now: datetime) -> Path:
    """Where a report goes: a folder that is not there yet, or is empty; by default beside the run's own."""
    from scanner.evidence import make_folder

    path = wanted or folder.path.with_name(f"{folder.path.name}.report-{now:%Y%m%dT%H%M%SZ}")
    if any((each / "run.json").exists() for each in (path.absolute(), *path.absolute().parents)):
        raise ConfigError(f"--out: {path} lies in a run's folder", "A run is not changed; name another folder.")
    try:
        is_free = not path.exists() or not any(path.iterdir())
    except OSError:
        is_free = False
    if not is_free:
        raise ConfigError(f"--out: {path} is not an empty folder", "Name one that does not exist yet.")
    make_folder(path)
    return path


def _exit_code(assessment: Assessment, fail_on: FailOn) -> int:
    if assessment.run.stopped_by is Stop.SIGNAL:
        return EXIT_INTERRUPTED
    if not assessment.run.is_complete:
        return EXIT_INCOMPLETE
    if fail_on is FailOn.NEVER:
        return EXIT_OK
    counted = [str(s) for s in Severity if s.rank >= Severity(fail_on).rank]
    findings = assessment.findings
    open_findings = findings["severity"].isin(counted) & findings["verdict"].ne(Verdict.EXEMPT)
    return EXIT_FINDINGS if open_findings.any() else EXIT_OK


@contextmanager
def _errors_as_exit_codes(terminal: Terminal) -> Iterator[None]:
    """Our own errors become a message, a line of advice and an exit code; any other is a defect and shows itself."""
    try:
        yield
    except CredauditError as error:
        terminal.fail(str(error), error.advice)
        sys.unraisablehook = lambda _: None  # openpyxl's half-written sheets would have their say at the end
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        terminal.fail("stopped at once; no reports were written", "")
        raise typer.Exit(EXIT_INTERRUPTED) from None
