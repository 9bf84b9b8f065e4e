"""`alignscope doctor`: what of this installation works, what cannot, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.records.health import HealthCheck

WIDTH = 100


def doctor(as_json: shared.Json = False) -> None:
    """Check versions, extras, devices, Java, the built-in models, hub and cache; exit code 1 if something is broken.

    Nothing is downloaded. What is absent is optional: without it the rest works.
    """
    from alignscope.cli.machine import say
    from alignscope.studies.health import health

    checks = health()
    is_well = all(check.state != "broken" for check in checks)
    if as_json:
        say(works=is_well, checks=checks)
    else:
        tell("\n".join(told(checks)))
    if not is_well:
        raise typer.Exit(1)


def told(checks: Sequence[HealthCheck]) -> Iterator[str]:
    """Every check in a line, then what cannot work, why, and what to do."""
    width = max(len(check.subject) for check in checks)
    for group, members in groupby(checks, key=lambda check: check.group):
        yield group
        for check in members:
            yield f"  {check.state:<6}  {check.subject:<{width}}  {check.found}"
    failing = [check for check in checks if check.state != "works"]
    broken = sum(check.state == "broken" for check in checks)
    yield f"\n{broken} broken, {len(failing) - broken} absent of {len(checks)}" + (
        "; what cannot work:" if failing else ""
    )
    for check in sorted(failing, key=lambda check: check.state != "broken"):
        text = f"{check.subject} ({check.state}): {check.gives}. Why: {check.found}. Do: {check.remedy}"
        yield from textwrap.wrap(
            text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False
        )
