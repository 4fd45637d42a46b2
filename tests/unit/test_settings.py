"""The configuration: where values come from, and the messages when one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from anomaly_daemon.configuration import config_digest, json_schema, load, resolved
from anomaly_daemon.configuration.problems import Problem, refuse
from anomaly_daemon.errors import ConfigurationError, NoInput, NotPermitted
from anomaly_daemon.settings import Settings, TrainingSettings

SMALLEST = "source: {topic: readings}\nstream: {numeric: [level]}\n"


@pytest.fixture
def written(tmp_path: Path):
    """Writes text to a configuration file and loads it with an environment and overrides."""

    def write(text: str = SMALLEST, *overrides: str, **environment: str) -> Settings:
        file = tmp_path / "daemon.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file, overrides, environment)

    return write


def wrong(written, *arguments: str, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        written(*arguments, **environment)
    return str(caught.value)


def test_the_smallest_configuration_needs_a_source_and_a_feature(written) -> None:
    settings = written()
    assert settings.source.topic == "readings"
    assert [feature.name for feature in settings.stream.numeric] == ["level"]


def test_without_a_file_the_environment_and_overrides_are_enough() -> None:
    settings = load(None, ['stream.numeric=["level"]'], {"ANOMALY_DAEMON__SOURCE__TOPIC": "readings"})
    assert settings.source.topic == "readings"


def test_an_override_beats_the_environment_which_beats_the_file_which_beats_the_default(written) -> None:
    assert written().http.port == 8080
    text = SMALLEST + "http: {port: 1}\n"
    assert written(text).http.port == 1
    assert written(text, ANOMALY_DAEMON__HTTP__PORT="2").http.port == 2
    assert written(text, "http.port=3", ANOMALY_DAEMON__HTTP__PORT="2").http.port == 3


def test_an_override_leaves_the_rest_of_its_section_alone(written) -> None:
    settings = written(SMALLEST + "http: {host: '::1', port: 1}\n", "http.port=3", "detection.silence.enabled=false")
    assert (settings.http.host, settings.http.port) == ("::1", 3)
    assert settings.detection.silence.minimum == 5


def test_lists_and_sections_are_json_in_the_environment_and_in_overrides(written) -> None:
    settings = written(SMALLEST, 'stream.key=["site", "line"]', ANOMALY_DAEMON__HTTP='{"port": 7}')
    assert settings.stream.key == ["site", "line"]
    assert settings.http.port == 7


def test_a_section_as_json_leaves_its_other_keys_alone_and_a_list_replaces_a_list(written) -> None:
    settings = written(SMALLEST + "http: {host: '::1', port: 1}\n", 'http={"port": 7}', 'stream.numeric=["a", "b"]')
    assert (settings.http.host, settings.http.port) == ("::1", 7)
    assert [field.name for field in settings.stream.numeric] == ["a", "b"]


def test_what_a_section_as_json_says_is_told_by_where_it_was_said(written) -> None:
    with pytest.raises(ConfigurationError, match=r"--set http: http\.port"):
        written(SMALLEST + "http: {port: 1}\n", 'http={"port": "many"}')


def test_what_a_list_as_json_says_is_told_by_where_it_was_said(written) -> None:
    text = "source: {topic: t}\nstream:\n  numeric:\n    - {name: a, direction: both}\n"
    with pytest.raises(ConfigurationError, match=r"--set stream\.numeric: stream\.numeric\[0\]\.direction"):
        written(text, 'stream.numeric=[{"name": "a", "direction": "sideways"}]')


def test_made_in_python_the_settings_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "other")
    monkeypatch.setenv("ANOMALY_DAEMON__NAME", "another")
    given = {"source": {"topic": "readings"}, "stream": {"numeric": ["level"]}}
    assert Settings.model_validate(given).name == "anomaly-daemon"


def test_one_label_can_be_set_beside_those_of_the_file(written) -> None:
    text = "source: {topic: readings}\nstream: {numeric: [level], labels: {site: a}}\n"
    assert written(text, "stream.labels.line=4").stream.labels == {"site": "a", "line": "4"}


def test_null_takes_an_optional_value_away(written) -> None:
    text = SMALLEST + "kafka: {group_instance_id: one}\n"
    assert written(text, "kafka.group_instance_id=null").kafka.group_instance_id is None


def test_a_variable_in_the_file_is_put_into_its_value(written) -> None:
    settings = written("source: {topic: 'in-${ZONE}'}\nstream: {numeric: [a]}\nhttp: {port: '${P}'}\n", ZONE="b", P="9")
    assert settings.source.topic == "in-b"
    assert settings.http.port == 9


def test_what_a_variable_holds_cannot_change_the_shape_of_the_file(written) -> None:
    settings = written("kafka: {client_id: '${T}'}\n" + SMALLEST, T="x}\nhttp: {port: 1")
    assert settings.kafka.client_id == "x}\nhttp: {port: 1"
    assert settings.http.port == 8080


def test_a_variable_may_have_a_default_and_a_dollar_may_be_meant(written) -> None:
    text = "source: {topic: '${NOPE:-readings}'}\nstream: {numeric: [a]}\nname: '$${HOME}'\n"
    assert written(text).source.topic == "readings"
    assert written(text).name == "${HOME}"


def test_an_unset_variable_is_an_error_that_names_it_and_its_line(written) -> None:
    message = wrong(written, "source:\n  topic: ${NOPE}\nstream: {numeric: [a]}\n")
    assert message.endswith(
        "daemon.yaml:2: source.topic: the environment variable NOPE is not set: set it, or write ${NOPE:-default}"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kafka: {grop_id: a}\n", "daemon.yaml:3: kafka.grop_id: unknown key; did you mean kafka.group_id?"),
        ("kafak: {group_id: a}\n", "daemon.yaml:3: kafak: unknown key; did you mean kafka?"),
        ("http: {buckets: 4}\n", "http.buckets: unknown key here; did you mean snapshot.buckets?"),
        (
            "kafka: {password: x}\n",
            "kafka.password: unknown key; did you mean kafka.ssl_password or kafka.sasl_plain_password?",
        ),
        ("log: {zzzz: 4}\n", "log.zzzz: unknown key; known here: format, level"),
        ("detection: {budget: {alarms: 1}}\n", "did you mean detection.budget.alarms_per_stream_per_day?"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest_right_one(written, text: str, expected: str) -> None:
    assert expected in wrong(written, SMALLEST + text)


def test_an_unknown_key_within_a_list_is_found_too(written) -> None:
    message = wrong(written, "source: {topic: a}\nstream: {numeric: [{name: a, transfrom: log}]}\n")
    assert "stream.numeric[0].transfrom: unknown key; did you mean stream.numeric[0].transform?" in message


@pytest.mark.parametrize("key", ["min_deviation", "min_deviation_percent"])
@pytest.mark.parametrize("value", ["-1", ".nan", ".inf", "far"])
def test_a_floor_that_is_none_is_an_error_that_names_its_key(written, key: str, value: str) -> None:
    message = wrong(written, f"source: {{topic: a}}\nstream: {{numeric: [b, {{name: a, {key}: {value}}}]}}\n")
    assert f"stream.numeric[1].{key}:" in message


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("training.clip_norm", ".inf", ": must be a finite number"),
        ("training.clip_norm", ".nan", ": must be a finite number"),
        ("training.reconstruction_loss_weight", ".inf", ": must be a finite number"),
        ("retraining.recent_days", ".inf", ": must be a finite number"),
        ("detection.shared_events", ".inf", ": must be a finite number"),
        ("training.head", "[64, 0]", "[1]: must be greater than or equal to 1, not 0"),
        ("training.head", "[65537]", "[0]: must be less than or equal to 65536, not 65537"),
        ("training.seed", str(10**15 + 1), ": must be less than or equal to 1000000000000000"),
        ("training.seed", str(2**63), ": must be less than or equal to 1000000000000000"),
    ],
)
def test_what_no_training_can_be_of_is_an_error_that_names_its_key(written, key: str, value: str, says: str) -> None:
    section, name = key.split(".")
    assert f"{key}{says}" in wrong(written, f"{SMALLEST}{section}: {{{name}: {value}}}\n")


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("kafka.session_timeout_seconds", 604800),
        ("kafka.max_poll_interval_seconds", 604800),
        ("kafka.transaction_timeout_seconds", 604800),
        ("kafka.bootstrap_timeout_seconds", 604800),
        ("source.poll_seconds", 86400),
        ("model.watch_seconds", 604800),
        ("limits.retry_seconds", 604800),
        ("limits.stop_seconds", 604800),
    ],
)
@pytest.mark.parametrize("value", ["inf", "1e300"])
def test_a_wait_that_is_longer_than_anything_can_wait_is_refused(written, key: str, most: int, value: str) -> None:
    assert f"{key}: must be less than or equal to {most}" in wrong(written, SMALLEST, f"{key}={value}")


def test_of_a_limit_infinity_is_none_and_a_number_that_is_none_is_refused(written) -> None:
    assert written(f"{SMALLEST}limits: {{idle_stream_seconds: .inf}}\n").limits.idle_stream_seconds == float("inf")
    assert "limits.idle_stream_seconds: must be" in wrong(written, f"{SMALLEST}limits: {{idle_stream_seconds: .nan}}\n")


@pytest.mark.parametrize("where", ["stream.missing_values", "stream.numeric[1].missing_values"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[-9999, .nan]", "[1]: must be a finite number, not nan"),
        ("[-.inf]", "[0]: must be a finite number, not -inf"),
        (f"[{'9' * 400}]", "[0]: must be a finite number, not inf"),
        ("[true]", '[0]: must be a number or a text, such as -9999 or "Bad Input", not True'),
        ("[null]", '[0]: must be a number or a text, such as -9999 or "Bad Input", not None'),
        ("['']", "[0]: must not be empty: an empty field is absent as it is"),
        (f"[{'x' * 65}]", "[0]: must be of at most 64 characters"),
        (str(list(range(17))), ": must hold at most 16, not 17"),
        ("-9999", ": must be a list"),
    ],
)
def test_a_missing_value_that_is_none_is_an_error_that_names_its_key(
    written, where: str, value: str, says: str
) -> None:
    of_field, of_stream = (value, "[]") if "numeric" in where else ("[]", value)
    numeric = f"[b, {{name: a, missing_values: {of_field}}}]"
    message = wrong(written, f"source: {{topic: a}}\nstream: {{numeric: {numeric}, missing_values: {of_stream}}}\n")
    assert f"daemon.yaml:2: {where}{says}" in message


def test_missing_values_are_numbers_and_texts_and_what_yaml_takes_for_text_may_be_a_number(written) -> None:
    text = "source: {topic: a}\nstream: {numeric: [b], missing_values: [-9999, 1e20, '-999.25', Bad Input , nan]}\n"
    settings = written(text)
    assert settings.stream.missing_values == [-9999.0, 1e20, -999.25, "Bad Input", "nan"]
    assert written(yaml.safe_dump(resolved(settings))) == settings
    assert written(SMALLEST, "stream.missing_values=[-9999, 32767]").stream.missing_values == [-9999.0, 32767.0]


def test_packed_messages_hold_no_text_that_could_stand_for_nothing(written) -> None:
    for key in ("numeric: [b], missing_values: [bad]", "numeric: [{name: b, missing_values: [bad]}]"):
        message = wrong(written, f"source: {{topic: a}}\nstream: {{format: packed, {key}}}\n")
        assert "the packed format carries no text: missing_values are numbers there" in message


def test_an_unknown_variable_or_override_is_an_error_too(written) -> None:
    message = wrong(written, SMALLEST, "http.prot=1", ANOMALY_DAEMON__KAFKA__GROUP="x")
    assert "ANOMALY_DAEMON__KAFKA__GROUP: kafka.group: unknown key; did you mean kafka.group_id?" in message
    assert "--set http.prot: http.prot: unknown key; did you mean http.port?" in message


def test_a_variable_of_another_program_is_left_alone(written) -> None:
    assert written(SMALLEST, ANOMALY_DAEMON_SERVICE_HOST="10.0.0.1").http.port == 8080


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http: {port: eighty}\n", "daemon.yaml:3: http.port: must be a whole number, not 'eighty'"),
        ("http: {port: 99999}\n", "http.port: must be less than or equal to 65535, not 99999"),
        ("log: {level: loud}\n", "log.level: must be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("name: 3\n", 'name: must be text: put it in quotes ("..."), not 3'),
        ("http: 3\n", "http: must hold keys and values, not 3"),
        ("limits: {streams: 0}\n", "limits.streams: must be greater than 0, not 0"),
        (
            "detection: {adaptation_events: 1000000}\n",
            "adaptation_events: must be less than or equal to 100000, not 1000000",
        ),
        ("kafka: {security_protocol: SSLL}\n", "kafka.security_protocol: must be 'PLAINTEXT', 'SSL'"),
        ("kafka: {sasl_mechanism: PLAIN}\n", "kafka: sasl_mechanism is set: set kafka.security_protocol to SASL_SSL"),
    ],
)
def test_a_wrong_value_is_told_by_its_key_and_what_would_be_right(written, text: str, expected: str) -> None:
    assert expected in wrong(written, SMALLEST + text)


KAFKA = "kafka: {security_protocol: "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (KAFKA + "SASL_SSL}\n", "needs kafka.sasl_mechanism"),
        (KAFKA + "SASL_SSL, sasl_mechanism: SCRAM-SHA-256}\n", "needs kafka.sasl_plain_username and"),
        (KAFKA + "SASL_SSL, sasl_mechanism: OAUTHBEARER}\n", "needs kafka.sasl_oauth_token_endpoint_url or"),
        (KAFKA + "SSL, ssl_keyfile: a.key}\n", "ssl_keyfile is set: set kafka.ssl_certfile"),
        (KAFKA + "SSL, sasl_plain_password: a}\n", "sasl_plain_password is set: set kafka.sasl_mechanism and"),
        ("kafka: {sasl_plain_password_file: a}\n", "sasl_plain_password_file is set: set kafka.sasl_mechanism and"),
    ],
)
def test_a_login_that_is_only_half_described_is_refused(written, text: str, expected: str) -> None:
    message = wrong(written, SMALLEST + text)
    assert "daemon.yaml:3: kafka: " in message
    assert expected in message


@pytest.mark.parametrize(
    "protocol", ["PLAINTEXT", "SASL_PLAINTEXT, sasl_mechanism: OAUTHBEARER, sasl_oauth_token_file: t"]
)
@pytest.mark.parametrize("key", ["ssl_cafile", "ssl_certfile"])
def test_a_certificate_that_no_connection_would_be_protected_by_is_refused(written, protocol: str, key: str) -> None:
    message = wrong(written, f"{SMALLEST}{KAFKA}{protocol}, {key}: ca.pem}}\n")
    assert f"{key} is set: set kafka.security_protocol to SSL or SASL_SSL, or leave it out" in message


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("{}", "stream: stream.numeric and stream.categorical are both empty"),
        ("{numeric: [a, a]}", "features named twice: a"),
        ("{numeric: [a], timezone: Mars/Olympus}", "stream.timezone: 'Mars/Olympus' is not an IANA time zone"),
        ("{numeric: [a], categorical: [b], format: packed}", "the packed format carries numeric features"),
        ("{numeric: [a], categorical: [b], shape: long}", "the long shape carries numeric metrics only"),
        ("{numeric: a}", 'stream.numeric: must be a list, such as ["a", "b"]'),
        (
            "{numeric: [a, {name: b, field: a}], shape: long}",
            "in the long shape each metric has one feature, and several name a: keep one",
        ),
        ("{numeric: [a], csv: {delimiter: '\"'}}", "stream.csv.delimiter: '\"' cannot part columns"),
        ('{numeric: [a], csv: {delimiter: "\\n"}}', "stream.csv.delimiter: '\\n' cannot part columns"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(written, stream: str, expected: str) -> None:
    assert expected in wrong(written, f"source: {{topic: a}}\nstream: {stream}\n")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('time_format: "%d.%m.%Q"', "is not a format of strptime"),
        ('time_format: "%d.%m.%Y %H:%m:%S"', "is not a format of strptime"),
        ('time_format: "%H:%M:%S"', "does not tell year, month and day"),
        ('time_format: "%d.%m.%Y", time_unit: ms', "stream.time_format is for text"),
    ],
)
def test_a_form_of_time_that_cannot_be_is_refused(written, keys: str, expected: str) -> None:
    assert expected in wrong(written, f"source: {{topic: a}}\nstream: {{numeric: [a], {keys}}}\n")


@pytest.mark.parametrize("source", ["{kind: files}", "{kind: kafka}"])
def test_a_source_names_its_input(written, source: str) -> None:
    assert "source: kind is" in wrong(written, f"source: {source}\nstream: {{numeric: [a]}}\n")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("http.port", "--set http.port: write it as section.key=value"),
        ("stream.key=site", '--set stream.key: stream.key: must be JSON here, such as ["a", "b"]'),
        ("http.port.more=1", "--set http.port.more: http.port.more: http.port holds a value, not keys"),
        ("=1", "unknown key"),
    ],
)
def test_an_override_that_cannot_be_laid_over_is_refused(written, override: str, expected: str) -> None:
    assert expected in wrong(written, SMALLEST, override)


def test_an_empty_file_leaves_everything_to_the_environment(written) -> None:
    settings = written("# nothing yet\n", "source.topic=a", 'stream.numeric=["b"]')
    assert settings.source.topic == "a"


def test_every_problem_is_told_at_once(written) -> None:
    message = wrong(written, SMALLEST + "http: {port: x}\nlog: {levle: info}\n", "limits.streams=-1")
    assert message.startswith("the configuration has 3 problems:\n")
    assert all(key in message for key in ("http.port", "log.levle", "--set limits.streams"))


def test_a_consequence_of_a_problem_is_not_told_as_another(written) -> None:
    message = wrong(written, "source: {topic: '${NOPE}'}\nstream: {numeric: [a]}\n")
    assert "problems" not in message
    assert "kind is kafka" not in message


@pytest.mark.parametrize("key", ["path", "dead_letter_path"])
def test_what_is_read_is_not_written_to(written, key: str) -> None:
    text = "source: {kind: files, paths: [a.csv]}\nstream: {numeric: [a]}\n"
    said = wrong(written, f"{text}sink: {{kind: files, {key}: ./a.csv}}")
    assert f"sink.{key} and source.paths both name ./a.csv" in said


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["source.topic=x", "sink.dead_letter_topic=x"], "sink.dead_letter_topic and source.topic both name x"),
        (["source.topic=x", "sink.alerts_topic=x"], "sink.alerts_topic and source.topic both name x"),
        (["source.topic=x", "snapshot.topic=x"], "snapshot.topic and source.topic both name x"),
        (["snapshot.topic=x", "sink.alerts_topic=x"], "sink.alerts_topic and snapshot.topic both name x"),
        (["snapshot.topic=x", "sink.dead_letter_topic=x"], "sink.dead_letter_topic and snapshot.topic both name x"),
    ],
)
def test_a_topic_that_is_written_to_is_not_the_input_or_that_of_the_state(written, names: list[str], says: str) -> None:
    assert says in wrong(written, SMALLEST, *names)


def test_topics_of_no_meaning_may_have_any_name(written) -> None:
    files = "source: {kind: files, paths: [a.csv], topic: x}\nstream: {numeric: [a]}\n"
    assert written(f"{files}sink: {{alerts_topic: x}}\n").sink.alerts_topic == "x"
    assert written(SMALLEST, "sink.alerts_topic=x", "sink.dead_letter_topic=x").sink.dead_letter_topic == "x"


def test_what_is_read_is_not_written_to_by_another_name(
    written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to("in.jsonl")
    for path in (str(tmp_path / "in.jsonl"), "link.jsonl", "hard.jsonl", f"../{tmp_path.name}/in.jsonl"):
        text = f"source: {{kind: files, paths: [in.jsonl]}}\nstream: {{numeric: [level]}}\nsink: {{path: {path}}}\n"
        assert f"sink.path and source.paths both name {path} (in.jsonl)" in wrong(written, text)


def test_without_any_configuration_it_is_asked_for_and_a_folder_is_called_one(tmp_path: Path) -> None:
    for overrides in ([], ["http.port=1"]):
        with pytest.raises(ConfigurationError, match="no configuration: name its file with --config"):
            load(None, overrides, {})
    with pytest.raises(NoInput, match="is a folder"):
        load(tmp_path, environment={})


NAMES = [
    "kafka.group_id",
    "kafka.group_instance_id",
    "kafka.transactional_id",
    "source.topic",
    "sink.alerts_topic",
    "sink.dead_letter_topic",
    "snapshot.topic",
    "retraining.requests_topic",
    "retraining.results_topic",
    "retraining.announcements_topic",
    "retraining.feedback_topic",
    "retraining.group_id",
    "http.host",
]


@pytest.mark.parametrize("key", NAMES)
def test_a_name_that_an_unset_variable_left_empty_is_refused(written, key: str) -> None:
    """An empty http.host would be every address of the machine."""
    assert f"{key}: must not be empty" in wrong(written, SMALLEST, f"{key}=")


@pytest.mark.parametrize("key", [key for key in NAMES if key.endswith("topic")])
@pytest.mark.parametrize("name", ["bad topic", "a/b", ".", "..", "größe", "x" * 250, "x\n"])
def test_a_name_that_no_topic_can_have_is_an_error_that_names_its_key(written, key: str, name: str) -> None:
    assert f"{key}: {name!r} is not a topic's name" in wrong(written, SMALLEST, f"{key}={name}")


def test_as_many_threads_as_no_process_can_start_are_refused(written) -> None:
    """They would end it by a signal, without a word."""
    assert "model.threads: must be less than or equal to 1024" in wrong(written, SMALLEST, "model.threads=100000")


def test_a_missing_section_is_named(written) -> None:
    assert wrong(written, "source: {topic: a}\n") == "stream: is required"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http: {port: 1}\nhttp: {port: 2}\n", "daemon.yaml:2: http: is a duplicate key"),
        ("http: {port: 1\n", "not YAML"),
        ("- a\n", "must hold sections and keys"),
        ("name: &a x\nlog: {level: *a}\n", "log.level: aliases (*name) are not supported"),
        ("name: !!python/object/apply:os.getcwd []\n", "name"),
        ("name: !!python/name:os.system x\n", "cannot be read as tag:yaml.org,2002:python/name:os.system"),
        ("limits: {streams: !!bool x}\n", "cannot be read as tag:yaml.org,2002:bool"),
        ('limits: {streams: !!int ""}\n', "cannot be read as tag:yaml.org,2002:int"),
        ("http: {host: !!timestamp x}\n", "cannot be read as tag:yaml.org,2002:timestamp"),
        ("http: !foo {port: 1}\n", "daemon.yaml:1: http: has the tag !foo, which is not supported: leave it out"),
        ("stream: {numeric: !!set {a, b}}\n", "stream.numeric: has the tag tag:yaml.org,2002:set"),
        ("stream: {numeric: !include [a]}\n", "stream.numeric: has the tag !include"),
        ("!foo {http: {port: 1}}\n", "daemon.yaml:1: has the tag !foo"),
        ("!foo http: {port: 1}\n", "a key must be plain text"),
        ("? [a, b]\n: 1\n", "a key must be plain text"),
        ("name: ${not a name}\n", "is not a variable"),
    ],
)
def test_the_yaml_is_read_strictly(written, text: str, expected: str) -> None:
    assert expected in wrong(written, text)


def test_tags_that_change_nothing_or_only_say_how_a_scalar_is_meant_are_allowed(written) -> None:
    text = "source: !!map {topic: !!str 7}\nstream: {numeric: !!seq [a]}\n"
    settings = written(text)
    assert (settings.source.topic, [field.name for field in settings.stream.numeric]) == ("7", ["a"])


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 2000 + "1" + "}" * 2000, "- " * 5000])
def test_what_is_nested_without_end_is_refused(written, text: str) -> None:
    assert "nested far too deeply" in wrong(written, text)
    assert "must be JSON here" in wrong(written, SMALLEST, f"stream.numeric={'[' * 100_000}")


@pytest.mark.parametrize("depth", [102, *range(900, 1000, 9), 5000])
@pytest.mark.parametrize("key", ["stream.numeric", "detection"])
def test_an_override_that_is_nested_without_end_is_refused(key: str, depth: int) -> None:
    """A few depths between what the JSON parser reads and what the code behind it can walk used to end as a bug."""
    for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        with pytest.raises(ConfigurationError, match=r"nested far too deeply|must be JSON here"):
            load(None, ["source.topic=x", f"{key}={text}"], {})


def test_an_override_may_be_as_deep_as_anything_that_there_is() -> None:
    text = '{"mute": [{"name": "n", "from": "22:00", "to": "23:00", "weekdays": ["fri"]}]}'
    assert load(None, ["source.topic=x", 'stream.numeric=["a"]', f"detection={text}"], {}).detection.mute


@pytest.mark.parametrize("odd", ["a\0b", "\udcff"])
def test_a_text_that_no_file_or_message_can_hold_is_refused(written, odd: str) -> None:
    said = "zero byte, or is not UTF-8"
    assert f"--set name: name: holds a {said}" in wrong(written, SMALLEST, f"name={odd}")
    assert f"source.paths[0]: holds a {said}" in wrong(written, SMALLEST, f"source.paths={json.dumps([odd])}")
    assert "daemon.yaml:3: sink.path: holds" in wrong(
        written, f"{SMALLEST}sink: {{kind: files, path: {json.dumps(odd)}}}"
    )
    named = f"{SASL}, sasl_plain_password_file: {json.dumps('/run/' + odd)}}}"
    assert "kafka.sasl_plain_password_file: holds" in wrong(written, named)
    refused = wrong(written, f"{SASL}, sasl_plain_password: {json.dumps('hunter2' + odd)}}}")
    assert "sasl_plain_password: holds" in refused
    assert "hunter2" not in refused


@pytest.mark.parametrize("limit", ["2e+30", ".inf", ".nan", "0"])
def test_numbers_that_would_stay_in_a_streams_state_as_infinite_cannot_be_let_in(written, limit: str) -> None:
    text = SMALLEST.replace("[level]", f"[level], magnitude_limit: {limit}")
    assert "stream.magnitude_limit: must be" in wrong(written, text)


@pytest.mark.parametrize("events", ["1e308", ".inf", ".nan"])
def test_a_weight_that_would_be_infinite_in_four_bytes_is_refused(written, events: str) -> None:
    assert "detection.shared_events: must be" in wrong(written, f"{SMALLEST}detection: {{shared_events: {events}}}")


def test_a_field_of_a_record_may_have_any_name_that_a_message_can_hold(written) -> None:
    assert written(SMALLEST, 'stream.key=["a\\u0000"]').stream.key == ["a\0"]
    assert "stream.key[0]: holds" in wrong(written, SMALLEST, 'stream.key=["\\udcff"]')
    assert "holds a zero byte, or is not UTF-8" in wrong(written, SMALLEST, 'stream.labels={"\\udcff": "x"}')


def test_many_aliases_of_aliases_do_not_hang(written) -> None:
    doubling = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert "aliases" in wrong(written, doubling)


def test_a_file_that_is_not_there_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput, match="anomaly-daemon init"):
        load(tmp_path / "none.yaml", (), {})


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "daemon.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(tmp_path / "daemon.yaml", (), {})


SASL = SMALLEST + "kafka: {security_protocol: SASL_SSL, sasl_mechanism: SCRAM-SHA-512, sasl_plain_username: me"


def test_a_secret_is_read_from_its_file_and_masked_wherever_it_is_printed(written, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n", encoding="utf-8")
    settings = written(f"{SASL}, sasl_plain_password_file: {secret}}}\n")
    assert settings.kafka.sasl_plain_password is not None
    assert settings.kafka.sasl_plain_password.get_secret_value() == "hunter2"
    assert "hunter2" not in json.dumps(resolved(settings)) + repr(settings) + str(settings)
    assert resolved(settings)["kafka"]["sasl_plain_password"] == "**********"


@pytest.mark.parametrize("content", [None, "", b"\xff"])
def test_a_secret_file_that_cannot_be_used_is_an_error(written, tmp_path: Path, content: str | bytes | None) -> None:
    secret = tmp_path / "password"
    if content is not None:
        secret.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "kafka.sasl_plain_password_file" in wrong(written, f"{SASL}, sasl_plain_password_file: {secret}}}\n")


def test_a_secret_file_beside_another_problem_is_one_of_them() -> None:
    """A person has to correct the configuration in any case."""
    refuse([])
    barred, other = Problem(("kafka",), "may not be read", barred=True), Problem(("stream",), "is odd")
    with pytest.raises(NotPermitted, match="may not be read"):
        refuse([barred])
    with pytest.raises(ConfigurationError, match=r"2 problems:\n.*may not be read\n.*is odd"):
        refuse([barred, other])


def test_a_secret_given_twice_is_an_error(written, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a", encoding="utf-8")
    text = f"{SASL}, sasl_plain_password: b, sasl_plain_password_file: {tmp_path / 'password'}}}\n"
    assert "keep one of the two" in wrong(written, text)


def test_a_wrong_secret_is_never_repeated_in_the_error(written) -> None:
    message = wrong(written, f"{SASL}, sasl_plain_password: 123456}}\n")
    assert "kafka.sasl_plain_password: must be text" in message
    assert "123456" not in message


def test_what_is_printed_can_be_read_again(written) -> None:
    first = written(SMALLEST + "limits: {streams: 7}\n")
    assert written(yaml.safe_dump(resolved(first))) == first


def test_the_digest_moves_with_what_decides_scores_and_with_nothing_else(written) -> None:
    digest = config_digest(written())
    changes = ("detection.prediction_weight=0.4", "stream.late=accept", "detection.budget.alarms_per_stream_per_day=2")
    changes += ('stream.numeric=[{"name": "level", "min_deviation": 5}]', "stream.missing_values=[-9999]")
    changes += (
        'stream.numeric=[{"name": "level", "missing_values": [-9999]}]',
        'detection.silence.short_lived=["web-*"]',
    )
    assert all(config_digest(written(SMALLEST, change)) != digest for change in changes)
    others = ("http.port=1", "kafka.group_id=x", "stream.labels.site=x", "name=x")
    assert all(config_digest(written(SMALLEST, other)) == digest for other in others)


def test_the_digest_of_settings_that_nobody_changed_survives_an_upgrade(written) -> None:
    """The digest is that of the release that had no mute windows, floors and missing values. A key that is added later
    belongs into `LATER`."""
    kinds = '["point", "window", "change", "level", "drift", "season", "relation"]'
    digest = config_digest(written(SMALLEST, f"detection.evidence={kinds}"))
    assert digest == "c0dd1268a399877f4d368575a880907eeddd53b7558b89676a5986585c5606dd"


def test_the_schema_accepts_what_is_right_and_refuses_an_unknown_key() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(SMALLEST), schema)
    with pytest.raises(jsonschema.ValidationError, match="prot"):
        jsonschema.validate(yaml.safe_load(SMALLEST + "http: {prot: 1}\n"), schema)


def test_every_section_is_frozen(written) -> None:
    with pytest.raises(ValueError, match="frozen"):
        written().http.port = 1


def test_a_choice_of_numbers_may_be_set_by_text() -> None:
    assert TrainingSettings(batch_size="32").batch_size == 32  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="32, 64 or 128"):
        TrainingSettings(batch_size="33")  # type: ignore[arg-type]


def test_evidence_that_can_say_nothing_of_these_fields_is_refused(written) -> None:
    only = 'detection.evidence=["relation"]'
    assert "stream.numeric has 1. Add other kinds" in wrong(written, SMALLEST, only)
    assert written(SMALLEST, 'detection.evidence=["relation", "level"]')
    assert written("source: {topic: readings}\nstream: {numeric: [level, flow]}\n", only)
    many = ", ".join(f"f{number}" for number in range(65))
    assert "has 65" in wrong(written, f"source: {{topic: readings}}\nstream: {{numeric: [{many}]}}\n", only)


@pytest.mark.parametrize("kinds", ['["quiet"]', '["change", "shape", "joint"]'])
def test_evidence_without_a_side_is_refused_where_every_field_has_one(written, kinds: str) -> None:
    only, sided = f"detection.evidence={kinds}", "{name: a, direction: above}"
    told = wrong(written, f"source: {{topic: readings}}\nstream: {{numeric: [{sided}]}}\n", only)
    assert "every field has its direction set to one side" in told
    assert written(f"source: {{topic: readings}}\nstream: {{numeric: [{sided}, b]}}\n", only)


def test_evidence_of_numbers_is_refused_of_categories_alone(written) -> None:
    categories = "source: {topic: readings}\nstream: {categorical: [mode]}\n"
    assert "without numeric fields only point, window and burst" in wrong(
        written, categories, 'detection.evidence=["level", "shape"]'
    )
    assert written(categories, 'detection.evidence=["level", "window"]')


@pytest.mark.parametrize(
    ("avro", "says"),
    [
        ("{}", "set avro.registry_url"),
        ("{registry_url: 'registry:8081'}", "must be like"),
        ("{registry_url: 'http://registry 8081'}", "must be like"),
        ("{registry_url: 'http://registry:port'}", "must be like"),
        ("{registry_url: 'http://me:secret@registry'}", "use registry_username"),
        ("{registry_url: 'http://r', schema_file: a.avsc}", "one of the two"),
        ("{registry_url: 'http://r', registry_username: me}", "set registry_password"),
        ("{registry_url: 'http://r', registry_password: secret}", "registry_username is not"),
        ("{schema_file: a.avsc, registry_cafile: ca.pem}", "registry_url is not"),
    ],
)
def test_schemas_that_cannot_be_found_are_refused(written, avro: str, says: str) -> None:
    told = wrong(written, f"source: {{topic: t}}\nstream: {{numeric: [a], format: avro, avro: {avro}}}\n")
    assert says in told
    assert "secret" not in told


def test_a_registrys_password_comes_from_its_file(written, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n", encoding="utf-8")
    login = f"registry_username: me, registry_password_file: {tmp_path / 'password'}"
    text = (
        f"source: {{topic: t}}\nstream: {{numeric: [a], format: avro, avro: {{registry_url: 'http://r', {login}}}}}\n"
    )
    password = written(text).stream.avro.registry_password
    assert password is not None
    assert password.get_secret_value() == "secret"
