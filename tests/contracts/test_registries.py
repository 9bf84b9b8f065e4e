"""Every line of every registry leads somewhere."""

from __future__ import annotations

import importlib
import pkgutil

import alignscope
from alignscope.registry import Registry


def _registries() -> dict[str, Registry]:
    modules = [m.name for m in pkgutil.walk_packages(alignscope.__path__, "alignscope.")]
    modules = [name for name in modules if not name.endswith("__main__")]
    things = [thing for name in modules for thing in vars(importlib.import_module(name)).values()]
    return {thing.kind: thing for thing in things if isinstance(thing, Registry)}


def test_every_line_of_every_registry_leads_somewhere():
    registries = _registries()
    assert registries, "found none: nothing was checked"
    lines = [(kind, name) for kind, registry in registries.items() for name in registry]
    assert len(lines) >= len(registries)
    for kind, name in lines:
        assert registries[kind][name] is not None, f"{kind} {name}"
