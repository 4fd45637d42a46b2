"""Streaming anomaly detection on Kafka: one shared network, one carried state per stream."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("anomaly-daemon")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"
