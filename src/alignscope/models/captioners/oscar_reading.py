"""What Oscar reads of an image and of captions: word pieces of labels, regions with their places, token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from alignscope.errors import BadData, Unsupported
from alignscope.models.captioners.oscar import OscarFeatures, OscarForCaptioning
from alignscope.models.captioners.protocol import Sight, ended, words_before
from alignscope.models.cross.oscar import PAD, POSITION, pieces, six, text_room, told_cuts
from alignscope.models.cross.regions import check_regions
from alignscope.records import Box, Label, Labelled, Regions


@final
class WordPieces:
    """BERT's word pieces of captions; special tokens are left out of texts."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
        self.tokenizer = tokenizer
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    @property
    def end(self) -> int:
        return int(self.tokenizer.sep_token_id)

    def ids(self, texts: Sequence[str], *, max_length: int | None = None) -> Int[Tensor, "caption token"]:
        """Rows of ids with their end; pieces after the first `max_length` are left out."""
        return ended([row[:max_length] for row in pieces(self.tokenizer, texts)], self.end)

    def texts(self, ids: Int[Tensor, "caption token"]) -> tuple[str, ...]:
        """What each row spells up to its end."""
        rows = words_before(ids, self.end)
        return tuple(self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows)


class _Read(NamedTuple):
    """One image."""

    labels: Int[Tensor, " piece"]
    named: tuple[bool, ...]
    units: tuple[int, ...]
    values: Float[Tensor, "region width"]
    present: tuple[bool, ...]
    cut: str


def features(
    model: OscarForCaptioning, tokenizer: PreTrainedTokenizerBase, images: Sequence[Sight]
) -> OscarFeatures:
    """A batch on the model's device; regions without labels have their tags as labels.

    As in the authors' code, labels are one text in their order, and an image without any has no such text, not
    even its end; pieces and regions beyond the model's room are left out, which `cuts` tells.
    """
    seen = [labelled(image, f"image {number}") for number, image in enumerate(images)]
    names = [*dict.fromkeys(label.name for sight in seen for label in sight.labels)]
    spelled = dict(
        zip(names, pieces(tokenizer, names), strict=True)
    )  # at once: one by one takes longer than a step
    read = [_read(model, tokenizer, sight, spelled) for sight in seen]
    device = model.device
    width = model.config.visual_feat_dim + POSITION
    if not read:
        nothing = torch.zeros(0, 0, dtype=torch.long, device=device)
        values = torch.zeros(0, 0, width, device=device, dtype=model.dtype)
        parts = {"labels": nothing, "named": nothing.bool(), "units": (), "regions": (), "cuts": ()}
        return OscarFeatures(values=values, present=nothing.bool(), **parts)
    return OscarFeatures(
        values=pad_sequence([each.values for each in read], batch_first=True).to(device, model.dtype),
        present=_flags([each.present for each in read]).to(device),
        labels=pad_sequence([each.labels for each in read], batch_first=True, padding_value=PAD).to(device),
        named=_flags([each.named for each in read]).to(device),
        units=tuple(each.units for each in read),
        regions=tuple(len(each.values) for each in read),
        cuts=tuple(each.cut for each in read),
    )


def labelled(image: Sight, subject: str) -> Labelled:
    """Regions with labels; the tags of plain regions become labels with their boxes."""
    if isinstance(image, Labelled):
        return image
    if isinstance(image, Regions):
        corners = (Box(*map(float, box)) for box in image.boxes)
        return Labelled(image, tuple(Label(tag, box) for tag, box in zip(image.tags, corners, strict=False)))
    raise Unsupported(
        f"{subject} is {type(image).__name__}, Oscar takes regions with labels: give `Labelled`, or `Regions` whose "
        "tags become labels"
    )


def _read(
    model: OscarForCaptioning,
    tokenizer: PreTrainedTokenizerBase,
    sight: Labelled,
    spelled: Mapping[str, Sequence[int]],
) -> _Read:
    config, regions = model.config, sight.regions
    check_regions(regions, width=config.visual_feat_dim)
    _check_places(sight.without_labels, len(sight.labels), "labels", regions.image)
    _check_places(sight.without_regions, len(regions), "regions", regions.image)
    room = text_room(config) - config.caption_length - 1
    found = [(piece, place) for place, label in enumerate(sight.labels) for piece in spelled[label.name]]
    kept, most = found[:room], config.max_regions
    gone = sight.without_labels
    ids = [PAD if place in gone else piece for piece, place in kept]
    units = [place for _, place in kept]
    named = [place not in gone for place in units]
    if kept:
        ids, units, named = [*ids, tokenizer.sep_token_id], [*units, -1], [*named, True]
    values = torch.cat([torch.from_numpy(regions.features), six(regions)], dim=-1)[:most]
    present = [place not in sight.without_regions for place in range(len(values))]
    values = values * torch.tensor(present)[:, None]
    cut = told_cuts(regions.image, pieces=(len(found), len(kept)), regions=(len(regions), len(values)))
    return _Read(torch.tensor(ids, dtype=torch.long), tuple(named), tuple(units), values, tuple(present), cut)


def _flags(rows: Sequence[Iterable[bool]]) -> Tensor:
    return pad_sequence([torch.tensor([*row], dtype=torch.bool) for row in rows], batch_first=True)


def _check_places(places: frozenset[int], count: int, what: str, image: str) -> None:
    if beyond := [place for place in places if not 0 <= place < count]:
        raise BadData(
            f"{image!r}: got place {beyond[0]} of ablated {what}, wanted 0 to {count - 1}: they count the "
            f"{what} of this image"
        )
