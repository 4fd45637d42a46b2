"""The whole training pipeline: from observations to a calibrated and evaluated model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch

from anomaly_daemon.detection.artifact import Manifest, Model
from anomaly_daemon.detection.network import Cell, Initialization, Layout, NetworkConfig
from anomaly_daemon.detection.normalizer import Normalizer, NormalizerKind
from anomaly_daemon.detection.observation import Observations, Schema
from anomaly_daemon.detection.rules import Rules
from anomaly_daemon.errors import ConfigurationError
from anomaly_daemon.settings import DetectionSettings, Settings, TrainingSettings
from anomaly_daemon.training.calibrate import calibrate, refuse_too_little
from anomaly_daemon.training.checkpoint import Progress, weights
from anomaly_daemon.training.dataset import (
    Cuts,
    Series,
    Vocabulary,
    gather,
    refuse_strangers,
    refuse_unlearned,
    vocabulary,
)
from anomaly_daemon.training.evaluate import evaluate
from anomaly_daemon.training.known import cut_heard, left_out, muted, naming_left_out
from anomaly_daemon.training.loop import ONCE, Course, train
from anomaly_daemon.training.origin import origin
from anomaly_daemon.training.rows import network_rows


def build(
    settings: Settings,
    recorded: Iterable[Observations],
    *,
    name: str,
    course: Course = ONCE,
) -> Model:
    """Build a model: cut the series by time, exclude events in mute windows, train, calibrate on the validation part,
    evaluate on the test part. The same input, seed and machine give the same model to the bit, because nothing in it
    depends on when it was made. Raises ConfigurationError, which says what to change."""
    (series, names), schema = gather(recorded, course.note), settings.stream.schema_()
    refuse_strangers(series, schema)
    quiet, chosen = muted(series, settings.mute_rules(), settings.stream.timezone), settings.training
    with naming_left_out(series, quiet):
        cuts = cut_heard(series, quiet, chosen.validation_share, chosen.test_share)
        kept = left_out(series, quiet)[0]
        refuse_unlearned(kept, schema, cuts, shared=Layout(chosen.layout) is Layout.CHANNEL)
        return fit(settings, kept, names, cuts, name=name, course=course)


def fit(
    settings: Settings,
    series: Sequence[Series],
    names: Mapping[int, str],
    cuts: Cuts,
    *,
    name: str,
    champion: Model | None = None,
    course: Course = ONCE,
) -> Model:
    """Do the work of `build` for series with known cuts. With `champion`, training continues from its weights, with its
    shape, vocabulary and normaliser, so that the two models can be compared."""
    chosen, schema, rules = settings.training, settings.stream.schema_(), score_rules(settings.detection)
    if not schema.numeric:
        raise ConfigurationError("training needs a numeric feature: name one in stream.numeric")
    shape = _as_the_champion(champion, chosen) if champion else _as_chosen(chosen, schema, series, names, cuts)
    used = _as_used(chosen, shape, champion)
    if champion and (ignored := _ignored(chosen, used)):
        course.note(f"{ignored}: retraining keeps the champion's network; `train` makes a new one")
    held_out = [one.window(stop=one.start_of(cuts.test)) for one in series]
    refuse_too_little(shape.config, schema, rules, held_out, cuts.validation)
    normalizer = Normalizer(shape.normalizer, rules.adaptation_events)
    rows = network_rows(series, schema, shape.words, normalizer, shape.config.layout)
    digest = champion.digest if champion else None
    of = origin(series, schema, rules.adaptation_events, shape.words, cuts, digest)
    network, progress = train(shape.config, chosen, rows, cuts, course, start=shape.start, origin=of)
    record = _record(used, series, cuts, progress) | {"metrics": evaluate(network, rows, cuts, chosen.window)}
    manifest = Manifest(
        name,
        f"{instant(max(int(one.time_T[-1]) for one in series)):%Y%m%dT%H%M%SZ}",
        shape.config,
        shape.normalizer,
        schema if shape.config.layout is Layout.JOINT else None,
        shape.words,
        record | ({"champion": digest} if digest else {}),
    )
    return Model(manifest, network, calibrate(network, manifest, schema, rules, held_out, cuts.validation, course.tell))


@dataclass(frozen=True, slots=True)
class Shape:
    """What defines a network before it has learned from this input."""

    config: NetworkConfig
    words: Vocabulary
    normalizer: NormalizerKind
    start: Mapping[str, torch.Tensor] | None = None
    """The initial weights; None for those that the seed gives."""


def _as_chosen(
    chosen: TrainingSettings, schema: Schema, series: Sequence[Series], names: Mapping[int, str], cuts: Cuts
) -> Shape:
    limits = {"before": cuts.validation, "min_count": chosen.min_count, "max_classes": chosen.max_classes}
    joint = Layout(chosen.layout) is Layout.JOINT
    words = vocabulary(series, schema, names, **limits) if joint else {}
    return Shape(network_config(chosen, schema, words), words, NormalizerKind(chosen.normalizer))


def _as_the_champion(champion: Model, chosen: TrainingSettings) -> Shape:
    """Return the champion's shape and weights. Only dropout may come from the settings, because it is not part of what
    the champion has learned."""
    manifest, stated = champion.manifest, "dropout" in chosen.model_fields_set
    words = {field: list(texts) for field, texts in manifest.vocabulary.items()}
    config = replace(manifest.network, dropout=chosen.dropout) if stated else manifest.network
    return Shape(config, words, manifest.normalizer, weights(champion.network))


def _as_used(chosen: TrainingSettings, shape: Shape, champion: Model | None) -> dict[str, Any]:
    """Return the settings of this training as the manifest records them. With a champion, the keys that its network
    determines have the champion's values, because the manifest must state what was really used."""
    used = chosen.model_dump(mode="json")
    if champion is None:
        return used
    made: Any = champion.manifest.training.get("settings")
    counted = {
        key: made[key] if isinstance(made, Mapping) and key in made else None for key in ("min_count", "max_classes")
    }
    network = {key: one for key, one in asdict(shape.config).items() if key in used}
    own: dict[str, Any] = json.loads(json.dumps(network | counted | {"normalizer": shape.normalizer}))
    return used | own


def _ignored(chosen: TrainingSettings, used: Mapping[str, Any]) -> str:
    """Describe the settings that were given explicitly but have no effect, each with the value that is used instead."""
    stated = chosen.model_dump(mode="json", include=chosen.model_fields_set)
    ignored = [f"training.{key} is {used[key]}, not {stated[key]}" for key in stated if stated[key] != used[key]]
    return "; ".join(ignored)


def network_config(chosen: TrainingSettings, schema: Schema, words: Vocabulary) -> NetworkConfig:
    """Return the network configuration that follows from the settings, the schema and the vocabulary."""
    joint = Layout(chosen.layout) is Layout.JOINT
    return NetworkConfig(
        layout=Layout(chosen.layout),
        cell=Cell(chosen.cell),
        layers=chosen.layers,
        hidden=chosen.hidden,
        head=tuple(chosen.head),
        values=len(schema.numeric) if joint else 1,
        classes=tuple(len(words[field]) + 1 for field in schema.categorical) if joint else (),
        embedding=chosen.embedding,
        reconstruct=chosen.reconstruct,
        dropout=chosen.dropout,
        initialization=Initialization(chosen.initialization),
    )


def score_rules(detection: DetectionSettings) -> Rules:
    """Return the rules that determine the evidence, and therefore the calibration. The other rules only determine what
    is done about the evidence. All kinds of evidence are calibrated, whichever of them this operator selects, because
    another operator of the model may select others."""
    return Rules(
        prediction_weight=detection.prediction_weight,
        grace_events=detection.grace_events,
        adaptation_events=detection.adaptation_events,
        window_events=detection.window_events,
        shared_events=detection.shared_events,
    )


def _record(used: dict[str, Any], series: Sequence[Series], cuts: Cuts, progress: Progress) -> dict[str, Any]:
    """Return what the manifest records about the training."""
    first, last = min(int(one.time_T[0]) for one in series), max(int(one.time_T[-1]) for one in series)
    instants = {"start": first, "validation": cuts.validation, "test": cuts.test, "end": last}
    return {
        "range": {name: instant(time).isoformat() for name, time in instants.items()},
        "streams": len(series),
        "events": sum(map(len, series)),
        "settings": used,
        "best_epoch": progress.best,
        "cut_short": progress.cut_short,
        "curve": [asdict(epoch) for epoch in progress.curve],
        "torch": torch.__version__,
    }


def instant(time: int) -> datetime:
    """Convert epoch microseconds to a UTC datetime."""
    return datetime.fromtimestamp(time / 1e6, UTC)
