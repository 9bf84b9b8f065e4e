"""Universal parts of speech of free text, of texts with word classes, and by looking words up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from alignscope.errors import BadInput
from alignscope.language.classes import WORD
from alignscope.language.pipeline import BATCH, calm, tagger
from alignscope.records import Caption, TaggedWord

Words = tuple[TaggedWord, ...]
UNKNOWN = "X"
"""The tag of a word that nobody knows."""
CLASS_TAGS = {"object": "NOUN", "scene": "NOUN", "attribute": "ADJ", "relation": "ADP"}
FUNCTION_TAGS = {
    **dict.fromkeys(("a", "an", "the", "this", "these"), "DET"),
    **dict.fromkeys(("and", "but", "or"), "CCONJ"),
    **dict.fromkeys(("is", "are", "was", "were"), "AUX"),
    **dict.fromkeys(("of", "at", "on", "in", "to", "with"), "ADP"),
    **dict.fromkeys(("we", "it", "there", "that"), "PRON"),
    **dict.fromkeys(("also", "here"), "ADV"),
    **dict.fromkeys(("see", "taken"), "VERB"),
    **dict.fromkeys(("picture", "photo", "image", "place"), "NOUN"),
}
"""Tags of words whose class is "other"."""


def tagged(texts: Sequence[str], *, lemmas: bool = False) -> Iterator[Words]:
    """The words of each text with spaCy's tags; a word has a letter or digit, so "man's" is two.

    >>> [[(word.text, word.tag) for word in words] for words in tagged(["two dogs, one red"])]
    [[('two', 'NUM'), ('dogs', 'NOUN'), ('one', 'NUM'), ('red', 'ADJ')]]
    """
    if isinstance(texts, str):
        raise BadInput(f"got one text ({texts[:40]!r}), wanted a sequence of them: tagged([text])")
    unused = [] if lemmas else ["lemmatizer"]
    for text, document in zip(
        texts, tagger().pipe(map(calm, texts), batch_size=BATCH, disable=unused), strict=True
    ):
        yield tuple(
            TaggedWord(
                text[token.idx : token.idx + len(token)],
                token.idx,
                token.idx + len(token),
                token.pos_,
                token.lemma_,
            )
            for token in document
            if any(map(str.isalnum, token.text))
        )


def tags_of(caption: Caption) -> Words:
    """The words of a caption with classes, tagged by them: things are nouns, relations prepositions or verbs.

    >>> from alignscope.records import Word
    >>> words = (Word("a", 0, 1, "other"), Word("cart", 2, 6, "object"), Word("towing", 7, 13, "relation"))
    >>> [word.tag for word in tags_of(Caption("a cart towing", words))]
    ['DET', 'NOUN', 'VERB']
    """
    return tuple(
        TaggedWord(word.text, word.start, word.end, _tag(word.text.lower(), word.word_class))
        for word in caption.words
    )


def lexicon_of(captions: Iterable[Caption]) -> dict[str, str]:
    """The tag each word has most often in captions with classes, the alphabetically first of equals."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for caption in captions:
        for word in tags_of(caption):
            counts[word.text.lower()][word.tag] += 1
    return {word: min(own, key=lambda tag: (-own[tag], tag)) for word, own in counts.items()}


def looked_up(text: str, lexicon: Mapping[str, str]) -> Words:
    """The words of a text tagged by a lexicon, for what a captioner says in a closed vocabulary.

    >>> [word.tag for word in looked_up("a pale moon", {"a": "DET", "moon": "NOUN"})]
    ['DET', 'X', 'NOUN']
    """
    return tuple(
        TaggedWord(match.group(), match.start(), match.end(), lexicon.get(match.group().lower(), UNKNOWN))
        for match in WORD.finditer(text)
    )


def _tag(word: str, word_class: str) -> str:
    if word_class == "relation" and word.endswith("ing"):
        return "VERB"
    return CLASS_TAGS.get(word_class) or FUNCTION_TAGS.get(word, UNKNOWN)
