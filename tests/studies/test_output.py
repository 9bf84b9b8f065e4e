import pytest

from alignscope.errors import BadInput, OutputExists, UnwritableOutput
from alignscope.studies.output import alone, claim, claimed

ONE, OTHER = {"kind": "audit", "seed": 1}, {"kind": "audit", "seed": 2}


def test_a_new_directory_is_claimed(tmp_path):
    claim(tmp_path / "new" / "run", ONE)
    assert '"seed": 1' in (tmp_path / "new" / "run" / "run.json").read_text()


def test_a_non_empty_directory_is_refused_with_the_ways_out(tmp_path):
    claim(tmp_path, ONE)
    with pytest.raises(OutputExists, match="--resume, --overwrite"):
        claim(tmp_path, ONE)


def test_only_the_same_run_resumes(tmp_path):
    claim(tmp_path, ONE)
    (tmp_path / "kept").touch()
    claim(tmp_path, ONE, resume=True)
    assert (tmp_path / "kept").exists()
    with pytest.raises(OutputExists, match="different seed"):
        claim(tmp_path, OTHER, resume=True)


def test_overwrite_deletes_a_run_of_ours_and_nothing_else(tmp_path):
    run, letters = tmp_path / "run", tmp_path / "letters"
    claim(run, ONE)
    (run / "work").mkdir()
    claim(run, OTHER, overwrite=True)
    assert sorted(path.name for path in run.iterdir()) == ["run.json"]
    letters.mkdir()
    (letters / "to-my-mother.txt").write_text("dear")
    with pytest.raises(OutputExists, match="nothing there is deleted"):
        claim(letters, ONE, overwrite=True)
    with pytest.raises(OutputExists, match="no run to resume"):
        claim(letters, ONE, resume=True)
    assert (letters / "to-my-mother.txt").read_text() == "dear"


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableOutput, match="give another --out"):
        claim(tmp_path / "file" / "run", ONE)


def test_one_process_at_a_time(tmp_path):
    directory = tmp_path / "new" / "run"
    with alone(directory):
        with pytest.raises(OutputExists, match="another process is at work"), alone(directory):
            pass
        with alone(tmp_path / "other"):
            pass
    with alone(directory):
        assert list(directory.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableOutput, match="give another --out"), alone(tmp_path / "file"):
        pass


def test_another_run_is_refused_with_every_difference(tmp_path):
    was = {
        "kind": "train",
        "recipe": {"seed": 1, "attribution": {"margin": 0.0, "methods": ("gradcam",)}, "lora": None},
    }
    now = {
        "kind": "train",
        "recipe": {"seed": 1, "attribution": {"margin": 0.1, "methods": ("gradient",)}, "new": "x"},
    }
    claim(tmp_path, was)
    claim(tmp_path, was, resume=True)
    with pytest.raises(OutputExists) as told:
        claim(tmp_path, now, resume=True)
    opening, *lines = str(told.value).split("\n")
    assert opening.startswith(f"{tmp_path} holds another run (different recipe): resume with the same inputs")
    assert lines == [
        "  recipe.attribution.margin: was 0.0, now 0.1",
        '  recipe.attribution.methods: was ["gradcam"], now ["gradient"]',
        "  recipe.lora: was null, now absent",
        '  recipe.new: was absent, now "x"',
    ]


@pytest.mark.parametrize("has_begun", [False, True])
def test_what_is_refused_before_any_work_leaves_its_directory_free(tmp_path, has_begun):
    def refused():
        with claimed(tmp_path, ONE, resume=False, overwrite=False) as work:
            if has_begun:
                (work / "part").touch()
            raise BadInput("got these, wanted those")

    with pytest.raises(BadInput, match="wanted those"):
        refused()
    assert any(tmp_path.iterdir()) == has_begun
