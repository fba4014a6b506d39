"""Errors that a user can do something about: one line, which the command line prints as it is."""


class OipError(Exception):
    """Something failed; the message says what, and what to do about it (exit status 1).

    Examples
    --------
    >>> from oiplib import Store
    >>> try:
    ...     Store("nowhere.db")
    ... except OipError as error:
    ...     print(type(error).__name__)
    OipError
    """


class InputError(OipError, ValueError):
    """What was asked for can't be; the message names the valid choices (exit status 2).

    Examples
    --------
    >>> from oiplib import GridSpec
    >>> try:
    ...     GridSpec(rows=0)
    ... except InputError as error:
    ...     print(error)
    rows must be at least 1, not 0
    """
