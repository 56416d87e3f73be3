"""The catalogue: every check, in the order of the reports."""

from scanner.checks.access_key_not_rotated import ACCESS_KEY_NOT_ROTATED
from scanner.checks.model import Check

CATALOGUE: tuple[Check, ...] = (ACCESS_KEY_NOT_ROTATED,)

__all__ = ["CATALOGUE", "Check"]
