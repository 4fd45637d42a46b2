"""How well the daemon detects, beside its peers: `python -m benchmarks.quality`. See docs/detection.md."""
