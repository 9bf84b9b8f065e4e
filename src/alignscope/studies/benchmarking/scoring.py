"""Questions to the scores of their options, a chunk at a time, from embeddings that lie on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final, runtime_checkable

from alignscope.data.benchmarks.facts import Benchmark
from alignscope.data.options import Place, options, places
from alignscope.evaluation.retrieval import IMAGE_TO_TEXT, TEXT_TO_IMAGE, ranks
from alignscope.models.protocols import Traits
from alignscope.processes import ALONE, Processes
from alignscope.records import OptionScore, Problem, Question, Rank, Shown
from alignscope.studies.benchmarking.plan import CHUNK, Known, Plan
from alignscope.studies.embeddings import pair_scores
from alignscope.studies.store import EmbeddingStore, batches

Lines = Iterable[Question | Problem]


@final
@dataclass(frozen=True)
class Sources:
    """Where the embeddings of a plan lie, and how the model makes a score of two of them."""

    plan: Plan
    images: EmbeddingStore
    texts: EmbeddingStore
    traits: Traits


@runtime_checkable
class Noted(Protocol):
    """Where remarks on images lie, by content."""

    def notes(self, keys: Sequence[bytes]) -> Mapping[bytes, tuple[str, ...]]: ...


class Chunk(NamedTuple):
    """Some questions by the number of the chunk, and what the plan knows of their images and texts.

    Texts of questions without their images are not in the plan.
    """

    number: int
    questions: Sequence[Question]
    images: Mapping[Shown, Known]
    texts: Mapping[str, Known]

    def faults(self, question: Question) -> list[Problem]:
        """Why a question cannot be scored; nothing when it can."""
        known = [(shown.key, self.images[shown]) for shown in dict.fromkeys(question.images)]
        known += [(text, self.texts[text]) for text in dict.fromkeys(question.texts) if text in self.texts]
        return [Problem(question.id, name, each.fault, "unscored") for name, each in known if each.fault]

    def usable(self) -> list[Question]:
        """The questions that can be scored."""
        return [question for question in self.questions if not self.faults(question)]


class Ranked(NamedTuple):
    """Ranks of all that could be ranked, how many queries could not be, by direction, and why not."""

    ranks: list[Rank]
    missing: dict[str, int]
    problems: Sequence[Problem] = ()


def chunks(lines: Lines, plan: Plan, group: Processes = ALONE, *, size: int = CHUNK) -> Iterator[Chunk]:
    """The reader's questions with what the plan knows of them; those of other processes are left out."""
    asked = (line for line in lines if isinstance(line, Question))
    for number, some in enumerate(batches(asked, size)):
        if group.is_mine(number):
            shown = plan.images(each for question in some for each in question.images)
            yield Chunk(number, some, shown, plan.texts(text for each in some for text in each.texts))


def missing(lines: Lines, plan: Plan) -> Iterator[tuple[Question, list[Problem]]]:
    """The questions that cannot be scored, with the reasons."""
    if not plan.is_whole():
        for chunk in chunks(lines, plan):
            for question in chunk.questions:
                if faults := chunk.faults(question):
                    yield question, faults


def problems(chunk: Chunk, images: Noted) -> Iterator[Problem]:
    """What is wrong with each question, and what was done to its images and texts."""
    contents = [known.content for known in chunk.images.values() if known.content is not None]
    notes = images.notes(contents)
    for question in chunk.questions:
        yield from chunk.faults(question)
        for shown in dict.fromkeys(question.images):
            for note in notes.get(chunk.images[shown].content or b"", ()):
                yield Problem(question.id, shown.key, f"image: {note}", "handled")
        for text in dict.fromkeys(question.texts):
            if text in chunk.texts and (remark := chunk.texts[text].remark):
                yield Problem(question.id, text, remark, "handled")


def scored(benchmark: Benchmark, chunk: Chunk, sources: Sources) -> list[OptionScore]:
    """The options of a chunk's questions, without those that cannot be scored.

    Image with text: scale * cosine + bias; text with text: cosine.
    """
    asked, traits = chunk.usable(), sources.traits
    scores: list[dict[tuple[str, int, int], float | None]] = [{} for _ in asked]
    wanted = [(row, place) for row, one in enumerate(asked) for place in places(one, benchmark.asks)]
    for kind, store, scale, bias in (
        ("image", sources.images, traits.scale, traits.bias),
        ("text", sources.texts, 1.0, 0.0),
    ):
        mine = [(row, place) for row, place in wanted if place.kind == kind]
        if mine:
            first = store.read([_first(chunk, asked[row], place) for row, place in mine])
            second = sources.texts.read(
                [text_content(chunk, asked[row], place.second) for row, place in mine]
            )
            values = pair_scores(first, second, scale=scale, bias=bias)
            for (row, place), value in zip(mine, values, strict=True):
                scores[row][place] = value
    return [each for one, said in zip(asked, scores, strict=True) for each in options(one, benchmark, said)]


def _first(chunk: Chunk, question: Question, place: Place) -> bytes:
    if place.kind == "text":
        return text_content(chunk, question, place.first)
    return image_content(chunk, question, place.first)


def image_content(chunk: Chunk, question: Question, place: int) -> bytes:
    """What the plan knows an image of a usable question by."""
    return chunk.images[question.images[place]].content or b""


def text_content(chunk: Chunk, question: Question, place: int) -> bytes:
    """What the plan knows a text of a usable question by."""
    return chunk.texts[question.texts[place]].content or b""


class Gallery(NamedTuple):
    """Images and captions that are ranked among each other, and how many queries cannot be, by direction."""

    names: list[str]
    images: list[bytes]
    texts: list[bytes]
    owners: list[int]  # of each text its image
    missing: Counter[str]


def gallery(lines: Lines, plan: Plan) -> Gallery:
    """All images and captions of a retrieval benchmark that can be scored, by content."""
    found = Gallery([], [], [], [], Counter())
    for chunk in chunks(lines, plan):
        for question in chunk.questions:
            if chunk.faults(question):
                found.missing[IMAGE_TO_TEXT] += 1
                found.missing[TEXT_TO_IMAGE] += len(question.texts)
                continue
            found.owners.extend([len(found.names)] * len(question.texts))
            found.names.append(question.images[0].key)
            found.images.append(image_content(chunk, question, 0))
            found.texts.extend(text_content(chunk, question, place) for place in range(len(question.texts)))
    return found


def ranked(lines: Lines, sources: Sources) -> Ranked:
    """Every image among all captions and every caption among all images; these lie in memory together."""
    these = gallery(lines, sources.plan)
    images, texts = sources.images.read(these.images), sources.texts.read(these.texts)
    return Ranked(ranks(images, texts, these.owners, these.names), dict(these.missing))
