"""Serves a benchmark organization from a process of its own: `python -m scanner.simulator --accounts 200`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
import sys
from dataclasses import replace

from .benchmark import benchmark_organization
from .model import FaultKind, Faults
from .quotas import DOCUMENTED_QUOTAS
from .server import Simulator
from .service import utc_now


def main() -> None:
    """Serve until SIGTERM or SIGINT; the URL is the first line printed, the counters the last."""
    arguments = _parser().parse_args()
    organization = benchmark_organization(arguments.accounts, arguments.users, utc_now(), arguments.failing_share)
    organization = replace(organization, sends_paths=arguments.paths)
    faults = Faults(
        latency_seconds=arguments.latency,
        report_delay_seconds=arguments.report_delay,
        fault_rate=arguments.fault_rate,
        seed=arguments.seed,
        max_faults_per_account=arguments.max_faults,
        kinds=arguments.fault_kinds,
        slow_seconds=arguments.slow_seconds,
        stuck_seconds=arguments.stuck_seconds,
        quotas=DOCUMENTED_QUOTAS if arguments.quotas == "on" else {},
        session_seconds=arguments.session_seconds,
        clock_skew_seconds=arguments.clock_skew,
    )
    ssl_context = None
    if arguments.tls_certificate is not None:
        ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ssl_context.load_cert_chain(arguments.tls_certificate, arguments.tls_key)
    asyncio.run(_serve(Simulator(organization, faults, log_requests=False, ssl_context=ssl_context)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scanner.simulator", description=__doc__)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--users", type=int, default=20, help="users of each account")
    parser.add_argument("--failing-share", type=float, default=0.0, help="share of users with a key older than 90 days")
    parser.add_argument("--paths", action="store_true", help="send the Paths of accounts")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--report-delay", type=float, default=0.0, help="seconds until a report is ready")
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of calls that something befalls, 0 to 1")
    parser.add_argument(
        "--fault-kinds", type=fault_kinds, default=tuple(FaultKind), help=f"comma separated: {', '.join(FaultKind)}"
    )
    parser.add_argument("--max-faults", type=int, default=None, help="bound of the faults of one account")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--slow-seconds", type=float, default=1.0, help="seconds that a slow answer takes")
    parser.add_argument("--stuck-seconds", type=float, default=1.0, help="age at which a stuck report is replaced")
    parser.add_argument("--quotas", choices=("on", "off"), default="off", help="throttle beyond AWS's documented rates")
    parser.add_argument("--session-seconds", type=float, default=None, help="age at which role sessions really end")
    parser.add_argument("--clock-skew", type=float, default=0.0, help="seconds that AWS's clock is ahead by")
    parser.add_argument("--tls-certificate", metavar="FILE", help="PEM file; serves HTTPS")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM file of the certificate's private key")
    return parser


def fault_kinds(text: str) -> tuple[FaultKind, ...]:
    """Read a list of kinds; argparse names this function when there is none such."""
    return tuple(FaultKind(name) for name in text.split(","))


async def _serve(simulator: Simulator) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _print_line(await simulator.start())
    await stopping.wait()
    await simulator.stop()
    requests = {f"{service}:{action}": count for (service, action), count in sorted(simulator.counts.items())}
    counters = {
        "requests": requests,
        "total": sum(requests.values()),
        "connections": simulator.connections,
        "throttled": simulator.throttled,
        "faults": dict(sorted(simulator.fault_counts.items())),
    }
    _print_line(json.dumps(counters))


def _print_line(line: str) -> None:
    # A pipe is buffered, and whoever started the process waits for the first line.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
