"""Generative models as scorers, against transformers' own losses and one plain forward per pair."""

import copy
import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from captioner_twins import CAPTIONERS, CHATS, KINDS, PIECES, save_twin

from alignscope.attribution.scores import pair_scores
from alignscope.errors import (
    BadData,
    BadInput,
    CheckpointError,
    CheckpointMismatch,
    LengthMismatch,
    UnknownName,
    Unsupported,
)
from alignscope.models.captioners import chat, scorer
from alignscope.models.captioners.likelihood import log_odds, mean_log_likelihood
from alignscope.models.captioners.loading import is_known, load
from alignscope.models.captioners.question import QUESTION, yes_tokens
from alignscope.models.captioners.scorer import GenerativeScorer
from alignscope.models.protocols import PairScorer
from alignscope.records import Regions

TEXTS = ["a red dog near the small cat", "cat", "two cats, unknow!", "", "a red dog", "the kitchen"]
SIZES = [(48, 32), (20, 40), (64, 30)]
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


def picture(number: int) -> Image.Image:
    width, height = SIZES[number % len(SIZES)]
    noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_twin(tmp_path_factory.mktemp("generators") / f"tiny-random-{kind}", kind)
        return made[kind]

    return find


@pytest.fixture(autouse=True)
def _no_numerals(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM's processor refuses to be made without a library that it needs for videos alone."""
    from transformers.models.smolvlm import processing_smolvlm

    monkeypatch.setattr(processing_smolvlm, "num2words", str)


@functools.cache
def loaded(directory: Path, **options: Any) -> GenerativeScorer:
    """A scorer that several tests use and none changes."""
    return load(directory, **options)


def close(got: torch.Tensor, want: torch.Tensor, atol: float = 1e-5) -> None:
    assert got.shape == want.shape
    assert len(got) > 0
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


def some_pairs() -> tuple[list[Image.Image], list[str]]:
    """Every text with two of three images, images in turn."""
    images = [picture(number) for number in range(3)]
    return [images[i % 3] for i in range(12)], [TEXTS[(i * 5 + i // 6) % 6] for i in range(12)]


def conversation(model: GenerativeScorer, words: str, *, shown: bool = True) -> str:
    """A user's turn and the start of the answer, by the model's own chat template."""
    image = [{"type": "image"}] if shown else []
    turns = [{"role": "user", "content": [*image, {"type": "text", "text": words}]}]
    return model.decoder.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


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


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_lead_back_to_the_text(kind: str, twin: Callable[[str], Path]):
    model = loaded(twin(kind))
    assert isinstance(model, PairScorer)
    tokens = model.tokens(TEXTS)
    for text, spans, length in zip(TEXTS, tokens.offsets, tokens.lengths, strict=True):
        own = [span for span in spans[:length] if span != (0, 0)]
        assert "".join(text[slice(*span)] for span in own).replace(" ", "") == text.replace(" ", "")
    assert tokens.mask.sum(dim=-1).tolist() == list(tokens.lengths)
    assert not any(tokens.truncated(model.traits.context_length))
    assert model.traits.attributions == ("perturbation",)
    assert model.traits.family == "captioner"
    ids = [row[:length] for row, length in zip(tokens.ids.tolist(), tokens.lengths, strict=True)]
    if model.traits.score == "likelihood":
        end = {"[SEP]", "</s>", "<|endoftext|>"}
        assert {model.decoder.tokenizer.convert_ids_to_tokens(row[-1]) for row in ids} <= end
        assert model.tokens([""]).lengths == (1,), "its end alone"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_beyond_the_context_is_refused(kind: str, twin: Callable[[str], Path]):
    model = loaded(twin(kind))
    text = "cat " * 200
    assert model.tokens([text]).truncated(model.traits.context_length) == (True,)
    with pytest.raises(BadInput, match=r"has room for .*: shorten it"):
        model.score([picture(0)], [text])


def test_a_text_up_to_the_context_is_scored(twin: Callable[[str], Path]):
    for kind in CAPTIONERS:
        model = loaded(twin(kind))
        room = model.traits.context_length
        text = " ".join(["cat"] * (room - 1))
        assert model.tokens([text]).lengths == (room,)
        assert model.score([picture(0)], [text]).isfinite().all()


def test_words_before_the_text_are_the_prompt_of_a_captioner(twin: Callable[[str], Path]):
    """With a prompt, the mean is over the text's tokens alone."""
    for kind in CAPTIONERS:
        model = loaded(twin(kind), template="a red {text}")
        bare = loaded(twin(kind))
        got, image = model.score([picture(0)], ["dog near"]), picture(0)
        whole, start = (bare.score([image], [text]).item() for text in ("a red dog near", "a red"))
        reading, prompt = bare.decoder.read("a red dog near"), bare.decoder.read("a red")
        assert model.decoder.read("dog near").ids == reading.ids[2:]
        with torch.no_grad():
            begun = bare.decoder.begin(image, reading)
            logits = bare.decoder.logits(begun, [reading])[0].log_softmax(dim=-1)
        each = [logits[i, token].item() for i, token in enumerate(reading.ids)]
        assert np.mean(each) == pytest.approx(whole, abs=1e-5)
        assert got.item() == pytest.approx(np.mean(each[2:]), abs=1e-5)
        assert start != whole
        assert len(prompt.ids) == 3


def test_an_own_question_is_asked(twin: Callable[[str], Path]):
    model = loaded(twin("llava"), template='Is "{text}" in {this} image?')
    asked = conversation(model, 'Is "a cat" in {this} image?')
    found = model.decoder.read("a cat")
    assert found.before + found.rest == asked
    usual = loaded(twin("llava"))
    assert usual.decoder.template == QUESTION
    assert usual.fingerprint != model.fingerprint


def test_a_model_without_a_chat_template_gets_the_bare_words(twin: Callable[[str], Path]):
    model = loaded(twin("llava-plain"), scoring="yes")
    reading = model.decoder.read("a cat")
    assert reading.before + reading.rest == '<image>\nDoes this figure show "a cat"? Please answer yes or no.'
    assert loaded(twin("llava-plain")).traits.score == "likelihood"


@pytest.mark.parametrize(
    ("template", "scoring", "what"),
    [
        ("a picture of", "likelihood", r"has \{text\} 0 times"),
        ("Is {text} {text}?", "yes", r"has \{text\} 2 times"),
        ("a {text} there", "information", r"goes on after \{text\}"),
    ],
)
def test_templates_that_make_no_sense(template: str, scoring: Any, what: str, twin: Callable[[str], Path]):
    with pytest.raises(BadInput, match=what):
        load(twin("llava"), scoring=scoring, template=template)


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_captioners_answer_no_question(kind: str, twin: Callable[[str], Path]):
    with pytest.raises(Unsupported, match="a captioner, which answers no question"):
        load(twin(kind), scoring="yes")


def test_a_tokenizer_without_yes_is_refused(twin: Callable[[str], Path]):
    tokenizer = copy.deepcopy(loaded(twin("blip")).decoder.tokenizer)
    assert yes_tokens(tokenizer)  # its words know "yes"
    bare = type(tokenizer)(
        vocab={piece: row for row, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"])}
    )
    with pytest.raises(Unsupported, match="no single token for any of 'Yes', 'yes'"):
        yes_tokens(bare)


def test_bad_pairs(twin: Callable[[str], Path]):
    model = loaded(twin("llava"))
    with pytest.raises(LengthMismatch, match="2 texts for 1 images"):
        model.score([picture(0)], ["a", "b"])
    with pytest.raises(BadInput, match="holds '<image>', which this model reads as a special token"):
        model.score([picture(0)], ["a cat <image>"])
    with pytest.raises(BadData, match="text 0 holds half a character"):
        model.score([picture(0)], ["a \ud800"])
    regions = Regions("x", 4, 4, np.zeros((1, 4), np.float32), np.zeros((1, 6), np.float32))
    with pytest.raises(BadInput, match="image 1 is Regions, the model takes a PIL image"):
        model.score([picture(0), regions], ["a", "b"])


def test_images_of_any_mode(twin: Callable[[str], Path]):
    for kind in ("llava", "blip"):
        model = loaded(twin(kind))
        grey = picture(0).convert("L")
        close(model.score([grey], ["a cat"]), model.score([grey.convert("RGB")], ["a cat"]))


def test_the_fingerprint_knows_what_decides_a_score(twin: Callable[[str], Path]):
    model = load(twin("llava"))
    assert load(twin("llava")).fingerprint == model.fingerprint
    model.score([picture(0)], ["a cat"])
    assert load(twin("llava")).fingerprint == model.fingerprint, "scoring leaves no trace"
    others = [load(twin("llava"), scoring="likelihood"), load(twin("llava"), scoring="information")]
    others += [model.scrambled(seed=0), load(twin("llava-plain"))]
    assert len({model.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_scrambled_is_another_model_and_the_first_stays(twin: Callable[[str], Path]):
    for kind in ("blip", "qwen2-vl"):
        model = load(twin(kind))
        before = model.score([picture(0)], ["a cat"])
        other = model.scrambled(seed=1)
        assert (other.score([picture(0)], ["a cat"]) - before).abs() > 1e-3
        assert torch.equal(model.score([picture(0)], ["a cat"]), before)
        assert other.name == f"{model.name}-scrambled"


def test_scoring_leaves_dropout_as_it_was(twin: Callable[[str], Path]):
    model = loaded(twin("vit-gpt2"))
    wanted = model.score([picture(0)] * 2, TEXTS[:2])
    model.decoder.model.train()
    close(model.score([picture(0)] * 2, TEXTS[:2]), wanted)
    assert model.decoder.model.training


def test_which_architectures_are_generators():
    known = ["BlipForConditionalGeneration", "GitForCausalLM", "VisionEncoderDecoderModel"]
    known += ["LlavaForConditionalGeneration", "Qwen2VLForConditionalGeneration"]
    assert all(map(is_known, known))
    assert not any(map(is_known, ["CLIPModel", "BlipForImageTextRetrieval", "BertModel"]))


def broken(twin: Path, there: Path, **facts: Any) -> Path:
    shutil.copytree(twin, there)
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps({**config, **facts}))
    return there


def test_checkpoints_that_do_not_fit(twin: Callable[[str], Path], tmp_path: Path):
    with pytest.raises(CheckpointError, match="is a CLIPModel, wanted a generative model"):
        load(broken(twin("blip"), tmp_path / "clip", architectures=["CLIPModel"]))
    longer = {
        **json.loads((twin("llava") / "config.json").read_text())["text_config"],
        "num_hidden_layers": 3,
    }
    with pytest.raises(CheckpointMismatch, match="9 missing"):
        load(broken(twin("llava"), tmp_path / "long", text_config=longer))
    with pytest.raises(UnknownName, match="did you mean 'likelihood'"):
        load(twin("blip"), scoring="likelyhood")
    (tmp_path / "t5").mkdir()
    facts = {"model_type": "florence2", "architectures": ["Florence2ForConditionalGeneration"]}
    (tmp_path / "t5" / "config.json").write_text(json.dumps(facts))
    with pytest.raises(Unsupported, match="a decoder alone"):
        load(tmp_path / "t5")
    half = tmp_path / "half"
    shutil.copytree(twin("git"), half)
    (half / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="its weights cannot be loaded"):
        load(half)
