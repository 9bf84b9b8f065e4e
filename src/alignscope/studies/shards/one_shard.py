"""One shard of pairs to a table of scores, as data filtering by CLIPScore wants them.

Image-text similarity as a filter of web data: Schuhmann et al. 2021 (LAION-400M), Hessel et al. 2021 (CLIPScore).
The table follows from the shard's bytes, the model and `How` alone, so that it is the same whoever makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from einops import reduce
from PIL.Image import Image

import alignscope
from alignscope.attribution.scores import possible_scores
from alignscope.data.images import decode_image
from alignscope.errors import BadData, BadImage, Unsupported
from alignscope.models.protocols import PairScorer, is_dual
from alignscope.records import Caption, Item, Problem
from alignscope.studies.auditing.attributions import truncated
from alignscope.training.samples import StreamedSample
from alignscope.training.streaming import read_shard

ENDINGS = (".tar.gz", ".tgz", ".tar")
MOST_PIXELS = 2**27
"""Pixels of the pictures that are held at once: from here on a batch is scored though it is not full."""
MOST_STRETCHED = 50
"""Longer by shorter side: a processor that sets the shorter one would make a wall of pixels from a thread."""


@dataclass(frozen=True)
class How:
    """What decides the scores of a shard, beside its bytes and the model."""

    captions: str = "txt"
    dtype: str = "float32"
    batch_size: int = 64


@dataclass(frozen=True)
class ScoredSample:
    """A sample of a shard; `score` and `cosine` are None where `problem` says why."""

    key: str  # webdataset's: the name up to the first dot
    caption_sha: str | None  # 16 hexadecimal digits of its sha256
    score: float | None
    cosine: float | None  # of dual encoders alone, whose score is scale * cosine + bias
    problem: str = ""
    note: str = ""  # what had to be done to picture or caption


@dataclass(frozen=True)
class ShardFacts:
    """The signature of a shard's table: what it was made of, by whom, and how much of it has a score."""

    shard: str
    bytes: int
    sha: str  # of keys, captions and pictures, in their order
    samples: int
    scored: int
    unscored: int
    noted: int
    broken: str  # why the shard could not be read to its end, "" where it was
    model: str
    weights: str
    captions: str
    dtype: str
    batch_size: int
    version: str


class ScoredShard(NamedTuple):
    """A shard's samples as an Arrow table, and its signature."""

    path: Path
    table: Any
    facts: ShardFacts


class _Read(NamedTuple):
    """A sample on its way: with its picture where it can be scored."""

    row: ScoredSample
    image: Image | None = None
    text: str = ""


def stem_of(path: Path) -> str:
    """A shard's name without what says that it is one.

    >>> stem_of(Path("/data/cc12m-00000.tar.gz")), stem_of(Path("v1.2-7.tar"))
    ('cc12m-00000', 'v1.2-7')
    """
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), "")
    return path.name.removesuffix(ending)


def check_able(model: PairScorer) -> None:
    """Refuse a model that a shard has nothing for."""
    if model.traits.unit == "region":
        raise Unsupported(
            f"{model.name} takes regions of a detector, shards hold images: give a model that takes pixels "
            "(`alignscope list models`)"
        )


def score_shard(model: PairScorer, path: Path, how: How, *, weights: str) -> ScoredShard:
    """Scores of all samples of a shard, in its order; what has none says why.

    weights: the model's fingerprint, which takes a reading of them all.
    """
    try:
        size = path.stat().st_size
        path.open("rb").close()
    except OSError as error:  # of the disk or the network, today: no fact of the shard
        raise BadData(f"{path}: got {error.strerror}, wanted a shard; check the path") from None
    digest, broken = hashlib.sha256(), list[str]()

    def samples() -> Iterator[StreamedSample | Problem]:
        for one in read_shard(path, how.captions):
            digest.update(_content(one))
            if isinstance(one, Problem) and one.item == path.name:
                broken.append(_utf8(one.what))
            else:
                yield one

    rows = list(_rows(model, samples(), path.name, how.batch_size))
    scored = sum(row.score is not None for row in rows)
    facts = ShardFacts(
        *(path.name, size, digest.hexdigest(), len(rows), scored, len(rows) - scored),
        *(sum(bool(row.note) for row in rows), "; ".join(broken), model.name, weights),
        *(how.captions, how.dtype, how.batch_size, alignscope.__version__),
    )
    return ScoredShard(path, table_of(rows), facts)


def table_of(rows: Sequence[ScoredSample]) -> Any:
    """Samples as an Arrow table with scores of four bytes."""
    import pyarrow as pa

    kinds = {"key": pa.string(), "caption_sha": pa.string(), "score": pa.float32(), "cosine": pa.float32()}
    kinds |= {"problem": pa.string(), "note": pa.string()}
    columns = {name: [getattr(row, name) for row in rows] for name in kinds}
    return pa.table(columns, schema=pa.schema(kinds.items()))


def _content(one: StreamedSample | Problem) -> bytes:
    """A digest of all that a shard says of a sample."""
    if isinstance(one, Problem):
        parts = [one.item.encode(errors="surrogatepass"), one.what.encode(errors="surrogatepass")]
    else:
        caption = one.sample.caption.text
        parts = [one.sample.image.encode(errors="surrogatepass"), caption.encode(), one.content]
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def _utf8(text: str) -> str:
    """A text that any file takes: bytes of a name that are no UTF-8 are written out."""
    return text.encode(errors="backslashreplace").decode()


def _key(item: str, shard: str) -> str:
    """Webdataset's key of what the reader calls a sample.

    >>> _key("a.tar/x.y/0001.seg.png", "a.tar"), _key("a.tar/0002", "a.tar")
    ('x.y/0001', '0002')
    """
    folder, slash, file = item.removeprefix(f"{shard}/").rpartition("/")
    return _utf8(folder + slash + file.partition(".")[0])


def _rows(
    model: PairScorer, samples: Iterable[StreamedSample | Problem], shard: str, batch_size: int
) -> Iterator[ScoredSample]:
    """Rows in the order of the samples, scored a batch of pictures at a time."""
    held: list[_Read] = []
    shown = pixels = 0
    for sample in samples:
        held.append(_read(sample, shard))
        image = held[-1].image
        if image is not None:
            shown, pixels = shown + 1, pixels + image.width * image.height
        if shown == batch_size or pixels >= MOST_PIXELS:
            yield from _scored(model, held)
            held, shown, pixels = [], 0, 0
    yield from _scored(model, held)


def _read(sample: StreamedSample | Problem, shard: str) -> _Read:
    """A sample with its picture, or with what is wrong with it."""
    if isinstance(sample, Problem):
        return _Read(ScoredSample(_key(sample.item, shard), None, None, None, _utf8(sample.what)))
    text = sample.sample.caption.text
    sha = hashlib.sha256(text.encode()).hexdigest()[:16]
    row = ScoredSample(_key(sample.sample.image, shard), sha, None, None)
    try:
        image, notes = decode_image(sample.content, sample.sample.image)
    except BadImage as error:
        return _Read(replace(row, problem=_utf8(str(error))))
    long, short = max(image.size), min(image.size)
    if long > MOST_STRETCHED * short:
        what = f"got an image of {image.width}x{image.height} pixels, wanted at most {MOST_STRETCHED} to 1"
        return _Read(replace(row, problem=what))
    return _Read(replace(row, note=_utf8("; ".join(notes))), image, text)


def _scored(model: PairScorer, held: Sequence[_Read]) -> Iterator[ScoredSample]:
    """The rows with their scores."""
    sayable = _sayable(model, held)
    scores = _scores(model, [one for one in sayable if one.image is not None])
    for one in sayable:
        yield one.row if one.image is None else next(scores)


def _sayable(model: PairScorer, held: Sequence[_Read]) -> Sequence[_Read]:
    """Samples whose text the model has no embeddings for lose their picture: one would refuse its whole batch."""
    try:
        model.tokens([one.text for one in held if one.image is not None])
        return held
    except BadData:
        return [_alone(model, one) for one in held]


def _alone(model: PairScorer, one: _Read) -> _Read:
    try:
        if one.image is not None:
            model.tokens([one.text])
        return one
    except BadData as error:
        return _Read(replace(one.row, problem=_utf8(f"caption: {error}")))


def _scores(model: PairScorer, shown: Sequence[_Read]) -> Iterator[ScoredSample]:
    """Rows whose pictures are there, each with its score."""
    if not shown:
        return
    texts = [one.text for one in shown]
    images = [one.image for one in shown if one.image is not None]
    cosines: Sequence[float | None] = [None] * len(shown)
    reasons: Mapping[int, str] = {}
    if is_dual(model):
        seen = model.encode_images(images, batch_size=len(images))
        said = model.encode_texts(texts, batch_size=len(texts))
        products = reduce(seen * said, "pair dim -> pair", "sum")
        cosines, scores = products.tolist(), model.traits.scale * products + model.traits.bias
    else:
        scores, reasons = possible_scores(model, images, texts)
    items = [Item(str(place), "", Caption(text)) for place, text in enumerate(texts)]
    cut = {int(one.item): one.what for one in truncated(model, items)}
    finite = scores.isfinite().tolist()
    for place, (one, score, cosine) in enumerate(zip(shown, scores.tolist(), cosines, strict=True)):
        notes = [note for note in (one.row.note, cut.get(place)) if note]
        row = replace(one.row, note="; ".join(notes))
        if finite[place]:
            yield replace(row, score=score, cosine=cosine)
        else:
            yield replace(row, problem=reasons.get(place, "its score with the image is not finite"))
