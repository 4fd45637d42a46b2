"""Command line arguments that choose from a list of names."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path


def one_or_more_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return an argument type that reads names separated by commas, and accepts only known ones."""

    def read(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there is {', '.join(known)}")
        return chosen

    return read


def sets_asked_for(
    parser: argparse.ArgumentParser,
    asked: argparse.Namespace,
    find: Callable[[Path], tuple[str, ...]],
    usual: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the sets that `--sets` names, of those that `find` sees in `--data`. Where it names none, return the usual
    ones that are there, or else all. Ends the program with a usage error where a set or the folder is missing."""
    try:
        there = find(asked.data)
        if asked.sets:
            return one_or_more_of(there)(asked.sets)
        if not there:
            parser.error(f"--data {asked.data}: no folder in it holds a set of labelled series")
        return tuple(name for name in usual if name in there) or there
    except OSError as error:
        parser.error(f"--data {asked.data}: {error.strerror}")
    except ValueError as error:
        parser.error(f"--data {asked.data}: {error}")
    except argparse.ArgumentTypeError as error:
        parser.error(f"--sets: {error}")
