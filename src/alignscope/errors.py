"""The tree of exceptions; every one says what was got, what was wanted and what to do.

On the command line each is one message on stderr and exit code 1.

AlignscopeError
  BadInput            what the user gave cannot be used
    UnknownName       a name no registry knows ("did you mean ...")
    BadData           a file or a line of data that cannot be read
      BadImage        an image that is missing, broken or refused
    BadRecipe         a recipe with missing, unknown or impossible values
    OutputExists      a non-empty output that would be overwritten
    UnwritableOutput  an output that cannot be made
    NoRoom            texts too long for a model that cuts none
  CheckpointError     a model directory or file that cannot be loaded
    CheckpointMismatch  keys or shapes that do not fit the architecture
  CalibrationError    a matching head that takes shuffled pairs for matched ones
  LengthMismatch      sequences that must go one to one and do not
  Unsupported         a model that cannot do what was asked, said by its traits
  MissingExtra        an optional dependency that is not installed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class AlignscopeError(Exception):
    """Root of all errors raised on purpose by this package."""


class BadInput(AlignscopeError):
    """What the user gave cannot be used."""


class UnknownName(BadInput):
    """A name no registry knows."""


class BadData(BadInput):
    """A data file, or a line of one, that cannot be read."""


class BadImage(BadData):
    """An image that is missing, broken or refused."""


class BadRecipe(BadInput):
    """A training recipe with missing, unknown or impossible values."""


class OutputExists(BadInput):
    """A non-empty output that would be overwritten."""


class UnwritableOutput(BadInput):
    """An output that cannot be made or written."""


class NoRoom(BadInput):
    """Texts too long for a model that cuts none, found after all others were scored.

    `scores` are those of all pairs, NaN where `reasons` has the pair's place.
    """

    def __init__(
        self, what: str, scores: Sequence[float] = (), reasons: Mapping[int, str] | None = None
    ) -> None:
        super().__init__(what)
        self.scores = tuple(scores)
        self.reasons = dict(reasons or {})


class CheckpointError(BadInput):
    """A model directory or file that cannot be loaded."""


class CheckpointMismatch(CheckpointError):
    """Keys or shapes that do not fit the architecture."""


class CalibrationError(BadInput):
    """A matching head that does not rank matched pairs above shuffled ones."""


class LengthMismatch(AlignscopeError, ValueError):
    """Sequences that must go one to one and do not."""


class Unsupported(AlignscopeError):
    """A model cannot do what was asked; its traits say so."""


class MissingExtra(AlignscopeError, ImportError):
    """An optional dependency is not installed.

    >>> raise MissingExtra("word classes of free text", "pip install 'alignscope[language]'")
    Traceback (most recent call last):
    ...
    alignscope.errors.MissingExtra: word classes of free text: run pip install 'alignscope[language]'
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: run {remedy}")
