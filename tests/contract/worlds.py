"""One world per transport: an input of two partitions, members that start and die, and what subscribers see.

To add a transport, write a class with the methods of `World`, here or in another module, and add its name to
conftest.WORLDS.
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
    """Simulates the death of the process."""


def dies_before(step: str) -> Hook:
    def hook(reached: str) -> None:
        if reached == step:
            raise Died(step)

    return hook


@dataclass
class Told:
    """A listener that only records what it is told: partitions stay paused until a test resumes them."""

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
    """The transport of one start of a daemon. `release` frees what the operating system would free after its death."""

    source: Source
    delivery: Delivery
    snapshots: SnapshotStore
    release: Callable[[], None]
    told: Told = field(default_factory=Told)
    closed: bool = False

    def close(self) -> None:
        """Close it in an orderly way."""
        if not self.closed:
            self.closed = True
            self.delivery.close()
            self.source.close()

    def join(self, partitions: int = 2) -> Member:
        """Poll until all partitions are assigned. No record can arrive before they are resumed."""
        self.source.subscribe(self.told)
        for _ in range(600):
            assert self.source.poll(0.05) == []
            if len(self.told.assigned_to_us) >= partitions:
                return self
        raise AssertionError("never assigned")

    def start(self) -> Member:
        """Join, take over every partition at its committed offset, and resume it."""
        self.join()
        for partition in self.told.assigned_to_us:
            committed = self.source.committed(partition)
            self.source.seek(partition, self.source.start_offset(partition) if committed is None else committed)
        self.source.resume(self.told.assigned_to_us)
        return self

    def read(self, records: int) -> list[RecordBatch]:
        """Poll until at least so many records have arrived."""
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
        """Append to an input partition. Call it before any member starts: files are read to the end that they have
        then."""

    def member(self, before: Hook = carry_on) -> Member:
        """Start a member. The previous one has been closed or released."""

    def alerts(self) -> list[bytes | None]:
        """The values of the alerts that subscribers see now."""

    def dead_letters(self) -> int:
        """The number of dead letters that subscribers see now."""


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
