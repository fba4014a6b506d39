"""``oip``: every capability of the library as a command."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from .. import __version__
from ..errors import InputError, OipError
from . import ask, make, options
from .options import WrongUsage
from .tables import line


class _Commands(click.Group):
    """Commands in the order of their use; our errors become one line and a status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can do something about is said in one line."""
        try:
            with _ended_like_ctrl_c():
                return super().invoke(ctx)
        except InputError as error:
            raise WrongUsage(line(error)) from None
        except OipError as error:
            raise click.ClickException(line(error)) from None
        except KeyboardInterrupt:
            message = "stopped; what is finished is kept, the next call goes on from there"
            raise click.ClickException(message) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except MemoryError:
            raise click.ClickException("this needs more memory than there is") from None
        except OSError as error:  # a full disk, a file that has gone
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise click.ClickException(line(what)) from None
        except Exception as error:
            raise click.ClickException(_logged(error)) from None


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let a command that is ended by another program stop in good order, as by Ctrl-C."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    changed = []
    if threading.current_thread() is threading.main_thread():  # no other may
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # Whoever ignores it, such as nohup, keeps that.
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, stop)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _logged(error: Exception) -> str:
    """Keep how an error came about in a file, and say so in one line."""
    is_of_network = type(error).__module__.startswith("tensorflow.")
    whose = "the network can't be computed with" if is_of_network else "a fault of oiplib's"
    fault = f"{whose} ({type(error).__name__}: {line(error)[:200]})"
    try:
        file, name = tempfile.mkstemp(prefix="oip-", suffix=".log")
        with os.fdopen(file, "w", errors="backslashreplace") as log:
            log.write(f"oiplib {__version__}, Python {sys.version}\n{sys.argv}\n")
            log.writelines(traceback.format_exception(error))
    except OSError:
        return f"{fault}, and no file could be written that says how it came about"
    ask = "" if is_of_network else ": please report it with that file"
    return f"{fault}; how it came about is in {name}{ask}"


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: oip reproduce --quick --db try.db --site try-site",
)
@click.version_option(__version__, prog_name="oip")
def main() -> None:
    """What does each filter of a neural network look for?

    An OIP (original input pattern) is an image that was changed, step by step, until one feature
    map of the network responded strongly. All OIPs are kept in one database, from which any can
    be made again.
    """


for _command in (
    make.train,
    make.screen,
    make.derive,
    ask.info,
    ask.query,
    ask.export,
    ask.serve,
    ask.show,
    ask.replay,
    make.compare,
    ask.check,
    ask.merge,
    make.run,
    make.book,
    make.reproduce,
):
    main.add_command(options.quiet(_command))
