"""What verbs print for people: texts of files are shown, and never tell the terminal to do something."""

from __future__ import annotations

import re

import typer

_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line end, and the marks that turn the direction of writing."""


def tell(text: object, *, err: bool = False) -> None:
    """Print on stdout, or on stderr, what `printable` leaves of a text."""
    typer.echo(printable(str(text)), err=err)


def printable(text: str) -> str:
    r"""A text whose control characters are spelt out, as Python's source would spell them.

    >>> print(printable("a \x1b[2J dog\x07"))
    a \x1b[2J dog\x07
    """
    return _ORDERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
