"""open_clip's checkpoints against its forward written once more in plain torch (openclip_oracle.py)."""

import gzip
import importlib.util
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from alignscope.errors import CheckpointError, CheckpointMismatch, UnknownName, Unsupported
from alignscope.models.dual.openclip import byte_pairs, load_openclip
from alignscope.models.zoo import open_model

spec = importlib.util.spec_from_file_location(
    "openclip_oracle", Path(__file__).with_name("openclip_oracle.py")
)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)
WIDTH, LAYERS, EMBEDDING = oracle.WIDTH, oracle.LAYERS, oracle.EMBEDDING
CONTEXT, PATCH, SIDE = oracle.CONTEXT, oracle.PATCH, oracle.SIDE
MERGES, VOCABULARY, twin, quick_gelu = oracle.MERGES, oracle.VOCABULARY, oracle.twin, oracle.quick_gelu
LETTERS = [
    *range(33, 127),
    *range(161, 173),
    *range(174, 256),
    *range(256, 256 + 68),
]  # OpenAI's order of bytes
TEXTS = ["a red cat", "the dog, the cat: a dog's red café!", "dog " * 30, ""]
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but a small list of merges in OpenAI's format, one merge too many in it."""
    directory = tmp_path_factory.mktemp("words")
    lines = ["#version: 0.2", *MERGES, "x y"]
    (directory / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return directory


@pytest.fixture
def state() -> State:
    return {key: tensor.detach().clone() for key, tensor in twin().state_dict().items()}


@pytest.fixture
def saved(tmp_path: Path, words: Path) -> Callable[[Any], Any]:
    """Saves a thing as a lone file and loads it."""

    def save_and_load(thing: Any, **options: Any) -> Any:
        torch.save(thing, tmp_path / "weights.pt")
        return load_openclip(tmp_path / "weights.pt", **{"tokenizer": words, **options})

    return save_and_load


@pytest.fixture
def hub_directory(tmp_path: Path, words: Path, state: State) -> Path:
    """open_clip's hub layout: configuration, weights, tokenizer; 4 heads, where the shapes would say 2."""
    directory = Path(shutil.copytree(words, tmp_path / "hub"))
    save_file(state, directory / "open_clip_model.safetensors")
    vision = {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH}
    vision |= {"head_width": 32, "mlp_ratio": 3.0}
    text = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": WIDTH, "layers": LAYERS}
    text |= {"heads": 4, "mlp_ratio": 3.0}
    model = {"embed_dim": EMBEDDING, "vision_cfg": vision, "text_cfg": text}
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "resize_mode": "shortest"}
    write_config(directory, {"model_cfg": model, "preprocess_cfg": preprocess})
    return directory


def write_config(directory: Path, settings: Any) -> None:
    (directory / "open_clip_config.json").write_text(json.dumps(settings))


def change_config(directory: Path, part: str, **values: Any) -> None:
    settings = json.loads((directory / "open_clip_config.json").read_text())
    model = settings["model_cfg"]
    {"model_cfg": model, "preprocess_cfg": settings["preprocess_cfg"], **model}[part].update(values)
    write_config(directory, settings)


def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    shapes = [(32, 32, 3), (40, 71, 3), (90, 33, 3)]
    return [Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def padded_with_zeros(encoder: Any, texts: list[str]) -> Tensor:
    """Ids as open_clip pads and cuts them: zeros to the context, the end token last."""
    rows = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for row, ids in zip(rows, encoder.tokenizer(texts)["input_ids"], strict=True):
        kept = ids if len(ids) <= CONTEXT else [*ids[: CONTEXT - 1], ids[-1]]
        row[: len(kept)] = torch.tensor(kept)
    return rows


def largest_difference(encoder: Any, wanted_of: Any) -> float:
    with torch.no_grad():
        wanted = wanted_of(encoder.pixels(pictures()), padded_with_zeros(encoder, TEXTS))
    return (encoder.score_grid(pictures(), TEXTS) - wanted).abs().max().item()


@pytest.mark.parametrize(("name", "function"), [("quick_gelu", quick_gelu), ("gelu", F.gelu)])
def test_a_file_alone_gives_open_clips_logits(saved: Any, state: State, name: str, function: Any) -> None:
    encoder = saved(state, activation=name)
    assert encoder.traits.activation == name
    assert largest_difference(encoder, twin(function)) < 1e-5
    assert largest_difference(encoder, twin(F.gelu if name == "quick_gelu" else quick_gelu)) > 1e-3


@pytest.mark.parametrize(("is_quick", "function"), [(True, quick_gelu), (False, F.gelu), (None, F.gelu)])
def test_the_configuration_decides_activation_and_heads(
    hub_directory: Path, is_quick: bool | None, function: Any
) -> None:
    if is_quick is not None:
        change_config(hub_directory, "model_cfg", quick_gelu=is_quick)
    encoder = open_model(hub_directory)
    assert encoder.name == "hub"
    assert encoder.traits.activation == ("quick_gelu" if is_quick else "gelu")
    assert largest_difference(encoder, twin(function, heads=4)) < 1e-5
    assert largest_difference(encoder, twin(function, heads=2)) > 1e-3


def test_activation_asked_for_goes_before_the_configuration(hub_directory: Path) -> None:
    encoder = open_model(hub_directory, activation="quick_gelu")
    assert encoder.traits.activation == "quick_gelu"
    assert largest_difference(encoder, twin(quick_gelu, heads=4)) < 1e-5
    assert encoder.fingerprint != open_model(hub_directory).fingerprint
    with pytest.raises(UnknownName, match="did you mean 'quick_gelu'"):
        open_model(hub_directory, activation="quickgelu")


def test_the_weights_of_a_hub_directory_are_read_with_its_configuration(hub_directory: Path) -> None:
    by_file = open_model(hub_directory / "open_clip_model.safetensors")
    assert by_file.fingerprint == open_model(hub_directory).fingerprint


def test_a_training_checkpoint_is_unwrapped(saved: Any, state: State) -> None:
    wrapped = {f"module.{key}": tensor for key, tensor in state.items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    plain = saved(state)
    encoder = saved({"epoch": 5, "name": "run", "state_dict": wrapped, "optimizer": optimizer})
    assert encoder.name == "weights"
    assert encoder.traits.activation == "quick_gelu"
    assert encoder.fingerprint == plain.fingerprint


def test_numbers_in_openais_weights_and_half_precision_are_taken(saved: Any, state: State) -> None:
    half = {key: tensor.half() for key, tensor in state.items()}
    stated = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    encoder = saved({**half, **stated})
    rounded = twin()
    rounded.load_state_dict({key: tensor.float() for key, tensor in half.items()})
    assert encoder.model.dtype == torch.float32
    assert largest_difference(encoder, rounded) < 1e-5


def test_bin_and_safetensors_are_the_same(tmp_path: Path, words: Path, state: State) -> None:
    torch.save(state, tmp_path / "a.bin")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    found = {open_model(path, tokenizer=words).fingerprint for path in tmp_path.iterdir()}
    assert len(found) == 1


def test_the_inside_is_reached_as_in_every_clip(saved: Any, state: State) -> None:
    encoder = saved(state)
    tokens = encoder.tokens(TEXTS)
    with encoder.text_attention() as words, encoder.image_attention() as patches:
        embeddings = encoder.embed_tokens(tokens)
        encoder.embed_pixels(encoder.pixels(pictures()))
    assert [tuple(map_.shape) for map_ in patches] == [(3, 2, 17, 17)] * LAYERS
    first, last = torch.autograd.grad(embeddings.sum(), words, create_graph=True)
    (first.square().sum() + last.square().sum()).backward()
    assert encoder.model.text_model.embeddings.token_embedding.weight.grad.abs().sum() > 0


def test_dtype_is_what_it_computes_in(saved: Any, state: State) -> None:
    encoder = saved(state, dtype="bfloat16")
    assert encoder.model.text_projection.weight.dtype == torch.bfloat16
    assert encoder.traits.scale == torch.tensor(2.0).exp().item()


def test_ids_are_open_clips_by_hand(words: Path) -> None:
    tokenizer = byte_pairs(words / "bpe_simple_vocab_16e6.txt.gz", vocabulary=VOCABULARY)
    end = VOCABULARY - 1
    first = {letter: row for row, letter in enumerate(map(chr, LETTERS))}
    cat, dog, red = 512 + 1, 512 + 3, 512 + 5
    assert tokenizer("A  red CAT\n")["input_ids"] == [end - 1, 256 + first["a"], red, cat, end]
    assert tokenizer("dogs")["input_ids"] == [end - 1, 512 + 2, first["g"], 256 + first["s"], end]
    e_acute = [first["Ã"], 256 + first["©"]]  # its two bytes in UTF-8, as printable letters
    assert tokenizer("é dog")["input_ids"] == [end - 1, *e_acute, dog, end]
    assert tokenizer("!")["input_ids"] == [end - 1, 256, end]


def test_offsets_and_truncation(saved: Any, state: State) -> None:
    tokens = saved(state).tokens(["red café", "dog " * 30])
    assert tokens.offsets[0][:6] == ((0, 0), (0, 3), (4, 6), (6, 7), (7, 8), (7, 8))
    assert tokens.truncated(CONTEXT) == (False, True)
    assert tokens.ids[1, -1] == VOCABULARY - 1
    assert tokens.readout.tolist() == [tokens.mask[0].sum().item() - 1, CONTEXT - 1]


def test_open_clips_list_of_merges_is_found_but_open_clip_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    package = tmp_path / "site" / "open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('torchvision')")
    pairs = [f"{chr(left)} {chr(right)}</w>" for left in LETTERS for right in LETTERS]
    (package / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress("\n".join(["#", *pairs]).encode()))
    monkeypatch.syspath_prepend(package.parent)
    state["token_embedding.weight"] = torch.zeros(49408, WIDTH)
    torch.save(state, tmp_path / "weights.pt")
    encoder = load_openclip(tmp_path / "weights.pt")
    assert "open_clip" not in sys.modules
    assert encoder.tokens(["!! !"]).ids.tolist() == [[49406, 512, 256, 49407]]
    shutil.rmtree(package)
    with pytest.raises(CheckpointError, match=r"no tokenizer in .*put tokenizer.json"):
        load_openclip(tmp_path / "weights.pt")


def test_a_saved_tokenizer_beside_the_weights_goes_first(tmp_path: Path, words: Path, state: State) -> None:
    by_merges = byte_pairs(words / "bpe_simple_vocab_16e6.txt.gz", vocabulary=VOCABULARY)
    by_merges.save_pretrained(tmp_path / "whole")
    tables = tmp_path / "tables"
    tables.mkdir()
    order = sorted(by_merges.get_vocab().items(), key=lambda item: item[1])
    (tables / "vocab.json").write_text(json.dumps(dict(order)))
    (tables / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]))
    for directory in (tmp_path / "whole", tables):
        torch.save(state, directory / "weights.pt")
        encoder = open_model(directory / "weights.pt")
        assert encoder.traits.context_length == CONTEXT
        assert (
            encoder.tokens(TEXTS).ids.tolist()
            == open_model(directory / "weights.pt", tokenizer=words).tokens(TEXTS).ids.tolist()
        )


def test_a_tokenizer_that_ends_elsewhere_is_refused(tiny_clip_dir: Path, saved: Any, state: State) -> None:
    with pytest.raises(
        CheckpointMismatch, match=r"ends texts with 1 of \d+ ids; open_clip reads at the high"
    ):
        saved(state, tokenizer=tiny_clip_dir)
    with pytest.raises(CheckpointError, match="no tokenizer in"):
        saved(state, tokenizer=tiny_clip_dir.parent)
    state["token_embedding.weight"] = torch.zeros(VOCABULARY + 5, WIDTH)
    with pytest.raises(CheckpointMismatch, match=f"makes {VOCABULARY + 1} tokens"):
        saved(state)


def test_the_tokenizer_of_another_family_is_refused(tiny_align_dir: Path, saved: Any, state: State) -> None:
    with pytest.raises(CheckpointMismatch, match=r"not CLIP's: among its 9\d tokens is no <\|endoftext\|>"):
        saved(state, tokenizer=tiny_align_dir)


def test_images_are_resized_as_configured(hub_directory: Path) -> None:
    image = pictures()[1]  # 71 wide, 40 high

    def by_hand(resized: Image.Image) -> Tensor:
        array = torch.from_numpy(np.asarray(resized).copy()).float() / 255
        return ((array - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.3, 0.4])).permute(2, 0, 1)

    shortest = image.resize((56, 32), Image.Resampling.BICUBIC).crop((12, 0, 44, 32))
    assert torch.allclose(open_model(hub_directory).pixels([image])[0], by_hand(shortest), atol=1e-5)
    change_config(hub_directory, "preprocess_cfg", resize_mode="squash", interpolation="bilinear")
    squashed = image.resize((32, 32), Image.Resampling.BILINEAR)
    assert torch.allclose(open_model(hub_directory).pixels([image])[0], by_hand(squashed), atol=1e-5)
    change_config(hub_directory, "preprocess_cfg", resize_mode="longest")
    with pytest.raises(Unsupported, match="resize_mode 'longest'"):
        open_model(hub_directory)


def test_keys_are_all_accounted_for(saved: Any, state: State) -> None:
    block = "visual.transformer.resblocks.1.attn.in_proj_bias"
    whole, extra = state.pop(block), torch.zeros(1)
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(visual.*1\.attn\.in_proj_bias\); 0 left over"):
        saved(state)
    with pytest.raises(CheckpointMismatch, match=r"0 missing; 1 left over \(logit_bias\)"):
        saved({**state, block: whole, "logit_bias": extra})
    with pytest.raises(CheckpointMismatch, match=r"in_proj_bias: got \(383,\), wanted \(384,\)"):
        saved({**state, block: whole[1:]})
    with pytest.raises(CheckpointMismatch, match=r"6 missing .*2 left over \(encoder\.b, encoder\.w\)"):
        saved({"encoder.w": extra, "encoder.b": extra, "text_projection": state["text_projection"]})


def test_sizes_that_contradict_the_configuration_are_listed(hub_directory: Path) -> None:
    change_config(hub_directory, "text_cfg", context_length=CONTEXT + 1, layers=LAYERS - 1)
    with pytest.raises(
        CheckpointMismatch,
        match=r"does not fit open_clip_config.json: 0 missing; 12 left over .*positional_embedding: got \(12,",
    ):
        open_model(hub_directory)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("visual.attnpool.k_proj.weight", "a ResNet image tower"),
        ("visual.trunk.cls_token", "an image tower of timm"),
        ("text.transformer.embeddings.word_embeddings.weight", "a text tower of its own"),
        ("text_model.embeddings.position_ids", "keys of a transformers model: give its directory"),
    ],
)
def test_other_architectures_are_named(saved: Any, state: State, key: str, what: str) -> None:
    with pytest.raises(Unsupported, match=what):
        saved({**state, key: torch.zeros(1)})


@pytest.mark.parametrize(
    ("part", "values", "what"),
    [
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "towers of stages"),
        ("vision_cfg", {"timm_model_name": "vit_base"}, "vision_cfg.timm_model_name = 'vit_base'"),
        ("vision_cfg", {"pool_type": "avg"}, "vision_cfg.pool_type = 'avg'"),
        ("text_cfg", {"hf_model_name": "roberta-base"}, "text_cfg.hf_model_name"),
        ("text_cfg", {"no_causal_mask": True}, "text_cfg.no_causal_mask = True"),
        ("model_cfg", {"custom_text": True}, "model_cfg.custom_text = True"),
    ],
)
def test_configurations_of_other_models_are_refused(
    hub_directory: Path, part: str, values: dict[str, Any], what: str
) -> None:
    change_config(hub_directory, part, **values)
    with pytest.raises(Unsupported, match=what):
        open_model(hub_directory)


def test_sizes_a_file_alone_does_not_tell(saved: Any, state: State) -> None:
    state["visual.positional_embedding"] = torch.zeros(17, 1280)
    with pytest.raises(CheckpointError, match=r"1280 wide.*how many heads.*open_clip_config.json"):
        saved(state)
    state["visual.positional_embedding"] = torch.zeros(16, WIDTH)
    with pytest.raises(CheckpointMismatch, match="has 16 rows"):
        saved(state)


def test_a_torchscript_archive_is_refused_with_what_to_do(tmp_path: Path, words: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ViT-B-32.pt", "w") as archive:
        for name in ("constants.pkl", "code/__torch__.py", "data.pkl"):
            archive.writestr(f"ViT-B-32/{name}", b"")
    with pytest.raises(Unsupported, match=r"TorchScript archive.*torch\.jit\.load.*give weights\.pt"):
        open_model(tmp_path / "ViT-B-32.pt", tokenizer=words)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_broken_files_are_errors_of_the_checkpoint(
    tmp_path: Path, words: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"weights.{suffix}").write_bytes(content)
    with pytest.raises(CheckpointError, match="its weights cannot be read"):
        open_model(tmp_path / f"weights.{suffix}", tokenizer=words)


@pytest.mark.parametrize(
    ("thing", "what"),
    [
        ([1, 2], "holds a list, wanted named tensors"),
        ({"state_dict": {}}, "wanted named tensors"),
        ({"epoch": 3, "net": {}}, "what is no tensor .*epoch: int"),
    ],
)
def test_files_of_other_things_are_named(saved: Any, thing: Any, what: str) -> None:
    with pytest.raises(CheckpointError, match=what):
        saved(thing)


def test_directories_that_lack_something(hub_directory: Path) -> None:
    (hub_directory / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither open_clip_model\.safetensors nor open_clip_pytorch"):
        open_model(hub_directory)
    for text in ("{", "[]", '{"model_cfg": {}}'):
        (hub_directory / "open_clip_config.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"cannot be read|no model_cfg with embed_dim"):
            open_model(hub_directory)
    (hub_directory / "open_clip_config.json").rename(hub_directory / "open_clip_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"open_clip_config.json cannot be read .*hub layout"):
        open_model(hub_directory)
