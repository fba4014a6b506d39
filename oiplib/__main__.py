"""``python -m oiplib`` is the command ``oip``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="oip")
