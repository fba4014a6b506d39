"""The command ``oip``, also as ``python -m oiplib``."""

import sys


def main() -> None:
    """Load the commands, and do what the command line says."""
    try:
        from .cli import main as command

        command(prog_name="oip")
    except KeyboardInterrupt:  # Ctrl-C before a command has begun
        sys.exit("Error: stopped before anything was begun")


if __name__ == "__main__":
    main()
