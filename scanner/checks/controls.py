"""The requirements that checks serve: only those that the frameworks themselves, or AWS, state."""

from __future__ import annotations

from scanner.models import Control

FOUNDATIONS = "CIS AWS Foundations Benchmark"
DATABASE_SERVICES = "CIS AWS Database Services Benchmark"
SECURITY_HUB = "AWS Security Hub"
CONFIG = "AWS Config"
PCI = "PCI DSS"
NIST = "NIST SP 800-53"
ISO = "ISO/IEC 27001"


def foundations(v1_to_3: str, v4: str, v5: str, v6: str, v7: str) -> tuple[Control, ...]:
    """The recommendation's number in each version; it is the same from 1.4 to 3.0. Empty where it was removed."""
    numbers = {"7.0": v7, "6.0": v6, "5.0": v5, "4.0.1": v4, **dict.fromkeys(("3.0", "2.0", "1.5", "1.4"), v1_to_3)}
    return tuple(
        Control(framework=FOUNDATIONS, version=version, number=number) for version, number in numbers.items() if number
    )


def aws(security_hub: str, config_rule: str) -> tuple[Control, ...]:
    """A control of AWS Security Hub, and the rule of AWS Config behind it."""
    return (
        Control(framework=SECURITY_HUB, version="", number=security_hub),
        Control(framework=CONFIG, version="", number=config_rule),
    )


def pci(*numbers: str) -> tuple[Control, ...]:
    """Requirements of PCI DSS 4.0.1."""
    return tuple(Control(framework=PCI, version="4.0.1", number=number) for number in numbers)


def nist(*numbers: str) -> tuple[Control, ...]:
    """Controls of NIST SP 800-53, as Security Hub relates them."""
    return tuple(Control(framework=NIST, version="r5", number=number) for number in numbers)


def iso(*numbers: str) -> tuple[Control, ...]:
    """Controls of ISO/IEC 27001:2022, Annex A."""
    note = "A mapping in common use; the standard names no AWS setting."
    return tuple(Control(framework=ISO, version="2022", number=number, note=note) for number in numbers)
