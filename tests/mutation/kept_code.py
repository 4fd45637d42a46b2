"""A pytest plugin for runs on a mutated package: a mutation of code that is not compiled needs no new machine code.

Cached machine code is found by a digest of all sources of a folder. For the folder with the mutated file this plugin
returns the digest of the original folder. What the run compiles itself is not added to the cache, because it might
contain a value of the mutated file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anomaly_daemon import compiled

MUTATED, AS_IT_WAS = Path(os.environ["MUTATED_FOLDER"]), Path(os.environ["FOLDER_AS_IT_WAS"])

of_its_sources = compiled.digest


def of_the_sources_as_they_were(folder: Path) -> str:
    return of_its_sources(AS_IT_WAS if folder == MUTATED else folder)


def keep_nothing(_cache: Any, _signature: Any, _code: Any) -> None:
    return


compiled.digest = of_the_sources_as_they_were  # type: ignore[assignment]
compiled._Kept.save_overload = keep_nothing  # type: ignore[method-assign]
