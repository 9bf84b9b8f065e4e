"""Write docs/cli.md from the command line's own help: `python tools/cli_help.py [FILE]`."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

DEFAULT = Path(__file__).parents[1] / "docs" / "cli.md"
OPENING = """# The command line

<!-- Written by tools/cli_help.py from the program's help; `make docs` writes it again. -->

Every command takes `--help`. Numbers and where files lie are printed on stdout; progress and messages on stderr, where
bars are drawn on a terminal alone. Commands with `--json` print one JSON object on stdout and nothing else there: records
by the names of their fields (`measurements`, ...), the `directory` of the rest, how many `problems` are listed in it.

| exit code | what it says |
| --- | --- |
| 0 | done |
| 1 | not done, for a reason said in one message on stderr; or a check (`doctor`, `data check`, `regions check`, `calibrate`) that found something wrong, or a conversion that left something out |
| 2 | an unknown command or option, or a value that an option does not take |
| 130 | stopped by Ctrl-C; a line on stderr is the command that goes on from what is kept |

`alignscope --install-completion` teaches your shell (bash, zsh, fish, PowerShell) the commands and options.
"""


def pages(app: typer.Typer, program: str) -> str:
    """Markdown for a Typer app: one section per command, in the order the help shows them."""
    return "\n".join([OPENING, *_sections(typer.main.get_command(app), program)])


def _sections(command: Any, path: str) -> Iterator[str]:
    children = {name: child for name, child in getattr(command, "commands", {}).items() if not child.hidden}
    hints = typing.get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
    shown = [each for each in command.params if not each.hidden and each.name != "help"]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    if shown or not children:
        usage = [path, *("[OPTIONS]" for _ in options[:1]), *map(_place, arguments)]
        usage += ["COMMAND ..."] if children else []
        lines = [f"- `{_place(each)}`: {_told(each)}" for each in arguments]
        lines += [f"- `{_flags(each, hints.get(each.name))}`: {_told(each)}" for each in options]
        yield f"## `{path}`\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        yield f"```\n{' '.join(usage)}\n```\n"
        yield "\n".join(lines) + "\n"
    for name, child in children.items():
        yield from _sections(child, f"{path} {name}")


def _place(argument: Any) -> str:
    name = (argument.metavar or argument.name).strip("[]{}").upper()
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _flags(option: Any, hint: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or _kind(hint)}"


def _kind(hint: Any) -> str:
    """How a value of this annotation is written: its choices, else the name of its type.

    >>> _kind(typing.Literal["a", "b"]), _kind(Path | None), _kind(list[int])
    ('a|b', 'PATH', 'INT')
    """
    inner = [each for each in typing.get_args(hint) if each is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, inner))
    if inner:
        return _kind(inner[0])
    members = getattr(hint, "__members__", None)
    return (
        "|".join(each.value for each in members.values())
        if members
        else getattr(hint, "__name__", "TEXT").upper()
    )


def _told(parameter: Any) -> str:
    """The help of a parameter with its default, in one line."""
    text = " ".join((parameter.help or "").split())
    value = parameter.default
    if parameter.required:
        return f"{text} (required)" if parameter.param_type_name == "option" else text
    if value in (None, "", (), []) or callable(value) or isinstance(value, bool):
        return text
    return f"{text} (default: {getattr(value, 'value', value)})"


if __name__ == "__main__":
    from alignscope.cli import app as alignscope_app

    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    target.parent.mkdir(exist_ok=True)
    target.write_text(pages(alignscope_app, "alignscope"), encoding="utf-8")
