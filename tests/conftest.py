"""Tiny random twins of published models, saved once per run; no test reaches for a network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before huggingface_hub is imported
# Before torch is imported, by us or a process that a test starts: threads for models this small wait for each
# other, and tests that run side by side would each take every core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

CORPUS = [
    "a red dog to the left of a small cat",
    "two spotted cats in the kitchen, above a striped box",
    "The picture shows a café near the straße; it's large & green.",
    "a blue ball inside a bowl under the wooden table",
]
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}


@pytest.fixture(scope="session")
def tiny_clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random CLIP: 32x32 images, 24 tokens of context, its own tokenizer."""
    import transformers

    tokenizer = clip_tokenizer()
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    text |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    directory = tmp_path_factory.mktemp("models") / "tiny-random-clip"
    return save(directory, transformers.CLIPModel, config, tokenizer, clip_processor())


@pytest.fixture(scope="session")
def tiny_siglip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random SigLIP: 32x32 images, 16 tokens of context, a unigram tokenizer."""
    import transformers

    tokenizer = unigram_tokenizer(context_length=16)
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    processor = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    directory = tmp_path_factory.mktemp("models") / "tiny-random-siglip"
    return save(directory, transformers.SiglipModel, config, tokenizer, processor)


@pytest.fixture(scope="session")
def tiny_siglip2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random SigLIP 2 of variable resolution: up to 16 patches of 8x8."""
    import transformers

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = {piece: row for row, piece in enumerate([*specials, "▁", *spelled_words()[1]])}
    tokenizer = transformers.Siglip2Tokenizer(
        vocab=vocabulary, padding_side="right", model_input_names=["input_ids"], model_max_length=16
    )
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    vision = {**TOWER, "patch_size": 8, "num_patches": 16}
    config = transformers.Siglip2Config(text_config=text, vision_config=vision)
    processor = transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    directory = tmp_path_factory.mktemp("models") / "tiny-random-siglip2"
    return save(directory, transformers.Siglip2Model, config, tokenizer, processor)


@pytest.fixture(scope="session")
def tiny_pair_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random ViT + BERT as `VisionTextDualEncoderModel`."""
    import transformers

    tokenizer = wordpiece_tokenizer()
    text = transformers.BertConfig(**TOWER, vocab_size=len(tokenizer), max_position_embeddings=24)
    directory = tmp_path_factory.mktemp("models") / "tiny-random-pair"
    return save(directory, *pair_of(text), tokenizer, clip_processor())


@pytest.fixture(scope="session")
def tiny_roberta_pair_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random ViT + XLM-RoBERTa: 26 positions, of which two are never used."""
    import transformers

    tokenizer = sentencepiece_tokenizer()
    text = transformers.XLMRobertaConfig(**TOWER, vocab_size=len(tokenizer), max_position_embeddings=26)
    directory = tmp_path_factory.mktemp("models") / "tiny-random-roberta-pair"
    return save(directory, *pair_of(text), tokenizer, clip_processor())


@pytest.fixture(scope="session")
def tiny_align_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random ALIGN: BERT, two stages of EfficientNet with 8x8 features at the end."""
    import transformers

    tokenizer = wordpiece_tokenizer()
    vision = {"image_size": 32, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 24}
    vision |= {"kernel_sizes": [3, 3], "in_channels": [32, 16], "out_channels": [16, 24], "strides": [1, 2]}
    vision |= {"num_block_repeats": [1, 1], "expand_ratios": [1, 6]}
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    config = transformers.AlignConfig(text_config=text, vision_config=vision, projection_dim=24)
    processor = transformers.EfficientNetImageProcessorPil(size={"height": 32, "width": 32})
    directory = tmp_path_factory.mktemp("models") / "tiny-random-align"
    return save(directory, transformers.AlignModel, config, tokenizer, processor)


@pytest.fixture(scope="session")
def tiny_altclip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random AltCLIP: XLM-RoBERTa, read at its first token; 24 tokens of context."""
    import transformers

    tokenizer = sentencepiece_tokenizer()
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 26, "project_dim": 20}
    config = transformers.AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    directory = tmp_path_factory.mktemp("models") / "tiny-random-altclip"
    return save(directory, transformers.AltCLIPModel, config, tokenizer, clip_processor())


@pytest.fixture(scope="session")
def tiny_chinese_clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random Chinese CLIP: BERT, read at its first token."""
    import transformers

    tokenizer = wordpiece_tokenizer()
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    config = transformers.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    processor = transformers.ChineseCLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    directory = tmp_path_factory.mktemp("models") / "tiny-random-chinese-clip"
    return save(directory, transformers.ChineseCLIPModel, config, tokenizer, processor)


@pytest.fixture(scope="session")
def tiny_metaclip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny random MetaCLIP 2: CLIP's causal tower, XLM-RoBERTa's pieces, end token 2."""
    import transformers

    tokenizer = sentencepiece_tokenizer()
    text = {**TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    text |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = transformers.MetaClip2Config(text_config=text, vision_config=VISION, projection_dim=16)
    directory = tmp_path_factory.mktemp("models") / "tiny-random-metaclip"
    return save(directory, transformers.MetaClip2Model, config, tokenizer, clip_processor())


def pair_of(text: Any) -> tuple[Any, Any]:
    """Class and configuration of a ViT with this text tower."""
    import transformers

    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.ViTConfig(**VISION), text, projection_dim=16
    )
    return transformers.VisionTextDualEncoderModel, config


def clip_tokenizer() -> Any:
    """CLIP's kind of byte pairs, the same in every run (the trainer of `tokenizers` breaks ties by chance)."""
    from alignscope.models.dual.fresh import word_tokenizer

    words = sorted({word.strip(".,;'").lower() for caption in CORPUS for word in caption.split()})
    return word_tokenizer([word for word in words if word.isascii()], context_length=24)


def clip_processor() -> Any:
    """CLIP's preprocessing for 32x32."""
    import transformers

    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )


def unigram_tokenizer(*, context_length: int) -> Any:
    """Word pieces in the manner of SigLIP: lower case, an end token, no start token."""
    import tokenizers
    import transformers
    from tokenizers import normalizers, pre_tokenizers, processors, trainers

    core = tokenizers.Tokenizer(tokenizers.models.Unigram())
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", core.token_to_id("</s>"))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="</s>",
        pad_token="</s>",
        model_max_length=context_length,
        model_input_names=["input_ids"],
    )


def spelled_words() -> tuple[list[str], list[str]]:
    """Words of the corpus in lower case, and the letters they are written with."""
    words = sorted({word.strip(".,;'") for caption in CORPUS for word in caption.lower().split()})
    return [word for word in words if word.isascii()], sorted(set("".join(CORPUS).lower()) - {" "})


def wordpiece_tokenizer() -> Any:
    """Word pieces in the manner of BERT: whole words of the corpus, other words letter by letter."""
    import transformers

    words, letters = spelled_words()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = dict.fromkeys([*specials, *letters, *(f"##{letter}" for letter in letters), *words])
    return transformers.BertTokenizer(vocab={piece: row for row, piece in enumerate(pieces)})


def sentencepiece_tokenizer() -> Any:
    """Pieces in the manner of XLM-RoBERTa: start token 0, padding 1, end 2; letter case is kept."""
    import transformers

    words, letters = spelled_words()
    specials = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    spelled = [("▁", -4.0), *((letter, -5.0) for letter in letters)]
    vocabulary = [*specials, *spelled, *((f"▁{word}", -3.0) for word in words), ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=vocabulary)


def save(directory: Path, model_class: Any, config: Any, tokenizer: Any, processor: Any) -> Path:
    """Draw weights with a fixed seed, a little larger than usual so that attention is not flat, and save."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = model_class(config)
        for name, value in {"logit_scale": 2.3, "logit_bias": -1.5, "temperature": 0.1}.items():
            if hasattr(model, name):
                getattr(model, name).fill_(value)
        for name, parameter in model.named_parameters():
            if name.startswith("text_") and parameter.ndim > 1:
                parameter.normal_(std=0.3)
    for part in (model, tokenizer, processor):
        part.save_pretrained(directory)
    return directory
