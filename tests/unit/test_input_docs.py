"""docs/input.md and docs/alerts.md describe what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from anomaly_daemon.daemon.commit import Outbox
from anomaly_daemon.daemon.metrics import METRICS
from anomaly_daemon.detection.observation import Presence
from anomaly_daemon.transport import alert_codec, packed
from anomaly_daemon.transport.codec import SKIPPED, Reason
from anomaly_daemon.transport.dead_letters import PREFIXED

DOCS = Path(__file__).parents[2] / "docs"
INPUT = (DOCS / "input.md").read_text(encoding="utf-8")
ALERTS = (DOCS / "alerts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_dead_letter_has_its_row(reason: Reason) -> None:
    assert f'`dead_letters_total{{reason="{reason}"}}`' in INPUT


def test_no_other_reason_and_no_other_metric_is_named() -> None:
    assert set(re.findall(r'dead_letters_total{reason="(\w+)"}', INPUT)) == set(Reason)
    named = set(re.findall(r"`(\w+_total)", INPUT))
    assert named <= {metric.name for metric in METRICS}


def test_what_is_passed_over_and_every_presence_has_its_row() -> None:
    for count in SKIPPED:
        assert f'`passed_over_total{{reason="{count}"}}`' in INPUT
    for presence in set(Presence) - {Presence.PRESENT}:
        assert f'`values_total{{presence="{presence.name.lower()}"}}`' in INPUT


def test_the_headers_of_dead_letters_and_alerts_are_listed() -> None:
    assert all(f"`{name}`" in INPUT for name in PREFIXED)
    assert all(f"`{name}`" in ALERTS for name in alert_codec.HEADERS)


def test_the_packed_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", INPUT, re.DOTALL)
    names: dict[str, bytes] = {}
    exec(code, names)
    found = packed.decode(names["message"], features=2, most=10)
    assert (found.keys, found.values_ND.tolist()) == (("p7", "p8"), [[1.5, 20.0], [1.6, 20.1]])


def test_the_example_alert_is_one() -> None:
    example, _digest, _label = re.findall(r"```json\n(.*?)```", ALERTS, re.DOTALL)
    alert, told = alert_codec.decode(example.encode()), json.loads(example)
    assert (alert.alert_id, alert.event, alert.kind) == (told["alert_id"], told["event"], told["kind"])
    assert not list(Draft202012Validator(alert_codec.json_schema()).iter_errors(told))


def test_the_example_digest_is_one() -> None:
    _alert, example, _label = re.findall(r"```json\n(.*?)```", ALERTS, re.DOTALL)
    told = Outbox("plant", alert_codec.encode, lambda: 0.0).digest(1250, [], "2026-01-02T03:05:00.000000Z")
    assert json.loads(told.value or b"") == json.loads(example)
    assert f"`{dict(told.headers)['ce_type'].decode()}`" in ALERTS


def test_every_field_of_an_alert_is_explained() -> None:
    (table,) = re.findall(r"\| field \| meaning \|\n((?:\|.*\n)+)", ALERTS)
    explained = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines())))
    fields = set(alert_codec.json_schema()["$defs"]["Alert"]["properties"])
    assert explained == fields - {"schema_version", "alert_id"}
