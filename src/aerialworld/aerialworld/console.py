"""How commands speak: results on stdout, all else on stderr, errors without a traceback, honest exit codes."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TextIO, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from aerialworld_core.errors import AerialWorldError

P = ParamSpec("P")
R = TypeVar("R")

#: Columns of tables that go to a file or a pipe.
PLAIN_WIDTH = 160


def _width(stream: TextIO) -> int | None:
    """The terminal's own width, or a wide page where there is none (COLUMNS wins)."""
    return None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH


OUT = Console(soft_wrap=True, highlight=False, width=_width(sys.stdout))
ERR = Console(stderr=True, soft_wrap=True, highlight=False, width=_width(sys.stderr))

#: Set by --debug, which may stand anywhere on the command line.
DEBUG_VARIABLE = "AERIALWORLD_DEBUG"

#: Errors of the system that come of the path that was given, and those of a full disk.
BAD_PATH = frozenset(
    {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS}
    | {errno.ENAMETOOLONG, errno.ELOOP}
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: the same orderly end as Ctrl-C, with its own exit code."""


def say(text: str, style: str = "") -> None:
    """A line of results, as it is: names from files are never read as markup."""
    OUT.print(escape(text), style=style or None)


def note(text: str, style: str = "") -> None:
    """A line about what is going on, on stderr."""
    ERR.print(escape(text), style=style or None)


@contextmanager
def kept(message: str) -> Iterator[None]:
    """When the block is interrupted, `message` tells what was kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(message)
        raise
    except AerialWorldError as error:
        if error.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            error.add_note(message)
        raise


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Within the block SIGTERM ends the work as Ctrl-C does; elsewhere than in the main thread this does nothing."""

    def handle(_number: int, _frame: Any) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread: signals belong to whoever runs it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(error: BaseException, headline: str, text: str = "") -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error, file=sys.stderr)
    ERR.print(headline, style="bold red", end=" ", markup=False)
    ERR.print(escape(text or str(error) or "by a signal"))
    for line in getattr(error, "__notes__", ()):
        ERR.print(escape(line))


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of every command: expected failures become a message and the error's exit code.

    AerialWorldError → its `exit_code`; OSError → its reason with the path, 2 when the path is at
    fault, 28 when the disk is full, else 1;
    Ctrl-C → 130; SIGTERM → 143. Anything else is a defect and keeps its traceback.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with sigterm_as_interrupt():
                return function(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            _report(interrupt, "stopped:")
            code = EXIT_TERMINATED if isinstance(interrupt, Terminated) else EXIT_INTERRUPTED
            raise typer.Exit(code) from interrupt
        except AerialWorldError as error:
            stopped = error.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED)
            _report(error, "stopped:" if stopped else "error:")
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # the reader of our output has gone; say nothing more to it
            raise typer.Exit(1) from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename is not None else ""
            _report(error, "error:", f"{place}{error.strerror or error}")
            raise typer.Exit(28 if error.errno in NO_ROOM else 2 if error.errno in BAD_PATH else 1) from error

    return wrapper
