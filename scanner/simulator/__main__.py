"""Serves a benchmark organization from a process of its own: `python -m scanner.simulator --accounts 200`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from .demo import benchmark_organization
from .model import Faults
from .server import Simulator, utc_now


def main() -> None:
    """Serve until SIGTERM or SIGINT; the URL is the first line printed, the counters the last."""
    arguments = _parser().parse_args()
    organization = benchmark_organization(arguments.accounts, arguments.users, utc_now(), arguments.failing_share)
    faults = Faults(
        latency_seconds=arguments.latency,
        report_delay_seconds=arguments.report_delay,
        fault_rate=arguments.fault_rate,
        seed=arguments.seed,
        max_faults_per_account=arguments.max_faults,
    )
    asyncio.run(_serve(Simulator(organization, faults, log_requests=False)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scanner.simulator", description=__doc__)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--users", type=int, default=20, help="users of each account")
    parser.add_argument("--failing-share", type=float, default=0.0, help="share of users with a key older than 90 days")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--report-delay", type=float, default=0.0, help="seconds until a report is ready")
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of calls that fail, 0 to 1")
    parser.add_argument("--max-faults", type=int, default=None, help="bound of the faults of one account")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    return parser


async def _serve(simulator: Simulator) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _print_line(await simulator.start())
    await stopping.wait()
    await simulator.stop()
    requests = {f"{service}:{action}": count for (service, action), count in sorted(simulator.counts.items())}
    counters = {"requests": requests, "total": sum(requests.values()), "connections": simulator.connections}
    _print_line(json.dumps(counters))


def _print_line(line: str) -> None:
    # A pipe is buffered, and whoever started the process waits for the first line.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
