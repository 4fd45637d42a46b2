"""Anomaly detection on Kafka streams: one network shared by all streams, and one state carried on for each stream."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("anomaly-daemon")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"
