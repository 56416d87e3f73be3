from __future__ import annotations

from pathlib import Path

import pytest

from .scanning import Scan, scanner_in


@pytest.fixture
def scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scan:
    return scanner_in(tmp_path, monkeypatch)
