"""Reads and writes model artifacts as folders: manifest.json and weights.safetensors."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from anomaly_daemon.detection.artifact import Model, decode, encode
from anomaly_daemon.errors import ConfigurationError, NotPermitted, UsageError
from anomaly_daemon.settings import PRETRAINED

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"


def read_model(path: str | Path) -> Model:
    """Return the model in this folder, or the shipped one for "pretrained"."""
    folder = files("anomaly_daemon") / "pretrained" if str(path) == PRETRAINED else Path(path)
    try:
        return decode((folder / MANIFEST).read_bytes(), (folder / WEIGHTS).read_bytes())
    except PermissionError as error:
        raise NotPermitted(f"model.path {str(path)!r}: {error.filename} may not be read by this user") from error
    except OSError as error:
        if isinstance(folder, Path) and not folder.exists() and os.path.exists(_former(folder)):
            raise ConfigurationError(
                f"model.path {str(path)!r}: its replacement was interrupted: rename {_former(folder)} to it, which is the "
                "model of before, or train again"
            ) from error
        raise ConfigurationError(
            f"model.path {str(path)!r} is not a model folder ({error.strerror}: {error.filename}): "
            f'give the folder that `train --output` wrote, or "{PRETRAINED}"'
        ) from error


def refuse_other(folder: Path) -> None:
    """Raise UsageError where `folder` is a file, lies below one, or holds anything but a model, because it would be
    replaced as a whole. The current folder and those above it are refused too: they cannot be replaced."""
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        raise UsageError(f"{folder}: this is the current folder, or one above it; name another folder for the model")
    for link in (folder, *folder.parents):
        if link.is_symlink() and not link.exists():
            raise UsageError(f"{folder}: {link} is a link to nothing; correct the link, or name another folder")
    for above in folder.parents:
        if above.exists() and not above.is_dir():
            raise UsageError(f"{folder}: {above} is a file; name a folder for the model")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: this is a file; name a folder for the model")
    for one in (folder, _former(folder)):
        others = sorted({each.name for each in one.iterdir()} - {MANIFEST, WEIGHTS}) if os.path.exists(one) else []
        if others:
            raise UsageError(
                f"{one}: holds files that are no part of a model, such as {others[0]}; name a folder for the model alone"
            )


def write_model(model: Model, folder: Path) -> None:
    """Write the artifact whole or not at all. An existing artifact is replaced; anything else is refused."""
    refuse_other(folder)
    manifest, weights = encode(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in ((MANIFEST, manifest), (WEIGHTS, weights)):
            with open(fresh / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        _replace(folder, fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _replace(folder: Path, fresh: Path) -> None:
    """Rename `fresh` to `folder`. A rename does not replace a folder that holds files, so the former model is renamed
    away first, and back if the second rename fails. If the process dies between the two, the former model is the only
    one, and stays until the next write has succeeded; `read_model` reports where it is."""
    former = _former(folder)
    if folder.exists():
        _remove(former)  # left by a process that died after both renames
        folder.rename(former)
    try:
        fresh.rename(folder)
    except BaseException:
        if former.exists():
            former.rename(folder)
        raise
    _remove(former)


def _remove(former: Path) -> None:
    if former.is_symlink():
        former.unlink()  # `folder` was a link to a model
    else:
        shutil.rmtree(former, ignore_errors=True)


def _former(folder: Path) -> Path:
    """Return the path of the model that `folder` held before, while it is being replaced."""
    whole = folder.absolute()
    return whole.with_name(f".{whole.name}-replaced")
