"""What a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from scanner.credentials import Credential
from scanner.models import Control, Limits, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to every credential it applies to. Refuses to be incomplete."""

    id: str
    """Kebab case; names the problem."""
    title: str
    severity: Severity
    population: str
    """What it asks about, in the plural: `active access keys`."""
    limits: tuple[str, ...]
    """The names of the Limits it decides by."""
    controls: tuple[Control, ...]
    why: str
    applies: Callable[[pd.DataFrame], pd.Series]
    """frame → bool mask: the population of the check."""
    fails: Callable[[pd.DataFrame, Limits, datetime], pd.Series]
    """frame, limits, as_of → nullable boolean: True fails, False passes, NA is UNKNOWN."""
    due: Callable[[pd.DataFrame, Limits], pd.Series]
    """frame, limits → the moment each credential became or becomes due, UTC; NaT where it never does."""
    reason: Callable[[Credential, Limits, datetime], str]
    """Why this credential does not pass, for its reader."""
    fix: Callable[[Credential], str]
    """The exact commands that mend this credential."""
    undo: Callable[[Credential], str]
    """The exact commands that take the fix back."""
    unknown: Callable[[Credential, Limits, datetime], str] | None = None
    """Why it is UNKNOWN, where a reason that sees one row of the user could not tell that from failing."""
