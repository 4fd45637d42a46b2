"""One world per transport: an input of two partitions, members that come and die, and what subscribers see.

To add a transport: a class with these methods here or beside, and its name in conftest.WORLDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from anomaly_daemon.settings import StreamSettings
from anomaly_daemon.transport.files import FilesDelivery, FilesSnapshots, FilesSource
from anomaly_daemon.transport.files_state import FilesState
from anomaly_daemon.transport.memory import MemoryBroker, MemoryDelivery, MemorySnapshots, MemorySource, Stored
from anomaly_daemon.transport.ports import Delivery, Partition, RecordBatch, SnapshotStore, Source
from anomaly_daemon.transport.steps import carry_on

Hook = Callable[[str], None]


class Died(BaseException):
    """The process is gone."""


def dies_before(step: str) -> Hook:
    def hook(reached: str) -> None:
        if reached == step:
            raise Died(step)

    return hook


@dataclass
class Told:
    """A listener that only remembers: partitions stay paused until a test resumes them."""

    assigned_to_us: list[Partition] = field(default_factory=list)
    lost_or_revoked: list[Partition] = field(default_factory=list)

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self.assigned_to_us += partitions

    def revoked(self, partitions: Iterable[Partition]) -> None:
        self.lost_or_revoked += partitions

    def lost(self, partitions: Iterable[Partition]) -> None:
        self.lost_or_revoked += partitions


@dataclass
class Member:
    """One life of a daemon's transport. `release` gives back what the operating system would after its death."""

    source: Source
    delivery: Delivery
    snapshots: SnapshotStore
    release: Callable[[], None]
    told: Told = field(default_factory=Told)
    closed: bool = False

    def close(self) -> None:
        """A clean end."""
        if not self.closed:
            self.closed = True
            self.delivery.close()
            self.source.close()

    def join(self, partitions: int = 2) -> Member:
        """Poll until all partitions are assigned; nothing can come before they are resumed."""
        self.source.subscribe(self.told)
        for _ in range(600):
            assert self.source.poll(0.05) == []
            if len(self.told.assigned_to_us) >= partitions:
                return self
        raise AssertionError("never assigned")

    def start(self) -> Member:
        """Join, take every partition over where it was committed, and resume."""
        self.join()
        for partition in self.told.assigned_to_us:
            committed = self.source.committed(partition)
            self.source.seek(partition, self.source.start_offset(partition) if committed is None else committed)
        self.source.resume(self.told.assigned_to_us)
        return self

    def read(self, records: int) -> list[RecordBatch]:
        """Poll until so many records have come."""
        batches: list[RecordBatch] = []
        for _ in range(600):
            if sum(map(len, batches)) >= records:
                return batches
            batches += self.source.poll(0.05)
        raise AssertionError(f"{sum(map(len, batches))} of {records} records came")


def closed_at_end(closing: ExitStack, member: Member) -> Member:
    closing.callback(member.close)
    return member


class World(Protocol):
    partitions: list[Partition]

    def write(self, number: int, values: Sequence[bytes]) -> None:
        """Append to an input partition. Before any member is there: files are read to the end they have."""

    def member(self, before: Hook = carry_on) -> Member:
        """A new life; the one before has been closed or released."""

    def alerts(self) -> list[bytes | None]:
        """The values that subscribers see now."""

    def dead_letters(self) -> int:
        """How many there are."""


class MemoryWorld:
    def __init__(self, closing: ExitStack, *, atomic: bool = True) -> None:
        self.broker, self.closing, self.atomic = MemoryBroker(), closing, atomic
        self.partitions = self.broker.create("readings", 2)

    def write(self, number: int, values: Sequence[bytes]) -> None:
        self.broker.produce(self.partitions[number], [Stored(1, b"k", value) for value in values])
        self.broker.control_record(self.partitions[number])

    def member(self, before: Hook = carry_on) -> Member:
        source = MemorySource(self.broker, "readings")
        delivery = MemoryDelivery(self.broker, source, before=before, atomic=self.atomic)
        return closed_at_end(self.closing, Member(source, delivery, MemorySnapshots(self.broker), lambda: None))

    def alerts(self) -> list[bytes | None]:
        return [record.value for record in self.broker.records("anomaly-alerts")]

    def dead_letters(self) -> int:
        return len(self.broker.records("anomaly-dead-letters"))


class FilesWorld:
    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder, self.closing = folder, closing
        self.partitions = [Partition(str(folder / f"{number}.jsonl"), number) for number in range(2)]
        for partition in self.partitions:
            Path(partition.topic).touch()

    def write(self, number: int, values: Sequence[bytes]) -> None:
        with Path(self.partitions[number].topic).open("ab") as file:
            file.writelines(value + b"\n" for value in values)

    def member(self, before: Hook = carry_on) -> Member:
        state = FilesState(self.folder / "state")
        source = FilesSource(
            [one.topic for one in self.partitions], StreamSettings(numeric=[{"name": "a"}]), state=state
        )
        outputs: tuple[Any, Any] = (str(self.folder / "alerts"), str(self.folder / "dead"))
        delivery = FilesDelivery(*outputs, state=state, before=before)
        return closed_at_end(self.closing, Member(source, delivery, FilesSnapshots(state), state.close))

    def alerts(self) -> list[bytes | None]:
        return list((self.folder / "alerts").read_bytes().splitlines())

    def dead_letters(self) -> int:
        return len((self.folder / "dead").read_bytes().splitlines())
