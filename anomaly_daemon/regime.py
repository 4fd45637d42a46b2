"""What decides about a partition's records: the operator's rules, and the detectors of every regime once in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from anomaly_daemon.checkpoint.ledger import Regime
from anomaly_daemon.compute import placement_of
from anomaly_daemon.configuration import config_digest
from anomaly_daemon.detection.artifact import Model, pack, unpack
from anomaly_daemon.detection.detector import Detector
from anomaly_daemon.detection.observation import OPERATORS, Direction, Numeric, Schema
from anomaly_daemon.detection.rules import DurationRule, EpisodeRule, Rules, SchemaRule, SilenceRule
from anomaly_daemon.errors import Incompatible
from anomaly_daemon.settings import Settings
from anomaly_daemon.transport.ports import Partition

FIELDS = "fields"
"""The key in a regime's rules for the operator's decisions about numeric fields."""


@dataclass(frozen=True)
class PartitionDetectors:
    """Makes the detectors of partitions, as `daemon.regimes.Detectors` requires. Those of one model share the network's
    weights, but no state."""

    settings: Settings
    model: Model

    @cached_property
    def regime(self) -> Regime:
        return Regime(0, self.model.digest, decisions_of(self.settings))

    @cached_property
    def artifact(self) -> bytes:
        return pack(self.model)

    def ours(self, partition: Partition) -> Detector:
        return self.under(partition, self.model, rules_of(self.settings))

    def of(self, partition: Partition, regime: Regime, artifact: bytes) -> Detector:
        try:
            rules, schema = stored_rules(regime.rules, self.settings.stream.schema_())
        except (TypeError, ValueError) as error:
            raise Incompatible(
                f"the stored rules are of another release ({error}): let the release that wrote them stop "
                "cleanly first, or start from scratch with a new snapshot.topic and kafka.group_id"
            ) from error
        return self.under(partition, unpack(artifact), rules, schema)

    def under(self, partition: Partition, model: Model, rules: Rules, schema: Schema | None = None) -> Detector:
        """Return a detector with any model and any rules. `schema` is given for an earlier regime: it has the
        directions and floors that the fields had then."""
        settings = self.settings
        schema = schema or settings.stream.schema_()
        digest, labels = config_digest(settings), settings.stream.labels
        place, buckets = placement_of(settings), settings.snapshot.buckets
        return Detector(model, schema, rules, *partition, digest, labels, buckets, place)


def rules_of(settings: Settings) -> Rules:
    """Return the operator's decisions about detection."""
    detection, limits = settings.detection, settings.limits
    return Rules(
        alarms_per_day=detection.budget.alarms_per_stream_per_day,
        prediction_weight=detection.prediction_weight,
        grace_events=detection.grace_events,
        adaptation_events=detection.adaptation_events,
        window_events=detection.window_events,
        shared_events=detection.shared_events,
        evidence=tuple(dict.fromkeys(detection.evidence)),
        accept_late=settings.stream.late == "accept",
        max_streams=limits.streams,
        idle_stream_seconds=limits.idle_stream_seconds,
        episode=EpisodeRule(**detection.episode.model_dump()),
        silence=SilenceRule.of_mapping(detection.silence.model_dump()),
        stuck=DurationRule(**detection.stuck.model_dump()),
        schema_change=SchemaRule(**detection.schema_change.model_dump()),
        mute=settings.mute_rules(),
    )


def decisions_of(settings: Settings) -> dict[str, Any]:
    """Return the operator's decisions as a regime stores them; `stored_rules` reads them back. A field with default
    direction and floors is omitted. So a configuration without them gives the same as a release that did not store
    them, and an upgrade is not a change of rules."""
    usual = Numeric("")
    by_field = {
        one.name: {name: getattr(one, name) for name in OPERATORS}
        for one in settings.stream.schema_().numeric
        if any(getattr(one, name) != getattr(usual, name) for name in OPERATORS)
    }
    return rules_of(settings).as_mapping() | ({FIELDS: by_field} if by_field else {})


def stored_rules(stored: Mapping[str, Any], schema: Schema) -> tuple[Rules, Schema]:
    """Return the stored rules, and this schema with the directions and floors that were stored with them. Raises
    TypeError or ValueError for anything but a result of `decisions_of`."""
    by_field = dict(stored.get(FIELDS, {}))
    numeric = tuple(Numeric(one.name, one.transform, **_typed(by_field.pop(one.name, {}))) for one in schema.numeric)
    if by_field:
        raise ValueError(f"unknown fields: {', '.join(sorted(by_field))}")
    rules = Rules.of_mapping({name: value for name, value in stored.items() if name != FIELDS})
    return rules, replace(schema, numeric=numeric)


def _typed(decisions: Any) -> dict[str, Any]:
    return {name: Direction(value) if name == "direction" else float(value) for name, value in dict(decisions).items()}
