"""`python -m anomaly_daemon`: the command line, for use where the script `anomaly-daemon` is not on the path."""

from __future__ import annotations

import sys

from anomaly_daemon.cli import main

if __name__ == "__main__":
    sys.exit(main())
