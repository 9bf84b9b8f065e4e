"""ViLBERT's published tables and order of layers, and sizes told by the shapes of a file."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from alignscope.errors import BadInput, CheckpointMismatch
from alignscope.models.cross.vilbert import (
    OPTIONAL,
    VilbertForPretraining,
    VilbertForTasks,
    config_from,
    sites,
)
from alignscope.models.cross.vilbert_layers import Real, Streams, VilbertConfig, route

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "reference" / "papers.md"


def on_meta(model_class: type, config: VilbertConfig | None = None) -> Any:
    with torch.device("meta"):
        return model_class(config or VilbertConfig())


def shapes(model: Any) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in model.state_dict().items()}


def rows_of_the_sheet(heading: str) -> dict[str, list[int]]:
    """Keys and shapes of one table, its N counted out."""
    found: dict[str, list[int]] = {}
    for line in PUBLISHED.read_text().split(heading)[1].split("\n## ")[0].splitlines():
        if line.startswith("| `"):
            key, shape, times = (part.strip(" `") for part in line.strip("|").split("|"))
            size = [int(side) for side in shape.strip("[]").split(",")]
            found |= {key.replace(".N.", f".{layer}."): size for layer in range(int(times))}
    return found


@pytest.mark.parametrize(
    ("model_class", "keys", "parameters", "tables"),
    [
        (VilbertForPretraining, 533, 250_044_029, ["## 4.3"]),
        (VilbertForTasks, 559, 268_013_499, ["## 4.3", "## 4.4"]),
    ],
)
def test_published_sizes(model_class: type, keys: int, parameters: int, tables: list[str]) -> None:
    """Counts, keys and shapes of sheet section 4; what is tied counts once."""
    model = on_meta(model_class)
    assert len(model.state_dict()) == keys
    assert sum(each.numel() for each in model.parameters()) == parameters
    if not PUBLISHED.is_file():
        pytest.skip("the sheet with the tables of keys is not here")
    wanted = {key: size for heading in tables for key, size in rows_of_the_sheet(heading).items()}
    assert shapes(model) == wanted


def test_task_tokens_are_one_more_table() -> None:
    plain, with_task = (
        on_meta(VilbertForTasks),
        on_meta(VilbertForTasks, VilbertConfig(task_specific_tokens=True)),
    )
    more = set(shapes(with_task)) - set(shapes(plain))
    assert more == {"bert.embeddings.task_embeddings.weight"}
    assert shapes(with_task)["bert.embeddings.task_embeddings.weight"] == [20, 768]


def test_order_of_the_published_layers() -> None:
    """By a trace of what runs (sheet section 7, point 6), and `sites` say the same."""
    small = {"hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4, "vocab_size": 5}
    small |= {"v_hidden_size": 4, "v_num_attention_heads": 1, "v_intermediate_size": 4, "visual_feat_dim": 3}
    small |= {"bi_hidden_size": 4, "bi_num_attention_heads": 1, "v_target_size": 2}
    model = VilbertForPretraining(VilbertConfig(**small)).eval()
    trace: list[str] = []
    letters = {"layer": "t", "v_layer": "v", "c_layer": "c"}
    entered: list[str] = []
    for name, module in model.named_modules():
        part, _, number = name.removeprefix("bert.encoder.").partition(".")
        if part in letters and number.isdigit():
            step = letters[part] + number
            module.register_forward_hook(lambda module, inputs, output, step=step: trace.append(step))
        if name.endswith(("attention.self.dropout", "biattention.dropout")):
            module.register_forward_pre_hook(lambda module, inputs, name=name: entered.append(name))
    real = Real(torch.ones(1, 2).bool(), torch.ones(1, 3).bool())
    model(torch.tensor([[1, 2]]), torch.ones(1, 3, 3), torch.ones(1, 3, 5), real)
    wanted = "t0 t1 t2 t3 t4 t5 c0 v0 t6 c1 v1 t7 c2 v2 t8 c3 v3 t9 c4 v4 t10 c5 v5 t11"
    assert trace == wanted.split()
    assert [name for name, _ in itertools.groupby(entered)] == [site.path for site in sites(model.config)]
    assert len(entered) == 12 + 6 + 2 * 6


def test_connections_that_do_not_fit_are_refused() -> None:
    for wrong in ({"v_biattention_id": [0]}, {"t_biattention_id": [6, 7, 8, 9, 10, 13]}):
        with pytest.raises(BadInput, match="biattention_id"):
            route(VilbertConfig(**wrong))
    with pytest.raises(BadInput, match="in order"):
        route(VilbertConfig(v_biattention_id=[1, 0, 2, 3, 4, 5]))
    with pytest.raises(BadInput, match="fusion 'max'"):
        on_meta(VilbertForPretraining, VilbertConfig(fusion="max"))


def test_fusion_by_hand() -> None:
    pooled = torch.tensor([[2.0, 3, 0, 1]]), torch.tensor([[4.0, 1, 5, 0]])
    streams = Streams(torch.zeros(1, 2, 4), torch.zeros(1, 3, 4), *pooled)
    for fusion, wanted in (("mul", [8, 3, 0, 0]), ("sum", [6, 4, 5, 1])):
        model = on_meta(VilbertForPretraining, VilbertConfig(fusion=fusion)).eval()
        assert model.fused(streams)[0].tolist() == wanted


OTHER = VilbertConfig(
    vocab_size=50,
    hidden_size=128,
    num_hidden_layers=5,
    num_attention_heads=2,
    intermediate_size=48,
    max_position_embeddings=40,
    type_vocab_size=3,
    v_hidden_size=256,
    v_num_hidden_layers=4,
    v_num_attention_heads=2,
    v_intermediate_size=24,
    bi_hidden_size=384,
    bi_num_attention_heads=3,
    v_biattention_id=[0, 1],
    t_biattention_id=[3, 4],
    visual_feat_dim=7,
    v_target_size=11,
    num_vqa_answers=13,
    num_gqa_answers=17,
)


@pytest.mark.parametrize("model_class", [VilbertForPretraining, VilbertForTasks])
@pytest.mark.parametrize("has_task", [False, True])
def test_sizes_are_told_by_the_shapes(model_class: type, has_task: bool) -> None:
    config = VilbertConfig(**{**OTHER.to_dict(), "task_specific_tokens": has_task})
    state = on_meta(model_class, config).state_dict()
    found = config_from(state)
    assert found.architectures == [model_class.__name__]
    assert shapes(on_meta(model_class, found)) == {key: list(value.shape) for key, value in state.items()}
    skipped = {"architectures", "transformers_version"}
    if model_class is VilbertForPretraining:
        skipped |= {"num_vqa_answers", "num_gqa_answers"}
    wanted, got = ({k: v for k, v in each.to_dict().items() if k not in skipped} for each in (config, found))
    assert got == wanted


def test_a_file_without_optional_heads_tells_its_sizes_and_one_without_others_does_not() -> None:
    state = on_meta(VilbertForTasks, OTHER).state_dict()
    assert all(any(key.startswith(head) for key in state) for head in OPTIONAL)
    needed = {key: value for key, value in state.items() if not key.startswith(OPTIONAL)}
    assert {key.partition(".")[0] for key in needed} == {"bert", "cls", "vil_logit"}
    assert config_from(needed).hidden_size == 128
    assert config_from(needed).v_target_size == 1601
    del needed["bert.t_pooler.dense.weight"]
    with pytest.raises(CheckpointMismatch, match=r"bert\.t_pooler\.dense\.weight"):
        config_from(needed)
