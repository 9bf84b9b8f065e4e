"""Tiny random generators, saved like real ones: captioners, and vision-language models with their processors."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from PIL import Image
from tokenizers import decoders, pre_tokenizers

from alignscope.models.captioners.loading import load
from alignscope.models.captioners.scorer import GenerativeScorer

TEXTS = ["a red dog near the small cat", "cat", "two cats, unknow!", "", "a red dog", "the kitchen"]
SIZES = [(48, 32), (20, 40), (64, 30)]

WORDS = "a red dog near the small cat two cats in kitchen show does this image Describe figure Please answer"
WORDS += " yes Yes no one sentence User Assistant user assistant"
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *WORDS.split(),
    "##s",
    "un",
    "##know",
    "!",
    ",",
    "[DEC]",
]
WIDTH = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
VISION = {**WIDTH, "image_size": 32, "patch_size": 8}
LLAMA = {**WIDTH, "num_key_value_heads": 1, "max_position_embeddings": 160}
CAPTIONERS = ("blip", "git", "vit-gpt2")
CHATS = ("llava", "idefics3", "smolvlm", "qwen2-vl", "qwen2.5-vl")
KINDS = (*CAPTIONERS, *CHATS, "llava-next", "llava-plain", "blip-2")
TURNS = (
    "{% for turn in messages %}<turn>{{ turn['role'] }}\n{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
IMAGE = dict.fromkeys(("qwen2-vl", "qwen2.5-vl"), "<|vision_start|><|image_pad|><|vision_end|>")


def save_twin(directory: Path, kind: str) -> Path:
    """Weights drawn with a fixed seed, large enough that attention is not flat."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model, parts = captioner(kind) if kind in CAPTIONERS else chat(kind)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    model.save_pretrained(directory)
    for part in parts:
        part.save_pretrained(directory)
    return directory


def captioner(kind: str) -> tuple[Any, list[Any]]:
    """A captioner with its tokenizer and image processor."""
    size = {"height": 32, "width": 32}
    if kind == "vit-gpt2":
        tokenizer = byte_tokenizer(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
        text = transformers.GPT2Config(
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=48,
            vocab_size=len(tokenizer),
            add_cross_attention=True,
        )
        text.bos_token_id = text.eos_token_id = tokenizer.eos_token_id
        config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            transformers.ViTConfig(**VISION), text
        )
        config.decoder_start_token_id = config.pad_token_id = tokenizer.eos_token_id
        model = transformers.VisionEncoderDecoderModel(config)
        return model, [tokenizer, transformers.ViTImageProcessorPil(size=size)]
    tokenizer = transformers.BertTokenizer(vocab={piece: row for row, piece in enumerate(PIECES)})
    text = {**WIDTH, "vocab_size": len(PIECES), "max_position_embeddings": 48, "pad_token_id": 0}
    if kind == "git":
        config = transformers.GitConfig(**text, vision_config=VISION, bos_token_id=2, eos_token_id=3)
        processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
        return transformers.GitForCausalLM(config), [tokenizer, processor]
    text |= {"encoder_hidden_size": 16, "bos_token_id": PIECES.index("[DEC]"), "sep_token_id": 3}
    config = transformers.BlipConfig(text_config=text, vision_config=VISION, projection_dim=8)
    config.text_config.eos_token_id = 3
    model = transformers.BlipForConditionalGeneration(config)
    return model, [tokenizer, transformers.BlipImageProcessorPil(size=size)]


def chat(kind: str) -> tuple[Any, list[Any]]:
    """A vision-language model with its processor."""
    specials = ["<s>", "</s>", "<turn>", "<end>", "<image>"]
    specials += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    specials += ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    specials += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = byte_tokenizer(
        specials, eos_token="</s>", bos_token=None if kind.startswith("qwen") else "<s>"
    )
    template = (
        None if kind in ("llava-plain", "blip-2") else TURNS.replace("IMAGE", IMAGE.get(kind, "<image>"))
    )
    text = {**LLAMA, "vocab_size": len(tokenizer)}
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in specials}
    if kind.startswith("qwen"):
        return qwen(kind, tokenizer, template, text, ids)
    if kind == "blip-2":
        return blip_2(tokenizer, ids)
    if kind in ("idefics3", "smolvlm"):
        prefix = "Idefics3" if kind == "idefics3" else "SmolVLM"
        config = getattr(transformers, f"{prefix}Config")(
            text_config={**text, "model_type": "llama", "pad_token_id": 0},
            vision_config={**VISION},
            scale_factor=2,
            image_token_id=ids["<image>"],
            pad_token_id=0,
        )
        images = getattr(transformers, f"{prefix}ImageProcessorPil")(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
        )
        model = getattr(transformers, f"{prefix}ForConditionalGeneration")(config)
        if kind == "smolvlm":
            return model, [tokenizer, images, ProcessorFiles(template, image_seq_len=4)]
        processor = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template)
        return model, [processor]
    parts = {
        "vision_config": transformers.CLIPVisionConfig(**VISION),
        "text_config": transformers.LlamaConfig(**text),
        "image_token_index": ids["<image>"],
        "vision_feature_layer": -1,
    }
    of_processor = {
        "patch_size": 8,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    if kind == "llava-next":
        config = transformers.LlavaNextConfig(**parts, image_grid_pinpoints=[[32, 64], [64, 32]])
        images = transformers.LlavaNextImageProcessorPil(
            size={"shortest_edge": 32},
            crop_size={"height": 32, "width": 32},
            image_grid_pinpoints=[[32, 64], [64, 32]],
        )
        processor = transformers.LlavaNextProcessor(images, tokenizer, chat_template=template, **of_processor)
        return transformers.LlavaNextForConditionalGeneration(config), [processor]
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor = transformers.LlavaProcessor(images, tokenizer, chat_template=template, **of_processor)
    return transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(**parts)), [processor]


def qwen(
    kind: str, tokenizer: Any, template: str | None, text: Any, ids: dict[str, int]
) -> tuple[Any, list[Any]]:
    """A Qwen2-VL or Qwen2.5-VL, whose rotary positions count rows and columns of an image."""
    prefix = "Qwen2VL" if kind == "qwen2-vl" else "Qwen2_5_VL"
    vision = {"depth": 2, "num_heads": 2}
    if kind == "qwen2-vl":
        vision |= {"embed_dim": 16, "hidden_size": 16, "mlp_ratio": 2}
    else:
        vision |= {
            "hidden_size": 16,
            "out_hidden_size": 16,
            "intermediate_size": 24,
            "fullatt_block_indexes": [1],
        }
    config = getattr(transformers, f"{prefix}Config")(
        text_config={**text, "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    images = transformers.Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=28 * 28 * 12)
    model = getattr(transformers, f"{prefix}ForConditionalGeneration")(config)
    return model, [tokenizer, images, ProcessorFiles(template)]


def blip_2(tokenizer: Any, ids: dict[str, int]) -> tuple[Any, list[Any]]:
    """A BLIP-2 with OPT, whose processor puts the image before all words by itself."""
    text = transformers.OPTConfig(
        hidden_size=16,
        ffn_dim=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        word_embed_proj_dim=16,
        vocab_size=len(tokenizer),
        max_position_embeddings=160,
        pad_token_id=0,
    )
    config = transformers.Blip2Config(
        vision_config=VISION,
        qformer_config={**WIDTH, "encoder_hidden_size": 16, "vocab_size": 8},
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=ids["<image>"],
    )
    images = transformers.BlipImageProcessorPil(size={"height": 32, "width": 32})
    processor = transformers.Blip2Processor(images, tokenizer, num_query_tokens=4)
    return transformers.Blip2ForConditionalGeneration(config), [processor]


class ProcessorFiles:
    """The files of a processor that cannot be made here: its part for videos needs torchvision."""

    def __init__(self, template: str | None, **facts: Any) -> None:
        self.template, self.facts = template, facts

    def save_pretrained(self, directory: Path) -> None:
        (directory / "chat_template.jinja").write_text(self.template or "")
        if self.facts:
            (directory / "processor_config.json").write_text(json.dumps(self.facts))


def byte_tokenizer(specials: list[str], **named: Any) -> Any:
    """Byte pairs that know the words whole, with and without a space before them, and every other byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = {letter: row for row, letter in enumerate(alphabet)}, []
    for word in [*(f"Ġ{word}" for word in WORDS.split()), *WORDS.split()]:
        for length in range(2, len(word) + 1):
            if word[:length] not in vocabulary:
                vocabulary[word[:length]] = len(vocabulary)
                merges.append((word[: length - 1], word[length - 1]))
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(specials)
    if named.get("bos_token") == "<s>":
        start = core.token_to_id("<s>")
        core.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", start)]
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token=specials[0], **named)


@functools.cache
def loaded(directory: Path, **options: Any) -> GenerativeScorer:
    """A scorer that several tests use and none changes."""
    return load(directory, **options)


def picture(number: int) -> Image.Image:
    width, height = SIZES[number % len(SIZES)]
    noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def conversation(model: GenerativeScorer, words: str, *, shown: bool = True) -> str:
    """A user's turn and the start of the answer, by the model's own chat template."""
    image = [{"type": "image"}] if shown else []
    turns = [{"role": "user", "content": [*image, {"type": "text", "text": words}]}]
    return model.decoder.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def close(got: torch.Tensor, want: torch.Tensor, atol: float = 1e-5) -> None:
    assert got.shape == want.shape
    assert len(got) > 0
    torch.testing.assert_close(got, want, rtol=0, atol=atol)
