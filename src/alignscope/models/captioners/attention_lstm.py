"""The attention LSTM of bottom-up and top-down attention (Anderson et al. 2018, section 3.2).

A first LSTM reads its sibling's state, the mean region and the word, and says where to look: a = w tanh(W_v v
+ W_h h1), softmax over the regions. A second one reads what was seen there and writes. Differs: dropout falls
on the state that predicts the next word alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final, no_type_check

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedConfig

from alignscope.models.captioners.decoding import State
from alignscope.models.captioners.own import OwnCaptioner
from alignscope.models.captioners.protocol import Features, Sight
from alignscope.models.captioners.sights import present_of, regions


@final
@no_type_check  # as in fc.py
class AttentionLstmConfig(PreTrainedConfig):
    """Sizes of the paper; `vocab_size` counts the end beside the words."""

    model_type = "attention-lstm-captioner"

    vocab_size: int = 9488
    hidden_size: int = 1000
    attention_size: int = 512
    feature_width: int = 2048
    dropout: float = 0.5


@final
class AttentionLstmCaptioner(OwnCaptioner):
    """Regions or patches in, words out; `State.attention` is (row, token, region)."""

    config_class = AttentionLstmConfig

    def __init__(self, config: AttentionLstmConfig) -> None:
        super().__init__(config)
        hidden, width = config.hidden_size, config.feature_width
        self.embed = nn.Embedding(config.vocab_size, hidden)
        self.look = nn.LSTMCell(hidden + width + hidden, hidden)
        self.write = nn.LSTMCell(width + hidden, hidden)
        self.of_region = nn.Linear(width, config.attention_size, bias=False)
        self.of_state = nn.Linear(hidden, config.attention_size, bias=False)
        self.weigh = nn.Linear(config.attention_size, 1, bias=False)
        self.logit = nn.Linear(hidden, config.vocab_size)
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():
            self.embed.weight.uniform_(-0.1, 0.1)
        self.post_init()

    def features(self, images: Sequence[Sight]) -> Features:
        return regions(self, images, width=self.config.feature_width)

    def begin(self, features: Features) -> State:
        """Empty states; the mean of the regions, and what of each the attention compares."""
        values, present = features.values, present_of(features)
        values = values * present[..., None]
        mean = reduce(values, "image region width -> image width", "sum") / present.sum(dim=-1)[:, None]
        nothing = values.new_zeros(len(values), self.config.hidden_size)
        return State((nothing, nothing, nothing, nothing, values, self.of_region(values), mean, present))

    def advance(self, words: Int[Tensor, "row token"], state: State) -> State:
        """Read words one by one, looking before each prediction."""
        h1, c1, h2, c2, *image = state.kept
        values, compared, mean, present = image
        seen, maps = [], []
        for x in self.embed(words).unbind(dim=1):
            h1, c1 = self.look(torch.cat([h2, mean, x], dim=-1), (h1, c1))
            weights = self._weights(h1, compared, present)
            found = einsum(weights, values, "row region, row region width -> row width")
            h2, c2 = self.write(torch.cat([found, h1], dim=-1), (h2, c2))
            seen.append(h2)
            maps.append(weights)
        logits = self.logit(self.dropout(torch.stack(seen, dim=1)))  # (row, token, word)
        kept = (h1, c1, h2, c2, *image)
        return State(kept, logits, torch.stack(maps, dim=1), state.place + words.shape[1])

    def _weights(
        self, h: Float[Tensor, "row hidden"], compared: Float[Tensor, "row region dim"], present: Tensor
    ) -> Float[Tensor, "row region"]:
        both = (compared + rearrange(self.of_state(h), "row dim -> row 1 dim")).tanh()
        logits = rearrange(self.weigh(both), "row region 1 -> row region")
        return logits.masked_fill(~present, -torch.inf).softmax(dim=-1)
