"""Speed benchmarks: how fast the daemon is, and what limits it. `make bench` runs them."""
