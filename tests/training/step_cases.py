"""Batches, plans and what two processes find of them: run by torchrun from test_two_processes.py."""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, distributed

from alignscope.attribution.options import Options
from alignscope.errors import BadInput
from alignscope.language.replacements import candidates
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word
from alignscope.training.cae import Objective
from alignscope.training.engine import Engine
from alignscope.training.gathering import gathered
from alignscope.training.parameters import moving
from alignscope.training.plans import StepPlan
from alignscope.training.samples import Batch
from alignscope.training.step import Taken, backward

CLASSES = {
    **dict.fromkeys(["dog", "cat", "cats", "ball", "box", "bowl", "table", "kitchen"], "object"),
    **dict.fromkeys(["red", "small", "blue", "wooden", "spotted", "striped"], "attribute"),
    **dict.fromkeys(["under", "above", "inside", "in"], "relation"),
}
TEXTS = (
    "a red dog under the table",
    "the small blue ball inside a wooden bowl",
    "a cat",
    "the cats",
    "two spotted cats in the kitchen above a striped box",
)
FOILS = ("a red table under the dog", "the small blue bowl inside a wooden ball", "a dog")
OTHERS = ("a box above a dog", "a small cat", "a blue box", "a ball under the box", "the red bowl")


def tagged(text: str) -> Caption:
    words = re.finditer(r"\w+", text)
    return Caption(text, tuple(Word(m[0], *m.span(), CLASSES.get(m[0], "other")) for m in words))


CAPTIONS = tuple(tagged(text) for text in TEXTS)
AVAILABLE = candidates(CAPTIONS)


def no_pairs(given: Batch) -> Batch:
    """What the loader gives where no image has a similar one."""
    return Batch(given.pixels[:0], (), ())


def batch(
    rows: slice = slice(None),
    *,
    foils: Sequence[str] = FOILS,
    neighbours: bool = False,
    foil_rows: Sequence[int] = (),
) -> Batch:
    """Some pairs; their images are noise drawn by place, the neighbours' by place and 100."""

    def pixels(first: int) -> Tensor:
        draws = [torch.Generator().manual_seed(first + place) for place in range(len(TEXTS))[rows]]
        return torch.stack([torch.randn(3, 32, 32, generator=draw) for draw in draws])

    keys = tuple(f"{place}.jpg" for place in range(len(TEXTS))[rows])
    others = OTHERS[rows]
    similar = Batch(pixels(100), keys, tuple(tagged(text) for text in others), tuple(others[:1]))
    beside = similar if neighbours else None
    return Batch(pixels(0), keys, CAPTIONS[rows], tuple(foils), beside, foil_rows=tuple(foil_rows))


def distilled(images: Tensor, captions: Sequence[Caption]) -> Tensor:
    lengths = torch.tensor([float(len(caption.text)) for caption in captions])
    return (images.square().cumsum(dim=-1).mean(dim=-1) * lengths).mean()


@dataclass(frozen=True)
class Case:
    model: str
    plan: StepPlan
    foils: tuple[str, ...] = FOILS
    neighbours: bool = False
    lonely: bool = False  # the first process's pairs have no neighbours
    foil_rows: tuple[int, ...] = ()  # of own foils
    first: int = 1  # so many foils are the first process's


INSIDE = Objective(
    ("gradcam", "attention", "gradient"), margin=0.3, heats=Options(normalize="none", temperature=20.0)
)
WORDS = Objective(("perturbation", "gradcam"), unit="word", margin=5.0, trains_image=False)
PERTURBED = Objective(("perturbation",), margin=5.0)
EVERYTHING = StepPlan(
    objective=Objective(("gradcam", "perturbation"), margin=1.0),
    weight=0.5,
    candidates=AVAILABLE,
    distillation=distilled,
    distillation_weight=2.0,
)
OWN = StepPlan(foil_form="own", foil_weight=0.7)
CASES: Mapping[str, Case] = {
    "softmax": Case("clip", StepPlan(), foils=()),
    "sigmoid": Case("siglip", StepPlan(loss="sigmoid")),
    "foils": Case("clip", StepPlan()),
    "neighbours": Case("clip", StepPlan(contrastive=0.5), neighbours=True),
    "sigmoid-neighbours": Case("siglip", StepPlan(loss="sigmoid"), neighbours=True),
    "inside": Case("clip", StepPlan(objective=INSIDE, weight=3.0)),
    "words": Case("siglip", StepPlan(loss="sigmoid", objective=WORDS, weight=0.7, candidates=AVAILABLE)),
    "perturbation": Case("clip", StepPlan(objective=PERTURBED, weight=0.5, candidates=AVAILABLE)),
    "alone": Case("clip", StepPlan(contrastive=0.0, objective=INSIDE, weight=1.0)),
    "all": Case("clip", EVERYTHING, neighbours=True),
    "lonely": Case("clip", EVERYTHING, neighbours=True, lonely=True),
    "cached": Case("clip", replace(EVERYTHING, micro_batch=2), neighbours=True),  # the first process has one part
    "own": Case("clip", OWN, foil_rows=(1, 4, 4)),
    "own-one-sided": Case("clip", replace(OWN, contrastive=0.0), foil_rows=(2, 3, 3), first=0),
    "own-none": Case("clip", OWN, foils=()),
    "own-all": Case("clip", replace(EVERYTHING, foil_form="own", micro_batch=2), foil_rows=(0, 2, 4)),
    "own-sigmoid": Case("siglip", replace(OWN, loss="sigmoid"), foil_rows=(1, 2, 3)),
}  # fmt: skip


def gradients(encoder: TransformersDualEncoder) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in encoder.model.named_parameters() if p.grad is not None}


def step(
    encoder: TransformersDualEncoder, given: Batch, plan: StepPlan, engine: Engine
) -> tuple[Taken, dict]:
    """A step from empty gradients, averaged."""
    parameters = moving(encoder.model, "both")
    encoder.model.zero_grad(set_to_none=True)
    taken = backward(encoder, given, plan, engine)
    engine.average(list(parameters.values()))
    return taken, gradients(encoder)


def numbers(taken: Taken) -> list[float]:
    """All of a step's numbers in one row, NaN where there is none."""
    heard = [number for one in taken.attribution.values() for number in vars(one).values()]
    row = [
        taken.loss,
        taken.contrastive,
        taken.distillation,
        taken.pairs,
        taken.foils,
        taken.own_foils,
        *heard,
    ]
    return [math.nan if number is None else float(number) for number in row]


def main(models: Mapping[str, Path], out: Path) -> None:
    """This process's share: pairs 0 to 1 or 2 to 4, of which one caption is valid, and its foils."""
    engine = Engine(cpu=True)
    assert engine.world == 2
    rows = slice(0, 2) if engine.rank == 0 else slice(2, 5)
    found: dict[str, object] = {}
    encoders = {name: open_model(path) for name, path in models.items()}
    for name, case in CASES.items():
        foils = slice(0, case.first) if engine.rank == 0 else slice(case.first, 3)
        at = [row - rows.start for row in case.foil_rows[foils]]
        given = batch(rows, foils=case.foils[foils], neighbours=case.neighbours, foil_rows=at)
        if case.lonely and engine.rank == 0:
            given = replace(given, neighbours=no_pairs(given))
        taken, slopes = step(encoders[case.model], given, case.plan, engine)
        found[name] = {"numbers": numbers(taken), "gradients": slopes}
    found |= small_things(engine)
    torch.save(found, out / f"{engine.rank}.pt")
    distributed.barrier()


def small_things(engine: Engine) -> dict[str, object]:
    """Rows of which one process has none, a gradient that one process lacks, and what the first decides."""
    rows = (torch.arange(6.0).reshape(3, 2) if engine.rank else torch.zeros(0, 2)).requires_grad_()
    everything = gathered(rows)
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) * (1 + engine.rank)  # 3 times, in sum
    (everything * weight).sum().backward()
    some, none = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    if engine.rank:
        some.grad = torch.tensor([4.0, 6.0])
    engine.average([none, some])
    refused = ""
    try:
        engine.first(refuse)
    except BadInput as error:
        refused = str(error)
    return {
        "gathered": everything.detach(),
        "slope": rows.grad,
        "averaged": [none.grad, some.grad],
        "first": engine.first(lambda: engine.rank),
        "refused": refused,
        "total": engine.total(torch.tensor([1.0 + engine.rank])).item(),
    }


def refuse() -> int:
    raise BadInput("not today")


if __name__ == "__main__":
    main({"clip": Path(sys.argv[1]), "siglip": Path(sys.argv[2])}, Path(sys.argv[3]))
