"""What is asked of a generator: the template around a text, as a prompt or as a conversation."""

from __future__ import annotations

from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from alignscope.errors import BadInput, Unsupported

Scoring = Literal["likelihood", "information", "yes"]
TEXT = "{text}"
QUESTION = f'Does this figure show "{TEXT}"? Please answer yes or no.'
"""Lin et al. 2024 (VQAScore)."""
REQUEST = f"Describe this image in one sentence. {TEXT}"
SPELLINGS = ("Yes", "yes")
SPACES = "Ġ▁"  # as byte pairs and sentence pieces write them
PLACE = "\ue000"
"""Stands for the text while a chat template is filled in: a character that no text has."""


def check_template(template: str, scoring: Scoring) -> None:
    """A template has one place for the text, and of a likelihood nothing after it.

    >>> check_template("a picture of", "likelihood")
    Traceback (most recent call last):
    ...
    alignscope.errors.BadInput: the template 'a picture of' has {text} 0 times, wanted once
    """
    if template.count(TEXT) != 1:
        raise BadInput(f"the template {template!r} has {TEXT} {template.count(TEXT)} times, wanted once")
    if scoring != "yes" and not template.endswith(TEXT):
        raise BadInput(
            f"the template {template!r} goes on after {TEXT}: the likelihood is that of a text that comes last, "
            f"so end it with {TEXT}, or take scoring 'yes'"
        )


def around(processor: Any, template: str, scoring: Scoring, *, with_image: bool) -> tuple[str, str]:
    """What stands before and after the text in the model's input.

    With a chat template: for a likelihood the template's words are the user's turn and the text is the
    assistant's; for a "yes" the question is the user's turn and the assistant's begins after it. Without
    one: the image, a line break where words follow, and the template.
    """
    before, after = template.split(TEXT)
    if not processor.chat_template:
        puts_image = "num_query_tokens" in vars(processor)  # by itself, before any text: BLIP-2
        image = str(_image_token(processor)) if with_image and not puts_image else ""
        return (f"{image}\n{before}" if image and template != TEXT else image + before), after
    shown = [{"type": "image"}] if with_image else []
    if scoring == "yes":
        asked = [*shown, {"type": "text", "text": before + PLACE + after}]
        turns = [{"role": "user", "content": asked}]
    else:
        words = [{"type": "text", "text": before.strip()}] if before.strip() else []
        answered = [{"type": "text", "text": PLACE}]
        turns = [{"role": "user", "content": [*shown, *words]}, {"role": "assistant", "content": answered}]
    rendered = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=scoring == "yes")
    if rendered.count(PLACE) != 1:
        raise Unsupported(
            f"its chat template writes what is said {rendered.count(PLACE)} times, wanted once: "
            "load it without scoring by that template"
        )
    before, after = rendered.split(PLACE)
    return before, after


def _image_token(processor: Any) -> Any:
    found = getattr(processor, "image_token", None)
    if found is None:
        raise Unsupported(
            f"{type(processor).__name__} has no chat template and names no token for an image, so nothing says "
            "where it stands among the words: add a chat_template.jinja to the checkpoint"
        )
    return found


def end_token(tokenizer: PreTrainedTokenizerBase, after: str) -> str:
    """What ends a text: the special token that a chat template puts after it, or the tokenizer's own."""
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    following = [token for token in special if after.lstrip().startswith(token)]
    end = max(following, key=len) if following else tokenizer.eos_token or tokenizer.sep_token
    if end is None:
        raise Unsupported(
            "its tokenizer has no token that ends a text: set eos_token in tokenizer_config.json"
        )
    return end


def yes_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that alone spell "yes", with or without a capital and the mark of a space before it."""
    found = {row for piece, row in tokenizer.get_vocab().items() if piece.lstrip(SPACES) in SPELLINGS}
    if not found:
        raise Unsupported(
            f"its tokenizer has no single token for {' or '.join(map(repr, SPELLINGS))}: "
            "score by 'likelihood' or 'information'"
        )
    return tuple(sorted(found))
