"""Which scene a caption names, and which scene an image shows by the votes of its captions (paper C, §5).

The paper's recipe: cut the caption into tokens, drop punctuation, stop words and "picture", keep nouns, take
lemmas, count. With `recipe="head"` only heads of noun chunks are kept, so that "train station" is a station and
no train. Texts of a closed vocabulary need no parser: `words` are the scenes they can name. How the paper came
to its seven scenes is not said and its count does not give them, so the set of scenes is the caller's choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from alignscope.errors import BadInput, UnknownName
from alignscope.language.pipeline import BATCH, calm, parsed, tagger
from alignscope.records import SceneLabel

Recipe = Literal["paper", "head"]
Nouns = tuple[str, ...]
"""The scene nouns of one caption in their order, a repeated one again."""

PAPER7: Nouns = ("station", "road", "room", "sea", "resort", "house", "restaurant")
"""The scenes of paper C's tables 2 and 3."""
NO_SCENE = frozenset({"picture"})
"""What captions name that answer "where is the picture taken?" with a sentence."""
_TOP = re.compile(r"top_(\d+)")


def scene_nouns(
    texts: Sequence[str], *, recipe: Recipe = "paper", words: Collection[str] | None = None
) -> list[Nouns]:
    """The nouns of each text that may name its scene; with `words`, those of them the text has.

    >>> scene_nouns(["in a train station", "the picture is taken in living rooms"], recipe="head")
    [('station',), ('room',)]
    >>> scene_nouns(["in a train station", "the picture is taken in living rooms"])
    [('train', 'station'), ('room',)]
    >>> scene_nouns(["we are at the beach", "a Kitchen at night"], words={"beach", "kitchen", "night"})
    [('beach',), ('kitchen', 'night')]
    """
    if isinstance(texts, str):
        raise BadInput(f"got one text ({texts[:40]!r}), wanted a sequence of them: scene_nouns([text])")
    if words is not None:
        return list(_found(texts, words))
    documents = tagger().pipe(map(calm, texts), batch_size=BATCH)
    if recipe == "paper":
        return [_lemmas(document) for document in documents]
    trees = parsed(texts)  # the same tokens: the tagger lacks the parser, the parser the lemmas
    return [
        _lemmas(document, among={chunk.root.i for chunk in tree.noun_chunks})
        for document, tree in zip(documents, trees, strict=True)
    ]


def top_scenes(nouns: Iterable[Nouns], k: int) -> Nouns:
    """The `k` most frequent nouns, the alphabetically first of equals.

    >>> top_scenes([("road", "sea"), ("road",), ("beach",)], 2)
    ('road', 'beach')
    """
    counts = Counter(noun for own in nouns for noun in own)
    return tuple(sorted(counts, key=lambda noun: (-counts[noun], noun))[:k])


def scene_set(preset: str, nouns: Iterable[Nouns]) -> Nouns:
    """The scenes of a preset: "paper7", or "top_k" with a number for k ("top_20"), of the captions' nouns."""
    if preset == "paper7":
        return PAPER7
    match = _TOP.fullmatch(preset)
    if match is None or int(match[1]) < 1:
        raise UnknownName(
            f"got the scenes '{preset}', wanted 'paper7' or 'top_' and a number such as 'top_8'; name one"
        )
    return top_scenes(nouns, int(match[1]))


def scene_labels(
    nouns: Mapping[str, Sequence[Nouns]], *, scenes: Collection[str] | None = None, agreement: int = 1
) -> list[SceneLabel]:
    """The scene of each image: the noun that most of its captions name, one vote per caption.

    Only `scenes` may be voted for where there are some, and a scene needs `agreement` votes: with 2 those of
    two annotators, with 1 the most frequent noun also where each is named once. A tie is no scene.

    >>> votes = {"a": [("road",), ("road", "sea"), ()], "b": [("sea",), ("road",), ()]}
    >>> [(label.scene, label.votes, label.reason) for label in scene_labels(votes)]
    [('road', 2, ''), ('', 1, 'tie of road and sea with 1 of 3 captions')]
    """
    if agreement < 1:
        raise BadInput(f"got an agreement of {agreement} captions, wanted at least 1; raise it")
    return [_label(image, own, scenes, agreement) for image, own in nouns.items()]


def without_rare(labels: Sequence[SceneLabel], *, images: int = 2) -> list[SceneLabel]:
    """The same, with no scene but a reason where fewer than `images` images show it.

    >>> [label.reason for label in without_rare([SceneLabel("a", "sea", 3, 3)])]
    ["1 image of the scene 'sea', wanted at least 2"]
    """
    counts = Counter(label.scene for label in labels)
    return [
        replace(
            label,
            scene="",
            reason=f"{counts[label.scene]} image{'s' if counts[label.scene] > 1 else ''} of the scene "
            f"{label.scene!r}, wanted at least {images}",
        )
        if label.scene and counts[label.scene] < images
        else label
        for label in labels
    ]


def _lemmas(document: Any, among: Collection[int] | None = None) -> Nouns:
    """Lemmas of the nouns of a tagged document, of the tokens `among` where given.

    As in the paper "picture" is dropped before lemmas are taken, so that "pictures" is not.
    """
    kept = (
        token
        for token in document
        if token.pos_ == "NOUN"
        and not (token.is_punct or token.is_stop or token.lower_ in NO_SCENE)
        and (among is None or token.i in among)
    )
    return tuple(token.lemma_.lower() for token in kept)


def _found(texts: Sequence[str], words: Collection[str]) -> Iterator[Nouns]:
    """The words of a set that each text has, as they stand there: without case, no plurals made singular."""
    if not words:
        raise BadInput("got no word that names a scene, wanted some in `words`")
    spelt = {word.lower(): word for word in words}
    longest_first = sorted(spelt, key=lambda word: (-len(word), word))
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")
    for text in texts:
        yield tuple(spelt[found] for found in pattern.findall(text.lower()))


def _label(
    image: str, captions: Sequence[Nouns], scenes: Collection[str] | None, agreement: int
) -> SceneLabel:
    named = [{noun for noun in own if scenes is None or noun in scenes} for own in captions]
    votes = Counter(noun for own in named for noun in own)
    most = max(votes.values(), default=0)
    best = sorted(noun for noun, count in votes.items() if count == most)
    of = f"of {len(captions)} caption{'' if len(captions) == 1 else 's'}"
    if not best:
        reason = f"none {of} names a scene" + (
            f" of the {len(scenes)} asked for" if scenes is not None else ""
        )
    elif len(best) > 1:
        reason = f"tie of {' and '.join(best)} with {most} {of}"
    elif most < agreement:
        reason = f"{best[0]} is named in {most} {of}, wanted {agreement}"
    else:
        return SceneLabel(image, best[0], most, len(captions))
    return SceneLabel(image, "", most, len(captions), reason)
