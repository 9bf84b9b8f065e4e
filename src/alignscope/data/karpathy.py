"""Karpathy's `dataset_coco.json` (Karpathy and Fei-Fei 2015): images with captions cut into words, by split.

Of "train" and "restval" training takes both, as captioning papers do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, final

from alignscope.data.coco import CaptionedImage, CaptionSet
from alignscope.data.items import fault_of_text, kind_of, read_json
from alignscope.errors import BadData
from alignscope.records import Problem

Split = Literal["train", "val", "test"]
_SPLITS: dict[str, Split] = {"train": "train", "restval": "train", "val": "val", "test": "test"}
_WANTED = (
    'dataset_coco.json ({"images": [{"filename", "filepath", "split", "sentences": [{"tokens": ["a", …]}]}]})'
)


@final
class KarpathySplits:
    """The three splits; captions are their words with spaces between, images FILEPATH/FILENAME."""

    def __init__(self, path: Path) -> None:
        content = read_json(path, wanted=_WANTED)
        rows = content.get("images") if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise BadData(f"{path}: got {kind_of(content)} without a list `images`, wanted {_WANTED}")
        images: dict[Split, list[CaptionedImage]] = {"train": [], "val": [], "test": []}
        problems: dict[Split, list[Problem]] = {"train": [], "val": [], "test": []}
        for number, row in enumerate(rows):
            subject = f"{path.name}: images[{number}]"
            split, key, captions = _image(subject, row)
            faults = [fault_of_text(caption) for caption in captions]
            kept = tuple(caption for caption, fault in zip(captions, faults, strict=True) if not fault)
            told = [f"caption {place} {fault}" for place, fault in enumerate(faults, start=1) if fault]
            if kept:
                images[split].append(CaptionedImage(key, kept))
            else:
                told.append("no caption with words")
            problems[split] += [Problem(key, subject, what, "unscored") for what in told]
        self._images, self._problems, self._path = images, problems, path

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that have images with captions."""
        return tuple(name for name, images in self._images.items() if images)

    def split(self, name: Split) -> CaptionSet:
        """The images of one split, of which there must be some."""
        if not self._images[name]:
            raise BadData(f"{self._path}: got no image of the split '{name}' with captions, wanted some")
        return CaptionSet(tuple(self._images[name]), tuple(self._problems[name]))


def _image(subject: str, row: Any) -> tuple[Split, str, tuple[str, ...]]:
    fields = row if isinstance(row, dict) else {}
    name, folder, split = fields.get("filename"), fields.get("filepath", ""), fields.get("split")
    sentences = fields.get("sentences")
    is_whole = isinstance(name, str) and isinstance(folder, str) and isinstance(sentences, list)
    if not is_whole or split not in _SPLITS:
        got = ", ".join(map(str, fields)) or kind_of(row)
        raise BadData(f"{subject}: got {got} with the split {split!r}, wanted {_WANTED}; check the file")
    assert isinstance(sentences, list)
    captions = []
    for sentence in sentences:
        tokens = sentence.get("tokens") if isinstance(sentence, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise BadData(f"{subject}: got a sentence without a list `tokens` of words, wanted {_WANTED}")
        captions.append(" ".join(tokens))
    return _SPLITS[split], f"{folder}/{name}" if folder else str(name), tuple(captions)
