"""A simulated AWS Organization that speaks AWS's wire protocol on loopback."""

from .demo import benchmark_organization, demo_organization
from .identity import BASE_CREDENTIALS, Credentials
from .model import (
    READER_ROLE_NAME,
    Behaviour,
    Faults,
    SimulatedAccount,
    SimulatedKey,
    SimulatedOrganization,
    SimulatedRoot,
    SimulatedUser,
)
from .report import render_report
from .server import RequestLogEntry, Simulator, run_in_thread

__all__ = [
    "BASE_CREDENTIALS",
    "READER_ROLE_NAME",
    "Behaviour",
    "Credentials",
    "Faults",
    "RequestLogEntry",
    "SimulatedAccount",
    "SimulatedKey",
    "SimulatedOrganization",
    "SimulatedRoot",
    "SimulatedUser",
    "Simulator",
    "benchmark_organization",
    "demo_organization",
    "render_report",
    "run_in_thread",
]
