"""`alignscope list`: what there is to choose from."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.models.catalogue import Known

WIDTH = 100
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def listing() -> None:
    """What there is to choose from."""


@app.command()
def models(
    as_json: shared.Json = False,
) -> None:
    """Print every model that opens by name, and every family that opens from a directory, file or hub id."""
    from alignscope.cli.machine import say
    from alignscope.models.catalogue import CATALOGUE, named_models

    named = named_models()
    if as_json:
        names = [{"name": one.name, "of": one.known and one.known.name} for one in named]
        say(names=names, families=CATALOGUE)
        return
    tell("Names (no path is needed):")
    for one in named:
        tell(f"  {one.name:<20} {f'as {one.known.name}' if one.known else 'by its own loader'}")
    tell("\nFamilies (give a directory, a file of weights or a hub id):")
    for known in CATALOGUE:
        tell("\n" + "\n".join(told(known)))


def told(known: Known) -> list[str]:
    """A family in a few lines, none longer than a terminal of 100 columns."""
    match = "" if known.match_index is None else f", logit {known.match_index}"
    words = f"; words by {', '.join(known.methods)}" if known.methods else ""
    parts = {
        "needs": known.needs,
        "gives": f"{known.score}{match}{words}",
        "weights": f"{', '.join(known.where)}; licence: {known.licence}",
    }
    lines = [f"{known.name}: {known.family}, {', '.join(known.classes)}"]
    for name, text in parts.items():
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {name:<9}",
            subsequent_indent=" " * 11,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
