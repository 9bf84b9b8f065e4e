"""Two processes under torchrun find the losses and gradients of one that has all the pairs."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import step_cases as cases
import torch

from alignscope.models.zoo import open_model
from alignscope.training.engine import Engine


@pytest.fixture(scope="module")
def both(tiny_clip_dir: Path, tiny_siglip_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each process wrote down."""
    out = tmp_path_factory.mktemp("processes")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, str(cases.__file__), str(tiny_clip_dir), str(tiny_siglip_dir), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(out / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", cases.CASES)
def test_a_step_of_two_is_that_of_one(
    both: list[Any], tiny_clip_dir: Path, tiny_siglip_dir: Path, name: str
) -> None:
    case = cases.CASES[name]
    encoder = open_model({"clip": tiny_clip_dir, "siglip": tiny_siglip_dir}[case.model])
    given = cases.batch(foils=case.foils, neighbours=case.neighbours, foil_rows=case.foil_rows)
    if case.neighbours:  # each process has a foil of its neighbours'
        first, second = (cases.batch(rows, neighbours=True).neighbours for rows in (slice(2), slice(2, 5)))
        whole = given.neighbours
        similar = type(whole)(whole.pixels, whole.images, whole.captions, (*first.foils, *second.foils))
        given = type(given)(
            given.pixels, given.images, given.captions, given.foils, second if case.lonely else similar
        )
    taken, wanted = cases.step(encoder, given, case.plan, Engine(cpu=True))
    size = math.hypot(*(gradient.norm().item() for gradient in wanted.values()))
    assert size > 1e-4
    for found in both:
        assert found[name]["numbers"] == pytest.approx(cases.numbers(taken), rel=1e-5, abs=1e-6, nan_ok=True)
        slopes = found[name]["gradients"]
        assert slopes.keys() == wanted.keys()
        for key, gradient in wanted.items():
            error = (slopes[key] - gradient).norm().item()
            assert error <= 1e-5 * max(gradient.norm().item(), 1e-2 * size), key


def test_rows_are_gathered_and_their_gradients_summed(both: list[Any]) -> None:
    for found in both:
        assert found["gathered"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert both[0]["slope"].shape == (0, 2)
    assert both[1]["slope"].tolist() == [[3, 6], [9, 12], [15, 18]]


def test_averages_totals_and_what_the_first_decides(both: list[Any]) -> None:
    for found in both:
        none, some = found["averaged"]
        assert none is None
        assert some.tolist() == [2.0, 3.0]
        assert (found["first"], found["refused"], found["total"]) == (0, "not today", 3.0)
