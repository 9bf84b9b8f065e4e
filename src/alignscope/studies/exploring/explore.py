"""What a page asks of one or two models about an image and a caption: scores, heats, captions with a word swapped."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from alignscope.attribution.attribute import attribute
from alignscope.attribution.options import METHODS, Method, Options
from alignscope.attribution.patches import ImageMethod, image_methods, patch_maps
from alignscope.data.world.foils import false_statement
from alignscope.data.world.grammar import GRAMMAR_WORDS, Statement, is_true, realise
from alignscope.data.world.paraphrases import understood
from alignscope.data.world.scene import FINISHES, RELATIONS, SCENES, SIZES, WorldScene
from alignscope.data.world.shapes import NOUNS
from alignscope.errors import AlignscopeError, BadInput, MissingExtra, NoRoom
from alignscope.language.classes import WORD, word_classes
from alignscope.language.lexicon import COLOURS
from alignscope.language.replacements import Candidates, replaced
from alignscope.models.protocols import PairScorer, Picture
from alignscope.records import (
    FOIL_KINDS,
    Caption,
    Item,
    PatchMap,
    Problem,
    Regions,
    Word,
    WordClass,
    WordHeat,
)
from alignscope.studies.auditing.attributions import truncated
from alignscope.studies.auditing.inspection import LEAVING_OUT
from alignscope.studies.exploring.gallery import Gallery
from alignscope.studies.pictures import regions_of, strangers

MOST_MODELS = 2
ALTERNATIVES = 3  # swaps of each kind, or of each word
CANDIDATES = Candidates(
    {
        "object": tuple(sorted({*NOUNS, "dog", "cat", "man", "woman", "car", "table", "tree", "bird"})),
        "attribute": tuple(sorted({*FINISHES, *SIZES, *COLOURS, "wooden", "empty"})),
        "relation": tuple(sorted({*RELATIONS, "behind", "in front of", "next to", "on top of", "under"})),
        "scene": SCENES,
    }
)
"""What may stand in a word's place where the caption is no sentence of the world: nothing says that it is false."""
_CLASSES: Mapping[str, WordClass] = {
    **dict.fromkeys(GRAMMAR_WORDS, "other"),
    **{word: "relation" for phrase in RELATIONS for word in phrase.split()},
    **dict.fromkeys(SCENES, "scene"),
    **dict.fromkeys((*FINISHES, *SIZES), "attribute"),
    **dict.fromkeys(NOUNS, "object"),
}


@final
@dataclass(frozen=True)
class Heard:
    """One model's answer about an image and a caption; what it could not give is a problem with its reason."""

    model: str
    score: float | None
    unit: str  # as `Traits.score`
    words: tuple[WordHeat, ...]
    patches: PatchMap | None
    problems: tuple[Problem, ...]


@final
@dataclass(frozen=True)
class Swap:
    """A caption with something swapped, and what each model scores it; `is_false` where the world's truth says so."""

    text: str
    kind: str
    is_false: bool
    scores: tuple[float | None, ...]


@final
@dataclass(frozen=True)
class Swaps:
    """Swaps of a caption beside its own scores; words that nothing can stand in for are problems."""

    scores: tuple[float | None, ...]
    is_true: bool | None  # of the caption; None where the world does not know
    swaps: tuple[Swap, ...]
    problems: tuple[Problem, ...]


@final
class Explorer:
    """One or two models and a gallery; regions of its images are in `regions`, for models that take them."""

    def __init__(
        self,
        models: Sequence[PairScorer],
        gallery: Gallery,
        *,
        regions: Mapping[str, Regions] | None = None,
        options: Options = LEAVING_OUT,
    ) -> None:
        if not 1 <= len(models) <= MOST_MODELS:
            raise BadInput(f"got {len(models)} models, wanted 1 or {MOST_MODELS} side by side")
        if regions is not None and all(model.traits.unit == "patch" for model in models):
            raise BadInput(f"got regions, {models[0].name} takes pixels: leave --regions out")
        same = len({model.name for model in models}) < len(models)
        self.names = tuple(f"{one.name} ({n})" if same else one.name for n, one in enumerate(models, start=1))
        self.models = tuple(models)
        self.gallery = gallery
        self.options = options
        self._regions = [
            None if one.traits.unit == "patch" else regions_of(one, gallery.world, regions) for one in models
        ]

    @property
    def methods(self) -> tuple[Method, ...]:
        """Methods of word attribution that any of the models gives."""
        return tuple(one for one in METHODS if any(one in m.traits.attributions for m in self.models))

    @property
    def image_methods(self) -> tuple[ImageMethod, ...]:
        """Methods of image maps that any of the models gives."""
        order: tuple[ImageMethod, ...] = ("attention", "gradcam")
        return tuple(one for one in order if any(one in image_methods(m) for m in self.models))

    def heard(self, key: str, text: str, *, method: str, map_method: str) -> tuple[Heard, ...]:
        """Every model's score of an image with a text, heats of its words and a map of the image."""
        if self.methods and method not in self.methods:
            raise BadInput(f"got the method {method!r}, wanted one of {', '.join(self.methods)}")
        if self.image_methods and map_method not in self.image_methods:
            raise BadInput(
                f"got the image method {map_method!r}, wanted one of {', '.join(self.image_methods)}"
            )
        self.gallery.image(key)  # an unknown image is one error, not one per model
        caption, problems = tagged(text, is_world=self.gallery.world is not None)
        return tuple(
            self._heard(place, key, caption, problems, method, map_method)
            for place in range(len(self.models))
        )

    def swaps(self, key: str, text: str) -> Swaps:
        """Captions with one thing swapped, scored by every model in one call each beside the caption itself."""
        self.gallery.image(key)
        known = self._known(key, text)
        made, problems = self._guessed(text) if known is None else (foils_of(*known), [])
        texts = [text, *(swap.text for swap in made)]
        columns = []
        for place, model in enumerate(self.models):
            try:
                column, unscored = scores(model, self._picture(place, key), texts)
            except AlignscopeError as error:
                column, unscored = (None,) * len(texts), [Problem("", text, str(error), "unscored")]
            columns.append(column)
            problems += [replace(one, item=self.names[place]) for one in unscored]
        own, *others = zip(*columns, strict=True)
        swaps = tuple(replace(swap, scores=row) for swap, row in zip(made, others, strict=True))
        return Swaps(own, None if known is None else is_true(known[1], known[0]), swaps, tuple(problems))

    def _heard(
        self, place: int, key: str, caption: Caption, problems: list[Problem], method: str, map_method: str
    ) -> Heard:
        model, name = self.models[place], self.names[place]
        item = Item(name, key, caption)
        found, words = list(problems), list[WordHeat]()
        score, patches = None, None
        try:
            picture = self._picture(place, key)
            [score], unscored = scores(model, picture, [caption.text])
            found += unscored
            found += truncated(model, [item])
            if method in model.traits.attributions:
                chosen: Method = method  # type: ignore[assignment]
                for part in attribute(model, [item], [picture], methods=[chosen], options=self.options):
                    words += [word for one in part.attributions for word in one.words]
                    found += part.problems
            else:
                found.append(
                    Problem(name, caption.text, f"{method} is unsupported by this model", "unscored")
                )
            if map_method in image_methods(model):
                of_image: ImageMethod = map_method
                seen = {key: picture}.__getitem__
                [patches] = patch_maps(model, [item], seen, [caption.text], method=of_image)
            else:
                what = f"an image map by {map_method} is unsupported by this model"
                found.append(Problem(name, caption.text, what, "unscored"))
            found += strangers([picture.made_by] if isinstance(picture, Regions) else [])
        except AlignscopeError as error:
            found.append(Problem(name, caption.text, str(error), "unscored"))
        told = tuple(dict.fromkeys(found))
        return Heard(name, score, model.traits.score, tuple(words), patches, told)

    def _picture(self, place: int, key: str) -> Picture:
        regions = self._regions[place]
        if regions is None:
            return self.gallery.image(key)
        if self.gallery.is_upload(key):
            raise BadInput(
                f"{self.names[place]} takes regions of a detector: it cannot see an uploaded image"
            )
        try:
            return regions(key)
        except KeyError:
            raise BadInput(
                f"the file of regions has none of {key}: make them with `regions detect`"
            ) from None

    def _known(self, key: str, text: str) -> tuple[WorldScene, Statement] | None:
        """The scene and what the caption claims of it, where the world knows both."""
        said = understood(text)
        if self.gallery.world is None or self.gallery.is_upload(key) or said is None:
            return None
        return self.gallery.world.scene(key), said

    def _guessed(self, text: str) -> tuple[list[Swap], list[Problem]]:
        """Swaps that nothing is known of: a word for another of its class."""
        caption, problems = tagged(text, is_world=self.gallery.world is not None)
        whole = Caption(text, tuple(_joined(caption)))
        perturbed, alone = replaced(whole, CANDIDATES, draws=ALTERNATIVES, seed=self.options.seed)
        what = "nothing can stand in for this word"
        problems += [Problem("", whole.words[place].text, what, "unscored") for place in alone]
        if not perturbed:
            problems.append(
                Problem("", text, "no object, attribute, relation or scene word to swap", "unscored")
            )
        kinds = {place: f"another {word.word_class}" for place, word in enumerate(whole.words)}
        return [Swap(one.text, kinds[one.word], False, ()) for one in perturbed], problems


def foils_of(scene: WorldScene, said: Statement) -> list[Swap]:
    """Up to `ALTERNATIVES` statements of each kind of foil, all false of the scene; not yet scored."""
    made: list[Swap] = []
    for kind in FOIL_KINDS:
        draws = (random.Random(f"{kind} {place}") for place in range(4 * ALTERNATIVES))
        drawn = (false_statement(scene, said, kind, rng=draw) for draw in draws)
        texts = [*dict.fromkeys(realise(one).text for one in drawn if one is not None)]
        made += [Swap(text, kind, True, ()) for text in texts[:ALTERNATIVES]]
    return made


def scores(
    model: PairScorer, picture: Picture, texts: Sequence[str]
) -> tuple[tuple[float | None, ...], list[Problem]]:
    """One image's score with each text; a text that has none is a problem with its reason."""
    reasons: Mapping[int, str] = {}
    try:
        found: Sequence[float] = model.score([picture] * len(texts), texts).tolist()
    except NoRoom as error:
        found, reasons = error.scores or (math.nan,) * len(texts), error.reasons
    problems = [
        Problem(model.name, text, reasons.get(place, "the score is not a finite number"), "unscored")
        for place, (text, score) in enumerate(zip(texts, found, strict=True))
        if not math.isfinite(score)
    ]
    return tuple(score if math.isfinite(score) else None for score in found), problems


def tagged(text: str, *, is_world: bool) -> tuple[Caption, list[Problem]]:
    """A caption with word classes: by the world's grammar, else by the parser, else by the world's vocabulary.

    >>> [word.word_class for word in tagged("a ball left of a box", is_world=True)[0].words]
    ['other', 'object', 'relation', 'relation', 'other', 'object']
    """
    if is_world and (said := understood(text)) is not None:
        return realise(said), []
    try:
        return word_classes([text])[0], []
    except MissingExtra as error:
        what = f"words outside the world's vocabulary have the class other ({error})"
        return Caption(text, tuple(known_words(text))), [Problem("", text, what, "handled")]


def known_words(text: str) -> Iterator[Word]:
    """Words with the classes that they have in the world's grammar, "other" where it has none.

    >>> [(word.text, word.word_class) for word in known_words("Ball, quickly")]
    [('Ball', 'object'), ('quickly', 'other')]
    """
    for match in WORD.finditer(text):
        yield Word(match[0], match.start(), match.end(), _CLASSES.get(match[0].lower(), "other"))


def _joined(caption: Caption) -> Iterator[Word]:
    """The caption's words, relation words that follow one another as one: "left of" is swapped as a whole."""
    last: Word | None = None
    for word in caption.words:
        if last is None:
            last = word
        elif (
            last.word_class == word.word_class == "relation" and caption.text[last.end : word.start].isspace()
        ):
            last = Word(caption.text[last.start : word.end], last.start, word.end, "relation")
        else:
            yield last
            last = word
    if last is not None:
        yield last
