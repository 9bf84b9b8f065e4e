"""Generative models as scorers, against transformers' own losses and one plain forward per pair."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioner_twins import CAPTIONERS, CHATS, KINDS, PIECES, TEXTS, close, conversation, loaded, picture
from PIL import Image

from alignscope.attribution.scores import pair_scores
from alignscope.models.captioners import chat, scorer
from alignscope.models.captioners.likelihood import log_odds, mean_log_likelihood
from alignscope.models.captioners.scorer import GenerativeScorer

VISION = {
    "blip": "vision_model",
    "git": "git.image_encoder",
    "vit-gpt2": "encoder",
    "idefics3": "model.vision_model",
}
VISION |= {
    "llava": "model.vision_tower",
    "qwen2-vl": "model.visual",
    "smolvlm": "model.vision_model",
    "qwen2.5-vl": "model.visual",
}


def some_pairs() -> tuple[list[Image.Image], list[str]]:
    """Every text with two of three images, images in turn."""
    images = [picture(number) for number in range(3)]
    return [images[i % 3] for i in range(12)], [TEXTS[(i * 5 + i // 6) % 6] for i in range(12)]


def processed(model: GenerativeScorer, image: Image.Image, words: str) -> dict[str, torch.Tensor]:
    specials = not words.startswith("<s>")
    return model.decoder.processor(
        text=[words], images=[image], return_tensors="pt", add_special_tokens=specials
    )


def plain_loss(model: GenerativeScorer, image: Image.Image, text: str) -> float:
    """transformers' own mean loss of one caption, as its authors would call it."""
    lm, kind = model.decoder.model, type(model.decoder.model).__name__
    if kind in ("BlipForConditionalGeneration", "GitForCausalLM", "VisionEncoderDecoderModel"):
        pixels = model.decoder.image_processor(
            images=[image], return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        ids = model.decoder.tokenizer(text, return_tensors="pt")["input_ids"].long()
        if kind == "VisionEncoderDecoderModel":
            end = torch.full((1, 1), model.decoder.tokenizer.eos_token_id)
            return -lm(pixel_values=pixels, labels=torch.cat([ids, end], dim=1)).loss.item()
        if kind == "BlipForConditionalGeneration":
            lm.text_decoder.label_smoothing = 0.0  # of its training
            ids[:, 0] = PIECES.index("[DEC]")
        return -lm(pixel_values=pixels, input_ids=ids, labels=ids).loss.item()
    if model.decoder.processor.chat_template:
        asked, end = conversation(model, "Describe this image in one sentence."), "<end>"
    else:
        asked, end = "" if kind.startswith("Blip2") else "<image>", "</s>"
    inputs = processed(model, image, asked + text + end)
    labels = inputs["input_ids"].clone()
    labels[:, : processed(model, image, asked)["input_ids"].shape[1]] = -100
    return -lm(**inputs, labels=labels).loss.item()


@pytest.mark.parametrize("kind", KINDS)
def test_likelihood_is_what_transformers_calls_the_loss(kind: str, twin: Callable[[str], Path]):
    model = loaded(twin(kind), scoring="likelihood")
    images, texts = some_pairs()
    with torch.no_grad():
        wanted = torch.tensor([plain_loss(model, *pair) for pair in zip(images, texts, strict=True)])
    assert wanted.std() > 0.1
    close(model.score(images, texts), wanted)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in (*CAPTIONERS, "llava-plain", "blip-2")]
)
def test_yes_is_the_log_odds_of_the_first_token_of_the_answer(kind: str, twin: Callable[[str], Path]):
    model = loaded(twin(kind))
    assert model.traits.score == "yes"
    images, texts = some_pairs()
    answers = model.decoder.tokenizer.convert_tokens_to_ids(["Yes", "yes", "ĠYes", "Ġyes"])
    wanted = []
    with torch.no_grad():
        for image, text in zip(images, texts, strict=True):
            asked = conversation(model, f'Does this figure show "{text}"? Please answer yes or no.')
            last = model.decoder.model(**processed(model, image, asked)).logits[0, -1]
            probability = last.double().softmax(dim=-1)[answers].sum()
            wanted.append((probability / (1 - probability)).log())
    close(model.score(images, texts), torch.stack(wanted).float())


@pytest.mark.parametrize("kind", CHATS)
def test_information_takes_away_the_likelihood_without_the_image(kind: str, twin: Callable[[str], Path]):
    model, seen = loaded(twin(kind), scoring="information"), loaded(twin(kind), scoring="likelihood")
    assert model.traits.baseline == "no image"
    images, texts = some_pairs()
    tokenizer, alone = model.decoder.tokenizer, []
    words = conversation(model, "Describe this image in one sentence.", shown=False)
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(words + text + "<end>", return_tensors="pt")["input_ids"]
            labels = ids.clone()
            labels[:, : len(tokenizer(words)["input_ids"])] = -100
            alone.append(-model.decoder.model(input_ids=ids, labels=labels).loss.item())
    close(model.score(images, texts), seen.score(images, texts) - torch.tensor(alone))


@pytest.mark.parametrize("kind", ["blip", "vit-gpt2", "blip-2"])
def test_decoders_that_always_saw_an_image_are_shown_a_blank_one(kind: str, twin: Callable[[str], Path]):
    model, seen = loaded(twin(kind), scoring="information"), loaded(twin(kind))
    assert model.traits.baseline == "blank image"
    mean = tuple(round(255 * share) for share in model.decoder.image_processor.image_mean)
    blank, shown = Image.new("RGB", (7, 9), mean), picture(0)
    assert model.score([blank] * 6, TEXTS).tolist() == pytest.approx([0] * 6, abs=1e-6)
    difference = seen.score([shown] * 6, TEXTS) - seen.score([blank] * 6, TEXTS)
    close(model.score([shown] * 6, TEXTS), difference)
    assert difference.abs().max() > 0.1


def test_git_without_an_image_reads_the_text_alone(twin: Callable[[str], Path]):
    model, seen = loaded(twin("git"), scoring="information"), loaded(twin("git"))
    assert model.traits.baseline == "no image"
    ids = model.decoder.tokenizer("two cats", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model.decoder.model(input_ids=ids).logits[0].log_softmax(dim=-1)
    alone = sum(logits[i, ids[0, i + 1]] for i in range(3)) / 3
    got = model.score([picture(1)], ["two cats"])
    close(got, seen.score([picture(1)], ["two cats"]) - alone)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_order_nor_batch_nor_padding_changes_a_score(kind: str, twin: Callable[[str], Path]):
    model = loaded(twin(kind))
    images, texts = some_pairs()
    together = model.score(images, texts)
    alone = [model.score([image], [text]) for image, text in zip(images, texts, strict=True)]
    close(torch.cat(alone), together)
    order = [7, 0, 11, 3, 5, 9, 1, 10, 2, 8, 4, 6]
    close(model.score([images[i] for i in order], [texts[i] for i in order]), together[order])
    close(pair_scores(model, images, texts), together)
    assert together.dtype == torch.float32
    assert model.score([], []).shape == (0,)


@pytest.mark.parametrize("scoring", ["likelihood", "yes"])
@pytest.mark.parametrize("kind", CHATS)
def test_a_shared_prefix_gives_what_whole_sequences_give(
    kind: str, scoring: Any, twin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    model = loaded(twin(kind), scoring=scoring)
    images, texts = some_pairs()
    shared = model.score(images, texts)
    monkeypatch.setattr(chat, "SHARED_PREFIX", ())
    close(model.score(images, texts), shared)


@pytest.fixture
def calls() -> Iterator[Callable[[torch.nn.Module], list[int]]]:
    hooks = []

    def count(module: torch.nn.Module) -> list[int]:
        seen: list[int] = []
        hooks.append(module.register_forward_hook(lambda *_: seen.append(1)))
        return seen

    yield count
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("scoring", ["likelihood", "information"])
@pytest.mark.parametrize("kind", [*CAPTIONERS, *CHATS])
def test_an_image_is_looked_at_once(
    kind: str, scoring: Any, twin: Callable[[str], Path], calls: Callable[..., list[int]]
):
    model = loaded(twin(kind), scoring=scoring)
    seen = calls(model.decoder.model.get_submodule(VISION[kind]))
    images, texts = some_pairs()
    model.score(images, texts)
    blanks = 1 if (model.decoder.baseline, scoring) == ("blank image", "information") else 0
    assert len(seen) == 3 + blanks


@pytest.mark.parametrize("kind", ["git", *CHATS])
def test_of_a_shared_prefix_only_the_last_place_predicts(kind: str, twin: Callable[[str], Path]):
    """The vocabulary at every patch would cost GIT a tenth of its time."""
    decoder = loaded(twin(kind), scoring="likelihood").decoder
    with torch.no_grad():
        begun = decoder.begin(picture(0), decoder.read(TEXTS[0]))
    output = begun if kind == "git" else begun.output
    assert output.logits.shape[:2] == (1, 1)
    assert output.past_key_values.get_seq_length() > 1


def test_images_are_opened_a_window_at_a_time(
    twin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, calls: Callable[..., list[int]]
):
    """A lazy sequence, whose images are new objects each time, is never opened as a whole."""
    opened: list[int] = []

    class Lazy(Sequence[Image.Image]):
        def __len__(self) -> int:
            return 7

        def __getitem__(self, place: Any) -> Any:
            if isinstance(place, slice):
                opened.extend(range(7)[place])
                return [picture(i) for i in range(7)[place]]
            return picture(place)  # where the types are checked

    model = loaded(twin("blip"))
    wanted = model.score([picture(i) for i in range(7)], ["a cat"] * 7)
    seen = calls(model.decoder.model.vision_model)
    monkeypatch.setattr(scorer, "WINDOW", 3)
    told: list[int] = []
    hook = model.decoder.model.vision_model.register_forward_pre_hook(lambda *_: told.append(len(opened)))
    close(model.score(Lazy(), ["a cat"] * 7), wanted)
    hook.remove()
    assert told == [3, 3, 3, 6, 6, 6, 7]
    assert len(seen) == 7


def test_many_texts_of_an_image_go_in_several_forwards(
    twin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    for kind in ("llava", "git", "blip"):
        model = loaded(twin(kind))
        wanted = model.score([picture(0)] * 6, TEXTS)
        monkeypatch.setattr(scorer, "TEXTS", 2)
        close(model.score([picture(0)] * 6, TEXTS), wanted)
        monkeypatch.undo()


def test_a_hand_worked_yes():
    """P = 0.2 + 0.3 of four tokens: even odds; a certain no is far below."""
    logits = torch.tensor([[0.2, 0.3, 0.1, 0.4], [0.2, 0.2, 0.2, 0.4]]).log() + 5
    assert log_odds(logits, [0, 1]).tolist() == pytest.approx([0, np.log(0.4 / 0.6)], abs=1e-6)


def test_a_hand_worked_likelihood():
    logits = torch.tensor([[[0.5, 0.5], [0.25, 0.75]], [[0.1, 0.9], [0.3, 0.7]]]).log()
    got = mean_log_likelihood(
        logits, torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, True], [True, False]])
    )
    assert got.tolist() == pytest.approx([np.log(0.5 * 0.75) / 2, np.log(0.9)])
