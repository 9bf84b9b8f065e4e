"""What a scorer needs of a generator, whatever its architecture."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.errors import NoRoom
from alignscope.models.captioners.question import Scoring
from alignscope.models.captioners.reading import Reading
from alignscope.models.protocols import Baseline


@runtime_checkable
class Decoder(Protocol):
    """A model that predicts the next token of a text about an image."""

    @property
    def model(self) -> PreTrainedModel: ...
    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...
    @property
    def image_processor(self) -> Any: ...
    @property
    def scoring(self) -> Scoring: ...
    @property
    def template(self) -> str: ...
    @property
    def baseline(self) -> Baseline:
        """What stands for "without the image"."""
        ...

    @property
    def text_config(self) -> Any: ...
    @property
    def context_length(self) -> int:
        """Tokens that a text may have with its end, where the image takes no place among them."""
        ...

    @property
    def facts(self) -> list[Any]:
        """What decides a score beside the weights."""
        ...

    def read(self, text: str, *, with_image: bool = True) -> Reading: ...
    def begin(self, image: Image | None, reading: Reading) -> Any:
        """What is computed once for all texts of an image that begin alike; None is the baseline."""
        ...

    def logits(self, begun: Any, readings: Sequence[Reading]) -> Float[Tensor, "text position vocabulary"]:
        """What the model predicts in the place of each token, and after the last of each text."""
        ...


def repeated(cache: Any, count: int) -> Any:
    """A copy of the keys and values of one sequence for several that go on from it."""
    several = copy.deepcopy(cache)
    several.batch_repeat_interleave(count)
    return several


def blank(image_processor: Any) -> Image:
    """An image whose every pixel is the mean that the processor subtracts."""
    return new_image("RGB", (32, 32), tuple(round(255 * share) for share in image_processor.image_mean))


def check_room(readings: Sequence[Reading], room: int) -> None:
    """Refuse texts that do not fit, as a likelihood of half a text would be that of another one."""
    for reading in readings:
        if len(reading.ids) > room:
            raise NoRoom(
                f"the text {reading.text[:60]!r} has {len(reading.ids)} tokens with its end, after the image "
                f"and the prompt the model has room for {max(room, 0)}: shorten it"
            )
