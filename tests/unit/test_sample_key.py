"""Which field of a sample is used as the streams' key, because of its name or of the times of its values, and which is
not."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from anomaly_daemon.demo.transactions import CATEGORIES, CHANNELS, Bank, transactions
from anomaly_daemon.transport.sample import Inferred, infer
from anomaly_daemon.transport.sample_notes import notes, why_the_key
from anomaly_daemon.transport.sample_rows import sample_rows
from anomaly_daemon.transport.sample_yaml import written

START = 1_772_352_000
RNG = random.Random
Line = Sequence[Any]


def seen(header: str, lines: Iterable[Line]) -> Inferred:
    return infer(sample_rows([header.encode(), *(",".join(map(str, line)).encode() for line in lines)], header=True))


def seen_json(records: Iterable[dict[str, Any]], keys: Sequence[str] | None = None) -> Inferred:
    return infer(sample_rows([json.dumps(record).encode() for record in records], header=False, keys=keys))


def key(found: Inferred) -> list[str]:
    return [field.path for field in found.key.fields]


def level(rng: random.Random, at: float = 0.0) -> str:
    return f"{20 + at + rng.gauss(0, 1):.2f}"


def together(rng: random.Random, names: Sequence[Any], times: int = 200, missing: float = 0.0) -> list[Line]:
    """Return records of every name at each time, except for a share `missing` of them."""
    return [(START + 60 * n, name, level(rng)) for n in range(times) for name in names if rng.random() >= missing]


def one_stream(rng: random.Random, categories: Sequence[str], weights: Sequence[int], step: float = 0.0) -> list[Line]:
    """Return a record a minute, each with a category drawn at random, and a level that is higher by `step` for each
    category."""
    drawn = [rng.choices(range(len(categories)), weights)[0] for _ in range(900)]
    return [(START + 60 * n, categories[one], level(rng, step * one)) for n, one in enumerate(drawn)]


@pytest.mark.parametrize(
    "name",
    [
        "Machine ID",
        "Sensor Name",
        "server",
        "service",
        "Maschine",
        "TagName",
        "machineId",
        "PumpID",
        "order no",
        "a.host",
    ],
)
def test_a_telling_name_is_known_however_its_words_are_parted(name: str) -> None:
    found = seen(f"time,{name},x", [(START + n, f"w{n % 3}", n % 7 + 0.5) for n in range(90)])
    assert (key(found), found.key.why, found.streams) == ([name], "its name says so", 3)


def test_a_record_or_two_without_it_leave_a_field_the_key() -> None:
    lines: list[Line] = [(START + n // 2, "" if n == 40 else f"w{n % 2}", n % 7 + 0.5) for n in range(200)]
    found = seen("time,pump,x", lines)
    assert (key(found), found.streams) == (["pump"], 2)
    assert "its name says so, missing in <1%: dead letters" in written(found, [], "a file")
    assert key(seen("time,pump,x", [(at, "" if at % 9 == 0 else name, x) for at, name, x in lines])) == []


@pytest.mark.parametrize("name", ["status_id", "Error No", "Quality", "alarm name", "number", "Wort"])
def test_other_names_tell_of_no_stream(name: str) -> None:
    assert key(seen(f"time,{name},x", one_stream(RNG(1), ["1", "2", "3"], [1, 1, 1]))) == []


@pytest.mark.parametrize(
    "names",
    [["a", "b"], ["a", "b", "c"], [f"w{n}" for n in range(40)], [7, 8, 9]],
    ids=["two", "three", "forty", "whole numbers"],
)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_records_that_share_times_are_told_apart_by_the_field_of_which_no_two_are_alike(
    names: Sequence[Any], missing: float
) -> None:
    found = seen("time,Ort,x", together(RNG(1), names, missing=missing))
    assert (key(found), found.streams) == (["Ort"], len(names))
    assert why_the_key(found) == (
        'the streams are told apart by "Ort": records with the same time all have different values of it'
    )


def test_a_historians_tags_and_a_nested_name_in_another_script_are_keys() -> None:
    lines = [(START + 60 * n, tag, 5.5 + n % 9, "Good") for n in range(100) for tag in ("PLC1.FT101", "PLC1.TT102")]
    assert key(seen("timestamp,TagName,Value,Quality", lines)) == ["TagName"]
    records = [{"时间": START + n, "設備": {"名": name}, "温度": n * 0.5} for n in range(100) for name in "ab"]
    assert key(seen_json(records)) == ["設備.名"]


def test_values_with_a_steady_pace_of_their_own_are_streams() -> None:
    rng = RNG(1)
    ring = [(START + 60 * n + 20 * place, name, level(rng)) for n in range(100) for place, name in enumerate("abc")]
    shaken = [(at + rng.uniform(-5, 5), *rest) for at, *rest in ring]
    paces = [(START + 10 * n, "a", level(rng)) for n in range(600)]
    paces += [(START + 60 * n + 3, "b", level(rng)) for n in range(100)]
    for lines in (ring, shaken, sorted(paces)):
        found = seen("time,Ort,x", lines)
        assert (key(found), found.key.why) == (["Ort"], "the records of each of its values come at regular intervals")


def irregular(rng: random.Random, step: float) -> list[Line]:
    times = np.cumsum([rng.expovariate(1 / 30) for _ in range(600)])
    drawn = [rng.randrange(3) for _ in times]
    return [(round(START + at, 3), f"w{one}", level(rng, step * one)) for at, one in zip(times, drawn, strict=True)]


def test_values_whose_levels_differ_much_more_than_each_within_itself_are_streams() -> None:
    found = seen("time,Ort,x", irregular(RNG(1), 30.0))
    assert key(found) == ["Ort"]
    assert found.key.why.startswith("numbers continue from the last record with the same value")
    for same in (0.0, 1.0):
        assert key(seen("time,Ort,x", irregular(RNG(1), same))) == []


def test_a_host_and_its_core_are_a_key_together() -> None:
    for host in ("server", "Ort"):
        records = [
            {"t": START + 10 * n, host: f"h{h}", "Kern": core, "load": n % 7 + 0.5, "state": "ab"[(n * 7 + core) % 2]}
            for n in range(60)
            for h in range(3)
            for core in range(4)
        ]
        found = seen_json(records)
        assert (key(found), found.streams, found.together) == ([host, "Kern"], 12, 1.0)


def test_of_fields_that_tell_records_apart_the_named_then_the_coarsest_text_is_taken() -> None:
    records = [
        {
            "t": START + n,
            "Werk": f"W{m % 2}",
            "Ort": f"o{m}",
            "Nummer": 70 + m,
            "Auftrag": f"{m}-{n // 20}",
            "x": n * 0.5,
        }
        for n in range(100)
        for m in range(4)
    ]
    assert key(seen_json(records)) == ["Ort"]
    assert key(seen_json([record | {"Gerät": record["Ort"]} for record in records])) == ["Gerät"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("weights", "step"), [((1, 1, 1), 0.0), ((90, 5, 5), 0.0), ((60, 30, 10), 3.0)], ids=["even", "rare", "levels"]
)
def test_a_category_of_one_stream_is_no_key(seed: int, weights: tuple[int, ...], step: float) -> None:
    found = seen("time,Lage,x", one_stream(RNG(seed), "abc", weights, step))
    assert (key(found), found.streams, [field.path for field in found.categorical]) == ([], 1, ["Lage"])
    assert notes(found) == [
        'all records are taken for one stream; if one of these names their source, make it stream.key: "Lage"'
    ]


@pytest.mark.parametrize("length", [3, 10, 100])
def test_a_mode_that_lasts_is_no_key_though_levels_differ(length: int) -> None:
    rng, mode, lines = RNG(1), 0, []
    for n in range(900):
        mode = rng.randrange(3) if rng.random() < 1 / length else mode
        lines.append((START + 60 * n, f"m{mode}", level(rng, 30 * mode)))
    assert key(seen("time,Lage,x", lines)) == []


def test_a_step_that_takes_the_place_of_the_usual_one_once_a_day_is_no_key() -> None:
    lines = [(START + 3600 * n, "clean" if n % 24 == 2 else "run", level(RNG(n))) for n in range(900)]
    assert key(seen("time,Lage,x", lines)) == []


def test_an_event_between_steady_records_is_no_key() -> None:
    rng = RNG(1)
    lines = [(START + 60 * n, "run", level(rng)) for n in range(600)]
    lines += [(round(START + rng.uniform(0, 36_000), 3), "alarm", level(rng)) for _ in range(60)]
    assert key(seen("time,Lage,x", sorted(lines))) == []


def test_what_has_a_price_of_its_own_is_no_key() -> None:
    rng = RNG(2)
    drawn = [(at, rng.randrange(40)) for at, _, _ in irregular(RNG(1), 0.0)]
    assert key(seen("time,Artikel,Preis", [(at, f"p{one}", 10 * one + 0.5) for at, one in drawn])) == []


@pytest.mark.parametrize("name", ["order_id", "batch id", "Charge"])
@pytest.mark.parametrize("apart", [0, 10])
def test_ids_of_single_events_are_no_keys(name: str, apart: int) -> None:
    """Each order has several lines, at one time or one after another. The id of a stream would come back later."""
    lines = [(START + 60 * n + apart * line, f"B{n}", level(RNG(n))) for n in range(200) for line in range(4)]
    assert key(seen(f"time,{name},x", lines)) == []


def test_measured_numbers_are_no_key_though_machines_differ_in_them() -> None:
    rng = RNG(1)
    lines = [(START + 60 * n, 1000 * m + rng.randrange(10), level(rng)) for n in range(200) for m in range(3)]
    found = seen("time,rpm,x", lines)
    assert (key(found), found.together) == ([], 3.0)


def test_the_hour_beside_a_day_is_no_key() -> None:
    lines = [(f"2026-03-{1 + day:02}", hour, level(RNG(hour))) for day in range(20) for hour in range(24)]
    assert key(seen("date,hour,x", lines)) == []


def test_records_that_share_times_and_that_nothing_tells_apart_are_told_of() -> None:
    rng = RNG(1)
    lines = [(START + 60 * n, rng.choice("ab"), level(rng, 30 * m)) for n in range(200) for m in range(3)]
    found = seen("time,Quality,x", lines)
    assert key(found) == []
    (note,) = notes(found)
    assert note.startswith("3.0 records of one stream share each time, on average, and no field tells them apart")
    doubled = seen("time,id,x", [line for line in together(rng, "ab") for _ in range(2)])
    assert (key(doubled), doubled.together) == (["id"], 2.0)
    assert notes(doubled)[0].startswith("2.0 records of one stream share each time")


@pytest.mark.parametrize("seed", range(3))
def test_a_category_that_some_machine_has_at_each_time_is_no_key(seed: int) -> None:
    rng = RNG(seed)
    lines = [(START + 60 * n, rng.choice("ab"), level(rng)) for n in range(200) for _ in range(8)]
    assert key(seen("time,Lage,x", lines)) == []


def test_where_record_keys_leave_records_together_the_field_that_parts_them_is_told_of() -> None:
    records = [{"t": START + n, "Ort": f"o{m}", "x": n * 0.5 % 7} for n in range(100) for m in range(6)]
    found = seen_json(records, [f"site {n % 2}" for n in range(600)])
    assert (key(found), found.streams) == ([], 2)
    assert notes(found) == [
        '3.0 records of one stream share each time, on average; stream.key ["Ort"] would separate them'
    ]
    assert notes(seen_json(records, [f"o{n % 6}" for n in range(600)])) == []


@pytest.mark.parametrize("coarse", [1, 3_600_000_000], ids=["to the microsecond", "to the hour"])
def test_of_payments_the_card_is_the_key_and_never_the_kind_of_merchant(coarse: int) -> None:
    made = transactions(Bank(START * 10**6), (), np.random.default_rng(1))
    columns = (made.time_N, made.card_N, made.amount_N, made.category_N, made.channel_N)
    rows = sorted(zip(*(column.tolist() for column in columns), strict=True))[:5000]
    records = [
        {
            "time": at // coarse * coarse // 1000,
            "card": f"c{card}",
            "amount": amount,
            "shop": CATEGORIES[kind],
            "via": CHANNELS[via],
        }
        for at, card, amount, kind, via in rows
    ]
    found = seen_json(records)
    assert (key(found), [field.path for field in found.categorical]) == (["card"], ["shop", "via"])
    without = [{name: value for name, value in record.items() if name != "card"} for record in records]
    assert key(seen_json(without)) == []


def test_a_sample_without_times_goes_by_names() -> None:
    assert key(seen("id,x", [("ab"[n % 2], n % 7 + 0.5) for n in range(60)])) == ["id"]
    assert key(seen("Ort,x", [("ab"[n % 2], n % 7 + 0.5) for n in range(60)])) == []


def test_of_several_telling_names_the_field_is_taken_that_tells_records_apart_and_the_others_are_named() -> None:
    """What the machines make has a telling name, too, and more values."""
    made = random.Random(3)
    products = [f"product {made.randrange(30)}" for _ in range(3000)]
    found = seen_json(
        {"time": START + at // 3 * 10, "machine": f"m{at % 3}", "product_name": products[at], "x": at % 11}
        for at in range(len(products))
    )
    assert key(found) == ["machine"]
    assert 'as does that of "product_name"' in found.key.why
