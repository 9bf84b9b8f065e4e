"""The FC captioner of Luo et al. 2018 (self-critical.pytorch, `newfc`): an LSTM that sees the image once.

z = W_i x + b_i + W_h h + b_h in five parts: input, forget and output gates, and two candidates of which the
larger is taken as it is (maxout); c = f c + i g, h = o tanh(c). The image's vector is read first, then the
start. Dropout falls on the copy of h that predicts the next word, never on the one that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final, no_type_check

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedConfig

from alignscope.errors import CheckpointMismatch
from alignscope.models.captioners.decoding import State
from alignscope.models.captioners.own import OwnCaptioner
from alignscope.models.captioners.protocol import Features, Sight
from alignscope.models.captioners.sights import vectors

OLD_KEYS = {"img_embed.": "fc_embed.", "core.": "_core."}
"""Beginnings of keys in files of the older `fc`, and those of `newfc`."""
WORDS = 10
"""Words that a caption has at least, about: a vocabulary of fewer than all captions together is read once."""


@final
@no_type_check  # transformers takes more keywords than a dataclass has fields, which type checks at run time refuse
class FcConfig(PreTrainedConfig):
    """Sizes of the published model; `vocab_size` counts the end beside the words.

    A captioner of a few units names what it sees where it has the image at every step and a forget gate that
    begins open (`forget_bias` of 1).
    """

    model_type = "fc-captioner"

    vocab_size: int = 9488
    hidden_size: int = 512
    feature_width: int = 2048
    dropout: float = 0.5
    image_at_every_step: bool = False
    forget_bias: float = 0.0


class MaxoutCell(nn.Module):
    """One step of the LSTM."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.i2h = nn.Linear(hidden, 5 * hidden)
        self.h2h = nn.Linear(hidden, 5 * hidden)

    def forward(
        self,
        read: Float[Tensor, "row gates"],
        h: Float[Tensor, "row hidden"],
        c: Float[Tensor, "row hidden"],
    ) -> tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]:
        """Of `i2h` of what is read."""
        width = h.shape[-1]
        gates, first, second = (read + self.h2h(h)).split([3 * width, width, width], dim=-1)
        i, f, o = gates.sigmoid().chunk(3, dim=-1)
        c = f * c + i * torch.maximum(first, second)
        return o * c.tanh(), c


@final
class FcCaptioner(OwnCaptioner):
    """Nine tensors; a word's index is its row in `embed` and in `logit`, 0 begins and ends."""

    config_class = FcConfig

    def __init__(self, config: FcConfig) -> None:
        super().__init__(config)
        hidden = config.hidden_size
        self.embed = nn.Embedding(config.vocab_size, hidden)
        self.fc_embed = nn.Linear(config.feature_width, hidden)
        self._core = MaxoutCell(hidden)
        self.logit = nn.Linear(hidden, config.vocab_size)
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():
            self.embed.weight.uniform_(-0.1, 0.1)
            self.logit.weight.uniform_(-0.1, 0.1)
            self.logit.bias.zero_()
            self._core.i2h.bias[hidden : 2 * hidden] += config.forget_bias
        self.post_init()

    def features(self, images: Sequence[Sight]) -> Features:
        return vectors(self, images, width=self.config.feature_width)

    def begin(self, features: Features) -> State:
        """The state after the image's vector was read, and what reading it, and each word, gives."""
        core, vocabulary = self._core, self.embed.weight
        image = core.i2h(self.fc_embed(features.values))
        nothing = torch.zeros_like(image[:, : self.config.hidden_size])
        kept = core(image, nothing, nothing)
        is_few = len(vocabulary) <= WORDS * len(features)
        return State(
            (*kept, image) if self.config.image_at_every_step else kept,
            shared=(F.linear(vocabulary, core.i2h.weight),) if is_few else (),
        )

    def advance(self, words: Int[Tensor, "row token"], state: State) -> State:
        """Read words one by one."""
        (h, c, *image), core = state.kept, self._core
        if state.shared:
            read = F.embedding(words, state.shared[0])
        else:
            read = F.linear(self.embed(words), core.i2h.weight)
        read = read + (rearrange(image[0], "row gates -> row 1 gates") if image else core.i2h.bias)
        seen = []
        for each in read.unbind(dim=1):
            h, c = core(each, h, c)
            seen.append(h)
        logits = self.logit(self.dropout(torch.stack(seen, dim=1)))  # (row, token, word)
        return replace(
            state, kept=(h, c, *image), logits=logits, attention=None, place=state.place + words.shape[1]
        )


def config_from(state: Mapping[str, Tensor]) -> FcConfig:
    """The configuration of a published state dict, `fc` or `newfc`, by the shapes of its tensors."""
    images = state.get("fc_embed.weight", state.get("img_embed.weight"))
    if images is None or "logit.weight" not in state:
        raise CheckpointMismatch(
            f"got keys such as {', '.join(list(state)[:5])}, wanted those of self-critical.pytorch's `newfc` or `fc`: "
            "fc_embed or img_embed, _core or core, embed, logit"
        )
    rows, hidden = state["logit.weight"].shape
    return FcConfig(
        architectures=["FcCaptioner"],
        vocab_size=rows,
        hidden_size=hidden,
        feature_width=images.shape[-1],
    )
