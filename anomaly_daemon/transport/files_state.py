"""The commit file of the files transport: input positions, output lengths and snapshots, made valid by one rename.

In the folder, `commit.json` names everything that is valid, and `*.snapshot` files hold the buckets that it names. A
snapshot file that it does not name is left over from a commit that did not happen, and is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from anomaly_daemon.errors import ConfigurationError, Incompatible, NotPermitted, Unavailable
from anomaly_daemon.transport.opening import STDIN
from anomaly_daemon.transport.ports import Outgoing, Partition

VERSION = 1
COMMIT = "commit.json"
RECOVERY = "restore it from a copy, or move its folder away to start from scratch"


class Output(msgspec.Struct, frozen=True):
    """An output file at the time of the commit. The inode tells it from a new file of the same name (rotation)."""

    inode: int
    length: int


class Position(msgspec.Struct, frozen=True):
    topic: str
    partition: int
    offset: int


class Snapshot(msgspec.Struct, frozen=True):
    topic: str
    partition: int
    key: bytes
    file: str


class Committed(msgspec.Struct, frozen=True):
    """The content of the commit file."""

    version: int = VERSION
    sequence: int = 0
    positions: tuple[Position, ...] = ()
    outputs: dict[str, Output] = {}
    snapshots: tuple[Snapshot, ...] = ()
    checksum: str = ""
    """SHA-256 of the content with this field empty. Files of earlier releases have none."""


class FilesState:
    """State shared by the source, the delivery and the snapshots of one run. Without a folder, nothing is kept after
    the run."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.committed = Committed()
        self._snapshots: dict[Partition, dict[bytes, str]] = {}
        self._lock: int | None = None
        if folder is not None:
            _make(folder)
            self._lock = _lock(folder)
            self.committed = _read(folder / COMMIT)
            self._remove_leftovers()
        for one in self.committed.snapshots:
            self._snapshots.setdefault(Partition(one.topic, one.partition), {})[one.key] = one.file

    def forget_deleted(self, paths: Sequence[str]) -> None:
        """Forget the files that are neither in `paths` nor on the disk any more, since they will not be read again. The
        next commit drops all that was kept of them. Otherwise files whose names contain the date would fill the folder.
        """
        known = {one.topic for one in self.committed.positions}.difference((*paths, STDIN))
        deleted = {topic for topic in known if _deleted(Path(topic))}
        left = tuple(one for one in self.committed.positions if one.topic not in deleted)
        self.committed = msgspec.structs.replace(self.committed, positions=left)
        self._snapshots = {one: names for one, names in self._snapshots.items() if one.topic not in deleted}

    def numbered(self, paths: Sequence[str]) -> list[Partition]:
        """Return one partition for each path. A path that was read before keeps its number, wherever it is in the list
        now, because its position and the state of its streams are stored under that number."""
        known = sorted((one.topic, one.partition) for one in self.committed.positions)
        taken, found = {number for _, number in known}, list[Partition]()
        for place, path in enumerate(paths):
            before = next((one for one in known if one[0] == path), None)
            if before is not None:
                known.remove(before)
            number = before[1] if before else place if place not in taken else max(taken) + 1
            taken.add(number)
            found.append(Partition(path, number))
        return found

    def position(self, partition: Partition) -> int | None:
        wanted = (partition.topic, partition.partition)
        return next((p.offset for p in self.committed.positions if (p.topic, p.partition) == wanted), None)

    def load(self, partition: Partition) -> dict[bytes, bytes]:
        """Return the newest committed snapshot of each bucket, by its key."""
        if self.folder is None:
            return {}
        return {key: _snapshot(self.folder / name) for key, name in self._snapshots.get(partition, {}).items()}

    def write_snapshots(self, snapshots: Mapping[Partition, Sequence[Outgoing]]) -> dict[Partition, dict[bytes, str]]:
        """Write the buckets beside those that are valid now. Returns the names of all snapshot files that the next
        `commit` is to make valid."""
        names = {partition: dict(found) for partition, found in self._snapshots.items()}
        if self.folder is None:
            return names
        number = 0
        for partition, outgoing in snapshots.items():
            for record in outgoing:
                assert record.key is not None, "a snapshot is stored by its key"
                names.setdefault(partition, {}).pop(record.key, None)
                if record.value is not None:
                    name = f"{self.committed.sequence + 1}-{number}.snapshot"
                    write_synced(self.folder / name, record.value)
                    names[partition][record.key] = name
                    number += 1
        return names

    def commit(
        self,
        positions: Mapping[Partition, int],
        outputs: Mapping[str, Output],
        snapshots: dict[Partition, dict[bytes, str]],
    ) -> None:
        """Make positions, outputs and snapshots valid together, by one rename of the commit file."""
        merged = {Partition(p.topic, p.partition): p.offset for p in self.committed.positions} | dict(positions)
        named = (
            Snapshot(*partition, key, name) for partition, found in snapshots.items() for key, name in found.items()
        )
        committed = Committed(
            VERSION,
            self.committed.sequence + 1,
            tuple(Position(*partition, offset) for partition, offset in merged.items()),
            dict(outputs),
            tuple(named),
        )
        if self.folder is not None:
            replace_synced(self.folder / COMMIT, _signed(committed))
        self.committed, self._snapshots = committed, snapshots
        if self.folder is not None:
            self._remove_leftovers()

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _remove_leftovers(self) -> None:
        """Remove the snapshot files that the commit file does not name. One that cannot be removed is left for the next
        commit: an error here would present a commit that is already valid as one that failed."""
        assert self.folder is not None
        named = {one.file for one in self.committed.snapshots}
        for path in self.folder.glob("*.snapshot"):
            if path.name not in named:
                with suppress(OSError):
                    path.unlink()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise _barred(folder) from error
    except OSError as error:
        raise ConfigurationError(f"snapshot.path {folder} cannot be created: {error.strerror}") from error


def _barred(folder: Path) -> NotPermitted:
    return NotPermitted(f"snapshot.path {folder}: this user may not read and write there")


def _lock(folder: Path) -> int:
    """Lock the folder, and return the descriptor of the lock. Two daemons with one folder would each undo the other's
    commits."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError as error:
        raise _barred(folder) from error
    except OSError as error:
        raise ConfigurationError(f"snapshot.path {folder} cannot be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(f"{folder} is in use by another anomaly-daemon: give each its own snapshot.path") from error
    return descriptor


def _signed(committed: Committed) -> bytes:
    """Return the content of the commit file, with its checksum. With a wrong length alerts would be truncated, and with
    a wrong offset records would be skipped."""
    digits = hashlib.sha256(msgspec.json.encode(committed)).hexdigest()
    return msgspec.json.encode(msgspec.structs.replace(committed, checksum=digits))


def _read(path: Path) -> Committed:
    try:
        content = path.read_bytes()
        committed = msgspec.json.decode(content, type=Committed)
    except FileNotFoundError:
        if any(not one.name.startswith("1-") for one in path.parent.glob("*.snapshot")):  # a first commit that crashed
            raise Incompatible(f"{path} is missing, but snapshots of later commits exist: {RECOVERY}") from None
        return Committed()
    except PermissionError as error:
        raise _barred(path.parent) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Incompatible(f"{path} cannot be read ({error}): {RECOVERY}") from error
    if committed.version != VERSION:
        raise Incompatible(f"{path} is of version {committed.version}, this program reads {VERSION}")
    unsigned = content.replace(committed.checksum.encode(), b"")
    if committed.checksum and hashlib.sha256(unsigned).hexdigest() != committed.checksum:
        raise Incompatible(f"{path} cannot be read (it was changed after it was written): {RECOVERY}")
    if any("/" in one.file for one in committed.snapshots):
        raise Incompatible(f"{path} names a snapshot outside its folder")
    return committed


def _snapshot(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise _barred(path.parent) from error
    except (OSError, ValueError) as error:
        raise Incompatible(f"{path}, which {COMMIT} names, cannot be read ({error}): {RECOVERY}") from error


def write_synced(path: Path, content: bytes) -> None:
    """Write the file and sync it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, content: bytes) -> None:
    """Replace the file, or create it, whole or not at all, and sync it and its name to the disk."""
    temporary = path.with_name(path.name + ".new")
    write_synced(temporary, content)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _deleted(path: Path) -> bool:
    """Whether the file certainly does not exist. It may exist in a folder that this process may not read."""
    try:
        return not path.exists()
    except OSError:
        return False
