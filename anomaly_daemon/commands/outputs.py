"""Checks of the paths that a command will write to. They are made before the work begins, so that hours of work are not
lost to a mistyped folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from anomaly_daemon.errors import NotPermitted, UsageError

PICTURES = (".png", ".svg", ".pdf")


def refuse_unwritable(option: str, path: Path | None, inputs: Iterable[str] = ()) -> None:
    """Do nothing where `path` is a file that can be written or created, or is None (no output was asked for).

    Raises UsageError where it is a folder, its folder does not exist, or it is one of the `inputs`; NotPermitted where
    this user may not write there.
    """
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{option} {path}: this is a folder; name a file")
    written = Path(os.path.realpath(path))  # a link to a file that does not exist yet is followed
    for folder in (path.parent, written.parent):
        if not folder.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {folder}: create it, or name another")
    if any(_same(path, Path(one)) for one in inputs):
        raise UsageError(
            f"{option} {path}: this file is an input of the command, and would be overwritten; name another"
        )
    if not os.access(path if path.exists() else written.parent, os.W_OK):
        raise NotPermitted(f"{option} {path}: this user may not write there")


def refuse_unwritable_folder(option: str, path: Path) -> None:
    """Raise NotPermitted where this user may not create or replace the folder `path`."""
    above = next(one for one in path.absolute().parents if os.path.exists(one))
    if not os.access(above, os.W_OK | os.X_OK):
        raise NotPermitted(f"{option} {path}: this user may not write in {above}")


def refuse_undrawable(option: str, path: Path | None) -> None:
    """Apply `refuse_unwritable` to a picture. Raises UsageError also where the suffix is not a format that can be
    drawn."""
    if path is not None and path.suffix not in PICTURES:
        raise UsageError(f"{option} {path}: name a .png, .svg or .pdf file")
    refuse_unwritable(option, path)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
