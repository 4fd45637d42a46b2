"""The files transport beyond the contract: headers, pipes, Parquet, long lines, and what is cut off at a restart."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import resource
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anomaly_daemon.cli import main
from anomaly_daemon.errors import ConfigurationError, ExitCode, Incompatible, NoInput, NotPermitted, Unavailable
from anomaly_daemon.settings import LimitSettings, StreamSettings
from anomaly_daemon.transport import files_state
from anomaly_daemon.transport.avro_rows import AvroRows
from anomaly_daemon.transport.codec import Decoder
from anomaly_daemon.transport.files import FilesDelivery, FilesSource
from anomaly_daemon.transport.files_state import FilesState, Output
from anomaly_daemon.transport.line_reader import Lines
from anomaly_daemon.transport.opening import refuse_foreign
from anomaly_daemon.transport.ports import Commit, Outgoing, Partition, RecordBatch

JSON = StreamSettings(numeric=["a"])
CSV = StreamSettings(format="csv", numeric=["a"], time="t")


class Resumes:
    """A listener that resumes each partition at once."""

    def __init__(self, source: FilesSource, seek: int | None = None) -> None:
        self.source, self.to = source, seek

    def assigned(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            if self.to is not None:
                self.source.seek(partition, self.to)
        self.source.resume(partitions)

    def revoked(self, partitions: Iterable[Partition]) -> None: ...

    def lost(self, partitions: Iterable[Partition]) -> None: ...


def read_all(source: FilesSource, seek: int | None = None) -> list[RecordBatch]:
    source.subscribe(Resumes(source, seek))
    batches: list[RecordBatch] = []
    while not source.exhausted():
        batches += source.poll(1.0)
    source.close()
    return batches


def numbered(batches: Sequence[RecordBatch]) -> list[tuple[int, bytes | None]]:
    return [pair for batch in batches for pair in zip(batch.offsets.tolist(), batch.values, strict=True)]


def file_of(folder: Path, content: bytes, name: str = "pump.csv") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_offsets_are_line_numbers_and_blank_lines_take_one(tmp_path: Path) -> None:
    path = file_of(tmp_path, b'{"a": 1}\r\n\n  \n{"a": 2}')
    batches = read_all(FilesSource([path], JSON))
    assert numbered(batches) == [(0, b'{"a": 1}'), (3, b'{"a": 2}')]
    assert batches[-1].next_offset == 4


def test_a_files_bare_name_is_the_record_key(tmp_path: Path) -> None:
    (batch,) = read_all(FilesSource([file_of(tmp_path, b"1")], JSON))
    assert batch.keys == [b"pump"]


def test_a_csv_files_first_line_names_the_columns_for_the_decoder(tmp_path: Path) -> None:
    path = file_of(tmp_path, b"\xef\xbb\xbft,a\n1700000000,1.5\n1700000001,2.5\n")
    for seek, values in ((None, [[1.5], [2.5]]), (2, [[2.5]])):
        (batch,) = read_all(FilesSource([path], CSV), seek)
        decoded = Decoder(CSV, LimitSettings()).decode(batch)
        assert decoded.observations.values_ND.tolist() == values
        assert decoded.observations.keys == ("pump",)


def test_with_configured_columns_the_first_line_is_a_record(tmp_path: Path) -> None:
    stream = StreamSettings(format="csv", numeric=["a"], csv={"columns": ["t", "a"]})
    assert numbered(read_all(FilesSource([file_of(tmp_path, b"1,2\n")], stream))) == [(0, b"1,2")]


def test_a_batch_is_bounded_and_nothing_is_lost_between_two(tmp_path: Path) -> None:
    lines = [b"%d" % number for number in range(1000)]
    batches = read_all(FilesSource([file_of(tmp_path, b"\n".join(lines))], JSON, max_records=64))
    assert max(map(len, batches)) == 64
    assert numbered(batches) == list(enumerate(lines))


@pytest.mark.parametrize("length", [5, 50, 600_000])
def test_a_line_past_the_limit_is_rejected_and_the_next_one_read(tmp_path: Path, length: int) -> None:
    path = file_of(tmp_path, b"x" * length + b'\n{"a": 2}\n')
    limits = LimitSettings(record_bytes=8)
    batches = read_all(FilesSource([path], JSON, limits=limits))
    decoder = Decoder(StreamSettings(numeric=["a"], time="a"), limits)
    results = [decoder.decode(batch) for batch in batches]
    assert [offset for offset, _ in numbered(batches)] == [0, 1]
    reasons = [rejected.reason for result in results for rejected in result.rejected]
    assert reasons == (["malformed"] if length == 5 else ["too_long"])


def test_the_memory_for_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    path = file_of(tmp_path, b"x" * 2_000_000)
    ((_, value),) = numbered(read_all(FilesSource([path], JSON, limits=LimitSettings(record_bytes=1000))))
    assert value == b"x" * 1001


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"x" * 50, b"x" * 9),
        (b"x" * 8, b"x" * 8),
        (b"x" * 8 + b"\r", b"x" * 8),
        (b"x" * 8 + b"\rx", b"x" * 8 + b"\r"),
        (b"\xef\xbb\xbf" + b"x" * 8 + b"\r", b"x" * 8),
        (b"\xef\xbb\xbf" + b"x" * 8 + b"\rx", b"x" * 8 + b"\r"),
        (b" " * 50 + b"x", b" " * 9),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_line_past_the_limit_is_known_by_its_beginning_however_it_comes(
    line: bytes, value: bytes, at_once: bool
) -> None:
    reading, writing = os.pipe()
    source = FilesSource(["-"], JSON, stdin=reading, limits=LimitSettings(record_bytes=8))
    source.subscribe(Resumes(source))
    found = []
    for part in [line + b"\n"] if at_once else [line, b"\n"]:
        os.write(writing, part)
        found += source.poll(1.0)
    assert numbered(found) == [(0, value)]
    os.close(writing)
    os.close(reading)


def test_a_pipe_gives_lines_as_they_come_and_ends_when_its_writer_does() -> None:
    reading, writing = os.pipe()
    source = FilesSource(["-"], JSON, stdin=reading)
    source.subscribe(Resumes(source))
    assert source.poll(0.0) == []
    os.write(writing, b"1\n2")
    assert numbered(source.poll(1.0)) == [(0, b"1")]
    assert source.poll(0.0) == []
    assert not source.exhausted()
    os.write(writing, b"0\n")
    os.close(writing)
    assert numbered(source.poll(1.0)) == [(1, b"20")]
    source.poll(0.0)
    assert source.exhausted()
    assert source.lag() == {Partition("-", 0): 0}
    os.close(reading)


def test_a_line_is_read_though_more_than_a_thousand_files_are_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    opened = os.open(file_of(tmp_path, b"1\n2\n"), os.O_RDONLY)
    descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 1500)
    os.close(opened)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with closing(Lines(descriptor, header=False, longest=10)) as lines:
        assert lines.read(10, math.inf) == [(0, b"1"), (1, b"2")]


def test_a_pipe_goes_on_counting_where_the_last_commit_stood(tmp_path: Path) -> None:
    state = FilesState(tmp_path)
    state.commit({Partition("-", 0): 7}, {}, {})
    reading, writing = os.pipe()
    os.write(writing, b"1\n")
    os.close(writing)
    source = FilesSource(["-"], JSON, state=state, stdin=reading)
    assert source.beginning(Partition("-", 0)) == 7
    assert numbered(read_all(source, seek=3)) == [(7, b"1")]
    os.close(reading)
    state.close()


def test_a_restart_leaves_out_nothing_that_a_named_pipe_gives(tmp_path: Path) -> None:
    """The lines of a named pipe are new ones, however many were read before."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    state = FilesState(tmp_path / "state")
    state.commit({Partition(str(pipe), 0): 2}, {}, {})
    writer = threading.Thread(target=pipe.write_bytes, args=(b"1\n2\n3\n",))
    writer.start()
    source = FilesSource([str(pipe)], JSON, state=state)
    assert source.beginning(Partition(str(pipe), 0)) == 2
    assert numbered(read_all(source, seek=2)) == [(2, b"1"), (3, b"2"), (4, b"3")]
    writer.join()
    state.close()


def test_input_that_fails_is_named() -> None:
    """As a disk or a network's folder may. The first file is of that kind: there is nothing at its beginning."""
    with pytest.raises(NoInput, match="/proc/self/mem: Input/output error"):
        FilesSource(["/proc/self/mem"], JSON)
    lines = Lines(os.open("/proc/self/mem", os.O_RDONLY), header=False, longest=10, name="a.jsonl")
    with closing(lines), pytest.raises(NoInput, match=r"a\.jsonl: Input/output error"):
        lines.read(1, 0.0)
    reading, writing = os.pipe()
    source = FilesSource(["-"], JSON, stdin=reading)
    os.close(reading)
    with pytest.raises(NoInput, match="standard input: Bad file descriptor"):
        read_all(source)
    os.close(writing)


def test_a_named_pipe_is_read_without_waiting_for_its_writer(tmp_path: Path) -> None:
    """Otherwise nothing else is done until a writer comes, not even what a signal asks for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = FilesSource([str(pipe)], JSON)
    first = threading.Thread(target=lambda: (source.subscribe(Resumes(source)), source.poll(0.0)), daemon=True)
    first.start()
    first.join(timeout=30)
    assert not first.is_alive()
    assert not source.exhausted()
    with pipe.open("wb", buffering=0) as writer:
        writer.write(b"1\n")
        (batch,) = source.poll(math.inf)
        assert (numbered([batch]), source.exhausted()) == ([(0, b"1")], False)
    assert (source.poll(math.inf), source.exhausted()) == ([], True)
    source.close()


def test_no_more_files_are_open_at_once_than_are_being_read(tmp_path: Path) -> None:
    """More files can be listed than a process may have open."""
    names = [f"{n}{end}" for n in range(10) for end in (".jsonl", ".parquet", ".avro")]
    for name in names:
        made = {".parquet": parquet, ".avro": lambda folder, _: container(folder, [{"a": 1}], {"a": "int"})}
        write = made.get(Path(name).suffix)
        Path(write(tmp_path, {"a": [1]}) if write else file_of(tmp_path, b"1\n")).rename(tmp_path / name)
    source = FilesSource([str(tmp_path / name) for name in names], JSON)
    source.subscribe(Resumes(source, 0))
    before, most = len(os.listdir("/proc/self/fd")), 0
    batches: list[RecordBatch] = []
    while not source.exhausted():
        batches += source.poll(1.0)
        most = max(most, len(os.listdir("/proc/self/fd")))
    assert (len(batches), set(source.lag().values())) == (30, {0})
    assert most <= before + 2
    for partition in (batch.partition for batch in batches):
        source.seek(partition, 1)
    assert (source.exhausted(), source.poll(1.0)) == (True, [])
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    source.seek(batches[3].partition, 0)
    assert [numbered([batch]) for batch in source.poll(1.0)] == [numbered([batches[3]])]
    source.close()


def test_files_that_were_read_before_are_not_all_open_at_once(tmp_path: Path) -> None:
    state = FilesState(tmp_path / "state")
    paths = [file_of(tmp_path, b"1\n2\n", f"{n}.jsonl") for n in range(30)]
    state.commit({Partition(path, place): 2 for place, path in enumerate(paths)}, {}, {})
    source, before = FilesSource(paths, JSON, state=state), len(os.listdir("/proc/self/fd"))
    assert read_all(source, 2) == []
    source = FilesSource(paths, JSON, state=state)
    source.subscribe(Resumes(source, 2))
    source.poll(0.0)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    source.close()
    state.close()


def test_a_file_is_known_again_wherever_it_stands_in_the_list(tmp_path: Path) -> None:
    """Otherwise it would be read again, and its alerts published again."""
    first, second, third = (file_of(tmp_path, b"1\n2\n", name) for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    state = FilesState(tmp_path / "state")
    state.commit({Partition(first, 0): 2, Partition(second, 1): 1}, {}, {})
    source = FilesSource([third, second, third], JSON, state=state)
    source.subscribe(Resumes(source))
    source.poll(0.0)
    known = state.numbered([third, second, third])
    assert known == [Partition(third, 2), Partition(second, 1), Partition(third, 3)]
    assert [source.committed(one) for one in known] == [None, 1, None]
    assert state.numbered([second]) == [Partition(second, 1)]
    source.close()
    state.close()


def test_nothing_is_kept_of_a_file_that_is_gone_and_not_listed(tmp_path: Path) -> None:
    """Where each day has a file of its own, the state would otherwise grow forever."""
    folder, there = tmp_path / "state", file_of(tmp_path, b"1\n", "there.jsonl")
    names = [str(tmp_path / "monday.jsonl"), str(tmp_path / "listed.jsonl"), there, "-"]
    state = FilesState(folder)
    partitions = [Partition(name, number) for number, name in enumerate(names)]
    stored = state.write_snapshots({one: [Outgoing(b"bucket", b"state")] for one in partitions})
    state.commit(dict.fromkeys(partitions, 1), {}, stored)
    state.close()
    again = FilesState(folder)
    again.forget_deleted([names[1]])
    assert [again.position(one) for one in partitions] == [None, 1, 1, 1]
    assert len(list(folder.glob("*.snapshot"))) == 4, "until the next commit"
    again.commit({}, {}, again.write_snapshots({}))
    assert [again.load(one) for one in partitions] == [{}, *[{b"bucket": b"state"}] * 3]
    assert len(list(folder.glob("*.snapshot"))) == 3
    again.close()


def test_a_file_that_we_cannot_look_for_is_not_gone(tmp_path: Path) -> None:
    """This happens where its folder may not be entered. In this test its name is too long to be looked up."""
    unknown = Partition(str(tmp_path / ("n" * 300)), 0)
    state = FilesState(tmp_path / "state")
    state.commit({unknown: 7}, {}, state.write_snapshots({}))
    state.forget_deleted([])
    assert state.position(unknown) == 7
    state.close()


def test_without_a_state_files_are_numbered_as_they_are_listed() -> None:
    assert FilesState().numbered(["a", "b", "a"]) == [Partition("a", 0), Partition("b", 1), Partition("a", 2)]


def parquet(folder: Path, columns: dict[str, Any], rows_a_group: int = 3) -> str:
    path = str(folder / "pump.parquet")
    pq.write_table(pa.table(columns), path, row_group_size=rows_a_group)
    return path


def test_parquet_rows_are_json_records(tmp_path: Path) -> None:
    nanoseconds = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC"))
    columns = {
        "t": nanoseconds,
        "day": pa.array([datetime(2024, 1, 2, tzinfo=UTC).date()]),
        "a": pa.array([float("nan")]),
        "price": pa.array([Decimal("1.50")]),
        "half": pa.array([0.5], pa.float16()),
        "kind": pa.array(["x"]).dictionary_encode(),
        "deep": pa.array([{"b": None}], pa.struct([("b", pa.int64())])),
    }
    ((_, value),) = numbered(read_all(FilesSource([parquet(tmp_path, columns)], JSON)))
    assert json.loads(value or b"") == {
        "t": "2023-11-14T22:13:20.123456Z",
        "day": "2024-01-02",
        "a": None,
        "price": 1.5,
        "half": 0.5,
        "kind": "x",
        "deep": {"b": None},
    }


def test_what_python_cannot_hold_of_parquet_costs_no_more_than_itself(tmp_path: Path) -> None:
    not_text = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"x\xff"))
    columns = {
        "t": pa.array([0, 2**62], pa.timestamp("us")),
        "day": pa.array([0, 2**30], pa.int32()).cast(pa.date32()),
        "name": not_text,
        "zone": pa.array([0, 1], pa.timestamp("s", "+05:30")),
        "moon": pa.array([0, 1], pa.timestamp("s", "Moon/Tycho")),
    }
    lines = [
        json.loads(value or b"") for _, value in numbered(read_all(FilesSource([parquet(tmp_path, columns)], JSON)))
    ]
    zones = [{"zone": f"1970-01-01T00:00:0{n}Z", "moon": f"1970-01-01T00:00:0{n}Z"} for n in range(2)]
    assert lines == [
        {"t": "1970-01-01T00:00:00", "day": "1970-01-01", "name": "x"} | zones[0],
        {"t": None, "day": None, "name": None} | zones[1],
    ]


def test_nanoseconds_of_parquet_are_cut_and_decimals_are_numbers_however_deep(tmp_path: Path) -> None:
    at = pa.array([1_001], pa.timestamp("ns"))
    columns = {
        "span": pa.array([1_001], pa.duration("ns")),
        "clock": pa.array([1_001], pa.time64("ns")),
        "deep": pa.StructArray.from_arrays([at, pa.array([Decimal("1.50")])], ["at", "price"]),
        "many": pa.array([[1_001]], pa.list_(pa.timestamp("ns"))),
        "long": pa.array([[Decimal("1.50")]], pa.large_list(pa.decimal128(5, 2))),
        "pair": pa.array([[Decimal("1.50"), None]], pa.list_(pa.decimal128(5, 2), 2)),
        "by name": pa.array([[("a", Decimal("1.50"))]], pa.map_(pa.string(), pa.decimal128(5, 2))),
        "by time": pa.array([[(1_001, 2_001)]], pa.map_(pa.timestamp("ns"), pa.timestamp("ns"))),
    }
    ((_, value),) = numbered(read_all(FilesSource([parquet(tmp_path, columns)], JSON)))
    assert json.loads(value or b"") == {
        "span": "PT0.000001S",
        "clock": "00:00:00.000001",
        "deep": {"at": "1970-01-01T00:00:00.000001", "price": 1.5},
        "many": ["1970-01-01T00:00:00.000001"],
        "long": [1.5],
        "pair": [1.5, None],
        "by name": [["a", 1.5]],
        "by time": [["1970-01-01T00:00:00.000001", "1970-01-01T00:00:00.000002"]],
    }


def test_an_instant_of_parquet_that_microseconds_do_not_hold_is_null(tmp_path: Path) -> None:
    columns = {
        "at": pa.array([-(2**63), 2**63 - 1, 0], pa.timestamp("ms")),
        "zoned": pa.array([-(2**63), 2**63 - 1, 0], pa.timestamp("ms", "Europe/Berlin")),
    }
    lines = [
        json.loads(value or b"") for _, value in numbered(read_all(FilesSource([parquet(tmp_path, columns)], JSON)))
    ]
    assert lines[:2] == [{"at": None, "zoned": None}] * 2
    assert lines[2] == {"at": "1970-01-01T00:00:00", "zoned": "1970-01-01T00:00:00Z"}


def test_parquet_that_is_damaged_within_says_so(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"a": list(range(4096))}, rows_a_group=4096)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:200] + b"\x5a" * 2000 + content[2200:])
    with pytest.raises(NoInput, match=r"pump.parquet: is damaged, and cannot be read past row 0"):
        read_all(FilesSource([path], JSON))


@pytest.mark.parametrize("seek", range(9))
def test_a_parquet_file_is_read_from_any_row(tmp_path: Path, seek: int) -> None:
    path = parquet(tmp_path, {"a": list(range(8))})
    source = FilesSource([path], JSON, max_records=2)
    assert numbered(read_all(source, seek)) == [(row, b'{"a":%d}' % row) for row in range(seek, 8)]


def container(folder: Path, records: list[dict[str, Any]], fields: dict[str, Any]) -> str:
    path = folder / "pump.avro"
    schema = {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    with path.open("wb") as file:
        fastavro.writer(file, schema, records, sync_interval=1)  # one record per block
    return str(path)


def test_records_of_an_avro_container_are_json_records(tmp_path: Path) -> None:
    at, day = {"type": "long", "logicalType": "timestamp-millis"}, {"type": "int", "logicalType": "date"}
    price = {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}
    deep = {"type": "record", "name": "D", "fields": [{"name": "b", "type": ["null", price]}]}
    fields = {"t": at, "day": day, "a": "double", "deep": deep, "many": {"type": "array", "items": "int"}}
    moment = datetime(2024, 1, 2, 3, tzinfo=UTC)
    record = {"t": moment, "day": moment.date(), "a": float("nan"), "deep": {"b": Decimal("1.50")}, "many": [1]}
    ((_, value),) = numbered(read_all(FilesSource([container(tmp_path, [record], fields)], JSON)))
    told = {"t": "2024-01-02T03:00:00Z", "day": "2024-01-02", "a": None, "deep": {"b": 1.5}, "many": [1]}
    assert json.loads(value or b"") == told


@pytest.mark.parametrize(
    ("kind", "logical", "value"),
    [
        ("int", "date", 2**31 - 1),
        ("long", "timestamp-millis", 2**60),
        ("long", "local-timestamp-micros", 2**62),
        ("int", "time-millis", 10**9),
    ],
)
def test_a_time_in_an_avro_container_that_cannot_be_is_null(
    tmp_path: Path, kind: str, logical: str, value: int
) -> None:
    """Such a value used to end the file as damaged."""
    path = container(tmp_path, [{"t": value, "a": 1}], {"t": {"type": kind, "logicalType": logical}, "a": "int"})
    assert numbered(read_all(FilesSource([path], JSON))) == [(0, b'{"t":null,"a":1}')]


def test_text_in_an_avro_container_that_is_not_utf_8_is_null(tmp_path: Path) -> None:
    """As in a Parquet file. Such a text used to end the file as damaged."""
    fields = {"s": "string", "m": {"type": "map", "values": "string"}, "a": "int"}
    records = [{"s": "p\x01", "m": {"q\x01": "p\x01", "x": "\u00e9"}, "a": 1}, {"s": "\u00e9", "m": {}, "a": 2}]
    path = Path(container(tmp_path, records, fields))
    path.write_bytes(path.read_bytes().replace(b"p\x01", b"p\xff").replace(b"q\x01", b"q\xff"))
    first, second = (json.loads(value or b"") for _, value in numbered(read_all(FilesSource([str(path)], JSON))))
    assert (first["s"], first["m"].pop("x"), list(first["m"].values()), first["a"]) == (None, "\u00e9", [None], 1)
    assert second == {"s": "\u00e9", "m": {}, "a": 2}


@pytest.mark.parametrize("seek", range(9))
def test_an_avro_container_is_read_from_any_record(tmp_path: Path, seek: int) -> None:
    source = FilesSource([container(tmp_path, [{"a": n} for n in range(8)], {"a": "int"})], JSON, max_records=2)
    assert numbered(read_all(source, seek)) == [(row, b'{"a":%d}' % row) for row in range(seek, 8)]


def test_an_avro_container_that_holds_less_than_was_read_of_it_is_another(tmp_path: Path) -> None:
    reader = AvroRows(container(tmp_path, [{"a": n} for n in range(8)], {"a": "int"}))
    reader.skip_to(20)
    assert (reader.position, reader.ended()) == (8, True)
    reader.skip_to(7)
    assert (reader.read(9, 0.0), reader.ended()) == ([(7, b'{"a":7}')], True)
    reader.close()


@pytest.mark.parametrize(
    ("kind", "value", "index"),
    [(["int", "null"], None, b"\x02"), ({"type": "enum", "name": "E", "symbols": ["X", "Y"]}, "X", b"\x00")],
)
def test_an_index_below_none_in_an_avro_container_is_damage(
    tmp_path: Path, kind: Any, value: Any, index: bytes
) -> None:
    """It would otherwise be counted from the end, and the record be read as another."""
    path = container(tmp_path, [{"s": "here", "a": value}], {"s": "string", "a": kind})
    content = Path(path).read_bytes()
    assert content.count(b"here" + index) == 1
    Path(path).write_bytes(content.replace(b"here" + index, b"here\x01"))
    with pytest.raises(NoInput, match="is damaged"):
        read_all(FilesSource([path], JSON))


def test_an_index_below_none_of_a_type_that_is_named_again_in_an_avro_container_is_damage(tmp_path: Path) -> None:
    state = {"type": "enum", "name": "E", "symbols": ["X", "Y"]}
    path = container(tmp_path, [{"a": "X", "s": "here", "b": "X"}], {"a": state, "s": "string", "b": "E"})
    content = Path(path).read_bytes()
    assert content.count(b"here\x00") == 1
    Path(path).write_bytes(content.replace(b"here\x00", b"here\x01"))
    with pytest.raises(NoInput, match="is damaged"):
        read_all(FilesSource([path], JSON))


def test_an_avro_container_that_is_damaged_says_so(tmp_path: Path) -> None:
    path = Path(container(tmp_path, [{"a": 1}, {"a": 2}], {"a": "int"}))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(NoInput, match=r"pump.avro: is damaged"):
        read_all(FilesSource([str(path)], JSON))
    with pytest.raises(NoInput, match="not an Avro container file"):
        read_all(FilesSource([file_of(tmp_path, b"no avro", "broken.avro")], JSON))


def test_lag_of_a_parquet_file_is_known(tmp_path: Path) -> None:
    source = FilesSource([parquet(tmp_path, {"a": [1, 2, 3]})], JSON, max_records=2)
    source.subscribe(Resumes(source))
    source.poll(0.0)
    assert list(source.lag().values()) == [1]
    source.close()


def test_what_cannot_be_read_is_refused_with_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="no such file"):
        FilesSource([str(tmp_path / "absent")], JSON)
    with pytest.raises(NoInput, match=r"no such file: patterns are not expanded in source\.paths"):
        FilesSource([str(tmp_path / "*.jsonl")], JSON)
    with pytest.raises(ConfigurationError, match=r"stream\.format"):
        FilesSource([parquet(tmp_path, {"a": [1]})], CSV)
    with pytest.raises(ConfigurationError, match="Kafka messages"):
        FilesSource(["-"], StreamSettings(format="packed", numeric=["a"]))
    broken = FilesSource([file_of(tmp_path, b"no parquet", "broken.parquet")], JSON)
    with pytest.raises(NoInput, match="not a Parquet file"):
        read_all(broken)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    source = FilesSource([file_of(tmp_path, b"1")], JSON)
    monkeypatch.setattr(os, "open", refuse)  # the tests may run as root, who may read everything
    with pytest.raises(NotPermitted, match="may not be read"):
        read_all(source)


ALERT = Commit({Partition("x", 0): 1}, [Outgoing(b"k", b"{}")])


def test_without_state_alerts_are_appended_and_nothing_is_remembered(tmp_path: Path) -> None:
    path = file_of(tmp_path, b"before\n", "alerts")
    for _ in range(2):
        delivery = FilesDelivery(path)
        delivery.deliver(ALERT)
        delivery.close()
    assert Path(path).read_bytes() == b"before\n{}\n{}\n"


def test_what_stood_in_the_file_before_the_first_run_is_never_cut(tmp_path: Path) -> None:
    path = file_of(tmp_path, b"before\n", "alerts")
    for _ in range(2):
        delivery = FilesDelivery(path, state=FilesState(tmp_path / "state"))
        delivery.close()
    assert Path(path).read_bytes() == b"before\n"


def test_a_rotated_file_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "alerts"
    delivery = FilesDelivery(str(path), state=FilesState(tmp_path / "state"))
    delivery.deliver(ALERT)
    delivery.close()
    path.rename(tmp_path / "alerts.1")
    path.write_bytes(b"a longer line of someone else\n")
    FilesDelivery(str(path), state=FilesState(tmp_path / "state")).close()
    assert path.read_bytes() == b"a longer line of someone else\n"


def test_two_daemons_cannot_share_a_state(tmp_path: Path) -> None:
    first = FilesState(tmp_path)
    with pytest.raises(Unavailable, match="in use"):
        FilesState(tmp_path)
    first.close()
    FilesState(tmp_path).close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "cannot be read"),
        (b'{"version": 2}', "version 2"),
        (b'{"snapshots": [{"topic": "x", "partition": 0, "key": "", "file": "../passwd"}]}', "outside"),
    ],
)
def test_a_commit_file_of_another_make_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "commit.json").write_bytes(content)
    with pytest.raises(Incompatible, match=says):
        FilesState(tmp_path)


def test_a_changed_byte_of_a_commit_file_is_noticed(tmp_path: Path) -> None:
    """A wrong length would cut alerts off, and a wrong offset would skip records."""
    state = FilesState(tmp_path)
    state.commit({Partition("x", 0): 12_500}, {"alerts": Output(1, 24_093)}, {})
    state.close()
    whole = (tmp_path / "commit.json").read_bytes()
    for at in range(len(whole)):
        for changed in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at] + whole[at + 1 :]):
            (tmp_path / "commit.json").write_bytes(changed)
            try:
                read = files_state._read(tmp_path / "commit.json")
            except Incompatible:
                continue
            assert read == msgspec.structs.replace(state.committed, checksum=read.checksum), changed
    (tmp_path / "commit.json").write_bytes(re.sub(b',"checksum":"[0-9a-f]+"', b"", whole))  # of an earlier release
    assert files_state._read(tmp_path / "commit.json") == state.committed


@pytest.mark.parametrize("fault", ["gone", "folder"])
def test_a_snapshot_that_a_commit_names_and_that_is_not_there_is_damage_and_no_bug(tmp_path: Path, fault: str) -> None:
    state = FilesState(tmp_path)
    state.commit({}, {}, state.write_snapshots({Partition("x", 0): [Outgoing(b"k", b"1")]}))
    (named,) = tmp_path.glob("*.snapshot")
    named.unlink()
    if fault == "folder":
        named.mkdir()
    with pytest.raises(Incompatible, match=rf"{named.name}, which commit.json names.*start from scratch"):
        state.load(Partition("x", 0))
    state.close()


@pytest.mark.parametrize("commits", [0, 2])
def test_a_commit_file_that_is_gone_is_no_new_beginning(tmp_path: Path, commits: int) -> None:
    """Every alert would be published a second time. Before the first commit there was no such file."""
    state = FilesState(tmp_path)
    for _ in range(commits):
        state.commit({}, {}, state.write_snapshots({Partition("x", 0): [Outgoing(b"k", b"1")]}))
    state.write_snapshots({Partition("x", 0): [Outgoing(b"k", b"2")]})
    state.close()
    (tmp_path / "commit.json").unlink(missing_ok=True)
    if commits:
        with pytest.raises(Incompatible, match="is missing, but snapshots of later commits exist"):
            FilesState(tmp_path)
        assert list(tmp_path.glob("2-*.snapshot"))
    else:
        FilesState(tmp_path).close()


@pytest.mark.parametrize("name", ["commit.json", "lock"])
def test_a_folder_in_the_place_of_a_state_file_is_told_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises((Incompatible, ConfigurationError), match=r"cannot be (read|used)"):
        FilesState(tmp_path)


def test_snapshots_that_no_commit_names_are_removed(tmp_path: Path) -> None:
    state = FilesState(tmp_path)
    for content in (b"1", b"2"):
        names = state.write_snapshots({Partition("x", 0): [Outgoing(b"k", content)]})
        state.commit({}, {}, names)
    state.write_snapshots({Partition("x", 0): [Outgoing(b"k", b"never committed")]})
    state.close()
    again = FilesState(tmp_path)
    assert again.load(Partition("x", 0)) == {b"k": b"2"}
    assert len(list(tmp_path.glob("*.snapshot"))) == 1
    again.close()


def test_a_commit_holds_though_an_old_snapshot_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts, source = tmp_path / "alerts.jsonl", Partition("pump.csv", 0)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with closing(FilesDelivery(str(alerts), state=FilesState(tmp_path / "state"))) as delivery:
        delivery.deliver(Commit({source: 1}, snapshots={source: [Outgoing(b"0", b"old")]}))
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", refuse)
            delivery.deliver(Commit({source: 2}, [Outgoing(b"k", b"one")], (), {source: [Outgoing(b"0", b"new")]}))
        delivery.deliver(Commit({source: 3}))
    assert alerts.read_bytes() == b"one\n"
    with closing(FilesState(tmp_path / "state")) as state:
        assert (state.position(source), state.load(source)) == (3, {b"0": b"new"})
        assert len(list((tmp_path / "state").glob("*.snapshot"))) == 1


def test_a_disk_that_refuses_a_commit_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "alerts"

    def full(step: str) -> None:
        if step == "commit":
            raise OSError(28, "No space left on device")

    delivery = FilesDelivery(str(path), state=FilesState(tmp_path / "state"), before=full)
    with pytest.raises(Unavailable, match="No space left"):
        delivery.deliver(ALERT)
    assert path.read_bytes() == b""
    delivery.close()


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_full_disk_took_half_of_is_written_once_when_there_is_room(tmp_path: Path, kept: bool) -> None:
    path = tmp_path / "alerts"
    delivery = FilesDelivery(str(path), state=FilesState(tmp_path / "state" if kept else None))
    commit = Commit({}, alerts=[Outgoing(b"k", b"x" * 3000)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match="make room"):
                delivery.deliver(commit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b""
    delivery.deliver(commit)
    assert path.read_bytes() == b"x" * 3000 + b"\n"
    delivery.close()


def test_an_output_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sink\.path"):
        FilesDelivery(str(tmp_path / "absent" / "alerts"))


def test_standard_output_gets_one_line_an_alert(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    FilesDelivery("-").deliver(ALERT)
    assert capfdbinary.readouterr().out == b"{}\n"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\x1f\x8b\x08", "gzip.*zcat"),
        (b"\x28\xb5\x2f\xfd", "Zstandard.*zstdcat"),
        (b"PK\x03\x04", "save the sheet as CSV"),
        (b"PAR1", "ends in .parquet"),
        (b"Obj\x01", "ends in .avro"),
        ("t,a\n".encode("utf-16"), "UTF-16.*iconv"),
        (b"t,a\r1,2\r", "CR alone; to convert it: tr"),
    ],
)
def test_a_file_that_holds_no_lines_of_text_is_refused_with_what_to_do(head: bytes, said: str, tmp_path: Path) -> None:
    path = file_of(tmp_path, head + b" and more")
    with pytest.raises(NoInput, match=said):
        FilesSource([path], CSV)
    assert main(["init", path, "--output", str(tmp_path / "out.yaml")]) == ExitCode.NO_INPUT
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize("content", [b'[{"a": 1},\n{"a": 2}]', b' [{"a": 1}]', b'\xef\xbb\xbf{\n  "a": 1\n}\n'])
def test_one_json_document_is_no_lines_of_them(content: bytes, tmp_path: Path) -> None:
    path = file_of(tmp_path, content, "pump.json")
    with pytest.raises(NoInput, match="this is one JSON document"):
        FilesSource([path], JSON)
    one_line = content.count(b"\n") == 0  # which `init` reads as a list of records
    code = main(["init", path, "--output", str(tmp_path / "out.yaml")])
    assert code == (ExitCode.OK if one_line else ExitCode.NO_INPUT)
    FilesSource([path], CSV).close()


def test_where_lists_are_unnested_a_line_may_be_a_list_but_the_file_not_one_document(tmp_path: Path) -> None:
    lists = JSON.model_copy(update={"unnest": "."})
    FilesSource([file_of(tmp_path, b'[{"a": 1}]\n[{"a": 2}]\n', "lists.json")], lists).close()
    for document in (b'[\n{"a": 1}\n]', b'{\n  "a": 1\n}\n'):
        with pytest.raises(NoInput, match="this is one JSON document"):
            FilesSource([file_of(tmp_path, document, "pump.json")], lists)


@pytest.mark.parametrize("command", ["backtest", "init"])
def test_a_file_whose_name_is_not_utf8_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    Path(path).write_text('{"at": 1772323200, "a": 1}\n' * 3)
    config = tmp_path / "config.json"
    config.write_text('{"source": {"kind": "files", "paths": ["-"]}, "stream": {"numeric": ["a"], "time": "at"}}')
    words = ["--config", str(config)] if command == "backtest" else ["--output", str(tmp_path / "out.yaml")]
    assert main([command, path, *words]) == ExitCode.NO_INPUT
    assert r"caf\udce9.jsonl': this name is not UTF-8 text" in capsys.readouterr().err


def test_a_named_pipe_is_not_opened_for_a_look_at_its_beginning(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    look = threading.Thread(target=refuse_foreign, args=(str(pipe),), daemon=True)
    look.start()
    look.join(timeout=30)
    assert not look.is_alive()


def test_a_folder_in_the_place_of_a_file_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="this is a folder"):
        FilesSource([str(tmp_path)], CSV)


def test_a_device_cannot_be_cut_back_and_a_full_one_is_waited_for() -> None:
    delivery = FilesDelivery("/dev/full")
    with pytest.raises(Unavailable, match="make room"):
        delivery.deliver(Commit({}, [Outgoing(b"k", b"{}")]))
    delivery.close()


def test_files_that_are_read_together_are_one_partition_and_their_offsets_go_on(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.csv", "none.csv", "b.csv")]
    for path, text in zip(paths, ("t,a\n1,1\n\n2,2\n", "t,a\n", "a,t\n3,3\n"), strict=True):
        path.write_text(text)
    source = FilesSource([str(path) for path in paths], CSV, together=True, max_records=1)
    batches = read_all(source)
    assert {batch.partition for batch in batches} == {Partition(str(paths[0]), 0)}
    assert numbered(batches) == [(1, b"1,1"), (3, b"2,2"), (6, b"3,3")]
    assert [batch.headers[0][0][1] for batch in batches] == [b"t,a", b"t,a", b"a,t"]
    assert {batch.keys[0] for batch in batches} == {b"a"}
    assert batches[-1].next_offset == 7


def test_of_files_that_are_read_together_each_record_is_known_by_its_own_file(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        path.write_text('{"a": 1}\n{"a": 2}\n')
    source = FilesSource([str(path) for path in paths], JSON, together=True)
    source.subscribe(Resumes(source, 0))
    while not source.exhausted():
        source.poll(1.0)
    places = [source.place(Partition(str(paths[0]), 0), offset) for offset in range(4)]
    assert places == [(str(paths[0]), 0, 0)] * 2 + [(str(paths[1]), 1, 2)] * 2
    source.close()


def read_kept(folder: Path, path: str, seek: int | None = None) -> list[RecordBatch]:
    """Read the file as a `run` that keeps state does."""
    with closing(FilesState(folder / "state")) as state:
        return read_all(FilesSource([path], JSON, state=state), seek)


def test_with_a_state_a_last_line_without_an_end_is_left_until_it_has_one(tmp_path: Path) -> None:
    path = file_of(tmp_path, b'{"a": 1}\n{"a": 2')
    (batch,) = read_kept(tmp_path, path)
    assert (numbered([batch]), batch.next_offset) == ([(0, b'{"a": 1}')], 1)
    file_of(tmp_path, b'{"a": 1}\n{"a": 25}\n')
    assert numbered(read_kept(tmp_path, path, seek=1)) == [(1, b'{"a": 25}')]


def test_a_file_that_holds_less_than_was_read_of_it_is_another_one(tmp_path: Path) -> None:
    path = file_of(tmp_path, b"1\n2\n3\n")
    with pytest.raises(
        Incompatible, match=r"pump.csv: 7 lines or rows of it were read before, and now it holds 3: another file"
    ):
        read_kept(tmp_path, path, seek=7)
    assert read_kept(tmp_path, path, seek=3) == []


def test_parquet_that_holds_less_than_was_read_of_it_is_another_one(tmp_path: Path) -> None:
    with pytest.raises(Incompatible, match="7 lines or rows of it were read before, and now it holds 3"):
        read_kept(tmp_path, parquet(tmp_path, {"a": [1, 2, 3]}), seek=7)


def test_a_state_that_counted_a_last_line_without_an_end_is_taken_over(tmp_path: Path) -> None:
    assert read_kept(tmp_path, file_of(tmp_path, b"1\n2\n3"), seek=3) == []
