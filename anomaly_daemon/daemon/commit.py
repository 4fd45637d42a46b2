"""The contents of one commit: everything pending, encoded, as one atomic value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from anomaly_daemon.checkpoint.evidence import carries_evidence, with_evidence
from anomaly_daemon.daemon.partition import Owned
from anomaly_daemon.detection.alert import Alert, Event
from anomaly_daemon.transport.alert_codec import encode_digest
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition, SentAhead


def iso(seconds: float) -> str:
    """Epoch seconds as ISO 8601 text in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Outbox:
    """Turns what is pending into records. `name` is the deployment's name, which alerts give as their source."""

    name: str
    encode: Callable[[Alert, str, str], Outgoing]
    """Encodes an alert. The arguments are the alert, the source's name and the time of publishing."""
    wall: Callable[[], float]
    evidence_bytes: int = 0
    """The most bytes of an opened alert together with its evidence. Beyond it the alert is sent without evidence; 0
    means always without."""

    def alert(self, owned: Owned, alert: Alert, published: str) -> Outgoing:
        """Return the record of one pending alert, with its evidence if there is any and it fits."""
        record = self.encode(alert, self.name, published)
        evidence = owned.pending.evidence.get(alert.alert_id) if alert.event is Event.OPEN else None
        if evidence is None or not self.evidence_bytes:
            return record
        return with_evidence(record, owned.make, evidence, self.evidence_bytes)

    def digest(self, held_back: int, at: Sequence[Owned], published: str) -> Outgoing:
        """Return a record for the alert topic that says how many alerts the cap held back. `at` are the partitions
        concerned; the name and position of the first one become part of the record's id."""
        place = "/".join(str(part) for owned in at[:1] for part in (*owned.partition, owned.position))
        return encode_digest(held_back, place, self.name, published)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A commit, and what it settles once it is visible."""

    commit: Commit
    partitions: tuple[Owned, ...]
    written: Mapping[Partition, Collection[int]]
    alerts: tuple[Alert, ...]
    ahead: tuple[tuple[Alert, SentAhead], ...]
    """Alerts that were sent ahead of this commit, each with what the transport reports about it."""
    digest: bool
    without_evidence: int
    """Number of opened alerts whose evidence did not fit."""

    def made(self) -> None:
        """Make every record of the commit now; snapshot records are otherwise made only when they are asked for
        (`Unfolding`)."""
        for records in self.commit.snapshots.values():
            len(records)

    def visible(self, wall: float) -> Iterator[tuple[Alert, float]]:
        """Yield each alert of the commit with the time since which it is visible, in epoch seconds. For alerts that
        were not sent ahead this is `wall`."""
        yield from ((alert, one.visible) for alert, one in self.ahead)
        yield from ((alert, wall) for alert in self.alerts)

    def settle(self) -> None:
        """Update the partitions once the commit is visible."""
        for owned in self.partitions:
            if self.digest:
                owned.unreported = 0
            owned.settle(sorted(self.written.get(owned.partition, ())))


def prepare(
    partitions: Iterable[Owned],
    buckets: Mapping[Partition, Collection[int]],
    outbox: Outbox,
    *,
    snapshots: bool,
    digest: bool,
) -> Prepared:
    """Return a commit of everything pending of these (live) partitions, with these buckets of their state. `snapshots`:
    whether it carries snapshots at all. `digest`: whether it carries a digest, if any alerts were held back."""
    mine = tuple(partitions)
    published = iso(outbox.wall())
    sent = [one for owned in mine for one in owned.pending.ahead]
    alerts = tuple(alert for owned in mine for alert in owned.pending.alerts)
    records = [outbox.alert(owned, alert, published) for owned in mine for alert in owned.pending.alerts]
    wanted = sum(len(owned.pending.evidence) for owned in mine) if outbox.evidence_bytes else 0
    without_evidence = wanted - sum(map(carries_evidence, [*records, *(one.record for _, one in sent)]))
    held_back = [owned for owned in mine if owned.unreported]
    digest = digest and bool(held_back)
    if digest:
        records.append(outbox.digest(sum(owned.unreported for owned in held_back), held_back, published))
    commit = Commit(
        positions={owned.partition: owned.position for owned in mine},
        alerts=records,
        dead_letters=[letter for owned in mine for letter in owned.pending.dead_letters],
        snapshots={
            owned.partition: owned.snapshots(sorted(buckets.get(owned.partition, ())), reported=digest)
            for owned in mine
        }
        if snapshots
        else {},
        ahead=[one for _, one in sent],
    )
    return Prepared(commit, mine, buckets, alerts, tuple(sent), digest, without_evidence)
