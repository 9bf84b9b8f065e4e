"""What a training run says while it goes on: to whoever watches, to metrics.jsonl, to TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from alignscope.errors import AlignscopeError, BadData, MissingExtra, UnwritableOutput
from alignscope.files import write_jsonl

FILE = "metrics.jsonl"
PATIENCE = 20
"""Logged steps in a row with a hopeless loss after which a run has diverged."""


@dataclass(frozen=True)
class Seen:
    """How far a stage of the run is, and the newest numbers of it."""

    stage: str
    done: int
    total: int
    numbers: Mapping[str, float] = field(default_factory=dict)


Watch = Callable[[Seen], None]


class Diverged(AlignscopeError):
    """The loss or its gradient is no longer a finite number, or stays far above that of guessing."""


def diverged(what: str, kept: Path | None) -> Diverged:
    """The error of a run that is lost, with the checkpoint before it (`kept`) and what helps."""
    good = f"the last good checkpoint is {kept}" if kept else "no checkpoint was written before"
    return Diverged(
        f"{what}: {good}; lower learning_rate or clip the gradient at less (max_norm, most_gradient)"
    )


Progress = Callable[[str, int, int], None]
"""Told (stage, done, total)."""


def nobody(seen: Seen) -> None:
    """The watch of a run that nobody looks at."""


@final
class Journal:
    """metrics.jsonl of a run, a row per logged step and per validation; rows behind the resumed step are gone.

    A row has `step`, how many steps were taken before it was written; a number that is not finite is null.
    With `tensorboard` the numbers also go to OUT/tensorboard, under their names in the row.
    """

    def __init__(self, out: Path, *, step: int = 0, tensorboard: bool = False) -> None:
        self._board = _board(out / "tensorboard", step) if tensorboard else None
        self._path = out / FILE
        kept = [row for row in rows(out) if row["step"] <= step] if step else []
        write_jsonl(self._path, kept)  # whole or not at all: a kill here costs no row

    def write(self, step: int, numbers: Mapping[str, Any]) -> None:
        """Append a row; mappings among the numbers are of methods or the like."""
        row = {"step": step, **{name: _plain(value) for name, value in numbers.items()}}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        except OSError as error:
            raise UnwritableOutput(
                f"{self._path} cannot be written ({error.strerror}): free space, give --resume"
            ) from None
        if self._board is not None:
            for name, value in flat(row).items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Nothing is written afterwards."""
        if self._board is not None:
            self._board.close()


def rows(out: Path) -> list[dict[str, Any]]:
    """Rows of a run's metrics.jsonl; a last line that a kill cut short is left out."""
    path = out / FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    try:
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    except ValueError as error:
        raise BadData(f"{path}: a line is not JSON ({error}): delete it and give --resume again") from None


def flat(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by name; those of a mapping as name/key.

    >>> flat({"loss": 1.5, "validation": {"gap": {"gradcam": 0.2, "attention": None}}})
    {'loss': 1.5, 'validation/gap/gradcam': 0.2}
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{key}": number for key, number in flat(value).items()}
        elif isinstance(value, int | float):
            found[name] = float(value)
    return found


@final
class Hope:
    """Counts logged steps in a row whose contrastive loss is above three times that of guessing.

    Guessing among n texts costs ln n, as n answers of their own (sigmoid) n ln 2; whoever is beyond three
    times that for `PATIENCE` logged steps does not come back.
    """

    def __init__(self, loss: Literal["softmax", "sigmoid"] = "softmax") -> None:
        self._loss, self._lost = loss, 0

    def look(self, loss: float, *, texts: int) -> bool:
        """Whether there is still hope after this logged step.

        >>> hope = Hope()
        >>> [hope.look(4.0, texts=3) for _ in range(PATIENCE)].count(True)
        19
        """
        guess = texts * math.log(2) if self._loss == "sigmoid" else math.log(max(texts, 2))
        self._lost = self._lost + 1 if loss > 3 * guess else 0
        return self._lost < PATIENCE


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _board(directory: Path, step: int) -> Any:
    """A TensorBoard writer; events behind the resumed step are taken back."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtra("curves in TensorBoard", "pip install 'alignscope[tensorboard]'") from None
    return SummaryWriter(str(directory), purge_step=step + 1)
