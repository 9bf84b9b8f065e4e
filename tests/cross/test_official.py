"""The authors' single files: written, recognised, read back to the same scores, and refused when not whole."""

import copy
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizer

from alignscope.errors import BadInput, CheckpointError, CheckpointMismatch, Unsupported
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import FAMILIES, load
from alignscope.models.cross.official import LAYOUTS, Layout, load_official, save_official
from alignscope.models.zoo import open_model

TEXTS = ["a red dog near a small cat", "Cat", "the kitchen, with two unknowable cats!"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog", "near", "small", "cat", "##s"]
PIECES += ["the", "kitchen", ",", "with", "two", "!", "un", "##know", "##able", "Cat"]
BY_NAME = {layout.name: layout for layout in LAYOUTS}
SIZES: dict[str, dict[str, Any]] = {
    "lxmert": {"l_layers": 2, "r_layers": 1, "x_layers": 2, "num_qa_labels": 5, "num_object_labels": 4},
    "uniter": {"num_hidden_layers": 2},
    "rosita": {"num_hidden_layers": 2, "num_answers": 3},
    "oscar": {"num_hidden_layers": 2},
    "vilbert": {
        "num_hidden_layers": 3,
        "v_num_hidden_layers": 2,
        "v_biattention_id": [0, 1],
        "t_biattention_id": [1, 2],
        "v_hidden_size": 256,
        "v_intermediate_size": 12,
        "v_num_attention_heads": 2,
        "bi_hidden_size": 128,
        "bi_num_attention_heads": 1,
    },
}
NUMBERS = {
    "UNITER": (230, 112_938_887, {}),
    "ROSITA": (229, 121_384_773, {"num_answers": 3129}),
    "ViLBERT": (533, 250_044_029, {}),
    "ViLBERT 12-in-1": (559, 268_013_499, {}),
    "LXMERT": (473, 228_051_752, {}),
    "Oscar/VinVL": (209 + 2, 111_684_666 + 3 * 768 + 3, {}),
}
"""Keys and parameters of reference/papers.md, section 4."""


def class_of(layout: Layout) -> Any:
    return pkgutil.resolve_name(FAMILIES[layout.architecture].model_class)


def words(directory: Path, *, is_cased: bool, pieces: list[str] = PIECES) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(pieces))
    return directory


@pytest.fixture(params=BY_NAME)
def layout(request: pytest.FixtureRequest) -> Layout:
    return BY_NAME[request.param]


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Layout], TransformersCrossEncoder]:
    """A small model of a layout, of heads as wide as published ones, every weight drawn."""
    made: dict[str, TransformersCrossEncoder] = {}

    def find(layout: Layout) -> TransformersCrossEncoder:
        if layout.name not in made:
            model_class = class_of(layout)
            config = model_class.config_class(
                vocab_size=len(PIECES),
                hidden_size=128,
                num_attention_heads=2,
                intermediate_size=24,
                max_position_embeddings=20,
                visual_feat_dim=6,
                **SIZES[layout.rules],
            )
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0)
                model = model_class(config)
                for parameter in model.parameters():
                    parameter.normal_(std=0.2)
            directory = tmp_path_factory.mktemp("official") / layout.architecture
            model.save_pretrained(directory)
            vocabulary = {piece: row for row, piece in enumerate(PIECES)}
            BertTokenizer(vocab=vocabulary, do_lower_case=not layout.is_cased).save_pretrained(directory)
            made[layout.name] = load(directory)
        return made[layout.name]

    return find


@pytest.fixture
def file(layout: Layout, twin: Callable[..., Any], tmp_path: Path) -> Path:
    """The official file of a twin, beside its tokenizer."""
    words(tmp_path / "words", is_cased=layout.is_cased)
    save_official(twin(layout), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def opened(file: Path, **options: Any) -> Any:
    return load_official(file, **{"tokenizer": file.parent / "words", **options})


def regions(picture_of: Any) -> list[Any]:
    return [picture_of("region", number) for number in range(len(TEXTS))]


def keys_of(file: Path) -> set[str]:
    whole = torch.load(file, weights_only=True)
    return {
        f"{name}.{key}" if isinstance(part, dict) else name
        for name, part in whole.items()
        for key in (part if isinstance(part, dict) else [""])
    }


def change(file: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit a file's weights, flat, and write them back as they lay."""
    whole = torch.load(file, weights_only=True)
    is_nested = any(isinstance(part, dict) for part in whole.values())
    flat = (
        {f"{name}.{key}": tensor for name, part in whole.items() for key, tensor in part.items()}
        if is_nested
        else whole
    )
    edit(flat)
    if is_nested:
        whole = {}
        for key, tensor in flat.items():
            name, _, rest = key.partition(".")
            whole.setdefault(name, {})[rest] = tensor
    torch.save(whole if is_nested else flat, file)


def test_a_saved_file_reads_back_to_the_same_scores_and_keys(
    layout: Layout, file: Path, twin: Callable[..., Any], picture_of: Any, tmp_path: Path
) -> None:
    found, wanted = opened(file), twin(layout)
    assert found.layout == layout
    assert found.absent == found.unused == ()
    pictures = regions(picture_of)
    assert torch.allclose(
        found.scorer.score(pictures, TEXTS), wanted.score(pictures, TEXTS), rtol=0, atol=1e-6
    )
    assert found.scorer.fingerprint == wanted.fingerprint
    assert found.scorer.name == "weights"
    again = tmp_path / "again.pt"
    save_official(found.scorer, again)
    assert keys_of(again) == keys_of(file)
    assert open_model(file, tokenizer=tmp_path / "words").fingerprint == wanted.fingerprint


def test_names_of_old_and_of_parallel_files(layout: Layout, file: Path) -> None:
    wanted = opened(file).scorer.fingerprint
    whole = torch.load(file, weights_only=True)

    def old(state: dict[str, Any]) -> dict[str, Any]:
        norms = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        found = {}
        for key, tensor in state.items():
            for new, former in norms.items():
                key = key.replace(new, former) if key.endswith(new) else key
            found[key if layout.is_nested else f"module.{key}"] = tensor
        return found

    changed = {name: old(part) for name, part in whole.items()} if layout.is_nested else old(whole)
    if layout.is_nested:
        changed |= {"epoch": 7, "net_optim": {"state": {}, "param_groups": []}, "amp": {"loss_scaler0": {}}}
    torch.save(changed, file)
    assert opened(file).scorer.fingerprint == wanted


def test_a_head_of_another_task_may_lack_and_changes_no_score(
    layout: Layout, file: Path, twin: Callable[..., Any], picture_of: Any, tmp_path: Path
) -> None:
    heads = importlib.import_module(f"alignscope.models.cross.{layout.rules}").OPTIONAL
    change(file, lambda state: [state.pop(key) for key in [*state] if key.startswith(heads)])
    found = opened(file)
    assert all(key.startswith(heads) for key in found.absent)
    assert found.absent or layout.name in ("LXMERT", "UNITER (retrieval)", "Oscar/VinVL (retrieval)")
    pictures = regions(picture_of)
    scores = found.scorer.score(pictures, TEXTS), twin(layout).score(pictures, TEXTS)
    assert torch.allclose(*scores, rtol=0, atol=1e-6)
    for key in found.absent:
        assert not found.scorer.model.state_dict()[key].any()
    again = tmp_path / "again.pt"
    save_official(found.scorer, again)
    assert keys_of(again) == keys_of(file)


def test_half_a_checkpoint_is_refused(file: Path) -> None:
    change(file, lambda state: [state.pop(key) for key in sorted(state)[len(state) // 2 :]])
    with pytest.raises(CheckpointError, match=r"missing|got no tensor|wanted the authors' file"):
        opened(file)


def test_without_its_matching_head_it_is_refused(layout: Layout, file: Path) -> None:
    match = ("itm_output.", "rank_output.bias", "mm_itm_head.", "vil_logit.bias")
    match += ("cls.bi_seq_relationship.", "cls.seq_relationship.", "classifier.bias")
    lost = [key for key in keys_of(file) if key.startswith(match) and key != layout.also]
    change(file, lambda state: [state.pop(key) for key in lost])
    with pytest.raises(CheckpointMismatch, match=rf"models/cross/{layout.rules}.py: \d missing \(") as told:
        opened(file)
    assert "0 left over" in str(told.value)


def test_a_left_over_key_is_named(layout: Layout, file: Path) -> None:
    change(file, lambda state: state.update({"vqa_output.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointMismatch, match=r"0 missing; 1 left over \(vqa_output.weight\)"):
        opened(file)


def test_a_tensor_of_another_width_is_named(file: Path) -> None:
    key = next(k for k in sorted(keys_of(file)) if k.endswith(("intermediate.dense.bias", "ffn.dense0.bias")))
    change(file, lambda state: state.update({key: torch.zeros(25)}))
    with pytest.raises(CheckpointMismatch, match=r"1 of a wrong shape \(.*got \(25,\), wanted \(\d+,\)"):
        opened(file)


def test_the_tokenizer_must_be_named(layout: Layout, file: Path) -> None:
    for call in (lambda: load_official(file), lambda: open_model(file)):
        with pytest.raises(CheckpointError, match=rf"no tokenizer: give --tokenizer .*{layout.tokenizer}"):
            call()


def test_a_directory_without_a_tokenizer_is_told_in_whole_sentences(file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        CheckpointError, match=r"\(got neither tokenizer.json nor .*\): give --tokenizer a dir"
    ) as told:
        opened(file, tokenizer=tmp_path / "empty")
    assert ":)" not in str(told.value)


def test_a_tokenizer_of_the_wrong_case_is_refused(layout: Layout, file: Path, tmp_path: Path) -> None:
    vocabulary = {piece: row for row, piece in enumerate(PIECES)}
    BertTokenizer(vocab=vocabulary, do_lower_case=layout.is_cased).save_pretrained(tmp_path / "other")
    does = "lower-cases capitals.*keep them" if layout.is_cased else "keeps capitals.*lower-case them"
    with pytest.raises(CheckpointMismatch, match=f"{does}.*{layout.tokenizer}"):
        opened(file, tokenizer=tmp_path / "other")


@pytest.mark.parametrize("pieces", [[*PIECES, "more"], PIECES[:-8]])
def test_a_tokenizer_of_another_vocabulary_is_refused(
    layout: Layout, file: Path, pieces: list[str], tmp_path: Path
) -> None:
    words(tmp_path / "other", is_cased=layout.is_cased, pieces=pieces)
    with pytest.raises(CheckpointMismatch, match=rf"{len(PIECES)} tokens, its tokenizer has {len(pieces)}"):
        opened(file, tokenizer=tmp_path / "other")


def test_the_match_index_turns_the_sign(layout: Layout, file: Path, picture_of: Any) -> None:
    plain = opened(file).scorer
    index = plain.traits.match_index
    if index is None:
        with pytest.raises(BadInput, match="its head has one logit"):
            opened(file, match_index=0)
        return
    turned = opened(file, match_index=1 - index).scorer
    pictures = regions(picture_of)
    assert torch.allclose(turned.score(pictures, TEXTS), -plain.score(pictures, TEXTS), rtol=0, atol=1e-6)


def test_a_file_of_a_directory_sends_to_the_directory(
    layout: Layout, file: Path, twin: Callable[..., Any], tmp_path: Path
) -> None:
    twin(layout).model.save_pretrained(tmp_path / "whole")
    if layout.name == "LXMERT":  # whose keys transformers names otherwise
        with pytest.raises(CheckpointError, match="under the names of transformers: give its directory"):
            opened(tmp_path / "whole" / "model.safetensors")
        return
    with pytest.raises(CheckpointError, match=r"lies beside its config.json: give the directory"):
        opened(tmp_path / "whole" / "model.safetensors")


def test_a_width_that_tells_no_heads_is_refused(file: Path) -> None:
    def narrow(state: dict[str, Any]) -> None:
        for key, tensor in state.items():
            for axis, side in enumerate(tensor.shape):
                tensor = tensor.narrow(axis, 0, 96) if side in (128, 256) else tensor
            state[key] = tensor.contiguous()

    change(file, narrow)
    with pytest.raises(CheckpointError, match=r"_size of 96, wanted a multiple of \d+: a file alone"):
        opened(file)


@pytest.mark.parametrize("name", NUMBERS)
def test_published_sizes_are_told_by_the_shapes(name: str) -> None:
    """Keys and parameters of the published configuration, and that configuration from the shapes alone."""
    from alignscope.models import weights
    from alignscope.models.cross.official import facts

    layout, (keys, parameters, options) = BY_NAME[name], NUMBERS[name]
    config = class_of(layout).config_class(**options)
    with torch.device("meta"):
        model = class_of(layout)(config)
    assert len(model.state_dict()) == keys
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    back = {new: old for old, new in layout.rename.items()}
    theirs = {weights.renamed(key, back): tensor for key, tensor in model.state_dict().items()}
    rules = importlib.import_module(f"alignscope.models.cross.{layout.rules}")
    assert facts(rules.config_from(theirs)) == facts(config)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("bert.img_embedding.weight", "holds a captioner of Oscar or VinVL"),
        ("lxmert.pooler.dense.bias", "under the names of transformers: give its directory"),
        ("bert.embeddings.LayerNorm.bias", "a BERT that sees no image"),
    ],
)
def test_files_of_other_families_are_named(tmp_path: Path, key: str, what: str) -> None:
    torch.save({key: torch.zeros(1)}, tmp_path / "weights.bin")
    for call in (load_official, open_model):
        with pytest.raises(CheckpointError, match=f"{what}.*wanted"):
            call(tmp_path / "weights.bin", tokenizer=tmp_path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (trace,))

    torch.save({"uniter.pooler.dense.bias": torch.ones(1), "uniter.x": Evil()}, tmp_path / "uniter.pt")
    for call in (load_official, open_model):
        with pytest.raises(CheckpointError, match="none of its code was run"):
            call(tmp_path / "uniter.pt", tokenizer=tmp_path)
    assert not trace.exists()


def test_what_shapes_cannot_tell_is_not_written(twin: Callable[..., Any], tmp_path: Path) -> None:
    scorer = copy.deepcopy(twin(BY_NAME["LXMERT"]))
    scorer.model.config.num_attention_heads = 4
    with pytest.raises(Unsupported, match="num_attention_heads cannot be told"):
        save_official(scorer, tmp_path / "weights.pt")
    assert not (tmp_path / "weights.pt").exists()
