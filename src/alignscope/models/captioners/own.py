"""What the captioners of this package have in common: they are their own `Speller`."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from alignscope.models.captioners.vocabulary import END


class OwnCaptioner(PreTrainedModel):
    """A model that begins and ends captions with one token, of any length, and draws its weights itself."""

    start = end = END
    context_length = None

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the constructor did."""

    @property
    def module(self) -> PreTrainedModel:
        return self

    @property
    def facts(self) -> list[Any]:
        return []
