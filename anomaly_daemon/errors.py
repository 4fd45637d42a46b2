"""Errors named for what the caller must do (law L10), and the exit codes with which they end the process."""

from __future__ import annotations

import errno
from enum import IntEnum

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of the system where there is no room for a file: the disk is full, or the user's quota or the largest
size of a file is reached."""


class ExitCode(IntEnum):
    """The sysexits(3) codes that this program uses, and what each asks of the operator."""

    OK = 0
    DIFFERENT = 1
    """`replay`: the recomputed alert differs; `backtest --gate`: a case failed. The code is that of cmp(1)."""
    NOT_COMPARABLE = 2
    """`replay`: the records or state that the alert was computed from are gone; `backtest --gate`: no case could be
    judged."""
    BUG = 70
    """EX_SOFTWARE: report it, with the traceback."""
    USAGE = 64
    """EX_USAGE: the command line is wrong."""
    INPUT = 65
    """EX_DATAERR: the records themselves are wrong. The daemon stops with it beyond the dead-letter limit."""
    NO_INPUT = 66
    """EX_NOINPUT: a file or an alert named on the command line does not exist."""
    UNAVAILABLE = 69
    """EX_UNAVAILABLE: a broker, topic or file could not be reached within the deadline."""
    TEMPORARY = 75
    """EX_TEMPFAIL: start the process again. It was fenced by a newer member, or a deadline passed."""
    NOT_PERMITTED = 77
    """EX_NOPERM: credentials or access rights are missing."""
    CONFIGURATION = 78
    """EX_CONFIG: the configuration, or the model or state it points to, does not fit."""


class DaemonError(Exception):
    """An expected failure; its text says what to change."""

    exit_code = ExitCode.BUG


class UsageError(DaemonError):
    exit_code = ExitCode.USAGE


class ConfigurationError(DaemonError):
    exit_code = ExitCode.CONFIGURATION


class Incompatible(DaemonError):  # noqa: N818 - named for the law, not for Python
    """A model, snapshot or topic that does not fit this program or its settings. It is refused and never guessed at
    (laws L9, L10)."""

    exit_code = ExitCode.CONFIGURATION


class Unavailable(DaemonError):  # noqa: N818
    """A broker, topic or file is unavailable. Access is retried within a deadline before this is raised."""

    exit_code = ExitCode.UNAVAILABLE


class Fenced(DaemonError):  # noqa: N818
    """Another member has taken this member's place. The process must end, and deliver nothing more."""

    exit_code = ExitCode.TEMPORARY


class Evicted(DaemonError):  # noqa: N818
    """The consumer group has removed this member, and nothing was delivered. It must join again, and restore from what
    is committed."""

    exit_code = ExitCode.TEMPORARY


class NotPermitted(DaemonError):  # noqa: N818
    exit_code = ExitCode.NOT_PERMITTED


class NoInput(DaemonError):  # noqa: N818
    exit_code = ExitCode.NO_INPUT


class NotComparable(DaemonError):  # noqa: N818
    """The records or state that an alert was computed from are gone, so nothing can be said about it."""

    exit_code = ExitCode.NOT_COMPARABLE


class TooManyMalformed(DaemonError):  # noqa: N818
    """Too many records were unreadable: more than `limits.dead_letters_per_minute` allows, or most of a file. The
    configuration is then more likely wrong than the records."""

    exit_code = ExitCode.INPUT


def unread(what: object, error: OSError) -> DaemonError:
    """Return the error for a named file that cannot be read: NotPermitted where access is denied, else NoInput."""
    kind = NotPermitted if isinstance(error, PermissionError) else NoInput
    return kind(f"{what}: {error.strerror}")
