"""Models written as open_clip's, against its forward in plain torch (openclip_oracle.py) and the published keys."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import load_file

import alignscope
from alignscope.errors import CheckpointMismatch, Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load
from alignscope.models.dual.openclip import configured_sizes
from alignscope.models.dual.openclip_export import as_openclip, save_openclip
from alignscope.models.zoo import open_model

spec = importlib.util.spec_from_file_location(
    "openclip_oracle", Path(__file__).with_name("openclip_oracle.py")
)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

BLOCK = {
    "ln_1.weight": "d", "ln_1.bias": "d", "attn.in_proj_weight": "3d d", "attn.in_proj_bias": "3d",
    "attn.out_proj.weight": "d d", "attn.out_proj.bias": "d", "ln_2.weight": "d", "ln_2.bias": "d",
    "mlp.c_fc.weight": "4d d", "mlp.c_fc.bias": "4d", "mlp.c_proj.weight": "d 4d", "mlp.c_proj.bias": "d",
}  # fmt: skip
PUBLISHED = {
    "positional_embedding": (77, 512), "text_projection": (512, 512), "logit_scale": (),
    "visual.class_embedding": (768,), "visual.positional_embedding": (50, 768), "visual.proj": (768, 512),
    "visual.conv1.weight": (768, 3, 32, 32), "visual.ln_pre.weight": (768,), "visual.ln_pre.bias": (768,),
    "visual.ln_post.weight": (768,), "visual.ln_post.bias": (768,),
    "token_embedding.weight": (49408, 512), "ln_final.weight": (512,), "ln_final.bias": (512,),
}  # fmt: skip
"""open_clip's ViT-B-32, reference/papers.md 4.7: these and twelve blocks a tower."""


def published() -> dict[str, tuple[int, ...]]:
    keys = dict(PUBLISHED)
    for prefix, wide in (("visual.transformer", 768), ("transformer", 512)):
        for layer in range(12):
            for name, shape in BLOCK.items():
                axes = [int(axis.removesuffix("d") or 1) * wide for axis in shape.split()]
                keys[f"{prefix}.resblocks.{layer}.{name}"] = tuple(axes)
    return keys


def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    shapes = [(32, 32, 3), (40, 71, 3), (90, 33, 3)]
    return [Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def test_the_keys_of_vit_b_32_are_the_published_ones():
    with torch.device("meta"):
        model = transformers.CLIPModel(transformers.CLIPConfig())
    state = {n: torch.zeros(t.shape) for n, t in model.state_dict().items()}
    sizes = configured_sizes(
        {"embed_dim": 512, "vision_cfg": {"patch_size": 32}, "text_cfg": {}}, source="ViT-B-32"
    )
    found = {key: tuple(tensor.shape) for key, tensor in as_openclip(state, sizes, source="b32").items()}
    assert len(found) == 302
    assert found == published()
    del state["visual_projection.weight"]
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(visual_projection.weight\)"):
        as_openclip(state, sizes, source="b32")


@pytest.mark.parametrize(("name", "function"), [("quick_gelu", oracle.quick_gelu), ("gelu", F.gelu)])
def test_an_independent_open_clip_gives_the_logits_of_the_model(tmp_path: Path, name: str, function: Any):
    """Towers of the oracle's sizes, heads that only the configuration tells."""
    torch.manual_seed(0)
    tower = {"hidden_size": oracle.WIDTH, "num_hidden_layers": oracle.LAYERS, "num_attention_heads": 4}
    tower |= {"intermediate_size": 3 * oracle.WIDTH, "hidden_act": name}
    small = alignscope.model("tiny-clip")
    words = small.tokenizer  # its end token is number 1, open_clip reads at the highest
    text = {"vocab_size": len(words), "max_position_embeddings": oracle.CONTEXT}
    text |= {f"{n}_token_id": getattr(words, f"{n}_token_id") for n in ("bos", "eos", "pad")}
    vision = {**tower, "image_size": oracle.SIDE, "patch_size": oracle.PATCH}
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config={**tower, **text}, vision_config=vision, projection_dim=oracle.EMBEDDING)
    ).eval()  # fmt: skip
    side = {"height": oracle.SIDE, "width": oracle.SIDE}
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": oracle.SIDE}, crop_size=side)
    encoder = TransformersDualEncoder(model, words, processor, name="drawn")
    save_openclip(encoder, tmp_path)
    oracle.VOCABULARY = len(words)
    plain = oracle.OpenClip(function, heads=4).eval()
    plain.load_state_dict(load_file(tmp_path / "open_clip_model.safetensors"))
    copy = open_model(tmp_path)
    ids = torch.zeros(2, oracle.CONTEXT, dtype=torch.long)
    for row, said in zip(ids, copy.tokenizer(["a red ball", "a box"])["input_ids"], strict=True):
        row[: len(said)] = torch.tensor(said)
    with torch.no_grad():
        theirs = plain(encoder.pixels(pictures()), ids)
    ours = encoder.score_grid(pictures(), ["a red ball", "a box"])
    assert (ours - theirs).abs().max().item() < 1e-5
    assert (theirs - theirs.mean()).abs().max().item() > 1e-3, "all the same: nothing was checked"
    assert json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]["quick_gelu"] == (
        name == "quick_gelu"
    )


def test_what_open_clip_cannot_say_is_refused(tiny_siglip_dir: Path, tmp_path: Path):
    with pytest.raises(Unsupported, match=r"is a SiglipModel.*--form transformers"):
        save_openclip(load(tiny_siglip_dir), tmp_path / "no")
    odd = alignscope.model("tiny-clip")
    odd.model.config.text_config.layer_norm_eps = 1e-6
    odd.model.config.vision_config.hidden_act = "gelu"
    odd.image_processor.size = {"shortest_edge": 72}
    with pytest.raises(Unsupported) as told:
        save_openclip(odd, tmp_path / "no")
    for part in ("text layer_norm_eps is 1e-06", "image hidden_act is 'gelu'", "cropped to 64 x 64"):
        assert part in str(told.value)
    assert not (tmp_path / "no").exists()
