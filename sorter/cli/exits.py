"""Where errors end: one line on stderr and an exit code for whatever a user can cause.

Owns the standard streams and the exit code, for every entry point. Knows no command. What is no
SorterError and no fault of the command line is a bug, and keeps its traceback.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import typer

from sorter.errors import EnvironmentFault, SorterError

INTERRUPTED = 130

_USAGE: type[Exception] = typer.BadParameter.__mro__[1]
"""click's UsageError, which typer vendors and does not name."""


def run(app: typer.Typer, name: str) -> int:
    """Run the command line of this process; the exit code, as `sorter.errors` has them."""
    _open_streams()
    try:
        code = app(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except SorterError as error:
        if isinstance(error, _StdoutError):
            _close_stdout()
        return _fail(f"sorter: {error}", error.exit_code)
    except _USAGE as error:
        return _show_usage(error)
    except typer.Abort as error:
        # typer takes an EOFError for Ctrl-D at a prompt. There are no prompts: it is a bug.
        raise (error.__cause__ or error) from None
    except BrokenPipeError:
        _close_stdout()  # The reader of our output went away (`| head`), so nobody hears us.
        return 1
    except OSError as error:
        # A folder that may not be entered, a name too long, a disk that fails: where a path is
        # named, the machine refused it. Modules say better what to do about those they expect.
        if _here_is_gone():
            return _fail("sorter: this folder is gone; cd to another", EnvironmentFault.exit_code)
        if error.filename is None or isinstance(error.filename, int):
            raise
        path = os.fsdecode(error.filename)
        return _fail(
            f"sorter: {path}: {error.strerror}; name another path, or change its permissions",
            EnvironmentFault.exit_code,
        )
    if code == INTERRUPTED:
        return _fail("sorter: interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _fail(line: str, code: int) -> int:
    from sorter.text import one_line

    typer.echo(one_line(line), err=True)
    return code


def _show_usage(error: Exception) -> int:
    """A fault of the command line, in one line. A group without a command shows its help."""
    code = int(getattr(error, "exit_code", 2))
    message = getattr(error, "format_message", error.__str__)().rstrip(". ")
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
        return code
    if message.endswith("is not readable"):  # a matter of rights, not of usage
        code = EnvironmentFault.exit_code
        message += "; change its permissions"
    command = context.command_path if context is not None else "sorter"
    return _fail(f"{command}: {message}; see {command} --help", code)


class _StdoutError(EnvironmentFault):
    """What we print cannot be written: the disk behind `> file` is full."""


class _Stdout(io.FileIO):
    """Descriptor 1. A reader that went away stays a BrokenPipeError."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _StdoutError(
                f"stdout: {error.strerror}; the output is cut short, send it elsewhere"
            ) from error


def _open_streams() -> None:
    """No stream is missing, and none refuses a name for the letters in it.

    A closed descriptor would go to the first file that is opened, a report maybe, and whatever is
    printed would land in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    out: TextIO | None = sys.stdout  # None where descriptor 1 was closed
    if out is None or (sys.__stdout__ is not None and out is sys.__stdout__):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "w", closefd=False)),
            encoding=out.encoding if out is not None else "utf-8",
            errors="backslashreplace",
            line_buffering=os.isatty(1),
            write_through=bool(getattr(out, "write_through", False)),
        )
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _here_is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _close_stdout() -> None:
    """Let what is unsaid go, or the interpreter would complain about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
