"""Pairs against their own foils: in a step, in the loader, and in whole runs."""

import io
import math
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import step_cases as cases
import torch
from PIL import Image

from alignscope.files import read_jsonl
from alignscope.language.replacements import Candidates
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.zoo import open_model
from alignscope.training.engine import Engine
from alignscope.training.finetune import finetune
from alignscope.training.loading import batches
from alignscope.training.losses import contrastive_loss
from alignscope.training.metrics import nobody
from alignscope.training.pairs import open_pairs
from alignscope.training.places import Place, PlacedSamples
from alignscope.training.plans import StepPlan, step_plan
from alignscope.training.recipe import Register
from alignscope.training.settings import AttributionPlan, FineTuning, NegativePlan, SceneData, ShardData
from alignscope.training.step import gradient_norms

ROWS = (1, 4, 4)
SAID = Register(0.9, 0.95, 0.3, 0.5, 0.9)
SCENES = FineTuning(
    "own",
    "tiny-clip",
    SceneData("world", SAID, images=48),
    batch=8,
    steps=4,
    learning_rate=1e-3,
    warmup=1,
    log_every=1,
    negatives=NegativePlan(form="own", weight=0.5, each=2),
)


@pytest.fixture
def clip(tiny_clip_dir: Path) -> TransformersDualEncoder:
    return open_model(tiny_clip_dir)


@pytest.fixture
def engine() -> Iterator[Engine]:
    torch.set_num_threads(1)
    return Engine(cpu=True)


def test_a_step_is_one_backward_of_plain_code(clip: TransformersDualEncoder, engine: Engine) -> None:
    given = cases.batch(foil_rows=ROWS)
    plan = StepPlan(contrastive=0.8, foil_form="own", foil_weight=0.7)
    taken, found = cases.step(clip, given, plan, engine)
    clip.model.zero_grad()
    images = clip.embed_pixels(given.pixels)
    texts, foils = (clip.embed_tokens(clip.tokens(each)) for each in (cases.TEXTS, given.foils))
    scale = clip.model.logit_scale.exp()
    against = []
    for pair, own in ((1, foils[:1]), (4, foils[1:])):
        scores = scale.detach() * torch.stack([images[pair] @ text for text in (texts[pair], *own)])
        against.append(-scores.log_softmax(dim=0)[0])
    contrastive, own_loss = contrastive_loss(images, texts, scale), sum(against) / 2
    loss = 0.8 * contrastive + 0.7 * own_loss
    loss.backward()
    wanted = cases.gradients(clip)
    assert found.keys() == wanted.keys()
    size = math.hypot(*(gradient.norm().item() for gradient in wanted.values()))
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 1e-5 * max(gradient.norm().item(), 1e-2 * size), name
    assert taken.contrastive == pytest.approx(contrastive.item(), rel=1e-5)
    assert taken.own_foils == pytest.approx(own_loss.item(), rel=1e-5)
    assert taken.loss == pytest.approx(loss.item(), rel=1e-5)
    assert taken.foils == 3


def test_the_scale_is_never_reached_by_own_foils(clip: TransformersDualEncoder, engine: Engine) -> None:
    plan = StepPlan(contrastive=0.0, foil_form="own")
    _, found = cases.step(clip, cases.batch(foil_rows=ROWS), plan, engine)
    assert "logit_scale" not in found
    assert found["text_projection.weight"].norm() > 1e-4


def test_gradient_norms_leave_own_foils_out(clip: TransformersDualEncoder, engine: Engine) -> None:
    plan = StepPlan(objective=cases.INSIDE, foil_form="own", foil_weight=50.0)
    found = gradient_norms(clip, cases.batch(foil_rows=ROWS), plan, engine)
    bare = gradient_norms(clip, cases.batch(foils=()), replace(plan, foil_form="texts"), engine)
    assert found == pytest.approx(bare, rel=1e-5)


def test_a_plan_takes_form_and_weight_from_the_recipe(clip: TransformersDualEncoder) -> None:
    plan = step_plan(SCENES, clip)
    assert (plan.foil_form, plan.foil_weight) == ("own", 0.5)
    plan = step_plan(replace(SCENES, negatives=NegativePlan(form="full")), clip)
    assert (plan.foil_form, plan.foil_weight) == ("texts", 1.0)
    anchored = replace(SCENES, attribution=AttributionPlan(anchored=True, units=3))
    objective = step_plan(anchored, clip).objective
    assert objective is not None
    assert (objective.anchored, objective.units) == (True, 3)


def places() -> PlacedSamples:
    """Images that all look alike; two foils of even places, none of odd ones."""
    each = tuple(
        Place(f"{n}", (f"picture {n}",), ((f"no {n}", f"never {n}") if n % 2 == 0 else (),),
              tuple(other for other in range(12) if other != n))
        for n in range(12)
    )  # fmt: skip
    return PlacedSamples("all", "sha", each, lambda _: Image.new("RGB", (32, 32)), 0)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("form", ["text", "own", "full"])
def test_rows_of_foils_rise_and_name_their_caption(
    clip: TransformersDualEncoder, form: str, world: int
) -> None:
    plan, seen = NegativePlan("own", form=form, each=2), 0
    for rank in range(world):
        loader = batches(places(), batch=6, seed=0, steps=8, transform=clip.image_transform, negatives=plan,
                         rank=rank, world=world)  # fmt: skip
        for batch in loader(0):
            assert (batch.neighbours is not None) == (form == "full")
            for part in (batch, batch.neighbours):
                if part is None:
                    continue
                assert list(part.foil_rows) == sorted(part.foil_rows)
                said = [part.captions[row].text.split()[1] for row in part.foil_rows]
                assert said == [foil.split()[1] for foil in part.foils]
                wanted = [row for row, key in enumerate(part.images) if int(key) % 2 == 0 for _ in range(2)]
                assert list(part.foil_rows) == wanted
                seen += len(wanted)
    assert seen >= 40


def test_rows_of_made_foils(clip: TransformersDualEncoder) -> None:
    words = {text: cases.tagged(text).words for text in cases.TEXTS}

    def classed(captions):
        return [replace(caption, words=words[caption.text]) for caption in captions]

    each = tuple(Place(f"{n}", (text,)) for n, text in enumerate(cases.TEXTS))
    source = PlacedSamples("all", "sha", each, lambda _: Image.new("RGB", (32, 32)), 0)
    available = Candidates({"relation": ("behind", "near")})
    plan = NegativePlan("made", kinds=("replace_relation",), form="own")
    [batch] = batches(source, batch=5, seed=0, steps=1, transform=clip.image_transform, negatives=plan,
                      candidates=available, classed=classed)(0)  # fmt: skip
    having = [
        row for row, one in enumerate(batch.captions) if any(w.word_class == "relation" for w in one.words)
    ]
    assert list(batch.foil_rows) == having
    assert len(having) == 3
    for row, foil in zip(batch.foil_rows, batch.foils, strict=True):
        words_of = set(batch.captions[row].text.split())
        kept = set(foil.split()) - {"behind", "near"}
        assert kept < words_of
        assert all(cases.CLASSES[word] == "relation" for word in words_of - kept)


def test_a_run_against_own_foils_says_so_in_each_row(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for source, kinds in (("made", SCENES.negatives.kinds), ("own", ("swap_object", "swap_attribute"))):
        plan = replace(SCENES, negatives=replace(SCENES.negatives, source=source, kinds=kinds))
        finetune(plan, tmp_path / source)
        rows = [row for row in read_jsonl(tmp_path / source / "metrics.jsonl") if "loss" in row]
        assert len(rows) == 4
        for row in rows:
            assert row["own_foils"] > 0.1
            assert row["loss"] == pytest.approx(row["contrastive"] + 0.5 * row["own_foils"], rel=1e-5)


def test_exclusive_words_are_what_each_part_asks_for(clip: TransformersDualEncoder, engine: Engine) -> None:
    """Foils and replacements of perturbation each know what is said together only where they were asked to."""
    for attribution in (False, True):
        for negatives in (False, True):
            run = replace(
                SCENES,
                attribution=AttributionPlan(("perturbation",), exclusive=attribution),
                negatives=replace(SCENES.negatives, exclusive=negatives),
            )
            found = open_pairs(run, clip.image_transform, engine, workers=0, watch=nobody)
            assert bool(found.candidates.together) == attribution
            of_foils = found.source.reader.candidates
            assert bool(of_foils.together) == negatives
            assert any(" " in text for text in of_foils.words["relation"]) >= negatives
            if attribution and negatives:
                assert found.candidates.together == of_foils.together


def test_a_stream_has_own_made_foils(tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    torch.set_num_threads(1)
    said = ["a red cat under a box", "a small dog behind a tree", "a black horse on a green field"]
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for number in range(12):
            buffer = io.BytesIO()
            Image.new("RGB", (40, 40), (number * 20, 90, 40)).save(buffer, "png")
            parts = ((f"{number}.png", buffer.getvalue()), (f"{number}.txt", said[number % 3].encode()))
            for name, content in parts:
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    data = ShardData("shards", (str(tmp_path / "s.tar"),), buffer=4)
    finetune(replace(SCENES, data=data, batch=4), tmp_path / "run")
    rows = [row for row in read_jsonl(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    assert len(rows) == 4
    for row in rows:
        assert row["foils_per_pair"] > 1
        assert row["own_foils"] > 0.1
        assert row["loss"] == pytest.approx(row["contrastive"] + 0.5 * row["own_foils"], rel=1e-5)
