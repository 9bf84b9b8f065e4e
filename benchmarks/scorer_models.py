"""Scorers of every architecture at its published sizes, with random weights, in memory: what speeds are taken of.

Words are those of the corpus, one token each where they are usual, so that a caption has about as many
tokens as with the published vocabularies, none of which is here.
"""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer, PreTrainedTokenizerFast

from alignscope.models.captioners.captioner import KINDS, CaptionDecoder
from alignscope.models.captioners.chat import Chat
from alignscope.models.captioners.question import REQUEST, TEXT, around
from alignscope.models.captioners.scorer import GenerativeScorer
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.fresh import word_tokenizer
from alignscope.models.cross.loading import FAMILIES
from alignscope.models.cross.rosita import RositaConfig
from alignscope.models.cross.uniter import UniterConfig
from alignscope.models.cross.vilbert_layers import VilbertConfig
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.protocols import PairScorer

REGION_BATCH = 16
VOCABULARY = 12_000
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "projection_dim": 768}
TURNS = (
    "{{ bos_token }}{% for turn in messages %}{{ turn['role'].upper() }}: {% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""LLaVA's kind of conversation."""


@dataclass(frozen=True)
class Built:
    """A scorer, the pairs of a batch that one core does in seconds, and how it is smaller than published."""

    scorer: PairScorer
    pairs: int
    note: str = ""


def bert_tokenizer(corpus: Sequence[str], *, context_length: int = 512) -> transformers.BertTokenizer:
    """Word pieces: the corpus's usual words whole, the others spelled."""
    counts = Counter(word for text in corpus for word in re.findall(r"[a-z]+|[.,!?]", text.lower()))
    usual = [word for word, _ in counts.most_common(VOCABULARY)]
    return word_tokenizer(usual, context_length=context_length)


def cross(
    architecture: str,
    config: Callable[[], Any],
    processor: Callable[[], Any] | None,
    pairs: int,
    corpus: Sequence[str],
    *,
    note: str = "",
) -> Built:
    """A cross-encoder of that configuration."""
    family = FAMILIES[architecture]
    torch.manual_seed(0)
    model = pkgutil.resolve_name(family.model_class)(config()).eval()
    images = processor() if processor else None
    scorer = TransformersCrossEncoder(model, bert_tokenizer(corpus), images, family, name=architecture)
    return Built(scorer, pairs, note)


def blip(image_size: int) -> Any:
    """BLIP-base: a ViT-B/16 and a BERT-base that looks at it."""
    return transformers.BlipConfig(vision_config={"image_size": image_size}, image_text_hidden_size=256)


def blip2() -> Any:
    """ViT-g/14 with 8 of its 39 layers, and the whole Q-Former; no language model, which matching has not."""
    vision = {"hidden_size": 1408, "intermediate_size": 6144, "num_attention_heads": 16}
    return transformers.Blip2Config(
        vision_config={**vision, "num_hidden_layers": 8, "image_size": 224, "patch_size": 14},
        qformer_config={"vocab_size": 30523, "use_qformer_text_input": True},
        text_config={"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 0},
        num_query_tokens=32,
        image_text_hidden_size=256,
    )


def bridgetower() -> Any:
    """BridgeTower-base; padding has the number that the tokenizer here gives it."""
    text = {"pad_token_id": 0, "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
    return transformers.BridgeTowerConfig(
        text_config=text, vision_config={"hidden_size": 768, "num_hidden_layers": 12, "image_size": 288}
    )


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def clip(corpus: Sequence[str]) -> Built:
    """CLIP ViT-B/32, with byte pairs learnt from the corpus."""
    tokenizer = CLIPTokenizer(model_max_length=77).train_new_from_iterator(
        corpus, vocab_size=10_000, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    torch.manual_seed(0)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    model = CLIPModel(CLIPConfig(text_config=ids)).eval()  # the configuration's defaults
    return Built(TransformersDualEncoder(model, tokenizer, CLIPImageProcessorPil(), name="clip"), 16)


def captioner(
    architecture: str,
    config: Callable[[], Any],
    processor: Callable[[], Any],
    pairs: int,
    corpus: Sequence[str],
) -> Built:
    """A captioner that scores by likelihood."""
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(config()).eval()
    parts = model, bert_tokenizer(corpus), processor(), KINDS[architecture], "likelihood", TEXT
    return Built(GenerativeScorer(CaptionDecoder(*parts), name=architecture), pairs)


def llava(corpus: Sequence[str]) -> Built:
    """LLaVA with a ViT-L/14 at 336 pixels and a Llama of TinyLlama's width, two layers each."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "</s>", "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,
        special_tokens=specials,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>", padding_side="right"
    )
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=square(336))
    processor = transformers.LlavaProcessor(
        images,
        tokenizer,
        chat_template=TURNS,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            **LARGE, num_hidden_layers=2, image_size=336, patch_size=14
        ),
        text_config=transformers.LlamaConfig(
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=2,
            num_attention_heads=32,
            num_key_value_heads=4,
        ),
        image_token_index=core.token_to_id("<image>"),
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    around_text = (around(processor, REQUEST, "likelihood", with_image=shown) for shown in (True, False))
    decoder = Chat(model, processor, "likelihood", REQUEST, *around_text)
    return Built(GenerativeScorer(decoder, name="llava"), 4, "reduced: 2 layers of 24 and 2 of 22")


MODELS: Mapping[str, Callable[[Sequence[str]], Built]] = {
    "uniter": partial(cross, "UniterForPretraining", UniterConfig, None, REGION_BATCH),
    "rosita": partial(
        cross, "RositaForPretraining", partial(RositaConfig, num_answers=3129), None, REGION_BATCH
    ),
    "vilbert": partial(cross, "VilbertForPretraining", VilbertConfig, None, REGION_BATCH),
    "vilbert-tasks": partial(
        cross, "VilbertForTasks", partial(VilbertConfig, task_specific_tokens=True), None, REGION_BATCH
    ),
    "lxmert": partial(cross, "LxmertForPreTraining", transformers.LxmertConfig, None, REGION_BATCH),
    "visualbert": partial(
        cross,
        "VisualBertForPreTraining",
        partial(transformers.VisualBertConfig, visual_embedding_dim=2048),
        None,
        REGION_BATCH,
    ),
    "vilt": partial(
        cross, "ViltForImageAndTextRetrieval", transformers.ViltConfig, transformers.ViltImageProcessorPil, 4
    ),
    "blip-itm": partial(
        cross,
        "BlipForImageTextRetrieval",
        partial(blip, 384),
        partial(transformers.BlipImageProcessorPil, size=square(384)),
        2,
    ),
    "blip-2-itm": partial(
        cross,
        "Blip2ForImageTextRetrieval",
        blip2,
        partial(transformers.BlipImageProcessorPil, size=square(224)),
        4,
        note="reduced: 8 of 39 image layers",
    ),
    "bridgetower": partial(
        cross,
        "BridgeTowerForImageAndTextRetrieval",
        bridgetower,
        transformers.BridgeTowerImageProcessorPil,
        4,
    ),
    "flava": partial(
        cross,
        "FlavaForPreTraining",
        partial(transformers.FlavaConfig, init_codebook=False),
        transformers.FlavaImageProcessorPil,
        4,
    ),
    "clip": clip,
    "blip": partial(
        captioner,
        "BlipForConditionalGeneration",
        partial(blip, 384),
        partial(transformers.BlipImageProcessorPil, size=square(384)),
        4,
    ),
    "git": partial(
        captioner, "GitForCausalLM", transformers.GitConfig, transformers.CLIPImageProcessorPil, 4
    ),
    "llava": llava,
}
