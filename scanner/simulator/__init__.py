"""A simulated AWS Organization that speaks AWS's wire protocol on loopback."""

from .benchmark import benchmark_organization
from .demo import demo_organization
from .identity import BASE_CREDENTIALS, Credentials
from .model import (
    READER_ROLE_NAME,
    Behaviour,
    FaultKind,
    Faults,
    SimulatedAccount,
    SimulatedKey,
    SimulatedOrganization,
    SimulatedRoot,
    SimulatedUser,
)
from .quotas import DOCUMENTED_QUOTAS
from .report import render_report
from .server import Simulator, run_in_thread
from .service import RequestLogEntry

__all__ = [
    "BASE_CREDENTIALS",
    "DOCUMENTED_QUOTAS",
    "READER_ROLE_NAME",
    "Behaviour",
    "Credentials",
    "FaultKind",
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
