"""docs/cli.md is what the command line says of itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer

ROOT = Path(__file__).parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_help", ROOT / "tools" / "cli_help.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documentation_is_the_help():
    from alignscope.cli import app

    told = _generator().pages(app, "alignscope")
    for verb in ("audit", "train", "world export"):
        assert f"\n## `alignscope {verb}`\n" in told
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == told, "run: make docs"


def test_every_parameter_is_explained():
    from alignscope.cli import app

    lines = [line for line in _generator().pages(app, "alignscope").splitlines() if line.startswith("- `")]
    assert len(lines) >= 5, "found too few: nothing was checked"
    assert [
        line for line in lines if line.rstrip().endswith(":") or ":  " in line or "`: Default" in line
    ] == []


def test_a_small_command_line_worked_by_hand():
    app = typer.Typer(add_completion=False)
    inner = typer.Typer()
    app.add_typer(inner, name="world")

    @app.command()
    def weigh(
        model: Annotated[str, typer.Argument(help="A name.")],
        files: Annotated[list[Path] | None, typer.Argument(help="Any number.")] = None,
        *,
        out: Annotated[Path, typer.Option("--out", "-o", help="where to")],
        count: Annotated[int, typer.Option(help="how\n many")] = 3,
        dtype: Annotated[Literal["float32", "bfloat16"], typer.Option(help="of weights")] = "float32",
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Also when there.")] = False,
        seed: Annotated[int, typer.Option(hidden=True)] = 0,
    ) -> None:
        """Weigh a model.

        In grams.
        """

    @inner.command()
    def export(folder: Annotated[Path, typer.Argument(help="A new one.")]) -> None:
        """Write it out."""

    @inner.command(hidden=True)
    def secret() -> None:
        """Nobody's business."""

    told = _generator().pages(app, "scale")
    assert told.split("## ", 1)[1] == WORKED_BY_HAND


WORKED_BY_HAND = """`scale weigh`

Weigh a model.

In grams.

```
scale weigh [OPTIONS] MODEL [FILES...]
```

- `MODEL`: A name.
- `[FILES...]`: Any number.
- `--out, -o PATH`: where to (required)
- `--count INT`: how many (default: 3)
- `--dtype float32|bfloat16`: of weights (default: float32)
- `--overwrite`: Also when there.

## `scale world export`

Write it out.

```
scale world export FOLDER
```

- `FOLDER`: A new one.
"""
