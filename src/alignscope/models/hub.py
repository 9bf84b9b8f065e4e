"""Whether the Hugging Face hub can be asked, found out in seconds: its own client tries for half a minute."""

from __future__ import annotations

import functools
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = 3.0
"""How long the hub may take to answer a connection."""


def look_for(source: str | Path) -> None:
    """Before `source` is opened: where it is not on this machine and the hub is not there, the cache alone is read.

    For the rest of the process, as with HF_HUB_OFFLINE=1.
    """
    from huggingface_hub import constants

    if Path(source).exists() or constants.HF_HUB_OFFLINE:
        return
    if not answers(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True


@functools.cache
def answers(address: str, *, seconds: float = SECONDS) -> bool:
    """Whether something listens there; taken for granted where a proxy is set, which alone knows.

    >>> answers("http://127.0.0.1:9")
    False
    """
    parts = urlsplit(address)
    if parts.scheme in urllib.request.getproxies():
        return True
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False
