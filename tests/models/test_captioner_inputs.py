"""What generators read and what they refuse: tokens, templates, checkpoints."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioner_twins import CAPTIONERS, KINDS, TEXTS, close, conversation, loaded, picture

from alignscope.errors import (
    BadData,
    BadInput,
    CheckpointError,
    CheckpointMismatch,
    LengthMismatch,
    UnknownName,
    Unsupported,
)
from alignscope.models.captioners.loading import is_known, load
from alignscope.models.captioners.question import QUESTION, around, yes_tokens
from alignscope.models.protocols import PairScorer
from alignscope.records import Regions


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
    pieces = {"[UNK]": 0, "▁Yes": 1, "Ġyes": 2, "yes": 3, "▁": 4, "##yes": 5, "Yesterday": 6}
    assert yes_tokens(type(tokenizer)(vocab=pieces)) == (1, 2, 3)
    with pytest.raises(Unsupported, match="no single token for 'Yes' or 'yes'"):
        yes_tokens(bare)


def test_a_model_with_no_place_for_an_image_among_the_words_is_refused(twin: Callable[[str], Path]):
    processor = copy.deepcopy(load(twin("llava-plain")).decoder.processor)
    del processor.image_token
    with pytest.raises(Unsupported, match=r"no chat template .*: add a chat_template.jinja"):
        around(processor, "{text}", "likelihood", with_image=True)


def test_a_processor_that_writes_after_a_text_is_refused(
    twin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    """PaliGemma's ends every prompt with a line break, so that no caption would come last."""
    model = load(twin("llava-next"), scoring="likelihood")
    given = type(model.decoder.processor).__call__

    def changed(self: Any, *, text: list[str], **options: Any) -> Any:
        return given(self, text=[text[0] + "\n"], **options)

    monkeypatch.setattr(type(model.decoder.processor), "__call__", changed)
    with pytest.raises(Unsupported, match="LlavaNextProcessor changes what it is given"):
        model.score([picture(0)], ["a cat"])


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


@pytest.mark.parametrize(
    ("kind", "end"), [("blip", "a"), ("git", "a"), ("vit-gpt2", "!"), ("llava-plain", "<turn>")]
)
def test_the_fingerprint_knows_what_ends_a_text(kind: str, end: str, twin: Callable[[str], Path]):
    """The end token is named in tokenizer_config.json, not among the tokens themselves."""
    model, other = loaded(twin(kind)), load(twin(kind))
    other.tokenizer.eos_token = end
    assert (model.score([picture(0)], ["a cat"]) - other.score([picture(0)], ["a cat"])).abs() > 1e-3
    assert model.fingerprint != other.fingerprint


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


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_images_of_a_size_the_tower_does_not_take(kind: str, twin: Callable[[str], Path], tmp_path: Path):
    there = broken(twin(kind), tmp_path / "other")
    file = there / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    changed = {n: dict.fromkeys(settings[n], 48) for n in ("size", "crop_size") if settings.get(n)}
    file.write_text(json.dumps({**settings, **changed}))
    with pytest.raises(CheckpointMismatch, match=r"gives 48 x 48 pixels .* wants 32 x 32"):
        load(there)


def test_a_library_that_a_processor_needs_is_named(
    twin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    from transformers.models.smolvlm import processing_smolvlm

    directory = twin("smolvlm")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(CheckpointError, match="pip install num2words"):
        load(directory)
