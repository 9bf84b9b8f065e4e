"""`alignscope list models`, and that the catalogue says of every family what its adapter does."""

from __future__ import annotations

import json
import pkgutil

import pytest
import transformers
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.cli.list import WIDTH
from alignscope.errors import Unsupported
from alignscope.models.captioners.captioner import KINDS
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.models.captioners.loading import is_known
from alignscope.models.catalogue import CATALOGUE, Known, named_models
from alignscope.models.cross.loading import FAMILIES as CROSS
from alignscope.models.cross.official import LAYOUTS
from alignscope.models.dual.families import FAMILIES as DUAL
from alignscope.models.zoo import CAPTIONERS, MODELS, open_model

OSCAR = "OscarForCaptioning"
"""Listed as it opens directories of its authors; it writes and gives no score."""
ANY = "AutoModelForImageTextToText"


def classes(family: str) -> list[str]:
    return [name for known in CATALOGUE if known.family == family for name in known.classes]


def test_every_family_that_opens_is_listed_and_no_other() -> None:
    assert {*classes("dual")} == {family.model_class for family in DUAL.values()}
    assert sorted(classes("cross")) == sorted(CROSS)
    assert sorted(classes("captioner")) == sorted([*KINDS, ANY, OSCAR])
    assert all(is_known(name) for name in classes("captioner") if name not in (ANY, OSCAR))
    assert hasattr(transformers, ANY)
    names = [known.name for known in CATALOGUE]
    assert len({*names}) == len(names)


@pytest.mark.parametrize(
    "known", [each for each in CATALOGUE if each.family == "cross"], ids=lambda known: known.name
)
def test_a_matching_head_is_as_its_adapter_says(known: Known) -> None:
    (name,) = known.classes
    family = CROSS[name]
    assert known.match_index == family.match_index
    assert known.methods == family.attributions
    assert known.needs.startswith("regions" if family.unit == "region" else "pixels")
    assert known.score == ("logit of a match" if family.match_index is None else "log-odds of a match")
    assert pkgutil.resolve_name(family.model_class).__name__ == name


def test_files_of_authors_are_among_the_families_under_their_names() -> None:
    listed = {(known.name, known.classes) for known in CATALOGUE}
    assert {(layout.name, (layout.architecture,)) for layout in LAYOUTS} <= listed


def test_every_family_says_where_and_under_which_licence() -> None:
    for known in CATALOGUE:
        assert known.where, known.name
        assert known.licence, known.name
        assert known.methods or known.classes == (OSCAR,), known.name


def test_the_text_fits_a_terminal_and_tells_every_fact() -> None:
    told = CliRunner().invoke(app, ["list", "models"])
    assert told.exit_code == 0
    assert max(map(len, told.output.splitlines())) <= WIDTH
    flat = " ".join(told.output.split())
    for known in CATALOGUE:
        facts = (known.name, *known.classes, known.family, known.needs, known.licence, *known.where)
        assert [fact for fact in facts if fact not in flat] == []
    for name in (*MODELS, *CAPTIONERS):
        assert f" {name} " in flat


def test_json_holds_the_same() -> None:
    told = json.loads(CliRunner().invoke(app, ["list", "models", "--json"]).output)
    assert [row["name"] for row in told["families"]] == [known.name for known in CATALOGUE]
    by_name = {row["name"]: row for row in told["families"]}
    assert by_name["ViLBERT"]["match_index"] == 0
    assert by_name["ViLT"]["match_index"] is None
    assert by_name["UNITER"]["methods"] == ["attention", "gradcam", "gradient", "perturbation"]
    assert [row["name"] for row in told["names"]] == [*MODELS, *CAPTIONERS]
    assert {row["name"]: row["of"] for row in told["names"]}["tiny-clip"] == "CLIP"


def test_a_name_is_of_the_family_that_it_is_listed_as() -> None:
    assert named_models(), "found none: nothing was checked"
    for named in named_models():
        assert named.known is not None, named.name
        if named.name in CAPTIONERS:
            assert type(open_captioner(named.name).model).__name__ in named.known.classes
            with pytest.raises(Unsupported, match="a captioner that writes and gives no score"):
                open_model(named.name)
            continue
        traits = open_model(named.name).traits
        assert (traits.family, traits.match_index) == (named.known.family, named.known.match_index)
        assert traits.attributions == named.known.methods
