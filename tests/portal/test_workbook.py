"""Spreadsheets that would fill the memory are refused before they are read."""

import struct
import zipfile
from pathlib import Path

import pytest

from services.portal.adapters import workbook
from services.portal.adapters.workbook import check_workbook
from tillstream.sources.records import SourceError
from tillstream.template import to_xlsx


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_UNPACKED_BYTES", 2 << 20)
    monkeypatch.setattr(workbook, "MAX_BINARY_BYTES", 1 << 20)


def archive(path: Path, *sizes: int, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for number, size in enumerate(sizes):
            file.writestr(f"{number}.xml", b"0" * size)
    return path


def test_ordinary_files_pass(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for content in (to_xlsx("orders"), b"id,userId\n" * 1_000_000, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        path.write_bytes(content)
        check_workbook(path)
    check_workbook(archive(path, 1 << 20, 1 << 20))


@pytest.mark.parametrize("sizes", [(3 << 20,), (1 << 20, (1 << 20) + 1), (64 << 20,)])
def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with pytest.raises(SourceError, match="save it as CSV"):
        check_workbook(archive(tmp_path / "f.xlsx", *sizes))


def test_what_an_archive_says_of_its_sizes_is_not_believed(tmp_path: Path) -> None:
    """Breaks if a bomb passes whose directory names a small size: its reader unpacks to the end."""
    path = archive(tmp_path / "f.xlsx", 8 << 20)
    content = path.read_bytes().replace(struct.pack("<I", 8 << 20), struct.pack("<I", 10))
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.infolist()[0].file_size == 10
    with pytest.raises(SourceError, match="too large"):
        check_workbook(path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.xlsx"
    path.write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(SourceError, match="not a readable spreadsheet"):
        check_workbook(path)
    with pytest.raises(SourceError, match="not a readable spreadsheet"):
        check_workbook(archive(path, 10, compression=zipfile.ZIP_LZMA))


def test_a_large_file_of_the_older_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.xls"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"0" * (1 << 20))
    with pytest.raises(SourceError, match="too large"):
        check_workbook(path)
