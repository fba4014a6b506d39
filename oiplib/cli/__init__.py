"""``oip``: every capability of the library as a command."""

from __future__ import annotations

from typing import Any

import click

from .. import __version__
from ..errors import InputError, OipError
from . import ask, make
from .options import WrongUsage


class _Commands(click.Group):
    """Commands in the order of their use; our errors become one line and a status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can do something about is said in one line."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise WrongUsage(str(error)) from None
        except OipError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            message = "stopped; what is finished is kept, the next call goes on from there"
            raise click.ClickException(message) from None


@click.group(cls=_Commands, epilog="Example: oip reproduce --quick --db try.db --site try-site")
@click.version_option(__version__, prog_name="oip")
def main() -> None:
    """What do the feature maps of a CNN respond to?

    OIPs are patterns, grown by gradient ascent, to which one map responds strongly. All of them
    are kept in one database, from which any can be made again.
    """


for _command in (
    make.train,
    make.screen,
    make.derive,
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
    main.add_command(_command)
