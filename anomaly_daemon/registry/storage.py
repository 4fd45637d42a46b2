"""The files of a registry, in a directory or behind any fsspec URL. A file is created whole, and never changed; it may
be deleted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from anomaly_daemon.errors import FULL, ConfigurationError, NotPermitted, Unavailable


class Storage:
    """The files under one URL. Paths are relative to it."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError if the protocol of the URL is unknown, or its package is not installed."""
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"the registry {url}: {error}") from error

    def read(self, path: str) -> bytes | None:
        """Return the content of the file; None if it does not exist."""
        with self._said():
            try:
                return bytes(self._fs.cat_file(self._full(path)))
            except FileNotFoundError:
                return None

    def create(self, path: str, content: bytes) -> bool:
        """Create the file, whole or not at all. Returns False, without changing anything, if it exists already."""
        with self._said():
            try:
                self._create(self._full(path), content)
            except FileExistsError:
                return False
        return True

    def names(self, folder: str) -> list[str]:
        """Return the names in the folder, sorted; an empty list if there is no folder."""
        with self._said():
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._full(folder), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if not name.startswith("."))

    def remove(self, path: str) -> None:
        """Delete the file, if it exists. In a local directory, the folder is deleted with its last file."""
        with self._said():
            full = self._full(path)
            with suppress(FileNotFoundError):
                self._fs.rm_file(full)
            if isinstance(self._fs, LocalFileSystem):
                with suppress(OSError):  # the folder is not empty
                    os.rmdir(Path(full).parent)

    def _create(self, path: str, content: bytes) -> None:
        if isinstance(self._fs, LocalFileSystem):
            _create_locally(Path(path), content)
        else:  # an object store creates an object whole, and only where there is none
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, content, mode="create")

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise NotPermitted(f"the registry {self.url}: {error}: grant this user what it lacks") from error
        except OSError as error:
            room = ": make room there; its content is intact" if error.errno in FULL else ""
            raise Unavailable(f"the registry {self.url}: {error}{room}") from error
        except Exception as error:  # a file system raises what its library does: botocore's errors are no OSError
            raise Unavailable(f"the registry {self.url}: {type(error).__name__}: {error}") from error


def _create_locally(path: Path, content: bytes) -> None:
    """Write a temporary file, then link it to `path`. Linking is atomic, and fails if `path` exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.link(name, path)
    finally:
        os.unlink(name)
