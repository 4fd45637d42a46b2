"""How fast it is, and what bounds it: `make bench`."""
