"""Opens files of records, and refuses those that cannot be read, with advice on each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from anomaly_daemon.errors import ConfigurationError, NoInput, NotPermitted, unread
from anomaly_daemon.settings import StreamSettings

STDIN = "-"
ROWS = (".parquet", ".avro")
"""File name endings of formats that hold rows and not lines."""
OF_FILES = "files hold lines of csv, json or influx, and parquet or avro whose rows are read as JSON: set stream.format"
_UNPACK = "unpack it first, or pipe it: {tool} FILE | anomaly-daemon ... with the path -"
FOREIGN = (
    (b"\x1f\x8b", "gzip", _UNPACK.format(tool="zcat")),
    (b"\x28\xb5\x2f\xfd", "Zstandard", _UNPACK.format(tool="zstdcat")),
    (b"\xfd7zXZ\x00", "xz", _UNPACK.format(tool="xzcat")),
    (b"BZh", "bzip2", _UNPACK.format(tool="bzcat")),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    (b"PAR1", "Parquet", "give it a name that ends in .parquet"),
    (b"Obj\x01", "an Avro container", "give it a name that ends in .avro"),
    (b"\xff\xfe", "UTF-16 text", "write it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "write it as UTF-8: iconv -f UTF-16 -t UTF-8"),
)
"""The first bytes of files that do not hold lines of UTF-8, what such a file is, and what to do about it."""


def refuse_unreadable(paths: Sequence[str], stream: StreamSettings) -> None:
    """Check all paths before any is read. Raises ConfigurationError, NoInput or NotPermitted."""
    if stream.format in ("packed", "avro", "protobuf", "otlp_proto"):
        raise ConfigurationError(f"stream.format {stream.format} is for Kafka messages: {OF_FILES}")
    for path in paths:
        refuse_name(path)
        if path.endswith(ROWS) and stream.format != "json":
            raise ConfigurationError(f"{path}: its rows are read as JSON values: set stream.format to json")
        if path == STDIN or Path(path).is_fifo():
            continue
        if Path(path).is_dir():
            raise NoInput(f"{path}: this is a folder; name its files")
        if not Path(path).exists():
            pattern = ": patterns are not expanded in source.paths, name each file" if set("*?[") & set(path) else ""
            raise NoInput(f"{path}: no such file{pattern}")
        if not path.endswith(ROWS):
            refuse_foreign(path, csv=stream.format in ("csv", "influx"), lists=stream.unnest is not None)


def refuse_name(path: str) -> None:
    """Raise NoInput if the path is not UTF-8 text. No alert, score file or configuration can name such a file."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise NoInput(f"{path!a}: this name is not UTF-8 text: give the file another") from error


def refuse_foreign(path: str, *, csv: bool = False, lists: bool = False) -> None:
    """Raise NoInput, with advice, if the file does not hold lines of UTF-8 text. A line of `csv` may begin with a
    bracket. Without `csv` such a line is taken for JSON, and the file for one JSON document, unless `lists` says that a
    line may be a JSON list. A named pipe is not opened: its writer would end when it is closed again."""
    if Path(path).is_fifo():
        return
    descriptor = open_for_reading(path)
    try:
        head = os.read(descriptor, 256) if Path(path).is_file() else b""
    except OSError as error:
        raise unread(path, error) from error
    finally:
        os.close(descriptor)
    refuse_foreign_head(path, head, csv=csv, lists=lists)


def refuse_foreign_head(path: str, head: bytes, *, csv: bool = False, lists: bool = False) -> None:
    """`refuse_foreign` for a file of which the first bytes are given."""
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n")[0].strip()
    if not csv and ((first[:1] == b"[" and not lists) or first in (b"[", b"{")):
        raise NoInput(
            f"{path}: this is one JSON document, not an object a line; to write an array as lines: jq -c '.[]' FILE "
            '(an array a line: stream.unnest ".")'
        )
    for magic, what, advice in FOREIGN:
        if head.startswith(magic):
            raise NoInput(f"{path}: this is {what}, not lines of text: {advice}")
    if b"\r" in head[:-1] and b"\n" not in head:
        raise NoInput(f"{path}: its lines end in CR alone; to convert it: tr '\\r' '\\n' < FILE > NEW")


def replaced(path: str, held: int, read: int) -> str:
    """Return the message for a file that holds less than was read from it before, with advice."""
    return (
        f"{path}: {read:,} lines or rows of it were read before, and now it holds {held:,}: another file has "
        "taken its place. Give each a name of its own, or read what is rotated through a pipe (tail -F, the "
        "path -); to discard the earlier state, move snapshot.path away"
    )


def unended(paths: Sequence[str]) -> list[str]:
    """Return the files whose last line has no line end, because it may still be written."""
    return [path for path in paths if path != STDIN and not path.endswith(ROWS) and _unended(Path(path))]


def _unended(path: Path) -> bool:
    try:
        if not path.is_file() or not path.stat().st_size:
            return False
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False


def open_for_reading(path: str) -> int:
    """Return a descriptor of the opened file. A named pipe is opened without waiting for its writer, for which the
    reading waits. Raises NotPermitted or NoInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
    except PermissionError as error:
        raise NotPermitted(f"{path}: may not be read: {error.strerror}") from error
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}") from error
    return descriptor
