"""The texts of each probe: captions, and what is made of them (paper A, Tables 1, 2, 6, 7, Figs. 2, 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.errors import BadInput
from alignscope.files import sha_of
from alignscope.probing.captions import CaptionFile, by_image
from alignscope.probing.choosing import forced_choices
from alignscope.probing.replacing import Vocabulary, replaced_words, vocabulary_of
from alignscope.probing.scored import Numbered, by_nouns, changes, chosen, means
from alignscope.probing.templates import (
    NOUN_COUNTS,
    TEMPLATES,
    Template,
    ranked_nouns,
    reconstructed,
    with_nouns,
)
from alignscope.records import (
    DRAWS,
    ForcedChoice,
    ImageCaption,
    MadeCaption,
    Measurement,
    Problem,
    TaggedCaption,
    TextScore,
)
from alignscope.studies.captions.caption_scores import Asked, asked_captions, asked_made
from alignscope.studies.captions.captioned import are_scenes, caption_files, check_names, read_many

Verb = Literal["replacements", "templates", "nouns", "choice", "matrix"]
WORLD_CORPUS = 2000  # scenes of the world's training split whose captions are the vocabulary


@final
@dataclass(frozen=True)
class Settings:
    """What a probe does beyond its captions and models; all of it is in the run's identity."""

    seed: int = 0
    draws: int = DRAWS  # of the bootstrap
    replacements: int = 5  # captions of each kind per caption
    more_than: int = 5  # times a word of the vocabulary comes in the corpus
    templates: tuple[Template, ...] = TEMPLATES
    counts: tuple[int, ...] = NOUN_COUNTS
    is_comparable: bool = True  # only images with enough nouns for the largest count
    is_shuffled: bool = False  # nouns of the references by seed, not the most frequent first
    names: bool = False  # proper nouns are nouns too
    clip_score: bool = False
    tagger: str | None = None  # "spacy" or "world"; None: the world's where images are its scenes


DEFAULTS = Settings()


@final
@dataclass(frozen=True)
class Material:
    """What texts are made of."""

    captions: Mapping[str, CaptionFile]
    tagged: Callable[[Sequence[ImageCaption]], list[TaggedCaption]]
    references: CaptionFile | None
    corpus: CaptionFile | None
    settings: Settings


@final
@dataclass(frozen=True)
class Planned:
    """Texts to be scored, and how numbers are made of their scores."""

    asked: list[Asked]
    measure: Callable[[list[TextScore], Numbered], list[Measurement]]
    made: Mapping[str, list[MadeCaption]] = field(default_factory=dict)
    choices: Sequence[ForcedChoice] = ()
    problems: Sequence[Problem] = ()
    totals: Mapping[str, int] = field(default_factory=dict)  # where not those of the files
    recipe: str = ""


def captions_of(verb: Verb, paths: Mapping[str, Path]) -> dict[str, CaptionFile]:
    """Files of captions; of references, which `nouns` takes, any number an image."""
    check_names(paths)
    if verb == "nouns":
        return {name: replace(read_many(path, split="test"), name=name) for name, path in paths.items()}
    if verb == "choice" and len(paths) < 2:
        raise BadInput(
            f"got captions of {', '.join(paths) or 'nobody'}, wanted at least two files to choose from"
        )
    return caption_files(paths)


def corpus_of(images: Sequence[str], path: Path | None) -> CaptionFile | None:
    """Captions whose words are the vocabulary; None where those of the references are."""
    if path is not None:
        return read_many(path, split="train")
    if not are_scenes(images):
        return None
    world = World("train", size=WORLD_CORPUS)
    captions = tuple(
        ImageCaption(scene.id, one.text)
        for scene, own in zip(world.scenes, world.captions(WEB), strict=True)
        for one in own
    )
    return CaptionFile("world-train-web", sha_of(captions), captions, ())


def planned_texts(verb: Verb, material: Material) -> Planned:
    """The texts of a probe."""
    plans = {
        "replacements": _replacements,
        "templates": _templates,
        "nouns": _nouns,
        "choice": _choice,
        "matrix": _matrix,
    }
    return plans[verb](material)


def _replacements(material: Material) -> Planned:
    settings, references = material.settings, material.references
    if references is None:
        raise BadInput("got no references, which say which nouns are wrong: give --references")
    tagged = material.tagged(references.captions)
    words: Vocabulary = vocabulary_of(
        tagged if material.corpus is None else material.tagged(material.corpus.captions),
        more_than=settings.more_than,
    )
    own = by_image(tagged)

    def make(captions: list[TaggedCaption]) -> tuple[list[MadeCaption], list[Problem]]:
        return replaced_words(captions, own, words, draws=settings.replacements, seed=settings.seed)

    return _made_of(material, make, f"{words}; from {(material.corpus or references).name}")


def _templates(material: Material) -> Planned:
    settings = material.settings
    return _made_of(
        material,
        lambda captions: reconstructed(captions, settings.templates, names=settings.names),
        _told(settings.templates),
    )


def _made_of(
    material: Material,
    make: Callable[[list[TaggedCaption]], tuple[list[MadeCaption], list[Problem]]],
    recipe: str,
) -> Planned:
    """Captions and the texts made of them."""
    asked, made, problems = list[Asked](), dict[str, list[MadeCaption]](), list[Problem]()
    for name, file in material.captions.items():
        made[name], unmade = make(material.tagged(file.captions))
        problems += [replace(one, what=f"{name}: {one.what}") for one in unmade]
        asked += [*asked_captions(name, file.captions), *asked_made(name, made[name])]
    return Planned(asked, changes, made, problems=problems, recipe=recipe)


def _nouns(material: Material) -> Planned:
    settings = material.settings
    asked, made, problems, totals = list[Asked](), dict[str, list[MadeCaption]](), list[Problem](), {}
    for name, file in material.captions.items():
        of = by_image(material.tagged(file.captions))
        seed = settings.seed if settings.is_shuffled else None
        nouns = {image: ranked_nouns(own, names=settings.names, seed=seed) for image, own in of.items()}
        made[name], few = with_nouns(
            nouns, settings.templates, counts=settings.counts, is_comparable=settings.is_comparable
        )
        problems += [replace(one, what=f"{name}: {one.what}") for one in few]
        asked += asked_made(name, made[name])
        totals[name] = len(of)
    return Planned(asked, by_nouns, made, problems=problems, totals=totals, recipe=_told(settings.templates))


def _choice(material: Material) -> Planned:
    captions = {name: file.captions for name, file in material.captions.items()}
    choices, problems = forced_choices(captions)
    asked = [one for name, own in captions.items() for one in asked_captions(name, own)]
    images = {one.image for own in captions.values() for one in own}
    return Planned(
        [one for one in asked if one.image in {choice.image for choice in choices}],
        lambda scores, how: chosen(choices, scores, how),
        choices=choices,
        problems=problems,
        totals=dict.fromkeys(captions, len(images)),
    )


def _matrix(material: Material) -> Planned:
    return Planned(
        [one for name, file in material.captions.items() for one in asked_captions(name, file.captions)],
        means,
    )


def _told(templates: Sequence[Template]) -> str:
    return "; ".join(f"{one.name}: {one.text}" for one in templates)
