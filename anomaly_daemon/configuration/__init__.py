"""The only reader of the configuration file, the environment and `--set`.

Highest first: `--set section.key=value`, the environment's `ANOMALY_DAEMON__SECTION__KEY`, the YAML file, the defaults
in `settings`. Each is a source of pydantic-settings (`layers`), which lays them over one another. Every key is strict,
every problem is told at once with the place where it was written, and a secret may come from a file through its
`..._file` twin.
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

LATER = {"mute": [], "min_deviation": 0.0, "min_deviation_percent": 0.0, "missing_values": [], "short_lived": []}
"""Keys of `detection`, `detection.silence`, `stream` and `stream.numeric` that came after the digest, and where they stand
unless they are set.
Only set ones are in the digest, or every upgrade would say that the settings of older alerts were others."""

AnySection = TypeVar("AnySection", bound=Section)


def load(
    path: Path | None = None, overrides: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings of a file, the environment (by default this process's) and overrides `section.key=value`.

    Raises:
        ConfigurationError: naming every problem, each with its file and line, variable or `--set`.
        NoInput, NotPermitted: the file is not there, or not ours to read, or that of a secret is not.
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
    """What the layers come to, the highest first."""
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
    """The section with every secret whose `..._file` twin is set read from there."""
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
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(where, f"cannot read {file}: {getattr(error, 'strerror', None) or error}"))
        return SecretStr("")
    if not text:
        problems.append(Problem(where, f"{file} is empty"))
    return SecretStr(text)


def resolved(settings: Settings) -> dict[str, Any]:
    """The whole configuration as it will be used, as plain values, with every secret masked."""
    return settings.model_dump(mode="json")


def config_digest(settings: Settings) -> str:
    """SHA-256 (hex) over what decides scores and alarms: `stream` without its labels and schemas, and `detection`."""
    stream = _without_later(settings.stream.model_dump(mode="json", exclude={"labels", "avro"}))
    stream["numeric"] = [_without_later(feature) for feature in stream["numeric"]]
    detection = _without_later(settings.detection.model_dump(mode="json"))
    detection["silence"] = _without_later(detection["silence"])
    chosen = {"stream": stream, "detection": detection}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_later(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in LATER or value != LATER[name]}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, generated from `settings`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
