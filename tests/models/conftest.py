"""Tiny random generators, saved once per run."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for captioner_twins


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The directory of a generator's twin, by kind."""
    from captioner_twins import save_twin
    from transformers.models.smolvlm import processing_smolvlm

    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_twin(tmp_path_factory.mktemp("generators") / f"tiny-random-{kind}", kind)
        return made[kind]

    with pytest.MonkeyPatch.context() as patch:
        # SmolVLM's processor refuses to be made without a library that it needs for videos alone
        patch.setattr(processing_smolvlm, "num2words", str)
        yield find
