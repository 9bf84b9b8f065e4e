"""A step against plain backward passes, finite differences, its own parts, and what must not move."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import step_cases as cases
import torch

from alignscope.attribution.options import METHODS, Options
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.zoo import open_model
from alignscope.records import Caption
from alignscope.training import cae
from alignscope.training.cae import Objective
from alignscope.training.engine import Engine
from alignscope.training.losses import contrastive_loss, sigmoid_loss
from alignscope.training.parameters import moving, training_mode
from alignscope.training.plans import StepPlan, step_plan
from alignscope.training.recipe import Register
from alignscope.training.settings import AttributionPlan, DistillationPlan, FineTuning, SceneData
from alignscope.training.step import backward, gradient_norms
from alignscope.training.validity import valid_captions

CAE = Objective(("gradcam", "perturbation"), margin=1.0)


@pytest.fixture
def clip(tiny_clip_dir: Path) -> TransformersDualEncoder:
    return open_model(tiny_clip_dir)


@pytest.fixture
def engine() -> Iterator[Engine]:
    return Engine(cpu=True)


def assert_same(found: dict, wanted: dict, *, within: float = 1e-5) -> None:
    assert found.keys() == wanted.keys()
    size = math.hypot(*(gradient.norm().item() for gradient in wanted.values()))
    assert size > 1e-4
    for name, gradient in wanted.items():
        error = (found[name] - gradient).norm().item()
        assert error <= within * max(gradient.norm().item(), 1e-2 * size), name


@pytest.mark.parametrize("micro_batch", [0, 2])
def test_a_batch_without_similar_images_is_one_of_the_text_form(
    clip: TransformersDualEncoder, engine: Engine, micro_batch: int
) -> None:
    plan = StepPlan("softmax", 1.0, CAE, 0.5, cases.AVAILABLE, micro_batch=micro_batch)
    given = cases.batch()
    taken, wanted = cases.step(clip, given, plan, engine)
    again, found = cases.step(clip, replace(given, neighbours=cases.no_pairs(given)), plan, engine)
    assert again == taken
    assert_same(found, wanted)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_it_is_one_backward_of_the_sum(kind: str, request: pytest.FixtureRequest, engine: Engine) -> None:
    encoder, given = open_model(request.getfixturevalue(f"tiny_{kind}_dir")), cases.batch()
    plan = StepPlan(
        "softmax" if kind == "clip" else "sigmoid", 0.8, CAE, 0.5, cases.AVAILABLE, cases.distilled, 2.0
    )
    taken, found = cases.step(encoder, given, plan, engine)
    encoder.model.zero_grad()
    images = encoder.embed_pixels(given.pixels)
    texts, foils = (encoder.embed_tokens(encoder.tokens(each)) for each in (cases.TEXTS, given.foils))
    if kind == "clip":
        contrastive = contrastive_loss(images, texts, encoder.model.logit_scale.exp(), foils)
    else:
        scale, bias = encoder.model.logit_scale.exp(), encoder.model.logit_bias
        contrastive = sigmoid_loss(images, texts, scale.squeeze(), bias.squeeze(), foils)
    heard = cae.attribution_losses(encoder, given.captions, images, objective=CAE, candidates=cases.AVAILABLE)
    attribution = (heard["gradcam"].value + heard["perturbation"].value) / 2
    distilled = cases.distilled(images, given.captions)
    loss = 0.8 * contrastive + 0.5 * attribution + 2.0 * distilled
    loss.backward()
    assert_same(found, cases.gradients(encoder))
    assert taken.loss == pytest.approx(loss.item(), rel=1e-5)
    assert taken.contrastive == pytest.approx(contrastive.item(), rel=1e-5)
    assert taken.distillation == pytest.approx(distilled.item(), rel=1e-5)
    assert (taken.pairs, taken.foils) == (5, 3)
    for method, one in taken.attribution.items():
        wanted = heard[method]
        assert one.value == pytest.approx(wanted.value.item(), rel=1e-5)
        assert one.valid == wanted.valid == 0.6
        numbers = (wanted.object_mean, wanted.composition_mean, wanted.above)
        assert (one.object_mean, one.composition_mean, one.above) == pytest.approx(numbers, rel=1e-5)


@pytest.mark.parametrize(("name", "micro_batch"), [*((name, 2) for name in cases.CASES), ("all", 1)])
def test_parts_give_the_gradients_of_the_whole(
    name: str, micro_batch: int, request: pytest.FixtureRequest, engine: Engine
) -> None:
    case = cases.CASES[name]
    encoder = open_model(request.getfixturevalue(f"tiny_{case.model}_dir"))
    given = cases.batch(foils=case.foils, neighbours=case.neighbours, foil_rows=case.foil_rows)
    whole, wanted = cases.step(encoder, given, replace(case.plan, micro_batch=0), engine)
    parts, found = cases.step(encoder, given, replace(case.plan, micro_batch=micro_batch), engine)
    assert_same(found, wanted)
    assert cases.numbers(parts) == pytest.approx(cases.numbers(whole), rel=1e-5, abs=1e-6, nan_ok=True)


def test_gradients_add_up(clip: TransformersDualEncoder, engine: Engine) -> None:
    given, plan = cases.batch(), StepPlan(objective=CAE, weight=0.5, candidates=cases.AVAILABLE)
    _, once = cases.step(clip, given, plan, engine)
    backward(clip, given, plan, engine)
    assert_same(cases.gradients(clip), {name: 2 * gradient for name, gradient in once.items()})


def test_parts_are_embedded_again_with_the_same_dropout(tiny_pair_dir: Path, engine: Engine) -> None:
    encoder, given = open_model(tiny_pair_dir), cases.batch(foils=())
    objective = Objective(("gradcam",), margin=1.0)
    parameters = moving(encoder.model, "both")
    training_mode(encoder.model, "both")
    plan = StepPlan(objective=objective, weight=0.5, micro_batch=2)
    torch.manual_seed(7)
    backward(encoder, given, plan, engine)
    found, after = cases.gradients(encoder), torch.get_rng_state()
    encoder.model.zero_grad()
    torch.manual_seed(7)
    rows = []
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
        images = encoder.embed_pixels(given.pixels[part])
        rows.append((images, cae.text_forward(encoder, given.captions[part], objective)))
    assert torch.equal(torch.get_rng_state(), after)
    captions = [given.captions[0:2], given.captions[2:4], given.captions[4:5]]
    totals = [
        cae.attribution_losses(encoder, part, images, objective=objective, forward=forward)["gradcam"].total
        for part, (images, forward) in zip(captions, rows, strict=True)
    ]
    images, texts = torch.cat([row[0] for row in rows]), torch.cat([row[1].embeddings for row in rows])
    loss = contrastive_loss(images, texts, encoder.model.logit_scale.exp()) + 0.5 * sum(totals) / 3
    loss.backward()
    assert_same(found, cases.gradients(encoder))
    encoder.model.zero_grad()
    encoder.model.eval()
    backward(encoder, given, plan, engine)
    size = sum(gradient.norm() for gradient in found.values())
    assert sum((found[n] - g).norm() for n, g in cases.gradients(encoder).items()) > 0.1 * size
    assert parameters


def test_every_part_has_chances_of_its_own_beside_the_towers(
    clip: TransformersDualEncoder, engine: Engine
) -> None:
    drawn: list[int] = []

    def noised(images: torch.Tensor, captions: Sequence[Caption]) -> torch.Tensor:
        drawn.append(int(torch.randint(2**31, ()).item()))
        return images.sum()

    backward(clip, cases.batch(), StepPlan(distillation=noised, micro_batch=2), engine)
    assert len(drawn) == len(set(drawn)) == 3


def test_the_gradient_equals_finite_differences(clip: TransformersDualEncoder, engine: Engine) -> None:
    clip.model.double()
    given = cases.batch(neighbours=True)
    objective = Objective(
        ("gradcam", "gradient"), margin=50.0, heats=Options(normalize="none", temperature=20.0)
    )
    plan = StepPlan(contrastive=0.7, objective=objective, weight=0.3, micro_batch=2)
    _, gradients = cases.step(clip, given, plan, engine)
    model, places = clip.model, [(0, 1), (7, 5)]
    names = [
        "text_model.encoder.layers.1.self_attn.k_proj.weight",
        "text_projection.weight",
        "vision_model.encoder.layers.0.mlp.fc1.weight",
        "visual_projection.weight",
    ]
    step, largest = 1e-6, 0.0
    for name, place in [("logit_scale", ()), *((name, place) for name in names for place in places)]:
        weight, values = model.get_parameter(name), []
        for change in (step, -2 * step):
            with torch.no_grad():
                weight[place] += change
            taken = backward(clip, given, plan, engine)
            kept = 0.7 * taken.contrastive
            if name != "logit_scale":  # the scale in the score is a constant of the heats
                kept = taken.loss
            values.append(kept)
        with torch.no_grad():
            weight[place] += step
        slope = gradients[name][place].item()
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7), name
        largest = max(largest, abs(slope))
    assert largest > 1e-3


def test_the_scale_is_never_reached_by_the_attribution_loss(
    clip: TransformersDualEncoder, engine: Engine
) -> None:
    objective = Objective(METHODS, margin=1.0, heats=Options(normalize="none", temperature=20.0))
    plan = StepPlan(contrastive=0.0, objective=objective, weight=1.0, candidates=cases.AVAILABLE)
    taken, found = cases.step(clip, cases.batch(), plan, engine)
    assert "logit_scale" not in found
    assert "text_projection.weight" in found
    assert taken.loss == pytest.approx(sum(one.value for one in taken.attribution.values()) / 4)


def test_without_a_valid_caption_only_the_contrastive_loss_pulls(
    clip: TransformersDualEncoder, engine: Engine
) -> None:
    given = replace(cases.batch(), captions=tuple(Caption(text) for text in cases.TEXTS))
    plan = StepPlan(objective=CAE, weight=3.0, candidates=cases.AVAILABLE)
    taken, found = cases.step(clip, given, plan, engine)
    for one in taken.attribution.values():
        assert (one.value, one.valid, one.object_mean, one.above) == (0.0, 0.0, None, None)
    assert taken.loss == taken.contrastive
    assert_same(found, cases.step(clip, given, replace(plan, objective=None), engine)[1])


@pytest.mark.parametrize("unit", ["token", "word"])
@pytest.mark.parametrize("units", [0, 1])
@pytest.mark.parametrize("variant", ["replace", "leave-one-out"])
def test_valid_captions_are_known_beforehand(
    clip: TransformersDualEncoder, unit: str, units: int, variant: str
) -> None:
    long = "a red dog " + "and so on " * 8 + "under the table"  # its relation is beyond the context
    captions = [*cases.CAPTIONS, *map(cases.tagged, (long, "red under", "the small cat above", "dog in dog"))]
    heats = Options(normalize="none", variant=variant)
    objective = Objective(METHODS, unit=unit, units=units, heats=heats)
    few = cases.candidates(cases.CAPTIONS[:2])  # "in" and "cat" have one
    images = torch.randn(len(captions), 16, generator=torch.Generator().manual_seed(0))
    found = cae.attribution_losses(clip, captions, images, objective=objective, candidates=few)
    tokens = clip.tokens([caption.text for caption in captions])
    wanted = {method: loss.captions for method, loss in found.items()}
    assert dict(valid_captions(clip, captions, tokens, objective, few)) == wanted
    assert 0 < wanted["perturbation"] < len(captions)


def test_under_bfloat16_the_attribution_pass_and_the_softmax_are_float32(
    clip: TransformersDualEncoder, engine: Engine
) -> None:
    plan = StepPlan(objective=Objective(("attention",), margin=0.1), weight=1.0)
    plain, wanted = cases.step(clip, cases.batch(), plan, engine)
    mixed, found = cases.step(clip, cases.batch(), plan, Engine(precision="bf16", cpu=True))
    assert mixed.attribution["attention"].value == pytest.approx(
        plain.attribution["attention"].value, rel=1e-6
    )
    assert mixed.contrastive != plain.contrastive  # images and foils are in bfloat16
    assert mixed.contrastive == pytest.approx(plain.contrastive, rel=0.02)
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    assert_same(found, wanted, within=0.5)


def test_gradient_norms_are_those_of_each_loss_alone(clip: TransformersDualEncoder, engine: Engine) -> None:
    given, plan = (
        cases.batch(),
        StepPlan(contrastive=0.3, objective=CAE, weight=9.0, candidates=cases.AVAILABLE),
    )
    norms = gradient_norms(clip, given, plan, engine)
    assert not cases.gradients(clip)
    images = clip.embed_pixels(given.pixels)
    texts, foils = (clip.embed_tokens(clip.tokens(each)) for each in (cases.TEXTS, given.foils))
    tower = [p for name, p in clip.model.named_parameters() if name.startswith("text_")]
    contrastive = contrastive_loss(images, texts, clip.model.logit_scale.exp(), foils)
    heard = cae.attribution_losses(clip, given.captions, images, objective=CAE, candidates=cases.AVAILABLE)
    attribution = (heard["gradcam"].value + heard["perturbation"].value) / 2
    for found, loss in zip(norms, (contrastive, attribution), strict=True):
        slopes = torch.autograd.grad(loss, tower, retain_graph=True, allow_unused=True)
        assert found == pytest.approx(
            math.hypot(*(g.norm().item() for g in slopes if g is not None)), rel=1e-4
        )


@pytest.mark.parametrize(("trains", "moves"), [("text", "text_"), ("image", "visi")])
def test_one_side_alone(clip: TransformersDualEncoder, engine: Engine, trains: str, moves: str) -> None:
    both = cases.step(clip, cases.batch(), StepPlan(objective=Objective(margin=1.0), weight=0.5), engine)[1]
    for micro_batch in (0, 2):
        clip.model.zero_grad()
        moving(clip.model, trains)
        plan = StepPlan(objective=Objective(margin=1.0), weight=0.5, micro_batch=micro_batch)
        backward(clip, cases.batch(), plan, engine)
        prefixes = (moves, "logit") if trains == "text" else (moves, "visual")
        assert_same(cases.gradients(clip), {n: g for n, g in both.items() if n.startswith(prefixes)})


def test_a_plan_says_what_the_recipe_says(clip: TransformersDualEncoder, tiny_siglip_dir: Path) -> None:
    data = SceneData("world", Register(0.5, 0.5, 0.5, 0.5, 0.5))
    attribution = AttributionPlan(("gradient",), margin=0.2, unit="word", trains_image=False, temperature=9.0)
    run = FineTuning("r", "m", data, contrastive=0.5, micro_batch=4, seed=3, attribution=attribution,
                     distillation=DistillationPlan("sd", weight=0.1))  # fmt: skip
    plan = step_plan(run, clip, weight=2.0, distillation=cases.distilled)
    heats = Options(normalize="none", temperature=9.0, draws=1, seed=3_000_009)
    wanted = Objective(("gradient",), "word", 0.2, trains_image=False, heats=heats, units=1)
    assert plan == StepPlan("softmax", 0.5, wanted, 2.0, None, cases.distilled, 0.1, 4)
    siglip = open_model(tiny_siglip_dir)
    assert step_plan(run, siglip).loss == "sigmoid"
    assert step_plan(replace(run, loss="softmax", attribution=None), siglip).loss == "softmax"


def test_a_step_leaves_the_model_as_it_was(clip: TransformersDualEncoder, engine: Engine) -> None:
    before = copy.deepcopy(clip.model.state_dict())
    modes = [module.training for module in clip.model.modules()]
    cases.step(clip, cases.batch(), replace(cases.EVERYTHING, micro_batch=2), engine)
    assert all(torch.equal(before[name], tensor) for name, tensor in clip.model.state_dict().items())
    assert modes == [module.training for module in clip.model.modules()]
    assert not any(module._forward_hooks for module in clip.model.modules())


@pytest.mark.parametrize(
    "plan", [StepPlan(), StepPlan(objective=Objective(), weight=1.0)], ids=["plain", "heard"]
)
@pytest.mark.parametrize("micro_batch", [0, 2])
def test_captions_beyond_the_context_are_counted(
    clip: TransformersDualEncoder, engine: Engine, plan: StepPlan, micro_batch: int
) -> None:
    given, limit = cases.batch(), clip.traits.context_length
    long = cases.tagged("a red dog under the table " * limit)
    batch = replace(given, captions=(long, *given.captions[1:]))
    assert backward(clip, batch, replace(plan, micro_batch=micro_batch), engine).truncated == 1
    assert backward(clip, given, replace(plan, micro_batch=micro_batch), engine).truncated == 0


def test_own_foils_are_no_texts_of_the_contrastive_loss(
    clip: TransformersDualEncoder, engine: Engine
) -> None:
    given = cases.batch(foil_rows=(0, 1, 2))
    assert backward(clip, given, StepPlan(), engine).texts == len(given.captions) + 3
    assert backward(clip, given, StepPlan(foil_form="own"), engine).texts == len(given.captions)
