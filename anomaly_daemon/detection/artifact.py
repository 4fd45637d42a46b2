"""A trained model as two byte strings: a JSON manifest and safetensors weights (law L12: nothing in them is executed).

The manifest describes what the model is for and contains the checksum of the weights. The model's digest is that of its
manifest, and therefore identifies both.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from anomaly_daemon.detection import signals
from anomaly_daemon.detection.alert import ModelRef
from anomaly_daemon.detection.bins import BINS
from anomaly_daemon.detection.calibration import ARRAYS, Calibration
from anomaly_daemon.detection.network import Cell, Initialization, Layout, Network, NetworkConfig
from anomaly_daemon.detection.normalizer import NormalizerKind
from anomaly_daemon.detection.observation import OPERATORS, Numeric, Schema, Transform
from anomaly_daemon.errors import Incompatible

FORMAT_VERSION, UNNAMED = 3, 2
"""The second is the version of models whose calibration does not name its kinds of evidence."""
MANIFEST_LIMIT = 64 * 1024 * 1024
LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is, and how it was made."""

    name: str
    version: str
    network: NetworkConfig
    normalizer: NormalizerKind = NormalizerKind.STANDARD
    schema: Schema | None = None
    """None: the model fits any schema (channel layout only)."""
    vocabulary: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The known texts of each categorical field: class i + 1 is the i-th text, class 0 is any other."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Range of the data, settings, metrics and curves of the training, for human readers and `models show`."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class Model:
    """A network ready to score, with everything needed to turn its errors into p-values."""

    manifest: Manifest
    network: Network
    calibration: Calibration

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which contains that of the weights."""
        return hashlib.sha256(encode(self)[0]).hexdigest()

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.manifest.name, self.manifest.version, self.digest)

    def for_schema(self, schema: Schema) -> Model:
        """Return this model if it can score streams of this schema. Raises Incompatible, naming the difference, if it
        cannot."""
        trained = self.manifest.schema
        if trained is None:
            return self
        for what in ("numeric", "categorical", "timezone"):
            here, there = getattr(schema, what), getattr(trained, what)
            if here != there:
                raise Incompatible(
                    f"model {self.manifest.name} {self.manifest.version} was trained with stream.{what} = {_said(there)}, "
                    f"the configuration says {_said(here)}: set it as trained, or train a model for this configuration"
                )
        return self


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{v.name}:{v.transform}" if isinstance(v, Numeric) else str(v) for v in value) + "]"
    return str(value)


def encode(model: Model) -> tuple[bytes, bytes]:
    """Return the contents of manifest.json and weights.safetensors."""
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()})
    manifest = asdict(model.manifest)
    for feature in (manifest["schema"] or {}).get("numeric", ()):
        for name in OPERATORS:
            del feature[name]  # operators' settings are not part of a model
    manifest["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    manifest["calibration"] = _as_fields(model.calibration)
    manifest["format_version"] = FORMAT_VERSION if model.calibration.names else UNNAMED
    return json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False).encode(), weights


def _as_fields(calibration: Calibration) -> dict[str, Any]:
    """Return the calibration as JSON values. `names` is written only where there are any: otherwise the digests of
    models made before kinds were named would change."""
    arrays = {name: getattr(calibration, name).tolist() for name in ARRAYS}
    names = {"names": list(calibration.names)} if calibration.names else {}
    return {**arrays, **names, "samples": calibration.samples}


def pack(model: Model) -> bytes:
    """Return the artifact as one byte string, from which `unpack` restores the model."""
    manifest, weights = encode(model)
    return LENGTH.pack(len(manifest)) + manifest + weights


def unpack(packed: bytes) -> Model:
    """Restore a model from `pack`. Raises Incompatible, saying what is wrong with the artifact."""
    if len(packed) < LENGTH.size:
        raise Incompatible(f"a packed model of {len(packed)} bytes is cut short")
    end = LENGTH.size + LENGTH.unpack_from(packed)[0]
    return decode(packed[LENGTH.size : end], packed[end:])


def decode(manifest: bytes, weights: bytes) -> Model:
    """Restore a model from its manifest and weights. Raises Incompatible, saying what is wrong with them."""
    if len(manifest) > MANIFEST_LIMIT:
        raise Incompatible(f"manifest.json is {len(manifest)} bytes: more than any model's")
    try:
        manifest_fields = json.loads(manifest)
        version = manifest_fields.pop("format_version")
        if version not in (FORMAT_VERSION, UNNAMED):
            read = f"{UNNAMED} and {FORMAT_VERSION}"
            raise Incompatible(f"model format {version}: this release reads formats {read}; train again")
        checksum, calibration = manifest_fields.pop("weights_sha256"), _calibration(manifest_fields.pop("calibration"))
        parts = Manifest(
            **{
                **manifest_fields,
                "network": _network(manifest_fields["network"]),
                "normalizer": NormalizerKind(manifest_fields["normalizer"]),
                "schema": _schema(manifest_fields["schema"]),
            }
        )
        _check_texts(parts)
        _check_fields(parts)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise Incompatible(
            f"manifest.json is not a model's manifest ({error!r}): write it again with `train`"
        ) from error
    if hashlib.sha256(weights).hexdigest() != checksum:
        raise Incompatible("weights.safetensors does not match the checksum in manifest.json: copy the model again")
    return Model(parts, _filled(parts.network, weights), calibration)


def _network(fields: Mapping[str, Any]) -> NetworkConfig:
    config = NetworkConfig(
        **{
            **fields,
            "layout": Layout(fields["layout"]),
            "cell": Cell(fields["cell"]),
            "initialization": Initialization(fields["initialization"]),
            "head": tuple(fields["head"]),
            "classes": tuple(fields["classes"]),
        }
    )
    sizes = (config.layers, config.hidden, config.values, config.reconstruct, *config.head, *config.classes)
    if not all(type(size) is int and 0 < size <= 65_536 for size in (*sizes, config.embedding)):
        raise ValueError(f"the network sizes {sizes} are not valid")
    if not 0 <= config.dropout <= 1:
        raise ValueError(f"a dropout of {config.dropout} is not a probability")
    return config


def _check_texts(parts: Manifest) -> None:
    texts = [parts.name, parts.version, *(text for known in parts.vocabulary.values() for text in known)]
    if not all(isinstance(text, str) for text in texts) or any(
        isinstance(one, str) for one in parts.vocabulary.values()
    ):
        raise TypeError("its name, version and vocabulary must be text")
    "".join(texts).encode()  # a lone surrogate fails here: no alert and no metric could hold it


def _check_fields(parts: Manifest) -> None:
    """Raise ValueError if the network is not one for the manifest's fields and vocabulary. Compiled code relies on that,
    and does not check the bounds of arrays."""
    config, values = parts.network, 1
    classes: tuple[int, ...] = ()
    if config.layout is Layout.JOINT:
        if parts.schema is None:
            raise ValueError("a network in the joint layout needs a schema")
        values = len(parts.schema.numeric)
        classes = tuple(len(parts.vocabulary.get(name, ())) + 1 for name in parts.schema.categorical)
    if (config.values, config.classes) != (values, classes):
        raise ValueError(f"its network does not fit {values} values a row and classes {classes}")


def _schema(fields: Mapping[str, Any] | None) -> Schema | None:
    if fields is None:
        return None
    numeric = tuple(Numeric(one["name"], Transform(one["transform"])) for one in fields["numeric"])
    return Schema(numeric, tuple(fields["categorical"]), fields["timezone"])


def _calibration(fields: Mapping[str, Any]) -> Calibration:
    if set(fields) - {"names"} != {*ARRAYS, "samples"}:
        raise ValueError(f"a calibration has {', '.join((*ARRAYS, 'samples'))}, not {', '.join(fields)}")
    arrays, names = {name: np.asarray(fields[name], np.float64) for name in ARRAYS}, tuple(fields.get("names", ()))
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("the calibration holds a value that is not finite")
    if any(array.shape[1:] != ((BINS,) if name == "reached_JK" else ()) for name, array in arrays.items()):
        raise ValueError(
            f"a calibration has {BINS} levels for each kind of evidence, and one number of everything else"
        )
    if len({len(array) for array in arrays.values()} | ({len(names)} if names else set())) != 1:
        raise ValueError("the calibration's arrays differ in length")
    if names and (len(set(names)) < len(names) or not {"level"} <= set(names)):
        raise ValueError(
            f"the calibration's kinds of evidence must be distinct and contain level, not {', '.join(map(str, names))}"
        )
    calibration = Calibration(**arrays, samples=int(fields["samples"]), names=names)
    _check_figures(calibration)
    signals.named(calibration)  # raises ValueError where no release made one of this many kinds
    return calibration


def _check_figures(calibration: Calibration) -> None:
    """Raise ValueError if a figure is none of a distribution. P-values computed from it would mean nothing."""
    reached_JK = calibration.reached_JK
    shares = ((reached_JK >= 0) & (reached_JK <= 1)).all() and (reached_JK[:, 0] > 0).all()
    if not shares or (np.diff(reached_JK) > 0).any():
        raise ValueError("the calibration's reached_JK must be shares from 0 to 1 that do not increase")
    if not ((calibration.extremal_J > 0) & (calibration.extremal_J <= 1)).all():
        raise ValueError("the calibration's extremal_J must be shares above 0")
    if not ((calibration.shape_J >= 0) & (calibration.shape_J < 1)).all():
        raise ValueError("the calibration's shape_J must be from 0 to below 1")
    if not ((calibration.excess_J > 0).all() and (calibration.largest_J >= 0).all() and calibration.samples >= 0):
        raise ValueError("the calibration holds a negative or zero excess, or a negative number")


def _filled(config: NetworkConfig, weights: bytes) -> Network:
    try:
        tensors = load(weights)
        _check_shapes(config, tensors)
        network = Network(config)
        network.load_state_dict(tensors)
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise Incompatible(f"weights.safetensors does not fit the manifest's network: {error}") from error
    if not finite:
        raise Incompatible("weights.safetensors holds values that are not finite: a broken training; train again")
    return network.eval()


def _check_shapes(config: NetworkConfig, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise KeyError if the tensors do not have the shapes of this network. Nothing is allocated from sizes that the
    weights do not confirm, because a manifest can claim terabytes."""
    if config.layers + len(config.head) + len(config.classes) > len(tensors):
        raise KeyError(f"{len(tensors)} tensors are too few for its layers")
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in Network(config).state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wrong := [name for name in {**expected, **found} if expected.get(name) != found.get(name)]:
        raise KeyError(f"{wrong[0]} is {_shape(found.get(wrong[0]))} and must be {_shape(expected.get(wrong[0]))}")


def _shape(shape: Sequence[int] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"
