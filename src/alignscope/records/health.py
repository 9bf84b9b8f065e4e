"""What of an installation works, as `alignscope doctor` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HealthState = Literal["works", "absent", "broken"]


@dataclass(frozen=True)
class HealthCheck:
    """One part of an installation; what is absent was never needed, what is broken was."""

    group: str  # "versions", "extras", "devices", "java", "models", "hub", "caches"
    subject: str  # "torch", "caption", "CUDA", "tiny-clip", ...
    state: HealthState
    found: str  # a version, a device, a path, or what went wrong
    gives: str = ""  # what there is with it, and not without
    remedy: str = ""  # what to do, where it does not work
