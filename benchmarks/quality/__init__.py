"""How well the daemon detects, compared with its peers: `python -m benchmarks.quality`. See docs/detection.md."""
