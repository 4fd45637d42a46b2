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
    for above in folder.parents:
        if above.exists() and not above.is_dir():
            raise UsageError(f"{folder}: {above} is a file; name a folder for the model")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: this is a file; name a folder for the model")
    others = sorted({one.name for one in folder.iterdir()} - {MANIFEST, WEIGHTS}) if folder.exists() else []
    if others:
        raise UsageError(
            f"{folder}: holds files that are no part of a model, such as {others[0]}; name a folder for the model alone"
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
        old = fresh.with_name(fresh.name + "-old")
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
