"""Files and pipes: each path is a partition (or all paths together are one), each line or row a record, each commit one
rename.

A delivery works in this order: (1) alerts and (2) dead letters are appended and synced, (3) snapshots are written
beside the old ones, (4) one rename of the commit file makes positions, lengths and snapshots valid together. A crash
before (4) leaves files longer than the commit file says, and the next start truncates them. So a file gets each alert
exactly once. Standard output cannot be truncated, and gets each alert at least once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from anomaly_daemon.errors import Incompatible, NotPermitted, Unavailable
from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport import dead_letters
from anomaly_daemon.transport.avro_rows import AvroRows
from anomaly_daemon.transport.csv_fields import CSV_COLUMNS
from anomaly_daemon.transport.files_chain import AtEnd, Chain, Reader
from anomaly_daemon.transport.files_output import OutputFile
from anomaly_daemon.transport.files_state import FilesState
from anomaly_daemon.transport.line_reader import Lines
from anomaly_daemon.transport.opening import STDIN, open_for_reading, refuse_unreadable, replaced
from anomaly_daemon.transport.parquet_rows import ParquetRows
from anomaly_daemon.transport.ports import Commit, Headers, Partition, Rebalance, RecordBatch
from anomaly_daemon.transport.steps import carry_on


class FilesSource:
    """Reads the paths in sequence. Offsets are line or row numbers, record keys the file names without extension."""

    def __init__(
        self,
        paths: Sequence[str],
        stream: StreamSettings,
        *,
        state: FilesState | None = None,
        limits: LimitSettings | None = None,
        max_records: int = 10_000,
        stdin: int = 0,
        together: bool = False,
    ) -> None:
        """`state` is shared with the delivery: reading continues from the positions committed there. `together`: all
        paths are one partition, named by the first, with continuous offsets; for runs that commit nothing."""
        refuse_unreadable(paths, stream)
        self._state = state or FilesState()
        self._state.forget_deleted(paths)
        self._partitions = self._state.numbered(paths[:1] if together else paths)
        self._chained = paths if together else ()
        self._pipes = {one for one in self._partitions if one.topic == STDIN or Path(one.topic).is_fifo()}
        self._header = stream.format == "csv" and stream.csv.columns is None
        self._longest = (limits or LimitSettings()).record_bytes
        self._max_records, self._stdin = max_records, stdin
        self._listener: Rebalance | None = None
        self._assigned = False
        self._readers: dict[Partition, Reader] = {}
        self._paused = set(self._partitions)

    def subscribe(self, listener: Rebalance) -> None:
        self._listener = listener

    def poll(self, timeout_seconds: float) -> list[RecordBatch]:
        assert self._listener is not None, "subscribe first"
        if not self._assigned:
            self._assigned = True
            self._listener.assigned(list(self._partitions))
        for partition in self._partitions:
            if partition not in self._paused and not self._ended(partition):
                reader = self._reader(partition)
                lines = reader.read(self._max_records, timeout_seconds)
                return [_batch(partition, lines, reader)] if lines else []
        return []

    def committed(self, partition: Partition) -> int | None:
        return self._state.position(partition)

    def start_offset(self, partition: Partition) -> int:
        return 0

    def beginning(self, partition: Partition) -> int:
        """A pipe begins at its current position: what it has returned cannot be read again."""
        return self._reader(partition).position if partition in self._pipes else 0

    def topic_id(self, partition: Partition) -> str:
        return ""

    def seek(self, partition: Partition, offset: int) -> None:
        """Move to `offset`. A pipe can neither go back nor skip: it continues numbering from the committed position."""
        if partition in self._pipes or partition not in self._partitions:
            return
        if offset == 0 and partition not in self._readers:
            return  # it will be opened when its turn comes: there may be more files than may be open at once
        reader = self._reader(partition)
        if offset < reader.position:
            reader.close()
            del self._readers[partition]
        self._reader(partition).skip_to(offset)
        held = self._reader(partition).position
        self._ended(partition)
        if self._state.folder is not None and held < offset - 1:  # older state may count a last line without an end
            raise Incompatible(replaced(partition.topic, held, offset))

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._paused.difference_update(partitions)

    def start_over(self) -> None:
        """Files have no consumer group, so no member is evicted."""

    def lag(self) -> Mapping[Partition, int]:
        """Known for Parquet, which stores its number of rows, and for other readers at their end."""
        known = {}
        for partition, reader in self._readers.items():
            if isinstance(reader, ParquetRows):
                known[partition] = reader.rows - reader.position
            elif reader.ended():
                known[partition] = 0
        return known

    def owed(self) -> Collection[Partition]:
        """No answer of a broker is ever outstanding."""
        return ()

    def exhausted(self) -> bool:
        return self._assigned and all(map(self._ended, self._partitions))

    def close(self) -> None:
        for partition, reader in self._readers.items():
            if partition.topic != STDIN:
                reader.close()
        self._readers.clear()

    def _reader(self, partition: Partition) -> Reader:
        if partition not in self._readers:
            self._readers[partition] = self._open(partition)
        return self._readers[partition]

    def _ended(self, partition: Partition) -> bool:
        """Whether the reader is at its end. That of a file is then closed."""
        reader = self._reader(partition)
        if not reader.ended():
            return False
        if partition not in self._pipes and not isinstance(reader, AtEnd | Chain):
            reader.close()
            self._readers[partition] = AtEnd(reader.header, reader.position)
        return True

    def place(self, partition: Partition, offset: int) -> tuple[str, int, int]:
        """Return the file that a record is in, the file's index in the list, and the offset of its first line."""
        reader = self._reader(partition)
        return reader.place(offset) if isinstance(reader, Chain) else (*partition, 0)

    def _open(self, partition: Partition) -> Reader:
        if self._chained:
            return Chain(self._chained, self._opened)
        return self._opened(partition.topic, (self.committed(partition) or 0) if partition in self._pipes else 0)

    def _opened(self, path: str, first: int = 0) -> Reader:
        if path.endswith(".parquet"):
            return ParquetRows(path)
        if path.endswith(".avro"):
            return AvroRows(path)
        descriptor = self._stdin if path == STDIN else open_for_reading(path)
        kept = self._state.folder is not None and Path(path).is_file()
        name = "standard input" if path == STDIN else path
        return Lines(descriptor, header=self._header, longest=self._longest, first=first, leave_unended=kept, name=name)


def _batch(partition: Partition, lines: list[tuple[int, bytes]], reader: Reader) -> RecordBatch:
    key = b"stdin" if partition.topic == STDIN else Path(partition.topic).stem.encode()
    headers: Headers = () if reader.header is None else ((CSV_COLUMNS, reader.header),)
    return RecordBatch(
        partition,
        np.fromiter((number for number, _ in lines), np.int64, len(lines)),
        np.full(len(lines), -1, dtype=np.int64),
        [key] * len(lines),
        [line for _, line in lines],
        [headers] * len(lines),
        reader.position,
    )


class FilesDelivery:
    """Writes alerts and dead letters as JSON lines. Tests crash it by a `before` that raises at one of `STEPS`."""

    def __init__(
        self,
        path: str = "-",
        dead_letter_path: str | None = None,
        *,
        state: FilesState | None = None,
        before: Callable[[str], None] = carry_on,
    ) -> None:
        """`path` "-" is standard output. Dead letters without a path are not stored."""
        self._state, self._before = state or FilesState(), before
        self._alerts = OutputFile(path, self._state)
        self._dead_letters = OutputFile(dead_letter_path, self._state)
        with _named():  # what the files contain now must never be truncated
            self._commit({}, self._state.write_snapshots({}))

    def deliver(self, commit: Commit) -> None:
        with _named(self._undo):
            self._before("begin")
            self._before("alerts")  # 1
            self._alerts.append(_lines(record.value or b"" for record in commit.alerts))
            self._before("dead_letters")  # 2
            self._dead_letters.append(_lines(map(dead_letters.as_json, commit.dead_letters)))
            self._before("snapshots")  # 3: beside the old ones, which are still valid
            snapshots = self._state.write_snapshots(commit.snapshots)
            self._before("positions")  # they are part of the commit file itself
            self._before("commit")  # 4: last, because it makes all of the above valid
            self._commit(commit.positions, snapshots)
        self._before("reply")

    def close(self) -> None:
        self._alerts.close()
        self._dead_letters.close()
        self._state.close()

    def _commit(self, positions: Mapping[Partition, int], snapshots: dict[Partition, dict[bytes, str]]) -> None:
        outputs = (self._alerts, self._dead_letters)
        self._state.commit(positions, {out.path: out.committed() for out in outputs if out.truncatable}, snapshots)

    def _undo(self) -> None:
        for output in (self._alerts, self._dead_letters):
            if output.truncatable and output.path in self._state.committed.outputs:
                output.cut(self._state.committed.outputs[output.path].length)


def _lines(values: Iterable[bytes]) -> bytes:
    return b"".join(value + b"\n" for value in values)


@contextmanager
def _named(undo: Callable[[], None] = lambda: None) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of standard output has gone: the program ends as any in a pipe does
    except OSError as error:
        undo()
        if isinstance(error, PermissionError):
            raise NotPermitted(f"writing alerts or state failed: {error}: grant this user what it lacks") from error
        raise Unavailable(f"writing alerts or state failed: {error}: make room; nothing is lost") from error


class FilesSnapshots:
    """The snapshots that the delivery has committed to the state's folder; none if the state has no folder."""

    def __init__(self, state: FilesState) -> None:
        self._state = state

    def load(self, partition: Partition) -> dict[bytes, bytes]:
        return self._state.load(partition)
