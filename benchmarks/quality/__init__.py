"""How well the daemon detects, beside its peers, on labelled streams: `python -m benchmarks.quality`. See docs/quality.md."""
