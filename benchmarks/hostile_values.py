"""Values that no column of ours can hold, and arrays of which the least are ours; see `fuzz.py`."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

#: A file that hostile code would make.
SPRUNG = "sprung"
#: What unpacks to more than a call may take, in bytes.
SWOLLEN = 3 << 29
_BLOCK = bytes(1 << 24)


@dataclass
class Raw:
    """Bytes that are stored as if they were text."""

    bytes: bytes


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (SPRUNG, "w")


def deep(n: int = 100_000, opening: str = "[", closing: str = "]", inner: str = "") -> str:
    """JSON that is nested very deep."""
    return opening * n + inner + closing * n


def shown(value: Any) -> str:
    """A value for the report."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:40]}... ({len(text)} letters)"


def flipped(content: bytes, rng: random.Random, n: int) -> bytes:
    """With some bits changed."""
    changed = bytearray(content)
    for _ in range(n):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


_NUMBERS = (
    *(-1, 2**62, -(2**63), 2**63 - 1, -0.5, 1e308, 0.5e-320, float("inf"), float("-inf")),
    *("much", "", "1e999", "nan", "9" * 3_000_000, b"\xff\xfe", b""),
)
_TEXTS = (
    *("", b"\xff\xfe\x00", Raw(b"\xff\xfe\xfd"), Raw(b"abc\x00def"), Raw(b"\xed\xa0\x80"), 2**62),
    *(1e308, "x" * 5_000_000, "\x1b]0;owned\x07\x1b[2J\x1b[31mred", "a\nb\r\nError: forged"),
    *("<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "\u202egpj.exe", "\U0001f600" * 999),
    *(deep(), "../../etc/passwd", "'; DROP TABLE oips; --"),
)
_MOMENTS = (
    *("never", "", 7, b"\xff", 1e308, 2**62, "2" * 4_000_000, "2024-13-45 99:99:99.000000"),
    *("0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999", "-500-01-01 00:00:00.000000"),
    "2024-01-01",
)
_JSONS = (
    *("", "[]", "7", "null", '"text"', "{}", "[[]]", "{", "NaN", 2**62, 1.5, b"\xff\xfe"),
    *('{"kind": "Nothing"}', '{"kind": ["list"]}', '{"kind": {"kind": "GridSpec"}}'),
    *('{"kind": null}', '{"kind": "StudySpec"}', '{"kind": "AscentSpec", "epsilon": true}'),
    *('{"kind": "GridSpec", "rows": 2, "rows": 99999}', '{"__proto__": 1}', '{"a": "\\ud800"}'),
    *('{"a": NaN}', '{"a": 1e999}', '{"a": -Infinity}', '{"a": 1e308}', Raw(b'{"a": "\xff"}')),
    *('{"a": ' + "9" * 5000 + "}", '{"a": "' + "x" * 5_000_000 + '"}'),
    *(deep(), deep(500), deep(980), deep(3000), deep(100_000, '{"a":', "}", "1")),
    "[" + "1," * 2_000_000 + "1]",
)


def value_for(sql_type: str, rng: random.Random) -> Any:
    """A value that hardly any column of a type can hold."""
    choices = {"DATETIME": _MOMENTS, "JSON": _JSONS}.get(sql_type, _TEXTS)
    is_number = sql_type.split("(")[0] in ("INTEGER", "FLOAT", "BIGINT")
    return rng.choice(_NUMBERS if is_number else choices)


# --- arrays ---


def npy(values: Any, fortran: bool = False) -> bytes:
    """An array as ``.npy`` bytes, with pickle where it holds objects."""
    buffer = io.BytesIO()
    array = np.asfortranarray(values) if fortran else np.asarray(values)
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(shape: Any, descr: Any = "<f4", body: bytes = bytes(64)) -> bytes:
    """An ``.npy`` file whose header says whatever."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def zeros(n: int, beginning: bytes = b"") -> Iterator[bytes]:
    """Very many zeros, little by little: the generator itself needs no memory for them."""
    yield beginning
    for _ in range(n // len(_BLOCK)):
        yield _BLOCK


def _bomb(beginning: bytes = b"") -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*map(packer.compress, zeros(SWOLLEN, beginning)), packer.flush()])


def _of_length(n: Any, a: np.ndarray, body: bytes = bytes(64)) -> bytes:
    """The array's type and rank, and another length."""
    return header((n, *[1] * (a.ndim - 1)), a.dtype.str, body)


def _filled(a: np.ndarray, value: float, whole: int) -> bytes:
    return npy(np.full_like(a, value if a.dtype.kind == "f" else whole))


_STRANGE = ["<M8[s]", "|S5", "<U9", "|V8", "<c16", "O", "|b1", "<f2,<f2", "(2,3)f4"]
_VERSION_2 = b"\x93NUMPY\x02\x00"

#: Arrays made of the sound one, not packed yet.
_ARRAYS: dict[str, Callable[[np.ndarray, random.Random], bytes]] = {
    "4 TiB": lambda a, r: header((1 << 20,) * a.ndim, a.dtype.str),
    "4 TiB in a row": lambda a, r: _of_length(1 << 40, a),
    "2**80": lambda a, r: _of_length(1 << 80, a),
    "a negative shape": lambda a, r: header((-1,) * a.ndim, a.dtype.str),
    "a shape of floats": lambda a, r: header((2.5,) * a.ndim, a.dtype.str),
    "a shape of bools": lambda a, r: header((True,) * a.ndim, a.dtype.str),
    "pickles": lambda a, r: npy(np.array([Bomb()], object)),
    "a structure": lambda a, r: npy(np.zeros(a.shape, [("x", "<f4"), ("y", "<i8")])),
    "a strange type": lambda a, r: header(a.shape, r.choice(_STRANGE)),
    "a type that is code": lambda a, r: header(a.shape, f"__import__('os').mkdir('{SPRUNG}')"),
    "Fortran's order": lambda a, r: npy(a, fortran=True),
    "another byte order": lambda a, r: npy(a.astype(a.dtype.newbyteorder(">"))),
    "a rank more": lambda a, r: npy(a[None]),
    "a row less": lambda a, r: npy(a[:-1]),
    "a row more": lambda a, r: npy(np.zeros((len(a) + 1, *a.shape[1:]), a.dtype)),
    "complex numbers": lambda a, r: npy(a.astype(np.complex64)),
    "another width": lambda a, r: npy(a.astype("f4" if a.dtype == "f8" else "f8")),
    "bytes behind it": lambda a, r: npy(a) + b"and more",
    "a long header": lambda a, r: _VERSION_2 + struct.pack("<I", 2**31) + b" " * 99,
    "a deep header": lambda a, r: _VERSION_2 + struct.pack("<I", 9000) + b"(" * 9000,
    "NaN": lambda a, r: _filled(a, np.nan, -1 if a.dtype.kind == "i" else 255),
    "infinity": lambda a, r: _filled(
        a, np.inf, np.iinfo(a.dtype).max if a.dtype.kind != "f" else 0
    ),
    "nonsense": lambda a, r: b"nonsense" * 9,
    "a header only": lambda a, r: npy(a)[:64],
    "other values": lambda a, r: npy((a.astype(float) * 0.5 + 1).astype(a.dtype)),
}
#: As they are stored.
_STORED: dict[str, Callable[[np.ndarray, random.Random], Any]] = {
    "4 TiB, not packed": lambda a, r: _of_length(1 << 40, a),
    "a raw pickle": lambda a, r: b"\x80\x04cos\nsystem\n(S'touch sprung'\ntR.",
    "cut short": lambda a, r: zlib.compress(npy(a))[: -r.randint(1, 9)],
    "cut short, not packed": lambda a, r: npy(a)[: -r.randint(1, 9)] if a.size else b"\x93NUMPY",
    "bytes behind the packed": lambda a, r: zlib.compress(npy(a)) + b"and more",
    "a bomb of zeros": lambda a, r: _bomb(),
    "a bomb of its type": lambda a, r: _bomb(_of_length(SWOLLEN // a.dtype.itemsize, a, b"")),
    "no bytes": lambda a, r: b"",
    "a text": lambda a, r: "an array",
    "a number": lambda a, r: 7,
}
ARRAY_KINDS = (*_ARRAYS, *_STORED)


def array(kind: str, sound: np.ndarray, rng: random.Random) -> Any:
    """What stands in the place of a stored array."""
    if kind in _STORED:
        return _STORED[kind](sound, rng)
    return zlib.compress(_ARRAYS[kind](sound, rng))


def is_wrong_array(kind: str, sound: np.ndarray, column: str) -> bool:
    """Whether anyone can tell that it isn't the sound one: by type, shape or values."""
    if kind == "Fortran's order":
        return False  # the same values in another form
    if kind == "another byte order":
        return sound.dtype.itemsize > 1
    if kind in ("NaN", "infinity"):
        return sound.dtype.kind == "f"
    return kind != "other values" or column in ("image", "trace")
