"""The broker's jars: Apache Kafka from Maven Central, downloaded once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


class BrokerError(Exception):
    """The broker could not be downloaded or started. The text gives the reason."""


def missing() -> str | None:
    """Return what this machine lacks to start a broker, or None."""
    absent = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"not on PATH: {' and '.join(absent)}" if absent else None


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anomaly-daemon"


def kafka_version() -> str:
    found = re.search(r"<kafka.version>([^<]+)<", (HERE / "pom.xml").read_text())
    assert found
    return found[1]


def jars() -> Path:
    """Return the folder of the broker's jars, which Maven downloads if it is not there yet.

    The jars are downloaded into another folder, which is then renamed, so that a process that starts at the same time
    never sees an incomplete folder. Raises BrokerError.
    """
    folder = cache_folder() / f"kafka-{kafka_version()}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="kafka-", dir=folder.parent))
    _copy_dependencies(fresh)
    try:
        fresh.rename(folder)
    except OSError:  # another process has downloaded it meanwhile
        shutil.rmtree(fresh)
    return folder


def _copy_dependencies(folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        output = getattr(error, "stdout", "") or str(error)
        raise BrokerError(f"Maven could not fetch Kafka {kafka_version()}:\n{output[-2000:]}") from error
