"""Recipes: read strictly, everything wrong told at once, each with its place."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from alignscope.errors import BadRecipe, UnknownName
from alignscope.models.pretrained import made
from alignscope.training import settings
from alignscope.training.contradictions import RULES
from alignscope.training.reading import find, read, section
from alignscope.training.recipe import Captioning, Recipe
from alignscope.training.settings import FineTuning

RECIPES = Path(__file__).parents[2] / "recipes"
PAPER_B = ("ft", "cae-attention", "cae-gradcam", "cae-perturbation", "cae-gradient", "ft-negatives",
           "cae-negatives", "attribution-alone")  # fmt: skip
SAYS = "{ attribute_rate = 0.9, relation_rate = 0.9, scene_rate = 0.1, size_rate = 0.4, object_rate = 0.9 }"
SMALL = f"""
name = "small"
model = "tiny-clip"
batch = 32
steps = 100
data = {{ kind = "world", register = {SAYS}, images = 500 }}
"""
COCO = 'name = "coco"\nmodel = "m"\nepochs = 5\ndata = { kind = "coco", captions = "c.json", images = "i" }\n'


def _read(text: str, tmp_path: Path, *changes: str) -> Recipe | FineTuning:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read(path, changes)


def _wrong(text: str, tmp_path: Path, *changes: str) -> list[str]:
    """The lines of what is wrong, without the one that names the file."""
    with pytest.raises(BadRecipe) as told:
        _read(text, tmp_path, *changes)
    opening, *lines = str(told.value).split("\n  ")
    assert opening.startswith(str(tmp_path / "recipe.toml"))
    return lines


def test_every_recipe_of_the_project_reads() -> None:
    found = sorted(RECIPES.rglob("*.toml"))
    assert {*(f"paper-b/{name}.toml" for name in PAPER_B), "world-cae.toml", "tiny-clip.toml"} <= {
        str(path.relative_to(RECIPES)) for path in found
    }
    for path in found:
        if "studies" not in path.parts:  # studies have readers of their own
            assert read(path).name == str(path.relative_to(RECIPES).with_suffix("")).replace("/", "-")


def test_the_recipes_of_paper_b_have_its_numbers() -> None:
    """Sheet B.4 and B.6, typed anew."""
    for name in PAPER_B:
        found = read(RECIPES / "paper-b" / f"{name}.toml")
        assert isinstance(found, FineTuning)
        assert (found.batch, found.epochs, found.steps, found.warmup) == (256, 5, 0, 50), name
        assert found.learning_rate == (1e-6 if "negatives" in name else 5e-7), name
        assert found.weight_decay == 0.2
        assert found.augmentation is not None
        assert found.augmentation.scale == (0.9, 1.0)
        assert (found.negatives is not None) == ("negatives" in name)
        assert (found.attribution is None) == name.startswith("ft")
        assert found.contrastive == (0.0 if name == "attribution-alone" else 1.0)
        if found.attribution is not None:
            (method,) = found.attribution.methods
            assert method in name or name in ("cae-negatives", "attribution-alone")
            assert (found.attribution.margin, found.attribution.unit) == (0.0, "token")


def test_the_hash_of_the_recipe_of_the_committed_model_is_what_it_was() -> None:
    training = json.loads((made("tiny-clip") / "training.json").read_text())
    found = read(RECIPES / "tiny-clip.toml")
    assert isinstance(found, Recipe)
    assert found.sha == training["recipe_sha"]
    assert json.loads(json.dumps(asdict(found))) == training["recipe"]


def test_the_hash_follows_every_number() -> None:
    found = read(RECIPES / "world-cae.toml")
    assert isinstance(found, FineTuning)
    assert found.sha == read(RECIPES / "world-cae.toml").sha
    assert found.attribution is not None
    assert found.sha != replace(found, attribution=replace(found.attribution, margin=0.1)).sha


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("check_every", "chek_every", "chek_every: unknown entry, did you mean 'check_every'?"),
        ("seed = 0\nthreads", "threads", "seed: missing, wanted a whole number"),
        ("threads = ", 'threads = "two" #', "threads: got 'two', wanted a whole number"),
        ('trains = "both"', 'trains = "all"', "[stages[0]] trains: got 'all', wanted one of 'both', 'text', 'image'"),
        ("batch = 128", "batch = 91280", "[stages[0]] batch = 91280 with [data] images = 20000: wanted at"),
        ("grouped = ", "grouped = 7 #", "[stages[0]] grouped = 7.0: wanted a share between 0 and 1"),
        ("foils = 2", "foils = 5", "[stages[0]] foils = 5 with [stages[0]] foil_kinds = "),
        ("warmup = 100", "warmup = 2001", "[stages[0]] warmup = 2001 with [stages[0]] steps = 2000: wanted no more"),
        ("layers = 4", "layers = true", "[architecture.image] layers: got True, wanted a whole number"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_from_scratch_is_told_what_is_wrong(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    text = (RECIPES / "tiny-clip.toml").read_text()
    assert before in text
    lines = _wrong(text.replace(before, after, 1), tmp_path)
    assert any(line.startswith(message) for line in lines), lines


def test_every_value_arrives_in_its_type(tmp_path: Path) -> None:
    found = _read(
        COCO
        + """
contrastive = 2
[augmentation]
ratio = [1, 1.5]
[attribution]
methods = ["gradcam", "gradient"]
weight = 3
layers = "0:6"
anchored = true
exclusive = true
units = 2
[negatives]
form = "own"
weight = 2
exclusive = false
[validation]
data = { kind = "shards", files = ["a-{000..003}.tar"], captions = "json" }
[lora]
""",
        tmp_path,
    )
    assert isinstance(found, FineTuning)
    assert isinstance(found.contrastive, float)
    assert found.augmentation == settings.Augmentation(ratio=(1.0, 1.5))
    assert found.attribution == settings.AttributionPlan(
        ("gradcam", "gradient"), weight=3.0, layers=(0, 6), units=2, anchored=True, exclusive=True
    )
    assert found.negatives == settings.NegativePlan(form="own", weight=2.0, exclusive=False)
    assert found.validation == settings.ValidationPlan(
        settings.ShardData("shards", ("a-{000..003}.tar",), captions="json")
    )
    assert found.lora == settings.LoraPlan()
    assert found.distillation is None


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    lines = _wrong(
        """
name = "many"
model = "tiny-clip"
bach = 64
epochs = 5
steps = 10
learning_rate = -1e-4
warmup = "many"
data = { kind = "coco", captions = 3 }
[attribution]
methods = ["gradcam", "gradcm"]
margin = nan
layers = "six"
weight = "machted"
[negatives]
source = "own"
each = 0
[augmentation]
scale = [0.9, 1.0, 1.1]
""",
        tmp_path,
    )
    assert sorted(lines) == sorted(
        [
            "bach: unknown entry, did you mean 'batch'?",
            "warmup: got 'many', wanted a whole number",
            "[data] captions: got 3, wanted a text",
            "[data] images: missing, wanted a text",
            "[attribution] methods[1]: got 'gradcm', wanted one of 'attention', 'gradcam', 'gradient', 'perturbation'",
            "[attribution] margin: got nan, wanted a finite number",
            "[attribution] layers: got 'six', wanted 'all', 'last' or 'FIRST:STOP' such as '0:6'",
            "[attribution] weight: got 'machted', wanted a finite number or 'matched'",
            "[augmentation] scale: got [0.9, 1.0, 1.1], wanted a list of 2: a finite number each",
            "learning_rate = -0.0001: wanted more than 0",
            "epochs = 5 with steps = 10: wanted exactly one of the two",
            "[negatives] source = 'own' with [data] kind = 'coco': wanted source = 'made', or data that bring "
            "wrong captions (table, world)",
            "[negatives] each = 0: wanted 1 or more",
        ]
    )


SHARDS = '{ kind = "shards", files = ["a.tar"] }'
WORLD = f'{{ kind = "world", register = {SAYS}, images = 500 }}'
CONTRADICTIONS = {
    "neither length": ("", ("steps=0",), "epochs = 0 with steps = 0: wanted exactly one"),
    "warm-up": ("", ("warmup=101",), "warmup = 101 with steps = 100: wanted no more"),
    "matched after the end": ("", ("warmup=100", "attribution.ratio=1"), "warmup = 100 with steps = 100 with [attr"),
    "a stream by epochs": (f"data = {SHARDS}", ("steps=0", "epochs=2"), "[data] kind = 'shards' with steps = 0: "),
    "full of a stream": (f"data = {SHARDS}", ("negatives.form='full'",), "[negatives] form = 'full' with [data] kind"),
    "own of a stream": (f"data = {SHARDS}", ("negatives.source='own'",), "[negatives] source = 'own' with [data]"),
    "parts larger than the whole": ("", ("micro_batch=33",), "micro_batch = 33 with batch = 32"),
    "a batch larger than the world": ("", ("batch=501",), "batch = 501 with [data] images = 500"),
    "a batch of one": ("", ("batch=1",), "batch = 1: wanted 2 or more"),
    "no loss": ("", ("contrastive=0",), "contrastive = 0.0 with attribution = left out"),
    "nothing to match": ("", ("contrastive=0", "attribution.ratio=1"), "contrastive = 0.0 with [attribution] weight = 'm"),
    "two nothings": ("", ("contrastive=0", "attribution.weight=0"), "contrastive = 0.0 with [attribution] weight = 0.0"),
    "negatives without their loss": ("", ("contrastive=0", "attribution.weight=1", "negatives.each=1"),
                                     "contrastive = 0.0 with negatives = given"),
    "a sum of signs": ("", ("attribution={methods=['perturbation'], normalize='sum'}",), "[attribution] normalize = 's"),
    "image by text": ("", ("trains='image'", "attribution={methods=['gradcam', 'attention'], weight=1}"),
                      "trains = 'image' with [attribution] methods"),
    "image held back": ("", ("trains='image'", "attribution={weight=1, trains_image=false}"),
                        "trains = 'image' with [attribution] trains_image = False"),
    "matched over what stands": ("", ("trains='image'", "attribution.ratio=1"), "trains = 'image' with [attribution] we"),
    "a teacher of images": ("", ("trains='text'", "distillation.model='sd'"), "trains = 'text' with distillation"),
    "methods twice": ("", ("attribution.methods=['gradcam','gradcam']",), "[attribution] methods = ['gradcam', 'gradcam']"),
    "no method": ("", ("attribution.methods=[]",), "[attribution] methods = []: wanted one or more"),
    "layers backwards": ("", ("attribution.layers='6:2'",), "[attribution] layers = [6, 2]"),
    "a kind nobody makes": ("", ("negatives.kinds=['add_object']",), "[negatives] source = 'made' with [negatives] kinds"),
    "more than kinds": ("", ("negatives={kinds=['swap_object'], each=2}",), "[negatives] each = 2 with [negatives] kinds"),
    "a weight of no loss": ("", ("negatives.weight=0.5",), "[negatives] form = 'text' with [negatives] weight = 0.5"),
    "own foils without weight": ("", ("negatives={form='own', weight=0}",), "[negatives] weight = 0.0: wanted more"),
    "units below 0": ("", ("attribution.units=-1",), "[attribution] units = -1: wanted 0 or more"),
    "scale backwards": ("", ("augmentation.scale=[1.0, 0.9]",), "[augmentation] scale = [1.0, 0.9]"),
    "scale over the image": ("", ("augmentation.scale=[0.9, 1.1]",), "[augmentation] scale = [0.9, 1.1]"),
    "ratio of nothing": ("", ("augmentation.ratio=[0, 1]",), "[augmentation] ratio = [0.0, 1.0]"),
    "validation on what is trained": ("", (f"validation.data={WORLD}", "validation.data.images=1200"),
                                      "data = given with [validation] data = given"),
    "validation beyond the scenes": ("", (f"validation.data={WORLD}", "validation.data.split='val'"),
                                     "[validation] pairs = 1000 with [validation.data] images = 500"),
    "negative weight": ("", ("attribution.weight=-1",), "[attribution] weight = -1.0"),
    "a share of more": ("", ("unreadable=1.5",), "unreadable = 1.5: wanted a share"),
    "adapters of no rank": ("", ("lora={rank=0, alpha=0, dropout=1}",), "[lora] rank = 0: wanted 1 or more"),
    "an activation nobody knows": ("", ("activation='relu'",), "activation = 'relu': wanted 'quick_gelu'"),
    "a name above the folder": ("", ("name='../up'",), "name = '../up': wanted a name"),
    "a seed below 0": ("", ("seed=-1",), "seed = -1: wanted"),
    "rates": ("", ("data.register.scene_rate=2",), "[data.register] scene_rate = 2.0: wanted a share"),
    "a kind of data nobody has": ("", ("data={kind='cocoa'}",), "[data] kind: got 'cocoa', wanted one of 'coco', 'table'"),
    "data of no kind": ("data = {}", (), "[data] kind: got 'missing', wanted one of"),
    "a section that is none": ("", ("attribution=3",), "attribution: got 3, wanted a table with methods"),
    "a number beyond all": ("", (f"learning_rate=1{'0' * 400}",), "learning_rate: got 1000"),
    "infinity": ("", ("max_norm=inf",), "max_norm: got inf, wanted a finite number"),
    "truth as a number": ("", ("batch=true",), "batch: got True, wanted a whole number"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "changes", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_told_with_its_entries(
    tmp_path: Path, data: str, changes: tuple[str, ...], message: str
) -> None:
    text = (
        SMALL
        if not data
        else "".join(line + "\n" for line in SMALL.splitlines() if "data" not in line) + data
    )
    lines = _wrong(text, tmp_path, *changes)
    assert any(line.startswith(message) for line in lines), lines


def test_what_goes_together_is_let_pass(tmp_path: Path) -> None:
    for changes in (
        (),
        ("micro_batch=32", "gradient_checkpointing=true", "precision='bf16'"),
        ("contrastive=0", "attribution.weight=1"),
        ("negatives={source='own', form='full', kinds=['add_object']}",),
        ("negatives={form='own', weight=0.5, source='own', kinds=['add_object']}",),
        ("trains='image'", "attribution={weight=1}"),
        ("attribution.methods=['perturbation', 'attention']", "trains='text'"),
        (f"validation={{data={WORLD}, pairs=500}}", "validation.data.seed=2"),
        ("lora.rank=2", "warmup=100"),
    ):
        assert _read(SMALL, tmp_path, *changes).name == "small", changes
    streamed = SMALL[: SMALL.index("data =")] + f"data = {SHARDS}\n"
    assert _read(streamed, tmp_path, "negatives.form='own'", "negatives.weight=2").name == "small"
    own_of_a_table = COCO.replace('"coco", captions = "c.json"', '"table", table = "t.tsv"')
    changes = ("negatives={source='own', kinds=['swap_object'], each=3}",)
    assert _read(own_of_a_table, tmp_path, *changes).name == "coco"


def test_every_record_of_a_recipe_has_rules_about_entries_it_has() -> None:
    """A rule with a mistyped entry would be silent for ever."""
    optional = {"attribution", "negatives", "validation", "distillation"}
    unions = {"data": settings.DataPlan}
    records = [*get_args(settings.DataPlan), FineTuning, Recipe, settings.Augmentation, settings.LoraPlan]
    assert set(records) <= set(RULES)

    def has(record: Any, path: str) -> bool:
        name, _, rest = path.partition(".")
        fields = record.__dataclass_fields__
        if name not in fields:
            return False
        if not rest:
            return True
        if record is Captioning:
            return any(has(kind, rest) for kind in get_args(get_type_hints(record)[name]))
        if name in unions and record is not Recipe:
            return any(has(kind, rest) for kind in get_args(unions[name]))
        if name in optional:
            plan = {"attribution": settings.AttributionPlan, "negatives": settings.NegativePlan,
                    "validation": settings.ValidationPlan, "distillation": settings.DistillationPlan}  # fmt: skip
            return has(plan[name], rest)
        return rest == "images"  # of a world

    entries = [
        (record, entry)
        for record, rules in RULES.items()
        for rule in rules
        for entry in rule.entries
        if entry[0] != "/"
    ]
    assert len(entries) > 60, "found too few: nothing was checked"
    assert [(record.__name__, entry) for record, entry in entries if not has(record, entry)] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ('name = "x"\nmodle = "tiny-clip"', "neither model nor architecture .has name, modle., wanted exactly one"),
        (SMALL + "[architecture]", "got model and architecture, wanted exactly one"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_at_all_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadRecipe, match=message):
        _read(text, tmp_path)


def test_changes_take_the_place_of_entries(tmp_path: Path) -> None:
    found = _read(
        SMALL, tmp_path, "seed=3", "attribution.weight = 2.0", "attribution.draws=1", 'model="runs/x"'
    )
    assert isinstance(found, FineTuning)
    assert (found.seed, found.model, found.batch) == (3, "runs/x", 32)
    assert found.attribution == settings.AttributionPlan(weight=2.0, draws=1)
    assert _read(SMALL, tmp_path, "model=/runs/my clip-1.0").model == "/runs/my clip-1.0"
    kept = _read(SMALL, tmp_path, "data.images=600")
    assert kept.data == replace(_read(SMALL, tmp_path).data, images=600)  # type: ignore[type-var]
    other = _read(SMALL, tmp_path, "data={kind='coco', captions='c', images='i'}")
    assert other.data == settings.CocoData("coco", "c", "i")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sed=3", "sed: unknown entry, did you mean 'seed'"),
        ("attribution.wieght=1", r"\[attribution\] wieght: unknown entry, did you mean 'weight'"),
        ("model=[runs/x", r"change 'model=\[runs/x' is not KEY=VALUE of TOML .*: give it as in seed=3"),
        ("steps=2O", "steps: got '2O'"),
        ("seed", "is not KEY=VALUE"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(BadRecipe, match=message):
        _read(SMALL, tmp_path, change)


def test_a_section_reads_alone() -> None:
    entries = tomllib.loads(SMALL)
    assert section(FineTuning, entries, "here").name == "small"
    with pytest.raises(BadRecipe, match=r"^here \[one\] cannot be used:\n  steps: got 'x'"):
        section(FineTuning, {**entries, "steps": "x"}, "here [one]")


def test_recipes_are_found_by_path_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent)
    assert find("recipes/tiny-clip.toml") == Path("recipes/tiny-clip.toml")
    assert find("tiny-clip") == Path("recipes/tiny-clip.toml")
    assert find("paper-b/ft") == Path("recipes/paper-b/ft.toml")
    for wrong in ("recipes/tiny-clp.toml", "tiny-clp"):
        with pytest.raises(UnknownName, match="did you mean 'tiny-clip'"):
            find(wrong)
    with pytest.raises(UnknownName, match="did you mean 'paper-b/ft'"):
        find("paper-b/tf")
    with pytest.raises(
        UnknownName, match="no recipe 'studies/scenes'"
    ):  # what `reproduce` reads trains nothing
        find("studies/scenes")
    assert find("scenes", within="studies") == Path("recipes/studies/scenes.toml")
    with pytest.raises(BadRecipe, match="cannot be read"):
        read(Path("recipes"))
