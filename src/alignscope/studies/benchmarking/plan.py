"""What a benchmark needs of a model: each image and each text once, and which items can be had.

The plan is an SQLite file that is made in one pass over the reader, so that memory does not grow with
the items. Images are known by the bytes of their file and the crop, texts by their tokens: those with
equal tokens share an embedding, so that they tie exactly.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

from PIL.Image import Image

from alignscope.data.benchmarks.facts import unread_by_subset
from alignscope.errors import BadData, BadImage
from alignscope.models.protocols import PairScorer
from alignscope.records import Box, Problem, Question, Shown
from alignscope.studies.store import batches, found, opened

CHUNK = 512  # questions at a time
WINDOW = 128  # batches of texts among which like lengths are brought together
_TABLES = """
CREATE TABLE item(id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE image(name TEXT PRIMARY KEY, content BLOB, fault TEXT);
CREATE TABLE text(name TEXT PRIMARY KEY, content BLOB, fault TEXT, remark TEXT, length INTEGER);
CREATE INDEX of_image ON image(content);
CREATE INDEX of_text ON text(content);
"""


@runtime_checkable
class Images(Protocol):
    """Images by key, such as an `ImageFolder`; what was done to those opened is in `notes`."""

    @property
    def notes(self) -> Mapping[str, tuple[str, ...]]: ...
    def digest(self, key: str) -> str: ...
    def image(self, key: str) -> Image: ...


@runtime_checkable
class Digests(Protocol):
    """What tells images apart: a `BadImage` where there is none."""

    def digest(self, key: str) -> str: ...


@final
@dataclass(frozen=True)
class Contents:
    """What the reader gave, counted: items by subset, and those it could not read."""

    annotations: str  # hash of all items
    images: str  # hash of the bytes of their images
    items: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)


class Known(NamedTuple):
    """An image or a text of the plan: the key of its embedding, or why it has none; a remark on it."""

    content: bytes | None
    fault: str | None
    remark: str | None = None


@final
class Plan:
    """A plan that lies on disk. `made` fills it; afterwards it is read, by any number of processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def made(
        self,
        lines: Iterable[Question | Problem],
        images: Digests | None,
        model: PairScorer,
        problems: list[Problem],
        *,
        sizes: Mapping[str, int],
    ) -> Contents:
        """Make the plan anew from what a reader yields; what the reader had to say goes to `problems`.

        A whole file that is absent lacks as many items as `sizes` has for its subset, one where it has none.
        """
        for rest in ("", "-journal"):  # a stopped plan's journal would be played into the new one
            self.path.with_name(self.path.name + rest).unlink(missing_ok=True)
        annotations, shown = hashlib.sha256(), hashlib.sha256()
        items: Counter[str] = Counter()
        unread: list[str] = []
        with opened(self.path) as file:
            file.executescript("PRAGMA synchronous = OFF;" + _TABLES)
            for some in batches(lines, CHUNK):
                for line in some:
                    annotations.update(json.dumps(line, default=vars).encode())
                told = [line for line in some if isinstance(line, Problem)]
                unread += [one.item for one in told if one.action == "unscored"]
                problems += told
                asked = [line for line in some if isinstance(line, Question)]
                items.update(question.subset for question in asked)
                _keep_items(file, asked)
                if images is not None:
                    asked = _keep_images(file, asked, images, shown)
                _keep_texts(file, asked, model)
        known = {*items, *sizes} - {""}
        lost = unread_by_subset(unread, known)
        lost.update({name: sizes.get(name, 1) for name in unread if name in known})
        return Contents(annotations.hexdigest(), shown.hexdigest(), items, lost)

    def unique_images(self) -> Iterator[tuple[bytes, Shown]]:
        """Each image once, in the order of the items, with one way to open it."""
        query = (
            "SELECT content, name, MIN(rowid) FROM image GROUP BY content HAVING content NOT NULL ORDER BY 3"
        )
        with opened(self.path) as file:
            for content, name, _ in file.execute(query):
                yield content, shown_of(name)

    def unique_texts(self, batch_size: int) -> Iterator[tuple[bytes, str]]:
        """Each text once; within windows of the items' order, texts of like length lie together."""
        query = """SELECT content, name FROM
            (SELECT content, name, length, row_number() OVER (ORDER BY first) - 1 AS place FROM
            (SELECT content, name, length, MIN(rowid) AS first FROM text GROUP BY content))
            ORDER BY place / ?, length, place"""
        with opened(self.path) as file:
            yield from file.execute(query, (WINDOW * batch_size,))

    def images(self, shown: Iterable[Shown]) -> dict[Shown, Known]:
        """What the plan knows of these images."""
        names = {name_of(each): each for each in shown}
        with opened(self.path) as file:
            rows = list(found(file, "image", "name", "content, fault", names))
        return {names[name]: Known(*known) for name, *known in rows}

    def texts(self, texts: Iterable[str]) -> dict[str, Known]:
        """What the plan knows of these texts."""
        with opened(self.path) as file:
            rows = list(found(file, "text", "name", "content, fault, remark", texts))
        return {name: Known(*known) for name, *known in rows}

    def fail(self, table: str, faults: Mapping[bytes, str]) -> None:
        """Note why contents have no embedding."""
        with opened(self.path) as file:
            file.executemany(
                f"UPDATE {table} SET fault = ? WHERE content = ?",
                [(fault, content) for content, fault in faults.items()],
            )

    def is_whole(self) -> bool:
        """Whether every image and every text can be used."""
        query = "SELECT EXISTS (SELECT 1 FROM {} WHERE fault NOT NULL)"
        with opened(self.path) as file:
            return not any(file.execute(query.format(name)).fetchone()[0] for name in ("image", "text"))

    def counts(self) -> tuple[int, int]:
        """How many different images and texts there are to be encoded."""
        query = "SELECT COUNT(DISTINCT content) FROM {}"
        with opened(self.path) as file:
            pictures, texts = (file.execute(query.format(name)).fetchone()[0] for name in ("image", "text"))
        return int(pictures), int(texts)

    def usable_images(self) -> int:
        """How many different images can be used."""
        query = "SELECT COUNT(DISTINCT content) FROM image WHERE fault IS NULL"
        with opened(self.path) as file:
            return int(file.execute(query).fetchone()[0])


def name_of(shown: Shown) -> str:
    """An image with its crop as one text, which `shown_of` reads back."""
    return json.dumps([shown.key, *(astuple(shown.crop) if shown.crop else ())])


def shown_of(name: str) -> Shown:
    """The image of such a text."""
    key, *corners = json.loads(name)
    return Shown(key, Box(*corners) if corners else None)


def _keep_items(file: sqlite3.Connection, asked: Sequence[Question]) -> None:
    for question in asked:
        try:
            file.execute("INSERT INTO item VALUES (?)", (question.id,))
        except sqlite3.IntegrityError:
            raise BadData(
                f"got the item {question.id!r} twice, wanted each id once: correct the annotations"
            ) from None


def _keep_images(
    file: sqlite3.Connection, asked: Sequence[Question], images: Digests, hashed: Any
) -> list[Question]:
    """Keep images new to the plan, an absent one with the reason; returns the questions that have theirs."""
    names = {name_of(shown): shown for question in asked for shown in question.images}
    faults = dict(found(file, "image", "name", "fault", names))
    for name, shown in names.items():
        if name in faults:
            continue
        content, faults[name] = None, None
        try:
            seen = f"{images.digest(shown.key)} {shown.crop or 'whole'}"
            content = hashlib.sha256(seen.encode()).digest()
        except BadImage as error:
            faults[name] = str(error)
        hashed.update(content or b"absent")
        file.execute("INSERT INTO image VALUES (?, ?, ?)", (name, content, faults[name]))
    return [q for q in asked if not any(faults[name_of(shown)] for shown in q.images)]


def _keep_texts(file: sqlite3.Connection, asked: Sequence[Question], model: PairScorer) -> None:
    """Texts that are new to the plan, by their tokens."""
    texts = dict.fromkeys(text for question in asked for text in question.texts)
    known = {name for name, _ in found(file, "text", "name", "fault", texts)}
    new = [text for text in texts if text not in known]
    if not new:
        return
    tokens, most = model.tokens(new), model.traits.context_length
    unheard = tokens.unheard or (0,) * len(new)
    for text, ids, mask, length, deaf in zip(
        new, tokens.ids, tokens.mask, tokens.lengths, unheard, strict=True
    ):
        content = hashlib.sha256(ids[: int(mask.sum())].numpy().tobytes()).digest()
        is_cut = length > most and model.traits.cuts
        remark = f"text of {length} tokens truncated at {most}" if is_cut else None
        if remark is None and deaf:
            remark = f"{deaf} tokens after an unknown one are not heard"
        row = (text, content, None, remark, min(length, most))
        file.execute("INSERT INTO text VALUES (?, ?, ?, ?, ?)", row)
