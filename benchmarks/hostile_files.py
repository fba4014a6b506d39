"""Databases, data sets and models as an enemy or a bad disk would make them; see ``fuzz.py``.

A case has a number and is made from that and the seed. What `oip check` must find is a *lie*: any
value that oiplib can tell to be wrong, because it has another type or lies outside of what can be,
contradicts another value, or isn't what is computed from the others. What it can't tell stands in
`UNKNOWABLE`, with the reason.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import random
import re
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: A file that hostile code would make.
SPRUNG = "sprung"
SCHEMAS = Path(__file__).parent.parent / "tests" / "schemas"

#: Columns whose value may be another plausible one, and nobody can tell.
UNKNOWABLE = {
    "created asked started seconds": "a moment and a duration are not part of a result",
    "kind status error environment": "what a run says of itself",
    "name": "a name says nothing",
    "history accuracy dataset": "takes the data set",
    "run_id": "any run may have made a result",
    "steps starts losses scan_id": "takes an ascent",
    "n_reacting top_indices top_responses top_preactivations edges histogram n_patterns": "takes a screening",
    "n_images top_images class_means images strongest_preactivation": "takes the data set",
    "peaks features shifts unlike_losses unlike_alike unlike_images patterns n_starts": "takes restarts",
    "scores shuffled median shuffled_median images_sha256 relation way": "takes other trainings",
    "frames report_steps stop_reason": "takes an ascent",
    "networks.spec_sha256": "the content of a file that isn't there is part of it",
    "position id": "an order",
}
_UNKNOWABLE = {name for names in UNKNOWABLE for name in names.split()}


@dataclass
class Case:
    """A hostile file.

    `expects` is what `oip check` must say of it: ``lie`` (not sound), ``sound`` or anything. A
    file that isn't a database has the `args` of its own command, and must be ``refused``.
    """

    family: str
    what: str
    expects: str = ""
    reason: str = ""
    id: int = 1
    file: str = "hostile.db"
    commands: tuple[str, ...] = ()
    args: tuple[str, ...] | None = None
    is_ours: bool = True


def make_sound(folder: Path) -> None:
    """A tiny network on real digits, with something in every table; and a model file."""
    from oiplib import (
        AscentSpec,
        ClimbSpec,
        CnnSpec,
        FluctuationSpec,
        GridSpec,
        RungSpec,
        ScanSpec,
        Study,
        StudySpec,
        TrialSpec,
        VarietySpec,
    )
    from oiplib.engine import data, network
    from oiplib.study.questions import reaction, varieties
    from oiplib.study.trainings import correspondences

    mnist = data.load("mnist")
    images = {"x_train": mnist.train_images[:600, ..., 0], "y_train": mnist.train_labels[:600]}
    images |= {"x_test": mnist.test_images[:100, ..., 0], "y_test": mnist.test_labels[:100]}
    os.chdir(folder)
    np.savez("digits.npz", **images)
    rungs = (
        RungSpec(8, AscentSpec(6, 0.3, n_steps=0, objective="pre-activation")),
        RungSpec(3, AscentSpec(11, 0.2, n_steps=2, schedule="cosine")),
    )
    climb = ClimbSpec(tuple(rung.ascent for rung in rungs))
    spec = StudySpec(
        CnnSpec("digits.npz", maps=(3, 4, 5), dense=(8,), epochs=1),
        trials=TrialSpec(FluctuationSpec(), n_trials=2, ascent=AscentSpec(16, n_steps=2)),
        scan=ScanSpec(GridSpec((0.2, 0.8), 3, 3), rungs=rungs, n_oips=2),
        variety=VarietySpec(n_starts=4, climb=climb, n_unlike=1),
    )
    study = Study("making.db", spec)
    study.screening()
    study.derive()
    study.derive(study.objective("Classes:4 - Classes:9"))
    varieties(study)
    for kind in ("fluctuation", "data"):
        reaction(study, kind)
    correspondences(study)
    network.save(study.model, "sound.keras")
    study.store.close()
    copy(folder / "making.db", folder / "sound.db")
    with closing(sqlite3.connect(folder / "sound.db")) as connection:
        connection.executescript(_FEWER)  # two of the four networks, or each check takes long


_FEWER = """
DELETE FROM scans WHERE layer_id IN
    (SELECT id FROM layers WHERE network_id > 1 OR name IN ('Conv2D_1', 'Conv2D_2'));
DELETE FROM oips WHERE layer_id IN
    (SELECT id FROM layers WHERE network_id > 1 OR name IN ('Conv2D_1', 'Conv2D_2'));
DELETE FROM rungs WHERE scan_id NOT IN (SELECT id FROM scans);
DELETE FROM correspondences WHERE layer_id IN (SELECT id FROM layers WHERE network_id > 2)
    OR other_id IN (SELECT id FROM layers WHERE network_id > 2);
DELETE FROM studies WHERE network_id > 1;
DELETE FROM layers WHERE network_id > 2;
DELETE FROM networks WHERE id > 2;
VACUUM;
"""


def copy(source: Path, target: Path) -> None:
    """A copy of a database in one file, without a log."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as made:
        original.backup(made)


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (SPRUNG, "w")


# --- values ---


def deep(n: int = 100_000, opening: str = "[", closing: str = "]", inner: str = "") -> str:
    """JSON that is nested very deep."""
    return opening * n + inner + closing * n


def numbers(rng: random.Random) -> Any:
    """A value that no number of ours can be."""
    return rng.choice(
        [
            -1,
            2**62,
            -(2**63),
            2**63 - 1,
            "much",
            "",
            b"\xff\xfe",
            b"",
            1e308,
            float("inf"),
            -0.5,
            float("-inf"),
            "9" * 3_000_000,
            "1e999",
            "nan",
            0.5e-320,
        ]
    )


def texts(rng: random.Random) -> Any:
    """A value that no text of ours can be."""
    return rng.choice(
        [
            "",
            b"\xff\xfe\x00",
            Raw(b"\xff\xfe\xfd"),
            Raw(b"abc\x00def"),
            "x" * 5_000_000,
            2**62,
            1e308,
            "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
            "a\nb\r\nError: forged",
            "<img src=x onerror=alert(1)>",
            "=cmd|' /C calc'!A0",
            "\u202egpj.exe",
            "\ud83d\ude00" if False else "\U0001f600" * 999,
            deep(),
            "../../etc/passwd",
            "'; DROP TABLE oips; --",
            Raw(b"\xed\xa0\x80"),
        ]
    )


def moments(rng: random.Random) -> Any:
    """A value that no moment can be."""
    return rng.choice(
        [
            "never",
            "",
            7,
            b"\xff",
            "0001-01-01 00:00:00.000000",
            "9999-12-31 23:59:59.999999",
            "2024-13-45 99:99:99.000000",
            "2" * 4_000_000,
            "2024-01-01",
            1e308,
            2**62,
            "-500-01-01 00:00:00.000000",
        ]
    )


def jsons(rng: random.Random) -> Any:
    """A value that no JSON of ours can be."""
    return rng.choice(
        [
            "",
            "[]",
            "7",
            "null",
            '"text"',
            "{}",
            "[[]]",
            "{",
            deep(),
            deep(opening='{"a":', closing="}", inner="1"),
            '{"kind": "Nothing"}',
            '{"kind": ["list"]}',
            '{"kind": {"kind": "GridSpec"}}',
            '{"kind": null}',
            "NaN",
            '{"a": NaN}',
            '{"a": 1e999}',
            '{"a": -Infinity}',
            '{"a": 1e308}',
            '{"a": ' + "9" * 5000 + "}",
            '{"a": "\\ud800"}',
            '{"a": "' + "x" * 5_000_000 + '"}',
            '{"kind": "GridSpec", "rows": 2, "rows": 99999}',
            '{"kind": "StudySpec"}',
            '{"kind": "AscentSpec", "epsilon": true}',
            b"\xff\xfe",
            Raw(b'{"a": "\xff"}'),
            2**62,
            1.5,
            "[" + "1," * 2_000_000 + "1]",
            '{"__proto__": 1}',
            deep(500),
            deep(980),
            deep(3000),
        ]
    )


@dataclass
class Raw:
    """Bytes that are stored as if they were text."""

    bytes: bytes


def npy(values: Any, fortran: bool = False, pickled: bool = False) -> bytes:
    """An array as ``.npy`` bytes."""
    buffer = io.BytesIO()
    array = np.asfortranarray(values) if fortran else np.asarray(values)
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def header(shape: Any, descr: Any = "<f4", body: bytes = b"\0" * 64) -> bytes:
    """An ``.npy`` file whose header says whatever."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def zeros(n: int) -> bytes:
    """Some MB that unpack to `n` bytes."""
    packer, parts, block = zlib.compressobj(9), [], b"\0" * (1 << 24)
    for _ in range(n >> 24):
        parts.append(packer.compress(block))
    return b"".join([*parts, packer.flush()])


def bomb(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """An array of zeros of some GB in some MB."""
    packer = zlib.compressobj(9)
    parts, block = [packer.compress(header(shape, descr, b""))], b"\0" * (1 << 24)
    for _ in range((int(np.prod(shape)) * np.dtype(descr).itemsize) >> 24):
        parts.append(packer.compress(block))
    return b"".join([*parts, packer.flush()])


#: Arrays from the sound one: name -> what makes its bytes.
ARRAYS: dict[str, Callable[[np.ndarray, random.Random], Any]] = {
    "declares 4 TiB": lambda a, r: zlib.compress(
        header((1 << 20,) * min(2, a.ndim) + (1,) * (a.ndim - 2), a.dtype.str)
    ),
    "declares 4 TiB, unpacked": lambda a, r: header((1 << 40,) + (1,) * (a.ndim - 1), a.dtype.str),
    "declares 2**80": lambda a, r: zlib.compress(
        header((1 << 80,) + (1,) * (a.ndim - 1), a.dtype.str)
    ),
    "negative shape": lambda a, r: zlib.compress(header((-1,) * a.ndim, a.dtype.str)),
    "shape of floats": lambda a, r: zlib.compress(header((2.5,) * a.ndim, a.dtype.str)),
    "shape of bools": lambda a, r: zlib.compress(header((True,) * a.ndim, a.dtype.str)),
    "pickle": lambda a, r: zlib.compress(npy(np.array([Bomb()], object), pickled=True)),
    "raw pickle": lambda a, r: b"\x80\x04cos\nsystem\n(S'touch sprung'\ntR.",
    "structured": lambda a, r: zlib.compress(
        npy(np.zeros(a.shape, [("x", "<f4"), ("y", "O")]).astype([("x", "<f4"), ("y", "<i8")]))
    ),
    "strange type": lambda a, r: zlib.compress(
        header(
            a.shape,
            r.choice(["<M8[s]", "|S5", "<U9", "|V8", "<c16", "O", "|b1", "<f2,<f2", "(2,3)f4"]),
        )
    ),
    "descr is code": lambda a, r: zlib.compress(
        header(a.shape, "__import__('os').system('touch sprung')")
    ),
    "Fortran's order": lambda a, r: zlib.compress(
        npy(a.T.copy().T if a.ndim < 2 else a, fortran=True)
    ),
    "other byte order": lambda a, r: zlib.compress(npy(a.astype(a.dtype.newbyteorder(">")))),
    "a rank more": lambda a, r: zlib.compress(npy(a[None])),
    "a row less": lambda a, r: zlib.compress(npy(a[:-1])),
    "a row more": lambda a, r: zlib.compress(
        npy(np.concatenate([a, a[:1]]) if len(a) else np.zeros((1, *a.shape[1:]), a.dtype))
    ),
    "other type": lambda a, r: zlib.compress(npy(a.astype(np.complex64))),
    "wider type": lambda a, r: zlib.compress(
        npy(a.astype(np.float64 if a.dtype.kind != "f" or a.dtype.itemsize < 8 else np.float32))
    ),
    "cut short": lambda a, r: zlib.compress(npy(a))[: -r.randint(1, 9)],
    "cut short, unpacked": lambda a, r: npy(a)[: -r.randint(1, 9)] if a.size else b"\x93NUMPY",
    "trailing bytes": lambda a, r: zlib.compress(npy(a) + b"and more"),
    "trailing after zlib": lambda a, r: zlib.compress(npy(a)) + b"and more",
    "bomb of zeros": lambda a, r: zeros(3 << 29),
    "bomb in its type": lambda a, r: bomb(
        (1 << (28 if a.dtype.itemsize > 4 else 29),) + (1,) * (a.ndim - 1), a.dtype.str
    ),
    "long header": lambda a, r: zlib.compress(
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 99
    ),
    "deep header": lambda a, r: zlib.compress(
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 9000) + b"(" * 9000
    ),
    "NaN": lambda a, r: zlib.compress(
        npy(
            np.full(a.shape, np.nan, a.dtype)
            if a.dtype.kind == "f"
            else np.full_like(a, -1 if a.dtype.kind == "i" else 255)
        )
    ),
    "infinite": lambda a, r: zlib.compress(
        npy(
            np.full(a.shape, np.inf, a.dtype)
            if a.dtype.kind == "f"
            else np.full_like(a, np.iinfo(a.dtype).max)
        )
    ),
    "empty": lambda a, r: b"",
    "a text": lambda a, r: "an array",
    "a number": lambda a, r: 7,
    "no array": lambda a, r: zlib.compress(os.urandom(0) + b"nonsense" * 9),
    "a header only": lambda a, r: zlib.compress(npy(a)[:64]),
    "other values": lambda a, r: zlib.compress(npy((a.astype(float) * 0.5 + 1).astype(a.dtype))),
}
#: Not lies: the same values in another form, or other values that may be plausible.
_SAME_ARRAY = {
    "Fortran's order",
    "other byte order",
    "trailing bytes",
    "trailing after zlib",
    "NaN",
    "infinite",
    "other values",
}


def architectures(rng: random.Random, sound: str) -> Iterator[tuple[str, str, bool]]:
    """Architectures: name, JSON, whether it must be a lie."""
    whole = json.loads(sound)

    def changed(change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> str:
        other = json.loads(sound)
        change(other, other["config"]["layers"])
        return json.dumps(other)

    def dense(config: dict[str, Any]) -> Callable[[Any, list[dict[str, Any]]], None]:
        return lambda whole, layers: layers[-1]["config"].update(config)

    def instead(part: dict[str, Any]) -> Callable[[Any, list[dict[str, Any]]], None]:
        return lambda whole, layers: layers[1].update(part)

    n_layer = {"module": "keras.layers", "registered_name": None, "build_config": None}
    lam = {
        "class_name": "__lambda__",
        "config": {"value": "4wEAAA==", "defaults": None, "closure": None},
    }
    yield "Dense of 2e9 units", changed(dense({"units": 2_000_000_000})), True
    yield "Dense of 1e5 units", changed(dense({"units": 100_000})), True
    yield "Dense of -3 units", changed(dense({"units": -3})), True
    yield "Dense of 1e308 units", changed(dense({"units": 1e308})), True
    yield (
        "kernel of 1e6",
        changed(lambda w, la: la[1]["config"].update(kernel_size=[10**6, 10**6])),
        True,
    )
    yield "filters 2e9", changed(lambda w, la: la[1]["config"].update(filters=2 * 10**9)), True
    yield (
        "images of 1e6",
        changed(lambda w, la: la[0]["config"].update(batch_shape=[None, 10**6, 10**6, 1])),
        True,
    )
    yield (
        "batches of 1e6",
        changed(lambda w, la: la[0]["config"].update(batch_shape=[10**6, 28, 28, 1])),
        True,
    )
    yield (
        "Lambda",
        changed(
            instead({"class_name": "Lambda", **n_layer, "config": {"name": "x", "function": lam}})
        ),
        True,
    )
    yield (
        "os.system",
        changed(
            instead(
                {
                    "module": "os",
                    "class_name": "system",
                    "config": "touch sprung",
                    "registered_name": None,
                }
            )
        ),
        True,
    )
    yield (
        "builtins.eval",
        changed(
            instead(
                {
                    "module": "builtins",
                    "class_name": "eval",
                    "config": {"value": "open('sprung','w')"},
                }
            )
        ),
        True,
    )
    yield (
        "a function of os",
        changed(
            dense(
                {
                    "activation": {
                        "module": "os",
                        "class_name": "function",
                        "config": "system",
                        "registered_name": "system",
                    }
                }
            )
        ),
        True,
    )
    yield (
        "a module to import",
        changed(instead({"module": "antigravity", "class_name": "Fly", "config": {}})),
        True,
    )
    yield (
        "a private module",
        changed(
            instead(
                {"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}}
            )
        ),
        True,
    )
    yield (
        "a registered name",
        changed(
            instead(
                {
                    "class_name": "Own",
                    "registered_name": "package>Own",
                    "module": "own",
                    "config": {},
                }
            )
        ),
        True,
    )
    yield (
        "TFSMLayer",
        changed(
            instead(
                {"class_name": "TFSMLayer", **n_layer, "config": {"filepath": "/etc", "name": "x"}}
            )
        ),
        True,
    )
    yield (
        "StringLookup",
        changed(
            instead(
                {
                    "class_name": "StringLookup",
                    **n_layer,
                    "config": {"vocabulary": "/etc/passwd", "name": "x"},
                }
            )
        ),
        True,
    )
    yield (
        "a policy of its own",
        changed(
            dense(
                {
                    "dtype": {
                        "module": "keras",
                        "class_name": "DTypePolicy",
                        "config": {"name": "float16"},
                    }
                }
            )
        ),
        True,
    )
    yield "an unknown activation", changed(dense({"activation": "os.system"})), True
    yield "a layer called twice", changed(lambda w, la: la.append(la[-1])), True
    yield "no layers", changed(lambda w, la: la.clear()), True
    yield (
        "a thousand layers",
        changed(
            lambda w, la: la.extend(
                [{**la[-1], "config": {**la[-1]["config"], "name": f"d{i}"}} for i in range(1000)]
            )
        ),
        True,
    )
    yield (
        "layers is a text",
        json.dumps({**whole, "config": {**whole["config"], "layers": "abc"}}),
        True,
    )
    yield "config is a list", json.dumps({**whole, "config": [1]}), True
    yield "models in models", _nested(whole, 300), True
    yield "nested 100,000 deep", deep(), True
    yield (
        "nested configs",
        deep(9000, '{"class_name":"Sequential","config":{"layers":[', "]}}"),
        True,
    )
    yield "a name with escapes", changed(dense({"name": "\x1b[2J<b>"})), True
    yield "a huge name", changed(dense({"name": "x" * 3_000_000})), True
    yield (
        "NaN in a config",
        changed(lambda w, la: la[1]["config"].update(strides=[float("nan")] * 2)),
        True,
    )
    yield (
        "a numpy value",
        changed(
            dense(
                {
                    "bias_initializer": {
                        "class_name": "__numpy__",
                        "config": {"value": [[1]] * 9, "dtype": "object"},
                    }
                }
            )
        ),
        True,
    )
    yield (
        "a constant of 1e308",
        changed(
            dense(
                {
                    "bias_initializer": {
                        "module": "keras.initializers",
                        "class_name": "Constant",
                        "config": {"value": 1e308},
                        "registered_name": None,
                    }
                }
            )
        ),
        True,
    )
    yield (
        "an identity of 1e5",
        changed(
            dense(
                {
                    "kernel_initializer": {
                        "module": "keras.initializers",
                        "class_name": "Identity",
                        "config": {"gain": 1.0},
                        "registered_name": None,
                    },
                    "units": 50_000,
                }
            )
        ),
        True,
    )
    yield (
        "UpSampling by 1e5",
        changed(
            lambda w, la: la.insert(
                1,
                {
                    "class_name": "UpSampling2D",
                    **n_layer,
                    "config": {"name": "up", "size": [10**5, 10**5]},
                },
            )
        ),
        True,
    )
    yield (
        "ZeroPadding by 1e5",
        changed(
            lambda w, la: la.insert(
                1,
                {
                    "class_name": "ZeroPadding2D",
                    **n_layer,
                    "config": {"name": "up", "padding": [[10**5, 10**5]] * 2},
                },
            )
        ),
        True,
    )
    yield (
        "RepeatVector of 1e9",
        changed(
            lambda w, la: la.insert(
                -1, {"class_name": "RepeatVector", **n_layer, "config": {"name": "up", "n": 10**9}}
            )
        ),
        True,
    )


def _nested(whole: dict[str, Any], n: int) -> str:
    inner = json.dumps(whole)
    for i in range(n):
        inner = (
            '{"module":"keras","class_name":"Sequential","registered_name":null,"config":'
            f'{{"name":"s{i}","layers":[{inner}]}}}}'
        )
    return inner


def archives(rng: random.Random, sound: bytes) -> Iterator[tuple[str, Any, bool]]:
    """Archives of weights: name, bytes, whether it must be a lie."""
    with np.load(io.BytesIO(sound)) as archive:
        arrays = {name: archive[name] for name in archive.files}

    def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    whole = {f"{name}.npy": npy(array) for name, array in arrays.items()}
    big = {**whole, "w000.npy": header((3 << 27,), "<f4", b"\0" * (3 << 29))}
    yield "cut short", sound[: rng.randint(1, len(sound) - 1)], True
    yield "empty", b"", True
    yield "text", "PK", True
    yield "a flipped bit", flipped(sound, rng, 1), False
    yield "other shapes", zipped({**whole, "w000.npy": npy(np.zeros((9, 9), "f4"))}), True
    yield "4 TiB", zipped({**whole, "w000.npy": header((1 << 40,))}), True
    yield "a zip bomb", zipped(big, zipfile.ZIP_DEFLATED), True
    yield (
        "a bomb beside",
        zipped({**whole, "w999.npy": b"\0" * (3 << 29)}, zipfile.ZIP_DEFLATED),
        False,
    )
    yield (
        "pickles",
        zipped({**whole, "w000.npy": npy(np.array([Bomb()], object), pickled=True)}),
        True,
    )
    yield "../ names", zipped({**whole, "../sprung": b"x", "/sprung": b"x"}), False
    yield "a member missing", zipped({k: v for k, v in whole.items() if k != "w001.npy"}), True
    yield "NaN", zipped({**whole, "w000.npy": npy(np.full_like(arrays["w000"], np.nan))}), True
    yield "1e38", zipped({**whole, "w000.npy": npy(np.full_like(arrays["w000"], 3e38))}), True
    yield "other weights", zipped({**whole, "w000.npy": npy(arrays["w000"] * 1.5)}), True
    yield "float64", zipped({**whole, "w000.npy": npy(arrays["w000"].astype("f8") + 1e-9)}), False
    yield "strings", zipped({**whole, "w000.npy": npy(np.array(["a"]))}), True
    yield "no npy", zipped({**whole, "w000.npy": b"nonsense"}), True


def flipped(content: bytes, rng: random.Random, n: int) -> bytes:
    """With some bits changed."""
    changed = bytearray(content)
    for _ in range(n):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


# --- cases ---


class Cases:
    """All cases of a seed."""

    #: One of these a case, in turn; the n-th of a family takes the n-th of its list.
    FAMILIES = (
        *("column", "array", "network", "column", "spec", "bytes", "column", "lie"),
        *("column", "array", "network", "column", "orphan", "names", "column", "layout"),
        *("column", "array", "network", "spec", "lie", "older", "swap", "no database", "other"),
    )

    def __init__(self, sound: Path, seed: int) -> None:
        self.sound, self.seed = sound, seed
        self.content = (sound / "sound.db").read_bytes()
        with closing(sqlite3.connect(sound / "sound.db")) as connection:
            query = (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'"
            )
            self.tables = [name for (name,) in connection.execute(query)]
            self.columns = [
                (table, *column[1:4])
                for table in self.tables
                for column in connection.execute(f"PRAGMA table_info({table})")
            ]
        self.layout_sql = list(LAYOUTS)

    def make(self, number: int, folder: Path) -> Case:
        """The case of a number, written into a folder."""
        family = self.FAMILIES[number % len(self.FAMILIES)]
        place = number // len(self.FAMILIES) * self.FAMILIES.count(family)
        place += self.FAMILIES[: number % len(self.FAMILIES)].count(family)
        rng = random.Random(f"{self.seed}:file:{number}")
        order = random.Random(f"{self.seed}:{family}")
        made: Case = getattr(self, "_" + family.replace(" ", "_"))(folder, rng, order, place)
        return made

    def _copy(self, folder: Path, name: str = "hostile.db") -> sqlite3.Connection:
        path = folder / name
        path.write_bytes(self.content)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA journal_mode = DELETE")
        return connection

    def _set(self, connection: Any, table: str, column: str, id: int, value: Any) -> None:
        """Set a value, also NULL where that is forbidden."""
        if value is None:
            sql = "SELECT sql FROM sqlite_master WHERE name = ?"
            (whole,) = connection.execute(sql, (table,)).fetchone()
            connection.execute("PRAGMA writable_schema = ON")
            change = "UPDATE sqlite_master SET sql = ? WHERE name = ?"
            connection.execute(change, (whole.replace("NOT NULL", "        "), table))
            connection.execute("PRAGMA schema_version = 999")
            connection.execute(f"UPDATE {table} SET {column} = NULL WHERE id = ?", (id,))
            connection.execute(change, (whole, table))
            connection.execute("PRAGMA schema_version = 1000")
        elif isinstance(value, Raw):
            sql = f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE id = ?"
            connection.execute(sql, (value.bytes, id))
        else:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, id))

    def _row(self, connection: Any, table: str, rng: random.Random) -> int:
        ids = [id for (id,) in connection.execute(f"SELECT id FROM {table}")]
        return rng.choice(ids)

    def _id_of(self, connection: Any, table: str, id: int) -> int:
        """An OIP to ask for: the damaged one, or one that comes from the row."""
        if table == "oips":
            return id
        by = {"layers": "layer_id", "runs": "run_id"}.get(table)
        found = by and connection.execute(f"SELECT id FROM oips WHERE {by} = ?", (id,)).fetchone()
        return found[0] if found else 1

    def _column(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Every column of every table, with a value that can't be."""
        columns = [each for each in self.columns if each[1] != "id"]
        order.shuffle(columns)
        table, column, kind, not_null = columns[place % len(columns)]
        values = {"DATETIME": moments, "JSON": jsons, "BLOB": texts}.get(kind, texts)
        values = numbers if kind.split("(")[0] in ("INTEGER", "FLOAT", "BIGINT") else values
        value = None if rng.random() < 0.12 else values(rng)
        with closing(self._copy(folder)) as connection:
            id = self._row(connection, table, rng)
            if table == "runs" and column == "environment":
                id = connection.execute("SELECT run_id FROM oips").fetchone()[0]
            old = f"SELECT {column} FROM {table} WHERE id = {id}"
            before = connection.execute(old).fetchone()[0]
            self._set(connection, table, column, id, value)
            after = connection.execute(
                f"SELECT CAST({column} AS BLOB) FROM {table} WHERE id = {id}"
            )
            same = after.fetchone()[0] == before
            oip = self._id_of(connection, table, id)
        what = f"{table}.{column} of row {id} = {shown(value)}"
        is_free = (table, column) in (("runs", "error"), ("networks", "dataset"))
        is_free |= (value is None and not not_null) or same
        expects = "" if is_free else "lie"
        return Case("column", what, expects, f"no {kind or 'value'} of ours", oip)

    def _array(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Every column of arrays, with every kind of array."""
        columns = [each for each in self.columns if each[2] == "BLOB" and each[1] != "weights"]
        kinds = list(ARRAYS)
        order.shuffle(columns)
        order.shuffle(kinds)
        table, column, *_ = columns[place % len(columns)]
        kind = kinds[place % len(kinds)]
        with closing(self._copy(folder)) as connection:
            query = f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL"
            rows = connection.execute(query).fetchall()
            if not rows:  # the probe of a model that was taken in
                table, column = "oips", "image"
                rows = connection.execute("SELECT id, image FROM oips").fetchall()
            id, value = rng.choice(rows)
            array = np.load(io.BytesIO(zlib.decompress(value)))
            if not array.size and kind in ("NaN", "infinite", "other values", "a row less"):
                kind = "a rank more"
            self._set(connection, table, column, id, ARRAYS[kind](array, rng))
            oip = self._id_of(connection, table, id)
        is_lie = kind not in _SAME_ARRAY or (
            kind in ("NaN", "infinite") and array.dtype.kind == "f"
        )
        is_lie |= kind == "other values" and column in ("image", "trace")
        what = f"{table}.{column} of row {id}: {kind}"
        return Case("array", what, "lie" if is_lie else "", "another type, shape or value", oip)

    def _network(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Architectures and weights, with the old hashes or with new ones."""
        with closing(self._copy(folder)) as connection:
            query = "SELECT architecture, weights FROM networks WHERE id = 1"
            architecture, weights = connection.execute(query).fetchone()
            choices: list[tuple[str, str, Any]] = []
            names = [name for name, *_ in architectures(rng, architecture)]
            kinds = [("architecture", name) for name in names]
            kinds += [("weights", name) for name in _ARCHIVE_NAMES]
            order.shuffle(kinds)
            column, kind = kinds[place % len(kinds)]
            makers = (
                architectures(rng, architecture)
                if column == "architecture"
                else archives(rng, weights)
            )
            value, is_lie = next((v, lie) for name, v, lie in makers if name == kind)
            self._set(connection, "networks", column, 1, value)
            rehashed = rng.random() < 0.5 and isinstance(value, (str, bytes))
            if rehashed:
                self._rehash_network(connection)
            del choices
        what = f"networks.{column}: {kind}" + (", hashes made anew" if rehashed else "")
        reason = "can't be rebuilt, or answers otherwise"
        return Case("network", what, "lie" if is_lie else "", reason, commands=("replay", "derive"))

    def _rehash_network(self, connection: Any) -> None:
        import hashlib

        query = "SELECT architecture, weights, inputs FROM networks WHERE id = 1"
        architecture, weights, inputs = connection.execute(query).fetchone()
        digest = hashlib.sha256()
        try:
            with np.load(io.BytesIO(weights)) as archive:
                for name in archive.files[:6]:
                    if archive.zip.getinfo(f"{name}.npy").file_size < 1 << 24:
                        digest.update(archive[name].tobytes())
        except Exception:  # what isn't an archive has some hash, too
            digest.update(b"some")
        of_weights = digest.hexdigest()
        parts = [of_weights, architecture] + ([] if inputs == "standardized" else [inputs])
        sha256 = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()
        connection.execute(
            "UPDATE networks SET weights_sha256 = ?, sha256 = ? WHERE id = 1", (of_weights, sha256)
        )
        self._rekey(connection)

    def _rekey(self, connection: Any) -> None:
        """Keys of OIPs and hashes of specs as they follow from the rows, where they can."""
        import hashlib

        from oiplib import OipError
        from oiplib.study.rows import oip_key
        from oiplib.values import Spec, parse_objective, start_of

        for table in self.tables:
            if (table, "spec_sha256") not in [column[:2] for column in self.columns]:
                continue
            for id, text in connection.execute(f"SELECT id, spec FROM {table}").fetchall():
                try:
                    sha256 = Spec.from_dict(json.loads(text)).sha256
                except (OipError, ValueError, TypeError, RecursionError, AttributeError):
                    sha256 = hashlib.sha256(str(text).encode()).hexdigest()
                if table != "networks" and sha256:
                    connection.execute(
                        f"UPDATE OR IGNORE {table} SET spec_sha256 = ? WHERE id = ?", (sha256, id)
                    )
        query = (
            "SELECT oips.id, networks.sha256, objective, start, oips.spec FROM oips JOIN layers ON "
            "layers.id = layer_id JOIN networks ON networks.id = network_id"
        )
        for id, network, objective, start, spec in connection.execute(query).fetchall():
            try:
                parts = start_of(json.loads(start)), Spec.from_dict(json.loads(spec))
                key = oip_key(network, parse_objective(objective), *parts)
            except (OipError, ValueError, TypeError, RecursionError, AttributeError):
                continue
            connection.execute("UPDATE OR IGNORE oips SET key = ? WHERE id = ?", (key, id))

    def _spec(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Specs and starts that are ours, with huge values."""
        kinds = list(SPECS)
        order.shuffle(kinds)
        name = kinds[place % len(kinds)]
        table, column, change = SPECS[name]
        with closing(self._copy(folder)) as connection:
            rows = connection.execute(f"SELECT id, {column} FROM {table}").fetchall()
            rng.shuffle(rows)
            for id, text in rows:
                if text is None:
                    continue
                values = change(json.loads(text))
                if values is not None:
                    break
            else:
                raise AssertionError(name)
            self._set(
                connection,
                table,
                column,
                id,
                values if isinstance(values, str) else json.dumps(values),
            )
            rehashed = rng.random() < 0.7
            if rehashed:
                self._rekey(connection)
            oip = self._id_of(connection, table, id)
        what = f"{table}.{column} of row {id}: {name}" + (", hashes made anew" if rehashed else "")
        expects = "" if table in ("runs", "studies") and rehashed else "lie"
        reason = "its result isn't of these numbers, or they can't be"
        return Case("spec", what, expects, reason, oip, commands=("replay", "derive", "screen"))

    def _lie(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """A plausible value in the place of another, with hashes made anew or not."""
        kinds = list(LIES)
        order.shuffle(kinds)
        sql, is_lie = LIES[kinds[place % len(kinds)]], True
        with closing(self._copy(folder)) as connection:
            connection.executescript(sql)
            rehashed = rng.random() < 0.7
            if rehashed:
                self._rekey(connection)
        what = kinds[place % len(kinds)] + (", hashes made anew" if rehashed else "")
        return Case("lie", what, "lie" if is_lie else "", "contradicts another value")

    def _orphan(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """References to nowhere, or to a row that is gone."""
        columns = [each[:2] for each in self.columns if re.fullmatch(r"(\w+_id)", each[1])]
        order.shuffle(columns)
        table, column = columns[place % len(columns)]
        with closing(self._copy(folder)) as connection:
            id = self._row(connection, table, rng)
            if rng.random() < 0.7:
                self._set(connection, table, column, id, rng.choice([999, -1, 2**62, 0]))
                what = f"{table}.{column} of row {id} names no row"
            else:
                parent = {"other_id": "layers"}.get(column, column.removesuffix("_id") + "s")
                (gone,) = connection.execute(
                    f"SELECT {column} FROM {table} WHERE id = {id}"
                ).fetchone()
                connection.execute(f"DELETE FROM {parent} WHERE id = ?", (gone,))
                what = f"{parent} row {gone} is deleted"
            oip = self._id_of(connection, table, id)
        return Case("orphan", what, "lie", "names a row that doesn't exist", oip)

    def _swap(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Two rows that have each other's value."""
        columns = [each[:2] for each in self.columns if each[1] != "id"]
        order.shuffle(columns)
        with closing(self._copy(folder)) as connection:
            for table, column in columns[place:] + columns[:place]:
                query = f"SELECT id, {column} FROM {table} ORDER BY id"
                rows = connection.execute(query).fetchall()
                pairs = [(a, b) for a in rows for b in rows if a[0] < b[0] and a[1] != b[1]]
                if pairs:
                    break
            (one, first), (other, second) = rng.choice(pairs)
            try:
                self._set(connection, table, column, one, f"swapping {rng.random()}")
                self._set(connection, table, column, other, first)
                self._set(connection, table, column, one, second)
            except sqlite3.IntegrityError:  # a check of ours within the layout
                self._set(connection, table, column, one, first)
        is_lie = not {column, f"{table}.{column}"} & _UNKNOWABLE
        if table == "studies" and column == "network_id":
            is_lie = False
        what = f"{table}.{column} of rows {one} and {other} swapped"
        return Case(
            "swap",
            what,
            "lie" if is_lie else "",
            "belongs to another row",
            one if table == "oips" else 1,
        )

    def _layout(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Triggers, views, tables and the like."""
        kinds = list(LAYOUTS)
        order.shuffle(kinds)
        kind = kinds[place % len(kinds)]
        with closing(self._copy(folder)) as connection:
            try:
                connection.executescript(LAYOUTS[kind])
            except sqlite3.Error as error:  # SQLite itself keeps the file from being so
                kind += f" (not possible: {error})"
        expects = "" if kind.startswith("harmless") or "not possible" in kind else "lie"
        return Case(
            "layout", kind, expects, "isn't oiplib's layout", is_ours="harmless" not in kind
        )

    def _bytes(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Bits flipped and files cut short, anywhere."""
        n = len(self.content)
        kind = place % 5
        path = folder / "hostile.db"
        if kind == 0:
            content, what = flipped(self.content, rng, 1), "one bit flipped"
        elif kind == 1:
            content, what = flipped(self.content, rng, 300), "300 bits flipped"
        elif kind == 2:
            content, what = self.content[: rng.randrange(1, n)], "cut short"
        elif kind == 3:
            at = rng.randrange(0, n - 5000)
            content = self.content[:at] + rng.randbytes(4096) + self.content[at + 4096 :]
            what = "a page of noise"
        else:
            header_ = bytearray(self.content)
            at = rng.randrange(16, 100)
            header_[at] = rng.randrange(256)
            content, what = bytes(header_), f"byte {at} of the header"
        path.write_bytes(content)
        expects, reason = self._compared(path) if content != self.content else ("", "")
        return Case("bytes", what, expects, reason)

    def _compared(self, path: Path) -> tuple[str, str]:
        """Whether SQLite still reads the same values as in the sound file."""

        def dump(path: Path) -> dict[tuple[str, int, str], Any]:
            values = {}
            with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
                connection.text_factory = bytes
                for table in self.tables:
                    names = [column for t, column, *_ in self.columns if t == table]
                    for row in connection.execute(f"SELECT id, {', '.join(names)} FROM {table}"):
                        values |= {
                            (table, row[0], c): v for c, v in zip(names, row[1:], strict=True)
                        }
            return values

        try:
            found = dump(path)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return "lie", "SQLite can't read it"
        sound = dump(self.sound / "sound.db")
        other = {key for key in found.keys() | sound.keys() if found.get(key) != sound.get(key)}
        told = [f"{t}.{c} of row {id}" for t, id, c in other if not {c, f"{t}.{c}"} & _UNKNOWABLE]
        return ("lie", f"{told[0]} is another") if told else ("", "")

    def _older(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Files of older schemas: damaged before they are upgraded."""
        number = rng.randint(1, 9)
        path = folder / "hostile.db"
        path.write_bytes(lzma.decompress((SCHEMAS / f"schema-{number}.db.xz").read_bytes()))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            tables = ("oips", "scans", "screenings", "networks", "runs", "layers", "rungs")
            table = rng.choice(tables[:5])
            columns = list(connection.execute(f"PRAGMA table_info({table})"))
            _, column, kind, *_ = rng.choice([each for each in columns if each[1] != "id"])
            values = {"DATETIME": moments, "JSON": jsons, "BLOB": texts}.get(kind, texts)
            values = numbers if kind.split("(")[0] in ("INTEGER", "FLOAT", "BIGINT") else values
            value = values(rng)
            try:
                self._set(connection, table, column, self._row(connection, table, rng), value)
            except sqlite3.Error as error:
                value = str(error)
        what = f"schema {number}, {table}.{column} = {shown(value)}"
        return Case("older", what, is_ours=False)

    def _no_database(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """What isn't a database at all."""
        kind = [
            "text",
            "noise",
            "empty",
            "header only",
            "folder",
            "FIFO",
            "link to itself",
            "dangling link",
            "/dev/zero",
            "/dev/null",
            "another database",
            "sparse 4 GB",
            "a zip",
            "WAL only",
            "magic and noise",
            "UTF-16",
        ][place % 16]
        path = folder / "hostile.db"
        if kind == "folder":
            path.mkdir()
        elif kind == "FIFO":
            os.mkfifo(path)
        elif kind == "link to itself":
            path.symlink_to(path)
        elif kind == "dangling link":
            path.symlink_to("nowhere.db")
        elif kind.startswith("/dev"):
            path.symlink_to(kind)
        elif kind == "another database":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("CREATE TABLE notes (text)")
        elif kind == "sparse 4 GB":
            path.write_bytes(self.content[:100])
            os.truncate(path, 4 << 30)
        elif kind == "UTF-16":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA encoding = 'UTF-16'")
                with closing(sqlite3.connect(self.sound / "sound.db")) as original:
                    connection.executescript("\n".join(original.iterdump()))
        else:
            path.write_bytes(
                {
                    "text": b"hello\n" * 999,
                    "noise": rng.randbytes(50_000),
                    "empty": b"",
                    "header only": self.content[:100],
                    "a zip": b"PK\x03\x04" + bytes(9999),
                    "WAL only": b"\x37\x7f\x06\x82" + bytes(99999),
                    "magic and noise": self.content[:16] + rng.randbytes(30_000),
                }[kind]
            )
        return Case(
            "no database", kind, "" if kind == "UTF-16" else "lie", "is no database of ours"
        )

    def _names(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """The sound database, or one to be upgraded, in a file of a strange name."""
        names = [
            "what?.db",
            "100%.db",
            "%20.db",
            "a#b.db",
            " space .db",
            "new\nline.db",
            "quo'te.db",
            'dou"ble.db',
            "?mode=memory",
            "file:x.db",
            "-dash.db",
            "ünï✓.db",
            ":memory:x",
            "a&b=c.db",
            "x" * 240 + ".db",
            "semi;colon.db",
            "back\\slash.db",
            "\x1b[31mred.db",
            "a%00b.db",
            "{curly}.db",
            "sqlite.db?immutable=1",
            "tab\t.db",
            "%s%d.db",
            "$HOME.db",
        ]
        name = names[place % len(names)]
        is_old = bool(place % 2)
        if is_old:
            name = names[(place * 5 + 3) % len(names)]
            content = lzma.decompress((SCHEMAS / "schema-9.db.xz").read_bytes())
        (folder / name).write_bytes(content if is_old else self.content)
        what = f"{name[:40]!r}" + (" of schema 9" if is_old else "")
        return Case(
            "names", what, "sound", file=name, is_ours=not is_old, commands=("merge", "export")
        )

    def _other(self, folder: Path, rng: Any, order: Any, place: int) -> Case:
        """Data sets and models."""
        from hostile_models import OTHERS

        kinds = list(OTHERS)
        order.shuffle(kinds)
        kind = kinds[place % len(kinds)]
        args = OTHERS[kind](folder, self.sound)
        return Case("other", kind, "refused", args=tuple(args))


_ARCHIVE_NAMES = (
    "cut short",
    "empty",
    "text",
    "a flipped bit",
    "other shapes",
    "4 TiB",
    "a zip bomb",
    "a bomb beside",
    "pickles",
    "../ names",
    "a member missing",
    "NaN",
    "1e38",
    "other weights",
    "float64",
    "strings",
    "no npy",
)


def shown(value: Any) -> str:
    """A value for the report."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:40]}... ({len(text)} letters)"


def _within(values: Any, kind: str, **changes: Any) -> Any:
    """A spec in which all specs of a kind are changed; None if there are none."""
    found = False

    def walk(value: Any) -> Any:
        nonlocal found
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("kind") == kind:
            found = True
            value = {**value, **changes}
        return {name: walk(item) for name, item in value.items()}

    changed = walk(values)
    return changed if found else None


def _in(kind: str, **changes: Any) -> Callable[[Any], Any]:
    return lambda values: _within(values, kind, **changes)


#: Specs that are ours, with huge values: name -> table, column, change.
SPECS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "a start's grid of 99999x99999": ("oips", "start", _in("GridSpec", rows=99999, columns=99999)),
    "a start's grid of 4000x1 of 2 values": (
        "oips",
        "start",
        _in("GridSpec", rows=4000, columns=1),
    ),
    "a start's grid of 62x1": ("oips", "start", _in("GridSpec", rows=62, columns=1)),
    "a start's index 2**61": ("oips", "start", _in("PatternStart", index=2**61)),
    "a start's trial 2**62": ("oips", "start", _in("FluctuationStart", trial=2**62)),
    "a start's trial 10**400": ("oips", "start", _in("FluctuationStart", trial=10**400)),
    "a start's map 2**70": ("oips", "start", _in("FluctuationStart", map=2**70)),
    "a start's grids 4096x4096": (
        "oips",
        "start",
        _in("FluctuationSpec", grids=[[4096, 4096]] * 4),
    ),
    "a start's grids 1000 times": (
        "oips",
        "start",
        _in("FluctuationSpec", grids=[[2000, 2000]] * 1000, factors=[0.1] * 1000),
    ),
    "a start's factors 1e308": (
        "oips",
        "start",
        _in("FluctuationSpec", factors=[1e308, 1e308, 1e308, 1e308]),
    ),
    "a start's seed 10**4000": ("oips", "start", _in("FluctuationSpec", seed=10**4000)),
    "a start's values NaN": ("oips", "start", _in("GridSpec", values=[float("nan"), 0.5])),
    "a start of a text": ("oips", "start", lambda values: '"start"'),
    "a start with more fields": ("oips", "start", lambda values: {**values, "more": 1}),
    "a start without kind": (
        "oips",
        "start",
        lambda values: {k: v for k, v in values.items() if k != "kind"},
    ),
    "a start of deep specs": (
        "oips",
        "start",
        lambda values: deep(400, '{"kind":"PatternStart","index":0,"grid":', "}", "1"),
    ),
    "epochs 2**60": ("oips", "spec", _in("AscentSpec", n_epochs=2**60)),
    "epochs 10**7": ("oips", "spec", _in("AscentSpec", n_epochs=10**7)),
    "epochs 10**400": ("oips", "spec", _in("AscentSpec", n_epochs=10**400)),
    "epsilon 1e308": ("oips", "spec", _in("AscentSpec", epsilon=1e308)),
    "n_steps 10**6": ("oips", "spec", _in("AscentSpec", n_steps=10**6)),
    "n_steps 10**12": ("oips", "spec", _in("AscentSpec", n_steps=10**12)),
    "a prior of 1e308": ("oips", "spec", _in("AscentSpec", prior="variation(1e308)")),
    "a prior, very long": ("oips", "spec", _in("AscentSpec", prior="+".join(["smooth"] * 300_000))),
    "a prior of digits": (
        "oips",
        "spec",
        _in("AscentSpec", prior="smooth(" + "1" * 1_000_000 + ")"),
    ),
    "a million stages": (
        "oips",
        "spec",
        lambda values: {"kind": "ClimbSpec", "stages": [{"kind": "AscentSpec"}] * 100_000},
    ),
    "no stages": ("oips", "spec", lambda values: {"kind": "ClimbSpec", "stages": []}),
    "a study's grid of 99999x99999": (
        "studies",
        "spec",
        _in("GridSpec", rows=99999, columns=99999),
    ),
    "a study's grid of 8x7": ("studies", "spec", _in("GridSpec", rows=8, columns=7)),
    "a study's trials 10**12": ("studies", "spec", _in("TrialSpec", n_trials=10**12)),
    "a study's epochs 2**60": ("studies", "spec", _in("AscentSpec", n_epochs=2**60)),
    "a study's CNN of 10**9 maps": ("studies", "spec", _in("CnnSpec", maps=[10**9])),
    "a study's layer": ("studies", "spec", _in("StudySpec", layer="\x1b[2Jnowhere")),
    "a study's layer a list": ("studies", "spec", _in("StudySpec", layer=["Conv2D_3"])),
    "a study's data set a folder": ("studies", "spec", _in("CnnSpec", dataset="/etc")),
    "a study's n_top 2**60": ("studies", "spec", _in("ScanSpec", n_top=2**60)),
    "a study's rungs of 10**12 starts": ("studies", "spec", _in("RungSpec", n_starts=10**12)),
    "a screening's n_top 2**60": ("screenings", "spec", _in("ScreeningSpec", n_top=2**60)),
    "a screening's bins 2**60": ("screenings", "spec", _in("ScreeningSpec", n_bins=2**60)),
    "a screening's grid of 99999x99999": (
        "screenings",
        "spec",
        _in("GridSpec", rows=99999, columns=99999),
    ),
    "a scan's oversampling 2**60": ("scans", "spec", _in("ScanSpec", oversampling=2**60)),
    "a scan's grid of 99999x99999": ("scans", "spec", _in("GridSpec", rows=99999, columns=99999)),
    "a null's classes 2**60": ("nulls", "spec", _in("NullSpec", n_classes=2**60)),
    "a null's quantile NaN": ("nulls", "spec", _in("NullSpec", quantile=float("nan"))),
    "a variety's images 2**60": ("varieties", "spec", _in("VarietySpec", n_images=2**60)),
    "a reaction's images 2**60": (
        "reactions",
        "spec",
        lambda values: {**values, "n_images": 2**60} if "n_images" in values else None,
    ),
    "a run's spec": (
        "runs",
        "spec",
        lambda values: {"kind": "GridSpec", "rows": 99999, "columns": 99999},
    ),
    "an environment of lists": (
        "runs",
        "environment",
        lambda values: {name: [name] * 9 for name in values},
    ),
    "an environment of escapes": (
        "runs",
        "environment",
        lambda values: dict.fromkeys(values, "\x1b[2J\x1b]0;owned\x07"),
    ),
    "a commit that is a number": (
        "runs",
        "environment",
        lambda values: {**values, "git_commit": 7},
    ),
    "classes of a text": ("networks", "dataset", lambda values: {**values, "classes": "abc"}),
    "classes of numbers": ("networks", "dataset", lambda values: {**values, "classes": 7}),
    "classes with escapes": (
        "networks",
        "dataset",
        lambda values: {**values, "classes": ["\x1b[2J"] * 10},
    ),
    "a data set's source": (
        "networks",
        "dataset",
        lambda values: {**values, "source": ["/etc/passwd"]},
    ),
    "a history of texts": (
        "networks",
        "history",
        lambda values: {name: ["much"] for name in values},
    ),
    "a history of NaN": (
        "networks",
        "history",
        lambda values: {name: [float("nan")] for name in values},
    ),
}


#: Lies: plausible values that contradict others.
LIES = {
    "a loss doubled": "UPDATE oips SET loss = 2 * loss WHERE id = 2",
    "steps one less": "UPDATE oips SET steps = steps - 1 WHERE id = 2",
    "the image of another OIP": "UPDATE oips SET image = (SELECT image FROM oips WHERE id = 3) WHERE id = 2",
    "loss, image, trace, steps and frames of another OIP": "UPDATE oips SET (loss, image, trace, steps, frames, report_steps) = (SELECT loss, image, trace, steps, frames, report_steps FROM oips AS o WHERE o.map != oips.map AND o.spec_sha256 = oips.spec_sha256 AND o.steps = oips.steps LIMIT 1) WHERE id = 2",
    "the start of another OIP": "UPDATE oips SET start = (SELECT start FROM oips AS o WHERE o.map = oips.map AND o.id != oips.id AND o.start != oips.start LIMIT 1) WHERE id = 2",
    "another map": "UPDATE oips SET map = (map + 1) % 5, objective = layer || ((map + 1) % 5) FROM (SELECT 'Conv2D_3:' AS layer) WHERE id = 2",
    "another map, objective left": "UPDATE oips SET map = (map + 1) % 5 WHERE id = 2",
    "another layer": "UPDATE oips SET layer_id = 1 WHERE id = 2",
    "another network's layer": "UPDATE oips SET layer_id = (SELECT b.id FROM layers AS a, layers AS b WHERE a.id = oips.layer_id AND a.name = b.name AND a.network_id != b.network_id LIMIT 1) WHERE id = 2",
    "another origin": "UPDATE oips SET origin = 'revival' WHERE id = 2",
    "another reason": "UPDATE oips SET stop_reason = 'converged' WHERE id = 2",
    "another prior": "UPDATE oips SET prior = 'smooth(1)' WHERE id = 2",
    "another step size": "UPDATE oips SET spec = replace(spec, '\"epsilon\": 0.01', '\"epsilon\": 0.02') WHERE id = 1",
    "report steps that are none": "UPDATE oips SET report_steps = (SELECT starts FROM rungs LIMIT 1) WHERE id = 2",
    "other inputs": "UPDATE networks SET inputs = '0..255' WHERE id = 1",
    "inputs of 3 channels": "UPDATE networks SET inputs = '0..1 mean 0.5,0.5,0.5 deviation 1,1,1' WHERE id = 1",
    "another accuracy": "UPDATE networks SET accuracy = 1.5 WHERE id = 1",
    "images of another height": "UPDATE networks SET image_height = 29 WHERE id = 1",
    "another network's weights": "UPDATE networks SET weights = (SELECT weights FROM networks WHERE id = 2) WHERE id = 1",
    "another network's spec": "UPDATE networks SET spec = (SELECT spec FROM networks WHERE id = 2) WHERE id = 1",
    "two networks with one hash": "UPDATE networks SET sha256 = (SELECT sha256 FROM networks WHERE id = 1) WHERE id = 2",
    "a layer with other maps": "UPDATE layers SET n_maps = n_maps + 1 WHERE id = 5",
    "a layer of another place": "UPDATE layers SET position = 99 WHERE id = 1",
    "a layer's name": "UPDATE layers SET name = 'Conv2D_9' WHERE id = 5",
    "a layer that isn't there": "INSERT INTO layers (id, network_id, position, name, n_maps, map_height, map_width) VALUES (999, 1, 99, 'More', 9, 1, 1)",
    "no layers": "DELETE FROM layers WHERE network_id = 1",
    "a scan of another spec": "UPDATE scans SET spec = (SELECT spec FROM scans AS s WHERE s.origin != scans.origin LIMIT 1) WHERE id = 1",
    "a scan without rungs": "DELETE FROM rungs WHERE scan_id = 1",
    "a rung numbered anew": "UPDATE rungs SET number = 7 WHERE id = 1",
    "a rung of negative steps": "UPDATE rungs SET steps = -4 WHERE id = 1",
    "a screening of fewer patterns": "UPDATE screenings SET n_patterns = -1 WHERE id = 1",
    "a screening's part": "UPDATE screenings SET first = 5, last = 3 WHERE id = 1",
    "a screening's edges": "UPDATE screenings SET edges = (SELECT edges FROM screenings WHERE id = 1), n_reacting = (SELECT n_reacting FROM reactions LIMIT 1) WHERE id = 1",
    "a reaction of no images": "UPDATE reactions SET n_images = -5 WHERE id = 1",
    "a reaction's kind": "UPDATE reactions SET kind = CASE kind WHEN 'data' THEN 'fluctuation' ELSE 'data' END WHERE id = 1",
    "a null's threshold": "UPDATE nulls SET threshold = threshold * 0.9 WHERE id = 1",
    "a null's other threshold": "UPDATE nulls SET feature_threshold = 2 WHERE id = 1",
    "a variety's median": "UPDATE varieties SET median = median * 0.9 WHERE id = 1",
    "a variety's best loss": "UPDATE varieties SET best_loss = best_loss * 2 WHERE id = 1",
    "a variety's patterns": "UPDATE varieties SET n_patterns = n_patterns + 1 WHERE id = 1",
    "a variety's commonest": "UPDATE varieties SET commonest = 0.123 WHERE id = 1",
    "a variety's unlike loss": "UPDATE varieties SET unlike_loss = 99 WHERE id = 1",
    "a variety's map": "UPDATE varieties SET map = 77 WHERE id = 1",
    "a correspondence's median": "UPDATE correspondences SET median = -0.5 WHERE id = 1",
    "a correspondence's other median": "UPDATE correspondences SET shuffled_median = 0.999 WHERE id = 1",
    "a correspondence's images": "UPDATE correspondences SET n_images = -1 WHERE id = 1",
    "a correspondence's hash": "UPDATE correspondences SET images_sha256 = 'ab' WHERE id = 1",
    "a correspondence of other layers": "UPDATE correspondences SET other_id = 8 WHERE id = (SELECT max(id) FROM correspondences)",
    "a correspondence's relation": "UPDATE correspondences SET relation = 'untrained' WHERE id = 1 AND relation != 'untrained'; UPDATE correspondences SET relation = 'order' WHERE id = 1 AND way = 'none'",
    "a run that took no time": "UPDATE runs SET seconds = -1 WHERE id = 1",
    "a run that took for ever": "UPDATE runs SET seconds = 1e300 WHERE id = 1",
    "a run of another kind": "UPDATE runs SET kind = 'pillage' WHERE id = 1",
    "a run that is still running, with an end": "UPDATE runs SET status = 'running' WHERE id = 1",
    "a run that failed without an error": "UPDATE runs SET status = 'failed', error = NULL WHERE id = 1",
    "a run that is done with an error": "UPDATE runs SET error = 'Error: but it is done' WHERE id = 1",
    "a run before computers": "UPDATE runs SET started = '1826-01-01 00:00:00.000000' WHERE id = 1",
    "an OIP before its run": "UPDATE oips SET created = '1999-01-01 00:00:00.000000' WHERE id = 1",
    "an OIP from the future": "UPDATE oips SET created = '2999-01-01 00:00:00.000000' WHERE id = 1",
    "a network from the future": "UPDATE networks SET created = '2999-01-01 00:00:00.000000' WHERE id = 1",
    "a study from the future": "UPDATE studies SET asked = '2999-01-01 00:00:00.000000' WHERE id = 1",
    "an OIP of a run that trained": "UPDATE oips SET run_id = 1 WHERE id = 1",
    "a study of another network": "UPDATE studies SET spec = replace(spec, 'Conv2D_3', 'Conv2D_8')",
    "a schema that is older": "UPDATE alembic_version SET version_num = '9'",
    "two schemas": "INSERT INTO alembic_version VALUES ('9')",
}


#: Layouts that oiplib doesn't make.
LAYOUTS = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON oips BEGIN UPDATE oips SET loss = 2 * loss; END",
    "a trigger on a view": "CREATE TRIGGER t INSTEAD OF INSERT ON maps BEGIN DELETE FROM oips; END",
    "a view without end": "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n",
    "our view without end": "DROP VIEW maps; CREATE VIEW maps AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n",
    "a virtual table": "CREATE VIRTUAL TABLE words USING fts5(text)",
    "a virtual table with a name of ours": "DROP TABLE varieties; CREATE VIRTUAL TABLE varieties USING fts5(text)",
    "a view in the place of a table": "DROP TABLE studies; CREATE VIEW studies AS SELECT 1 AS id, 1 AS network_id, '{}' AS spec, '' AS spec_sha256, '' AS asked",
    "a generated column": "ALTER TABLE oips ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(900000000)))",
    "an index more": "CREATE INDEX heavy ON oips (hex(image))",
    "an index less": "DROP INDEX oips_by_map",
    "an index with a name of ours": "DROP INDEX oips_by_map; CREATE INDEX oips_by_map ON oips (layer_id, map, abs(loss))",
    "an index renamed": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET name = 'oips_by_nap' WHERE name = 'oips_by_map'",
    "tables that changed names": "ALTER TABLE rungs RENAME TO r; ALTER TABLE r RENAME TO rungs",
    "a table that is another's": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'runs') WHERE name = 'studies'",
    "two tables on one page": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 3",
    "a page that isn't there": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 999999 WHERE name = 'oips'",
    "SQL that isn't SQL": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE oips (' WHERE name = 'oips'",
    "SQL of some MB": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = sql || '/*' || hex(zeroblob(3000000)) || '*/' WHERE name = 'oips'",
    "SQL that is a number": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 7 WHERE name = 'oips'",
    "SQL that is bytes": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = x'fffe' WHERE name = 'oips_by_map'",
    "a name with escapes": 'CREATE TABLE "\x1b[2Jowned" (a)',
    "a name of some MB": f'CREATE TABLE "{"x" * 900_000}" (a)',
    "a table without rowid": "CREATE TABLE w (a PRIMARY KEY) WITHOUT ROWID",
    "ten thousand tables": "BEGIN;"
    + "".join(f"CREATE TABLE t{i} (a);" for i in range(10_000))
    + "COMMIT;",
    "a schema number of bytes": "UPDATE alembic_version SET version_num = x'fffe'",
    "a huge schema number": "UPDATE alembic_version SET version_num = '" + "9" * 6000 + "'",
    "a schema number in Arabic": "UPDATE alembic_version SET version_num = '١٠'",
    "a schema number with a zero": "UPDATE alembic_version SET version_num = '010'",
    "a superscript as schema number": "UPDATE alembic_version SET version_num = '²'",
    "no schema number": "DELETE FROM alembic_version",
    "no table of schemas": "DROP TABLE alembic_version",
    "harmless: ANALYZE": "ANALYZE",
    "harmless: another page size": "PRAGMA page_size = 512; VACUUM",
    "harmless: another user version": "PRAGMA user_version = 77",
    "harmless: auto vacuum": "PRAGMA auto_vacuum = FULL; VACUUM",
    "a table of ours twice, by case": 'CREATE TABLE "oıps" (a)',
    "harmless: sqlite_stat1 that lies": "ANALYZE; UPDATE sqlite_stat1 SET stat = '-1 0 0'",
    "harmless: sqlite_stat1 of nonsense": "ANALYZE; UPDATE sqlite_stat1 SET stat = x'fffe', tbl = 7",
}
