"""Pickled plain data without running what a pickle may hold: containers, numbers, text, bytes and arrays.

A pickle is a program. Here it may name numpy's array and dtype and nothing else, and even these are stand-ins
of our own which only keep what they are given; arrays are made from their bytes afterwards.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from functools import partial
from typing import Any, final

import numpy as np

from alignscope.errors import BadData

_NUMPY = ("numpy.core", "numpy._core")


def plain(content: bytes) -> Any:
    """What was pickled; a name that is not numpy's array or dtype, or broken content, is a `BadData`."""
    try:
        for _ in pickletools.genops(content):  # lengths are what is there, before memory is taken for them
            pass
        return _whole(_Plain(io.BytesIO(content), encoding="latin1").load())
    except BadData:
        raise
    except Exception as error:  # the machine that reads pickles raises whatever a broken one leads it to
        raise BadData(f"got a pickle that does not read ({type(error).__name__}: {error})") from None


@final
class _Dtype:
    """Stands for numpy.dtype(code, align, copy)."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order: Any = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype:
        if not isinstance(self.code, str) or self.code[:1] not in "fiub" or self.order not in "<>|=":
            raise BadData(f"got a pickled array of kind {self.code!r}, wanted numbers")
        return np.dtype(self.code).newbyteorder(self.order)


@final
class _Array:
    """Stands for numpy.ndarray and what makes one: state is version, shape, dtype, column order, bytes."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, dtype, by_columns, raw = self.state
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        numbers = np.frombuffer(content, dtype.dtype())
        return numbers.reshape(shape, order="F" if by_columns else "C")


def _scalar(dtype: _Dtype, content: bytes | str) -> Any:
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype.dtype())[0].item()


def _from_buffer(
    content: bytes | bytearray, dtype: _Dtype, shape: tuple[int, ...], order: str, *_: object
) -> _Array:
    """Stands for numpy's _frombuffer, by which protocol 5 writes arrays."""
    if order not in ("C", "F"):
        raise BadData(f"got a pickled array in the order {order!r}, wanted C or F")
    array = _Array()
    array.state = (1, shape, dtype, order == "F", content)
    return array


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """Stands for _codecs.encode, by which old protocols write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise BadData(f"got a pickle that encodes as {encoding[:20]!r}, wanted latin1")
    return text.encode("latin1")


def _bytes(*given: Any) -> bytes:
    """Stands for bytes(), by which old protocols write the empty one."""
    if given:
        raise BadData("got a pickle that calls bytes(), wanted the empty bytes only")
    return b""


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _bytes,
    ("builtins", "bytes"): _bytes,
    **{(f"{package}.multiarray", "_reconstruct"): _Array for package in _NUMPY},
    **{(f"{package}.multiarray", "scalar"): _scalar for package in _NUMPY},
    **{(f"{package}.numeric", "_frombuffer"): _from_buffer for package in _NUMPY},
}


@final
class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise BadData(
                f"got a pickle that calls {module[:60]}.{name[:60]}, wanted plain data and numpy arrays; "
                "it was not run"
            )
        admitted = _ADMITTED[module, name]
        # a pickle can set attributes of what it names: of a function it gets a throw-away wrapper
        return admitted if isinstance(admitted, type) else partial(admitted)


def _whole(value: Any) -> Any:
    """Arrays in place of their stand-ins, in containers of containers."""
    match value:
        case _Array():
            return value.array()
        case dict():
            return {key: _whole(each) for key, each in value.items()}
        case list() | tuple():
            return [_whole(each) for each in value]
        case str() | bytes() | int() | float() | None:
            return value
    raise BadData(f"got a pickled {type(value).__name__}, wanted plain data and numpy arrays")
