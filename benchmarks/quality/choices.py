"""What a command line may choose of."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def one_or_more_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads names that are parted by commas."""

    def read(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there is {', '.join(known)}")
        return chosen

    return read
