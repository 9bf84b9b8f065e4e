"""The hub is asked only where it is there; where it is not, that is known in moments."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from alignscope.errors import CheckpointError
from alignscope.models import hub
from alignscope.models.zoo import open_model


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub whose name is known nowhere, and no proxy."""
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)


def test_what_listens_answers_and_a_closed_port_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert hub.answers(f"http://127.0.0.1:{port}")
    hub.answers.cache_clear()
    assert not hub.answers(f"http://127.0.0.1:{port}")


def test_a_proxy_alone_knows_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy.invalid"})
    assert hub.answers("https://behind-a-proxy.invalid")


@pytest.mark.usefixtures("absent")
def test_a_typo_without_a_network_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(seconds: float) -> None:
        raise AssertionError(f"the client waits for {seconds} seconds to try again")

    monkeypatch.setattr(time, "sleep", waits)
    with pytest.raises(CheckpointError, match="there is no directory openai/clip-vit-bse here; if it is"):
        open_model("openai/clip-vit-bse")


@pytest.mark.usefixtures("absent")
def test_what_lies_here_needs_no_hub(tmp_path: Path) -> None:
    hub.look_for(tmp_path)
    assert not constants.HF_HUB_OFFLINE
    hub.look_for("organisation/name")
    assert constants.HF_HUB_OFFLINE
