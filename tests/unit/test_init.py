"""`init` from the command line: the configuration that it writes can be loaded, and it overwrites nothing without being
asked."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anomaly_daemon.cli import main
from anomaly_daemon.configuration import load
from anomaly_daemon.errors import ExitCode
from anomaly_daemon.settings import LimitSettings
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.files import FilesSource
from anomaly_daemon.transport.kafka.sockets import PROXY_URL

START = 1_700_000_000
ROWS = [{"ts": START + n, "sensor": f"s{n % 3}", "temp": n * 0.25, "mode": "ab"[n % 2]} for n in range(60)]


def csv(folder: Path) -> Path:
    path = folder / "readings.csv"
    path.write_text("ts,sensor,temp,mode\n" + "".join(",".join(map(str, row.values())) + "\n" for row in ROWS))
    return path


def json_lines(folder: Path) -> Path:
    path = folder / "readings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def parquet(folder: Path) -> Path:
    path = folder / "readings.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("make", [csv, json_lines, parquet])
def test_the_written_configuration_loads_and_reads_every_record(make: Any, tmp_path: Path) -> None:
    path, output = make(tmp_path), tmp_path / "out.yaml"
    assert main(["init", str(path), "--output", str(output)]) == ExitCode.OK
    read = load(output, environment={})
    assert (read.source.paths, read.stream.key, read.stream.time) == ([str(path)], ["sensor"], "ts")
    source = FilesSource(read.source.paths, read.stream)
    source.subscribe(Resumes(source))
    (batch,) = source.poll(1.0)
    decoded = Decoder(read.stream, LimitSettings()).decode(batch)
    assert decoded.rejected == ()
    assert (len(decoded.observations), decoded.observations.keys) == (60, ("s0", "s1", "s2"))
    assert (decoded.observations.presence_ND == 0).all()
    source.close()


class Resumes:
    def __init__(self, source: FilesSource) -> None:
        self.assigned = source.resume
        self.revoked = self.lost = source.pause


def test_an_output_that_is_there_is_kept_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.yaml"
    output.write_text("mine")
    command = ["init", str(csv(tmp_path)), "--output", str(output)]
    assert main(command) == ExitCode.USAGE
    assert "--force" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert main([*command, "--force"]) == ExitCode.OK
    assert "stream:" in output.read_text()


def test_a_dash_prints_the_configuration_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(csv(tmp_path)), "-o", "-"]) == ExitCode.OK
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load(printed, environment={}).stream.format == "csv"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], ExitCode.USAGE, "give either a file or --topic"),
        (["x.csv", "--topic", "y"], ExitCode.USAGE, "give either a file or --topic"),
        (["absent.csv"], ExitCode.NO_INPUT, "absent.csv"),
        (["absent.parquet"], ExitCode.NO_INPUT, "absent.parquet"),
        (["folder.parquet"], ExitCode.NO_INPUT, "folder.parquet: this is a folder"),
    ],
)
def test_what_cannot_be_sampled_is_said(
    arguments: list[str],
    code: ExitCode,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.parquet").mkdir()
    assert main(["init", *arguments, "-o", str(tmp_path / "out.yaml")]) == code
    assert says in capsys.readouterr().err


def test_a_file_without_a_time_is_told_of_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("level\n" + "".join(f"{n}.5\n" for n in range(40)))
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml"), "--records", "20"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert ": 20 records of 1 stream looked at" in said
    assert "no time field was found: set stream.time first" in said
    assert load(tmp_path / "out.yaml", environment={}).name == "readings"
    assert main(["init", str(csv(tmp_path)), "-o", str(tmp_path / "timed.yaml")]) == ExitCode.OK
    assert "no time field was found" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("head", "program"), [("level\n", '{print (NR == 1 ? "row" : NR - 2) "," $0}'), ("", '{print NR - 1 "," $0}')]
)
def test_where_nothing_tells_the_time_a_command_numbers_the_records(
    head: str, program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, numbered = tmp_path / "readings.csv", tmp_path / "numbered.csv"
    path.write_text(head + "".join(f"{n % 7}.5\n" for n in range(40)))
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.OK
    assert (
        f"if no field holds the time, number the records, and run init again on NEW: awk '{program}' FILE > NEW"
        in capsys.readouterr().out
    )
    numbered.write_bytes(subprocess.run(["awk", program, str(path)], capture_output=True, check=True).stdout)
    assert main(["init", str(numbered), "-o", str(tmp_path / "new.yaml")]) == ExitCode.OK
    assert "counts up, from 0 to 39: as stream.time, with stream.time_unit s" in capsys.readouterr().out


def test_of_columns_that_spaces_part_a_command_makes_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, parted = tmp_path / "readings.txt", tmp_path / "parted.csv"
    path.write_text("  ts  host  cpu\n" + "".join(f"{START + n}  h1  {n / 7:.2f}\n" for n in range(40)))
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.NO_INPUT
    program = "{$1 = $1} 1"
    assert (
        f"columns separated by spaces cannot be read; to convert the file: awk -v OFS=';' '{program}' FILE > NEW"
        in capsys.readouterr().err
    )
    command = ["awk", "-v", "OFS=;", program, str(path)]
    parted.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    assert main(["init", str(parted), "-o", str(tmp_path / "out.yaml")]) == ExitCode.OK
    assert [feature.name for feature in load(tmp_path / "out.yaml", environment={}).stream.numeric] == ["cpu"]


def test_a_file_whose_times_are_written_in_an_unknown_way_is_told_how_to_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("when,level\n" + "".join(f"day 3 at {n},{n}.5\n" for n in range(40)))
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.OK
    said = capsys.readouterr().out
    assert '"when" may hold the time, judging by its name: describe how times like day 3 at 0 are written' in said
    assert "are written with stream.time_format" in said


@pytest.mark.parametrize("content", ["", "time,level\n"])
def test_a_file_without_a_record_is_called_so(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "readings.csv"
    path.write_text(content)
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.NO_INPUT
    assert "readings.csv: there is no record in it" in capsys.readouterr().err


def test_lines_of_another_encoding_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("time,ort,level\n" + "".join(f"{START + n},München,{n}.5\n" for n in range(40)), "latin-1")
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.OK
    assert "40 records are not UTF-8, and cannot be read: iconv" in capsys.readouterr().out


def test_no_more_records_are_looked_at_than_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for make in (csv, json_lines):
        assert main(["init", str(make(tmp_path)), "-o", str(tmp_path / "o.yaml"), "--force", "--records", "20"]) == 0
        assert ": 20 records of 3 streams" in capsys.readouterr().out


def test_a_file_with_nothing_to_watch_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"note": "a"}\n')
    assert main(["init", str(path), "-o", "-"]) == ExitCode.NO_INPUT
    assert "none of the fields of the 1 records read is usable as a feature" in capsys.readouterr().err


def test_why_a_key_was_taken_is_said_and_what_may_merge_streams_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "readings.csv", tmp_path / "out.yaml"
    path.write_text("ts,Machine ID,temp\n" + "".join(f"{START + n // 3},A{n % 3},{n % 7}.5\n" for n in range(90)))
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.OK
    assert 'the streams are told apart by "Machine ID": its name says so\n' in capsys.readouterr().out
    assert '  key: ["Machine ID"]  # seen: 3 streams, such as A0, A1, A2; its name says so\n' in output.read_text()
    path.write_text("ts,temp\n" + "".join(f"{START + n // 3},{n % 7}.5\n" for n in range(90)))
    assert main(["init", str(path), "-o", "-"]) == ExitCode.OK
    printed = capsys.readouterr()
    said = "3.0 records of one stream share each time, on average, and no field tells them apart"
    assert printed.err.startswith(said)
    assert f"# Look at this first: {said}" in printed.out


def test_standard_input_is_sampled_as_a_file_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.yaml"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(csv(tmp_path).read_bytes())))
    assert main(["init", "-", "-o", str(output)]) == ExitCode.OK
    read = load(output, environment={})
    assert (read.name, read.source.paths, read.stream.key) == ("stdin", ["-"], ["sensor"])
    assert "from standard input: 60 records" in output.read_text()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(csv(tmp_path).read_bytes()))))
    assert main(["init", "-", "-o", str(output), "--force"]) == ExitCode.NO_INPUT
    assert "standard input: this is gzip" in capsys.readouterr().err


def test_where_nothing_can_be_watched_the_fields_and_what_is_wrong_with_them_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("ts,id,x\n" + "".join(f"{START + n},a,{n / 7:.2f} bar\n" for n in range(90)))
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.NO_INPUT
    said = capsys.readouterr().err
    assert (
        'none of the fields of the 90 records read is usable as a feature (x: numbers with a unit ("0.00 bar")' in said
    )


def lists(folder: Path) -> Path:
    path = folder / "lists.jsonl"
    path.write_text("".join(json.dumps(ROWS[n : n + 6]) + "\n" for n in range(0, 60, 6)))
    return path


def batches(folder: Path) -> Path:
    path = folder / "batches.jsonl"
    held = [{"gateway": {"id": "g", "readings": ROWS[n : n + 6]}} for n in range(0, 60, 6)]
    path.write_text("".join(json.dumps(one) + "\n" for one in held))
    return path


def influx(folder: Path) -> Path:
    path = folder / "telegraf.influx"
    lines = (
        f'temp,sensor={row["sensor"]} temp={row["temp"]},mode="{row["mode"]}" {row["ts"]}000000000' for row in ROWS
    )
    path.write_text("# from Telegraf\n" + "".join(f"{line}\n" for line in lines))
    return path


def test_a_first_line_that_begins_with_a_name_in_brackets_is_no_json_document(tmp_path: Path) -> None:
    lines = {
        "influx": [f"[cpu],host=h user={n / 7} {START + n}000000000" for n in range(60)],
        "csv": ["[at],temp", *(f"{START + n},{n / 7}" for n in range(60))],
    }
    for form, written in lines.items():
        path, output = tmp_path / f"sample.{form}", tmp_path / f"{form}.yaml"
        path.write_text("".join(f"{line}\n" for line in written))
        assert main(["init", str(path), "--output", str(output)]) == ExitCode.OK
        assert load(output, environment={}).stream.format == form
        assert main(["validate", "--config", str(output)]) == ExitCode.OK


@pytest.mark.parametrize(
    ("make", "settings", "key", "time", "numeric"),
    [
        (lists, ("json", "."), ["sensor"], "ts", "temp"),
        (batches, ("json", "gateway.readings"), ["sensor"], "ts", "temp"),
        (influx, ("influx", None), ["tags.sensor"], "timestamp", "fields.temp"),
    ],
)
def test_messages_of_several_records_are_recognised(
    make: Any, settings: tuple[str, str | None], key: list[str], time: str, numeric: str, tmp_path: Path
) -> None:
    path, output = make(tmp_path), tmp_path / "out.yaml"
    assert main(["init", str(path), "--output", str(output)]) == ExitCode.OK
    stream = load(output, environment={}).stream
    assert (stream.format, stream.unnest) == settings
    assert (stream.key, stream.time, [one.name for one in stream.numeric]) == (key, time, [numeric])
    assert main(["validate", "--config", str(output)]) == ExitCode.OK


def scrape(at: int) -> dict[str, Any]:
    """Return a message of OpenTelemetry: a gauge and a counter of one of two hosts."""

    def points(value: float) -> list[Any]:
        state = {"key": "state", "value": {"stringValue": "used"}}
        return [{"timeUnixNano": f"{START + at}000000000", "asDouble": value, "attributes": [state]}]

    metrics = [
        {"name": "mem", "gauge": {"dataPoints": points(at % 7 / 3)}},
        {"name": "io", "sum": {"isMonotonic": True, "aggregationTemporality": 2, "dataPoints": points(at * 3.5)}},
    ]
    host = {"attributes": [{"key": "host.name", "value": {"stringValue": f"h{at % 2}"}}]}
    return {"resourceMetrics": [{"resource": host, "scopeMetrics": [{"scope": {}, "metrics": metrics}]}]}


def assert_of_scrapes(output: Path, form: str) -> None:
    stream = load(output, environment={}).stream
    assert (stream.format, stream.shape, stream.key) == (form, "long", ["resource.host.name"])
    transforms = {one.name: str(one.transform) for one in stream.numeric}
    assert transforms == {"io{state=used}": "rate", "mem{state=used}": "none"}


def test_opentelemetry_is_recognised_and_its_counters_are_known(tmp_path: Path) -> None:
    path, output = tmp_path / "otlp.jsonl", tmp_path / "out.yaml"
    path.write_text("".join(json.dumps(scrape(at)) + "\n" for at in range(90)))
    assert main(["init", str(path), "--output", str(output)]) == ExitCode.OK
    assert_of_scrapes(output, "otlp_json")
    assert main(["validate", "--config", str(output)]) == ExitCode.OK


@pytest.mark.kafka
def test_a_topic_of_opentelemetry_in_protobuf_is_recognised(
    kafka_broker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from google.protobuf.json_format import ParseDict
    from kafka import KafkaProducer
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

    topic, output = kafka_broker.topic("init"), tmp_path / "out.yaml"
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    for at in range(90):
        producer.send(topic, ParseDict(scrape(at), MetricsData()).SerializeToString())
    producer.close()
    words = ["init", "--topic", topic, "--set", f"kafka.bootstrap_servers={kafka_broker.bootstrap}"]
    assert main([*words, "-o", str(output)]) == ExitCode.OK
    assert "UTF-8" not in capsys.readouterr().out
    assert_of_scrapes(output, "otlp_proto")
    assert main(["validate", "--config", str(output), "--online"]) == ExitCode.OK
    assert "90 records checked: 90 events of 2 streams" in capsys.readouterr().out


def test_where_the_values_are_in_lists_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = {"loads": [{"a": 1.5}, 3], "tags": {"all": ["a"]}}
    path = tmp_path / "loads.jsonl"
    path.write_text(f"{json.dumps(points)}\n" * 90)
    assert main(["init", str(path), "-o", str(tmp_path / "out.yaml")]) == ExitCode.NO_INPUT
    said = capsys.readouterr().err
    assert "loads: a list, of which only single elements can be named: see docs/input.md" in said
    assert "tags.all: a list" in said


@pytest.mark.kafka
@pytest.mark.parametrize("key", [None, b"pump"])
def test_of_a_topic_without_keys_it_says_that_its_records_would_be_dead_letters(
    kafka_broker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: bytes | None
) -> None:
    from kafka import KafkaProducer

    topic, output = kafka_broker.topic("init"), tmp_path / "out.yaml"
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    for at in range(60):
        producer.send(topic, json.dumps({"time": START + 60 * at, "level": 20 + at % 7}).encode(), key=key)
    producer.close()
    told = ["init", "--topic", topic, "--set", f"kafka.bootstrap_servers={kafka_broker.bootstrap}"]
    assert main([*told, "--output", str(output)]) == 0
    assert ("becomes a dead letter. Name fields in stream.key" in capsys.readouterr().out) == (key is None)
    assert "key: []" in output.read_text()


@pytest.mark.kafka
def test_a_topic_of_lists_is_unnested(kafka_broker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kafka import KafkaProducer

    topic, output = kafka_broker.topic("init"), tmp_path / "out.yaml"
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    for n in range(30):
        records = [{"host": host, "load": n / 7, "values": [n], "ts": START + n} for host in "ab"]
        producer.send(topic, json.dumps(records).encode(), key=b"gateway")
    producer.close()
    told = ["init", "--topic", topic, "--set", f"kafka.bootstrap_servers={kafka_broker.bootstrap}"]
    assert main([*told, "-o", str(output)]) == ExitCode.OK
    stream = load(output, environment={}).stream
    assert (stream.unnest, stream.time, [one.name for one in stream.numeric]) == (".", "ts", ["load", "values.0"])
    assert main(["validate", "--config", str(output), "--online"]) == ExitCode.OK
    assert "30 records checked: 60 events" in capsys.readouterr().out


@pytest.mark.kafka
def test_a_topic_is_sampled_with_its_record_keys(kafka_broker: Any, tmp_path: Path) -> None:
    from kafka import KafkaProducer

    topic, output = kafka_broker.topic("init"), tmp_path / "out.yaml"
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    for row in ROWS:
        producer.send(topic, json.dumps({"temp": row["temp"]}).encode(), str(row["sensor"]).encode())
    producer.close()
    broker = f"kafka.bootstrap_servers={kafka_broker.bootstrap}"
    assert main(["init", "--topic", topic, "--set", broker, "-o", str(output)]) == ExitCode.OK
    read = load(output, environment={})
    assert (read.source.topic, read.stream.key, read.stream.time) == (topic, [], None)
    assert read.kafka.bootstrap_servers == kafka_broker.bootstrap
    assert "3 streams" in output.read_text()
    ours = (read.name, read.kafka.group_id, read.sink.alerts_topic, read.sink.dead_letter_topic, read.snapshot.topic)
    assert ours == (topic, topic, f"{topic}-alerts", f"{topic}-dead-letters", f"{topic}-snapshots")


@pytest.mark.kafka
@pytest.mark.parametrize("keyed", [True, False])
def test_the_names_that_records_bring_in_a_header_are_taken(kafka_broker: Any, tmp_path: Path, keyed: bool) -> None:
    from kafka import KafkaProducer

    topic, output = kafka_broker.topic("columns"), tmp_path / "out.yaml"
    producer = KafkaProducer(proxy_url=PROXY_URL, bootstrap_servers=kafka_broker.bootstrap)
    for number in range(40):
        line = f"{START + number},{number}.5".encode()
        producer.send(topic, line, b"p" if keyed else None, [("csv_columns", b"time,level")])
        if number % 4 == 0:
            other = f"{number}.5,{START + number}".encode()
            producer.send(topic, other, b"p" if keyed else None, [("csv_columns", b"level,time")])
    producer.close()
    broker = f"kafka.bootstrap_servers={kafka_broker.bootstrap}"
    assert main(["init", "--topic", topic, "--set", broker, "-o", str(output)]) == ExitCode.OK
    stream = load(output, environment={}).stream
    assert (stream.time, [one.name for one in stream.numeric], stream.csv.columns) == ("time", ["level"], None)


def payments(cards: int, each: int) -> str:
    """Return payments of cards at irregular times, from cents to thousands, with a refund now and then."""
    rng = np.random.default_rng(7)
    events = [
        (START + float(at), {"card": f"411111111111111{card % 10}-{card}", "amount": amount, "mcc": 5400 + card % 7})
        for card in range(cards)
        for at, amount in zip(
            np.cumsum(rng.exponential(40_000, each)),
            np.round(np.exp(rng.normal(3, 1.3, each)), 2).tolist(),
            strict=True,
        )
    ]
    for n in range(0, len(events), 50):
        events[n][1]["amount"] = -events[n][1]["amount"]
    return "".join(json.dumps({"time": at, **told}) + "\n" for at, told in sorted(events, key=lambda event: event[0]))


def test_payments_are_judged_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "payments.jsonl", tmp_path / "payments.yaml"
    path.write_text(payments(cards=60, each=20))
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.OK
    assert "taken for payments, each of which is judged separately" in capsys.readouterr().out
    settings = load(output)
    (amount,) = settings.stream.numeric
    assert (amount.name, amount.transform, amount.direction) == ("amount", "log", "above")
    assert list(settings.stream.categorical) == ["mcc"]
    like = load(Path(__file__).parents[2] / "configs" / "transactions.yaml")
    for name in ("evidence", "prediction_weight", "window_events", "episode", "budget", "silence", "stuck"):
        assert getattr(settings.detection, name) == getattr(like.detection, name), name
    assert (settings.limits, settings.stream.late) == (like.limits, like.stream.late)


@pytest.mark.parametrize("name", ["card", "card.pan.token", "customer_id", "Account Number"])
def test_a_card_names_the_stream_though_hardly_any_comes_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """These are the first records of a topic of a million cards."""
    path, output = tmp_path / "payments.jsonl", tmp_path / "payments.yaml"
    rows = [json.loads(line) for line in payments(cards=300, each=1).splitlines()]
    path.write_text(
        "".join(json.dumps({**row, "card": None, name: f"41111111{n:08d}"}) + "\n" for n, row in enumerate(rows))
    )
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.OK
    assert "taken for payments" in capsys.readouterr().out
    settings = load(output)
    assert (list(settings.stream.key), [field.name for field in settings.stream.numeric]) == ([name], ["amount"])


def test_readings_that_come_by_the_clock_are_no_payments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "meters.jsonl", tmp_path / "meters.yaml"
    rows = [json.loads(line) for line in payments(cards=60, each=20).splitlines()]
    by_the_clock = [{**row, "time": START + 3600 * (n // 60), "card": f"m{n % 60}"} for n, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in by_the_clock))
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.OK
    assert "payments" not in capsys.readouterr().out.replace(str(tmp_path), "")
    assert "evidence" not in output.read_text()
    assert "silence" not in output.read_text()


def test_no_card_number_is_written_into_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "payments.jsonl", tmp_path / "payments.yaml"
    path.write_text(
        "".join(f'{{"card": "4111111111111111", "time": {START + 60 * n}, "amount": {n}.5}}\n' for n in range(40))
    )
    assert main(["init", str(path), "-o", str(output)]) == ExitCode.OK
    written = output.read_text() + capsys.readouterr().out
    assert ("4111111111111111" in written, "411111******1111" in written) == (False, True)


def test_as_many_rows_of_parquet_are_looked_at_as_were_asked_for(tmp_path: Path) -> None:
    path, output = tmp_path / "readings.parquet", tmp_path / "out.yaml"
    pq.write_table(pa.Table.from_pylist([{"ts": START + n, "temp": n % 7 * 0.25} for n in range(10_000)]), path)
    assert main(["init", str(path), "--records", "9000", "--output", str(output)]) == ExitCode.OK
    assert ": 9000 records." in output.read_text(encoding="utf-8")
