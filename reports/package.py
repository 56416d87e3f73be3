"""The .xlsx file: what openpyxl makes of the workbook, and the rows of the tables, compressed as they are rendered."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

MAX_PART = 2**31 - 1
"""Bytes of a sheet, uncompressed, beyond which Python's zipfile needs to know that it is to use ZIP64."""
COMPRESSION = 3
"""Measured: as fast as 1 and 20 % smaller; 6 takes half as long again for files another 10 % smaller."""
END_OF_ROWS = b"</sheetData>"
AFTER_LINKS = b"<pageMargins"
"""What stands right after the links in each of our sheets; the order of a sheet's elements is fixed (ECMA-376)."""


def save(
    workbook: Any, path: Path, rows: Mapping[Any, Iterable[bytes]], links: Mapping[Any, bytes] | None = None
) -> None:
    """Write the workbook with the rows of each of its sheets, which may be asked for twice, below those it has.

    `links` are the rendered links of a sheet.

    Excel offers to repair some files that use ZIP64 without need, so only a workbook with a sheet that needs it does:
    https://rzymek.github.io/post/excel-zip64/
    """
    made = BytesIO()
    workbook.save(made)
    links = links or {}
    by_part = {
        sheet.path.removeprefix("/"): (rows.get(sheet, ()), links.get(sheet, b"")) for sheet in {**rows, **links}
    }
    with zipfile.ZipFile(made) as parts:
        try:
            _write(parts, path, by_part, is_large=False)
        except zipfile.LargeZipFile:
            _write(parts, path, by_part, is_large=True)


def _write(
    parts: zipfile.ZipFile, path: Path, added: Mapping[str, tuple[Iterable[bytes], bytes]], *, is_large: bool
) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as package:
        for name in parts.namelist():
            content = parts.read(name)
            if name not in added:
                package.writestr(name, content)
                continue
            rows, links = added[name]
            start, end, rest = content.partition(END_OF_ROWS)
            rest = rest.replace(AFTER_LINKS, links + AFTER_LINKS, 1)
            size = len(content)
            with package.open(name, "w", force_zip64=is_large) as part:
                part.write(start)
                for chunk in rows:
                    size += len(chunk)
                    if size > MAX_PART and not is_large:
                        raise zipfile.LargeZipFile(f"{name} needs ZIP64")
                    part.write(chunk)
                part.write(end + rest)
