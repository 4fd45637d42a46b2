"""The only reader of the configuration file, the environment and `--set`.

In order of precedence, the highest first: `--set section.key=value`, the environment variable
`ANOMALY_DAEMON__SECTION__KEY`, the YAML file, the defaults in `settings`. Each is a source of pydantic-settings
(`layers`), which merges them. Unknown keys are refused. All problems are reported together, each with the place where
it was written. A secret may come from a file, which the key `..._file` beside it names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError

from anomaly_daemon.configuration.keys import SECRETS
from anomaly_daemon.configuration.layers import Layer, from_environment, overridden
from anomaly_daemon.configuration.problems import Path as KeyPath
from anomaly_daemon.configuration.problems import Problem, refuse, reworded
from anomaly_daemon.configuration.strict_yaml import Document, parse
from anomaly_daemon.errors import ConfigurationError, NoInput, NotPermitted
from anomaly_daemon.settings import Section, Settings

LATER = {
    "mute": [],
    "min_deviation": 0.0,
    "min_deviation_percent": 0.0,
    "missing_values": [],
    "short_lived": [],
    "unnest": None,
}
"""Keys of `detection`, `detection.silence`, `stream` and `stream.numeric` that were added after the digest was
introduced, with their defaults. The digest covers them only where they are set. Otherwise every upgrade would report
that older alerts were decided under other settings."""

AnySection = TypeVar("AnySection", bound=Section)


def load(
    path: Path | None = None, overrides: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of a file, the environment (by default this process's) and overrides `section.key=value`.

    Raises:
        ConfigurationError: names every problem, each with its file and line, variable or `--set`.
        NoInput, NotPermitted: the configuration file is not there, or this user may not read it or a file of a secret.
    """
    environment = os.environ if environment is None else environment
    file = parse(_text(path), str(path), environment) if path else Document()
    if not file.tree:
        refuse(file.problems)
    layers = tuple(Layer(document) for document in (overridden(overrides), from_environment(environment), file))
    if path is None and not any({"source", "stream"} & layer.tree.keys() for layer in layers):
        refuse(_problems(layers))
        raise ConfigurationError("no configuration: name its file with --config (`anomaly-daemon init` writes one)")
    return _validated(layers)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise NoInput(f"the configuration {path} is a folder: name a file in it") from error
    except FileNotFoundError as error:
        raise NoInput(f"there is no configuration file {path}: `anomaly-daemon init` writes one") from error
    except PermissionError as error:
        raise NotPermitted(f"the configuration file {path} is not readable for this user") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error


def _problems(layers: Sequence[Layer]) -> list[Problem]:
    return [problem for layer in reversed(layers) for problem in layer.problems]


def _validated(layers: Sequence[Layer]) -> Settings:
    """Merge and validate the layers, of which the first has the highest precedence."""
    problems = _problems(layers)
    origins = {where: origin for layer in reversed(layers) for where, origin in layer.origins.items()}
    try:
        settings = Settings(_build_sources=(tuple(layers), {}))
    except ValidationError as error:
        findings = reworded(error, origins, SECRETS)
        problems += [finding for finding in findings if not any(finding.follows(problem) for problem in problems)]
        refuse(problems)
        raise
    settings = _with_secrets(settings, (), problems)
    refuse(problems)
    return settings


def _with_secrets(section: AnySection, path: KeyPath, problems: list[Problem]) -> AnySection:
    """Return the section with each secret whose `..._file` key is set read from that file."""
    found: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            found[name] = _with_secrets(value, (*path, name), problems)
        elif name in SECRETS and (file := getattr(section, f"{name}_file")) is not None:
            where = (*path, f"{name}_file")
            if value is not None:
                problems.append(Problem(where, f"{name} is set too: keep one of the two"))
            found[name] = _secret(file, where, problems)
    return section.model_copy(update=found)


def _secret(file: Path, where: KeyPath, problems: list[Problem]) -> SecretStr:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        problems.append(Problem(where, f"{file} may not be read: {error.strerror}", barred=True))
        return SecretStr("")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a name that no file can have
        problems.append(Problem(where, f"cannot read {file}: {getattr(error, 'strerror', None) or error}"))
        return SecretStr("")
    if not text:
        problems.append(Problem(where, f"{file} is empty"))
    return SecretStr(text)


def resolved(settings: Settings) -> dict[str, Any]:
    """Return the whole configuration as it will be used, as plain values, with every secret masked."""
    return settings.model_dump(mode="json")


def config_digest(settings: Settings) -> str:
    """Return the SHA-256 (hex) of what decides scores and alarms: `stream` without its labels and schemas, and
    `detection`."""
    stream = _without_later(settings.stream.model_dump(mode="json", exclude={"labels", "avro", "protobuf"}))
    stream["numeric"] = [_without_later(feature) for feature in stream["numeric"]]
    detection = _without_later(settings.detection.model_dump(mode="json"))
    detection["silence"] = _without_later(detection["silence"])
    chosen = {"stream": stream, "detection": detection}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_later(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in LATER or value != LATER[name]}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, generated from `settings`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
