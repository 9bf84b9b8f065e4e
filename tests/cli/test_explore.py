"""`alignscope explore` as a user types it."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.errors import BadData, BadInput
from alignscope.studies.exploring.server import ExploreServer


def test_the_printed_address_answers_until_ctrl_c(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "one.png")
    words = [
        "-c",
        "from alignscope.cli import main; main()",
        "explore",
        "tiny-clip",
        "--images",
        str(tmp_path),
    ]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        address = running.stdout.readline().removeprefix("explore: ").strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", address)
        with urllib.request.urlopen(address.replace("/?", "/state?"), timeout=60) as found:
            assert [one["key"] for one in json.load(found)["images"]] == ["one.png"]
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
        assert running.stdout.read().endswith("ended\n")


def test_other_machines_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(server: ExploreServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ExploreServer, "serve_forever", interrupted)
    for host, is_warned in (("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)):
        done = CliRunner().invoke(app, ["explore", "tiny-clip", "--size", "1", "--host", host])
        assert done.exit_code == 0, done.output
        assert ("lets other machines in, unencrypted" in done.stderr) == is_warned
        assert done.stdout.startswith("explore: http://")


def test_what_cannot_be_explored(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="got 3 models"):
        CliRunner().invoke(app, ["explore", *["tiny-clip"] * 3], catch_exceptions=False)
    with pytest.raises(BadData, match="got no image"):
        CliRunner().invoke(app, ["explore", "tiny-clip", "--images", str(tmp_path)], catch_exceptions=False)
    Image.new("RGB", (20, 10)).save(tmp_path / "one.png")
    with pytest.raises(BadInput, match="takes regions of a detector"):
        CliRunner().invoke(app, ["explore", "tiny-uniter", "--images", str(tmp_path)], catch_exceptions=False)
