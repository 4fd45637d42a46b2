"""Errors named for what the caller must do (law L10), and the exit codes they end the process with."""

from __future__ import annotations

import errno
from enum import IntEnum

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where there is no room for a file: the disk, the user's share of it, or one file's limit."""


class ExitCode(IntEnum):
    """The sysexits(3) codes this program uses, and what each asks of the operator."""

    OK = 0
    DIFFERENT = 1
    """`replay`: computed again, the alert is another one; `backtest --gate`: a case failed. As cmp(1) has it."""
    NOT_COMPARABLE = 2
    """`replay`: what the alert was computed from is not known any more; `backtest --gate`: no case could be judged."""
    BUG = 70
    """EX_SOFTWARE: report it, with the traceback."""
    USAGE = 64
    """EX_USAGE: the command line is wrong."""
    INPUT = 65
    """EX_DATAERR: the records themselves are wrong; past the dead-letter limit the daemon stops."""
    NO_INPUT = 66
    """EX_NOINPUT: a file or an alert named on the command line is not there."""
    UNAVAILABLE = 69
    """EX_UNAVAILABLE: a broker, topic or file could not be reached within the deadline."""
    TEMPORARY = 75
    """EX_TEMPFAIL: start me again: fenced by a newer member, or a deadline passed."""
    NOT_PERMITTED = 77
    """EX_NOPERM: credentials or access rights."""
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
    """A model, snapshot or topic of another make: refused, never guessed (laws L9, L10)."""

    exit_code = ExitCode.CONFIGURATION


class Unavailable(DaemonError):  # noqa: N818
    """Not there now; retried within a deadline before this is raised."""

    exit_code = ExitCode.UNAVAILABLE


class Fenced(DaemonError):  # noqa: N818
    """Another member has taken our place: end, deliver nothing more."""

    exit_code = ExitCode.TEMPORARY


class Evicted(DaemonError):  # noqa: N818
    """The group has put this member out, and nothing was delivered: join anew, and restore from what is committed."""

    exit_code = ExitCode.TEMPORARY


class NotPermitted(DaemonError):  # noqa: N818
    exit_code = ExitCode.NOT_PERMITTED


class NoInput(DaemonError):  # noqa: N818
    exit_code = ExitCode.NO_INPUT


class NotComparable(DaemonError):  # noqa: N818
    """What an alert was computed from is not there any more, so that nothing can be said about it."""

    exit_code = ExitCode.NOT_COMPARABLE


class TooManyMalformed(DaemonError):  # noqa: N818
    """More records were unreadable than `limits.dead_letters_per_minute` allows: then we are the ones who are wrong."""

    exit_code = ExitCode.INPUT


def unread(what: object, error: OSError) -> DaemonError:
    """Why a file that was named cannot be read: it is not ours to read, or it is not there."""
    kind = NotPermitted if isinstance(error, PermissionError) else NoInput
    return kind(f"{what}: {error.strerror}")
