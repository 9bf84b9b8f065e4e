"""Scores of a benchmark under models that read image and text together: every pair that is asked for, once.

Nothing is kept of an image or a text alone. Images are opened once beforehand, so that what cannot be
scored is known before the scoring begins, and then as they are asked for.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from alignscope.attribution.scores import Possible, possible_scores
from alignscope.data.benchmarks.facts import Benchmark
from alignscope.data.options import Place, options, places
from alignscope.data.regionfiles.digests import digest
from alignscope.errors import BadData, BadImage, UnknownName, Unsupported
from alignscope.evaluation.retrieval import IMAGE_TO_TEXT, TEXT_TO_IMAGE, numbered, ranks_of_scores
from alignscope.models.cross.regions import check_regions
from alignscope.models.protocols import PairScorer, Picture, is_dual
from alignscope.processes import Processes
from alignscope.records import Measurement, OptionScore, Problem, Question, Regions, Shown, Signature
from alignscope.studies.benchmarking.encoding import Tell, opened_image
from alignscope.studies.benchmarking.plan import Images, Plan, name_of, shown_of
from alignscope.studies.benchmarking.scoring import (
    Chunk,
    Gallery,
    Lines,
    Ranked,
    chunks,
    gallery,
    image_content,
    text_content,
)
from alignscope.studies.calibration import calibrated, calibration_pairs, doubts
from alignscope.studies.clock import Progress
from alignscope.studies.pictures import Pictures, RegionsOf
from alignscope.studies.store import batches, found, opened

QUESTIONS = 64  # scored and kept at a time
INFINITE = "its score with the image is not finite"
_TABLE = """CREATE TABLE IF NOT EXISTS picture
(content BLOB PRIMARY KEY, fault TEXT, notes TEXT NOT NULL) WITHOUT ROWID"""


@final
class RegionFolder:
    """Regions by key where a benchmark asks for images; a key without usable ones is a `BadImage`."""

    def __init__(self, regions: RegionsOf, *, width: int | None) -> None:
        self._regions, self._width = regions, width
        self.makers: set[str] = set()
        """Whose features they are, where that is not the detector that region models were trained on."""

    def regions(self, key: str) -> Regions:
        """The regions of a key, as the model takes them."""
        try:
            regions = self._regions(key)
            check_regions(regions, width=self._width or regions.features.shape[1])
        except KeyError:
            raise BadImage(f"no regions of image {key!r} in the file") from None
        except (BadData, UnknownName) as error:
            raise BadImage(str(error)) from None
        return regions

    def digest(self, key: str) -> str:
        """Hash of the regions of a key."""
        regions = self.regions(key)
        self.makers |= {regions.made_by} - {""}
        return digest(regions).hex()


@final
class PictureNotes:
    """Which pictures could be opened, by content, with remarks on them; several processes may write at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as file:
            file.execute(_TABLE)

    def usable(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys that were opened."""
        with opened(self.path) as file:
            return {key for key, fault in found(file, "picture", "content", "fault", keys) if fault is None}

    def faults(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Why some of the keys could not be opened."""
        with opened(self.path) as file:
            rows = list(found(file, "picture", "content", "fault", keys))
        return {key: fault for key, fault in rows if fault is not None}

    def notes(self, keys: Sequence[bytes]) -> dict[bytes, tuple[str, ...]]:
        """The remarks on those of the keys that have any."""
        with opened(self.path) as file:
            rows = list(found(file, "picture", "content", "notes", keys))
        return {key: tuple(json.loads(notes)) for key, notes in rows if notes != "[]"}

    def add(self, rows: Iterable[tuple[bytes, str | None, Sequence[str]]]) -> None:
        """Keep for each content why it does not open, or remarks on it."""
        with opened(self.path) as file:
            file.executemany(
                "INSERT OR REPLACE INTO picture VALUES (?, ?, ?)",
                [(content, fault, json.dumps(list(notes))) for content, fault, notes in rows],
            )


@final
@dataclass(frozen=True)
class Pairs:
    """What scores the pairs of a plan: a model, and its pictures as they are asked for."""

    plan: Plan
    pictures: PictureNotes
    model: PairScorer
    source: Images | RegionFolder | None
    batch_size: int

    def picture(self, shown: Shown) -> Picture:
        """What the model sees of an image; a `BadImage` where that cannot be."""
        if isinstance(self.source, RegionFolder):
            return self.source.regions(shown.key)
        assert self.source is not None
        return opened_image(self.source, shown)


def check_able(model: PairScorer, benchmark: Benchmark) -> list[Problem]:
    """Refuse a benchmark that a model without embeddings cannot do; what it can do but in part is said."""
    if is_dual(model):
        return []
    if benchmark.asks == "similarity":
        raise Unsupported(
            f"{benchmark.name} compares texts with texts, and {model.name} has no embedding of a text: "
            "take a model of two towers (CLIP, SigLIP, ALIGN)"
        )
    if benchmark.asks == "two captions":
        what = f"{model.name} has no embedding of a text: captions are not compared with each other"
        return [Problem("TOT", benchmark.name, what, "handled")]
    return []


def whole(lines: Lines, model: PairScorer) -> Iterator[Question | Problem]:
    """The reader's lines; one that shows a part of an image is refused, regions have no parts."""
    for line in lines:
        if isinstance(line, Question) and any(shown.crop for shown in line.images):
            raise Unsupported(
                f"{line.id} shows a crop of {line.images[0].key!r}, and {model.name} takes regions of whole "
                "images: take a model of pixels, or crop the images and detect regions in them"
            )
        yield line


def open_pictures(sources: Pairs, group: Processes, *, tell: Tell) -> None:
    """Each picture of the plan opened once, to know which can be; those known to open are left out."""
    for number, batch in enumerate(batches(sources.plan.unique_images(), sources.batch_size)):
        if group.is_mine(number):
            known = sources.pictures.usable([content for content, _ in batch])
            lacking = [(content, shown) for content, shown in batch if content not in known]
            faults = {content: _fault(sources, shown) for content, shown in lacking}
            notes = sources.source.notes if isinstance(sources.source, Images) else {}
            sources.pictures.add(
                (content, faults[content], notes.get(shown.key, ())) for content, shown in lacking
            )
        tell(number + 1)


def _fault(sources: Pairs, shown: Shown) -> str | None:
    """Why a picture does not open."""
    try:
        sources.picture(shown)
    except BadImage as error:
        return str(error)
    return None


def settle_pictures(sources: Pairs) -> None:
    """Note in the plan what does not open, and why."""
    for some in batches(sources.plan.unique_images(), 512):
        sources.plan.fail("image", sources.pictures.faults([content for content, _ in some]))


class Answers(NamedTuple):
    """The options of some questions, and by (item, image, text), these by place, why one has no score."""

    records: list[OptionScore]
    reasons: Mapping[tuple[str, int, int], str]


def scored_pairs(benchmark: Benchmark, chunk: Chunk, sources: Pairs) -> Answers:
    """The options of a chunk's questions, without those that cannot be scored.

    A pair that several questions ask for is scored once, so that it ties with itself; the texts of an image
    lie together. Two texts have no score with each other.
    """
    asked = chunk.usable()
    wanted: dict[tuple[bytes, bytes], list[tuple[int, Place]]] = {}
    shown: dict[bytes, Shown] = {}
    said: dict[bytes, str] = {}
    for row, question in enumerate(asked):
        for place in places(question, benchmark.asks):
            if place.kind == "image":
                image = image_content(chunk, question, place.first)
                text = text_content(chunk, question, place.second)
                shown.setdefault(image, question.images[place.first])
                said.setdefault(text, question.texts[place.second])
                wanted.setdefault((image, text), []).append((row, place))
    order = {content: number for number, content in enumerate(shown)}
    pairs = sorted(wanted, key=lambda pair: order[pair[0]])
    found = _pair_scores(sources, [(shown[image], said[text]) for image, text in pairs])
    scores: list[dict[tuple[str, int, int], float | None]] = [{} for _ in asked]
    reasons: dict[tuple[str, int, int], str] = {}
    for number, (pair, value) in enumerate(zip(pairs, found.scores.tolist(), strict=True)):
        for row, place in wanted[pair]:
            scores[row][place] = value
            if number in found.reasons:
                reasons[asked[row].id, place.first, place.second] = found.reasons[number]
    answered = [options(one, benchmark, by) for one, by in zip(asked, scores, strict=True)]
    return Answers(list(chain.from_iterable(answered)), reasons)


def unscored(answers: Answers) -> Iterator[Problem]:
    """Pairs of image and text that have no finite score, with the reason."""
    for record in answers.records:
        if record.image and record.score is None:
            why = answers.reasons.get((record.item, record.first, record.second), INFINITE)
            yield Problem(record.item, record.text, why, "unscored")


def _pair_scores(sources: Pairs, pairs: Sequence[tuple[Shown, str]]) -> Possible:
    """Scores of pairs in their order; an image that comes several times in a row is opened once a batch."""
    parts = []
    for some in batches(pairs, sources.batch_size):
        pictures = {shown: sources.picture(shown) for shown in dict.fromkeys(shown for shown, _ in some)}
        images = [pictures[shown] for shown, _ in some]
        parts.append(possible_scores(sources.model, images, [text for _, text in some]))
    return _joined(parts)


def _joined(parts: Sequence[Possible]) -> Possible:
    """Scores of batches as those of one."""
    starts = list(accumulate((len(part.scores) for part in parts), initial=0))
    reasons = {
        start + place: why
        for start, part in zip(starts, parts, strict=False)
        for place, why in part.reasons.items()
    }
    return Possible(torch.cat([torch.zeros(0), *(part.scores for part in parts)]), reasons)


def self_check(
    lines: Lines, sources: Pairs, *, signature: Signature
) -> tuple[list[Measurement], list[Problem]]:
    """Whether the model tells images with a text that belongs to them from shuffled ones, on these data."""
    named = (
        (name_of(question.images[0]), question.texts[0])
        for chunk in chunks(lines, sources.plan)
        for question in chunk.usable()
    )
    pairs = calibration_pairs(named, seed=signature.seed)
    pictures = Pictures([name for name, _ in pairs], lambda name: sources.picture(shown_of(name)))
    measured = calibrated(sources.model, pictures, [text for _, text in pairs], signature=signature)
    return [measured], doubts(measured)


@final
@dataclass(frozen=True)
class Grid:
    """Every image of a gallery with every text: a row per distinct image, a column per distinct text."""

    gallery: Gallery
    images: Mapping[bytes, Shown]
    texts: Mapping[bytes, str]
    work: Path

    def part(self, number: int) -> Path:
        """Where the scores of an image lie."""
        return self.work / f"grid-{number:08d}.safetensors"


def grid_of(lines: Lines, sources: Pairs, work: Path) -> Grid:
    """What is to be scored for retrieval; texts of like length lie together."""
    these = gallery(lines, sources.plan)
    images, texts = set(these.images), set(these.texts)
    shown = {content: each for content, each in sources.plan.unique_images() if content in images}
    said = {each: text for each, text in sources.plan.unique_texts(sources.batch_size) if each in texts}
    return Grid(these, shown, said, work)


def score_grid(grid: Grid, sources: Pairs, group: Processes, progress: Progress) -> None:
    """The scores of each image with all texts as a part, unless it is there; says first how many there are."""
    total = len(grid.images) * len(grid.texts)

    def tell(done: int) -> None:
        if group.rank == 0:
            progress(f"scores of {total:,} pairs", done, total)

    tell(0)
    texts = list(grid.texts.values())
    for number, shown in enumerate(grid.images.values()):
        path = grid.part(number)
        if group.is_mine(number) and not path.exists():
            picture, parts = sources.picture(shown), []
            for some in batches(texts, sources.batch_size):
                parts.append(possible_scores(sources.model, [picture] * len(some), some))
                tell(number * len(texts) + sum(len(part.scores) for part in parts))
            half, row = path.with_suffix(".part"), _joined(parts)
            save_file({"scores": row.scores}, half, metadata={"reasons": json.dumps(row.reasons)})
            os.replace(half, path)
        tell((number + 1) * len(texts))


def ranked_grid(grid: Grid) -> Ranked:
    """Ranks both ways; queries that meet a missing score have none and are counted.

    Texts without room beside any image are no candidates either, nor images that lose all their texts.
    """
    these = grid.gallery
    column = {content: number for number, content in enumerate(grid.texts)}
    columns = [column[text] for text in these.texts]
    scores, why = _read(grid, columns)
    is_finite, owners = scores.isfinite(), torch.tensor(these.owners, dtype=torch.long)
    refused = Counter(text for _, text in why)
    texts = torch.tensor(
        [t for t, column in enumerate(columns) if refused[column] < len(scores)], dtype=torch.long
    )
    images = owners[texts].unique()  # in their order
    among = images[:, None], texts
    usable = [is_finite[among].all(dim=1), is_finite[among].all(dim=0)]
    keys = numbered([these.names[owner] for owner in these.owners])
    found = ranks_of_scores(
        scores[among].nan_to_num_(),
        torch.searchsorted(images, owners[texts]).tolist(),
        [these.names[image] for image in images.tolist()],
        text_keys=[keys[text] for text in texts.tolist()],
    )
    kept = [rank for rank, is_usable in zip(found, torch.cat(usable).tolist(), strict=True) if is_usable]
    unranked = sorted({*range(len(these.names))} - {*images[usable[0]].tolist()})
    untold = sorted({*range(len(keys))} - {*texts[usable[1]].tolist()})
    missing = these.missing + Counter({IMAGE_TO_TEXT: len(unranked), TEXT_TO_IMAGE: len(untold)})
    is_lost = ~is_finite
    said = list(grid.texts.values())

    def problem(owner: int, subject: str, image: int, text: int) -> Problem:
        what = why.get((image, columns[text]), INFINITE)
        return Problem(these.names[owner], subject, f"not ranked: {what}", "unscored")

    problems = [
        *(problem(i, these.names[i], i, _first(is_lost[i], texts)) for i in unranked),
        *(problem(these.owners[t], said[columns[t]], _first(is_lost[:, t], images), t) for t in untold),
    ]
    return Ranked(kept, dict(missing), problems)


def _read(
    grid: Grid, columns: Sequence[int]
) -> tuple[Float[Tensor, "image text"], dict[tuple[int, int], str]]:
    """The scores of a gallery, and by its image and the number of the text why there is none."""
    row = {content: number for number, content in enumerate(grid.images)}
    scores = torch.zeros(len(grid.gallery.images), len(columns))
    why: dict[tuple[int, int], str] = {}
    for image, content in enumerate(grid.gallery.images):
        with safe_open(grid.part(row[content]), framework="pt") as file:
            scores[image] = file.get_tensor("scores")[list(columns)]
            reasons = json.loads((file.metadata() or {}).get("reasons", "{}"))
        why |= {(image, int(text)): reason for text, reason in reasons.items()}
    return scores, why


def _first(is_lost: Bool[Tensor, " place"], among: Int[Tensor, " some"]) -> int:
    """The first place without a score, of those that are ranked if there is one."""
    inside = among[is_lost[among]]
    return int(inside[0] if len(inside) else is_lost.nonzero()[0])
