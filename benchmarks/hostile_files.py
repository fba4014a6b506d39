"""Databases as an enemy or a bad disk would make them; see ``fuzz.py``.

A case has a number and is made from that and the seed. What `oip check` must find is a *lie*: any
value that oiplib can tell to be wrong, because it has another type or lies outside of what can be,
contradicts another value, or isn't what is computed from the others. What it can't tell stands in
`UNKNOWABLE` and `_PLAUSIBLE`, with the reason.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hostile_models
import numpy as np
from hostile_tables import LAYOUTS, LIES, SPECS
from hostile_values import ARRAY_KINDS, Raw, array, flipped, is_wrong_array, shown, value_for

T = TypeVar("T")

#: Columns in which another row's value may stand, or one with a flipped bit, and nobody can tell.
UNKNOWABLE = {
    "created asked started seconds": "a moment and a duration are not part of a result",
    "runs.kind runs.spec status error environment": "what a run says of itself",
    "networks.name": "a name says nothing",
    "history accuracy dataset": "takes the data set",
    "run_id": "any run may have made a result",
    "starts losses scan_id rungs.steps rungs.number frames stop_reason": "takes an ascent",
    "n_reacting top_indices top_responses top_preactivations edges histogram": "takes a screening",
    "first last screenings.n_patterns": "takes a screening",
    "n_images top_images class_means images strongest_preactivation": "takes the data set",
    "peaks features shifts unlike_losses unlike_alike unlike_images patterns": "takes restarts",
    "n_starts": "takes restarts",
    "scores shuffled median shuffled_median images_sha256 relation way": "takes other trainings",
    "correspondences.svcca correspondences.cka": "takes other trainings",
    "own_scores pair_scores active svcca cka": "takes networks that aren't stored",
    "moved noisy alike path conditions.losses": "takes ascents and the data set",
    "networks.spec networks.spec_sha256": "the content of a file that isn't there is part of it",
    "layers.network_id reactions.layer_id correspondences.layer_id other_id": "of equal shapes",
    "baselines.layer_id conditions.oip_id": "of equal shapes",
    "studies.network_id id": "an order",
}
_UNKNOWABLE = {name for names in UNKNOWABLE for name in names.split()}

#: What may stand in a column as far as anyone can tell: a type, the least and the most. Of a text
#: its length.
_PLAUSIBLE: dict[str, tuple[type, float, float]] = {
    **dict.fromkeys(("runs.error", "networks.name"), (str, 1, 200)),
    **dict.fromkeys(("runs.environment", "runs.spec"), (str, 2, 4000)),
    **dict.fromkeys(("networks.history", "networks.dataset", "networks.spec"), (str, 2, 4000)),
    **dict.fromkeys(("correspondences.n_images", "reactions.n_images"), (int, 0, 2**63)),
    "baselines.n_images": (int, 0, 2**63),
    **dict.fromkeys(("correspondences.svcca", "correspondences.cka"), (float, -1, 1)),
    **dict.fromkeys(("conditions.moved", "conditions.noisy"), (float, -1.7e308, 1.7e308)),
    **dict.fromkeys(("correspondences.median", "correspondences.shuffled_median"), (float, -1, 1)),
    "rungs.steps": (int, 0, 2**63),
    "runs.seconds": (float, 0, 1.7e308),
    "networks.accuracy": (float, 0, 1),
}


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
    #: Whether it has today's schema and layout, so that reading leaves it as it is.
    is_ours: bool = True


def make_sound(folder: Path) -> None:
    """A tiny network on real digits, with something in every table; and a model file."""
    from scenarios import SPEC, write_digits

    from oiplib import Study
    from oiplib.engine import network
    from oiplib.study.conditions import conditions
    from oiplib.study.questions import reaction, varieties
    from oiplib.study.trainings import correspondences

    os.chdir(folder)
    write_digits(Path("digits.npz"))
    spec = SPEC.replace(cnn=SPEC.cnn.replace(dataset="digits.npz"))
    study = Study("making.db", spec)
    study.screening()
    study.derive()
    study.derive(study.objective("Classes:4 - Classes:9"))
    varieties(study)
    for kind in ("fluctuation", "data"):
        reaction(study, kind)
    correspondences(study)
    conditions(study, priors=["strongest"])
    network.save(study.model, "sound.keras")
    study.store.close()
    copy(folder / "making.db", folder / "sound.db")
    with closing(sqlite3.connect(folder / "sound.db")) as connection:
        connection.executescript(_FEWER)


# Two of the four networks, or each check takes long.
_FEWER = """
DELETE FROM scans WHERE layer_id IN
    (SELECT id FROM layers WHERE network_id > 1 OR name IN ('Conv2D_1', 'Conv2D_2'));
DELETE FROM conditions WHERE oip_id IN (SELECT oips.id FROM oips JOIN layers ON layers.id = layer_id
    WHERE network_id > 1 OR name IN ('Conv2D_1', 'Conv2D_2'));
DELETE FROM oips WHERE layer_id IN
    (SELECT id FROM layers WHERE network_id > 1 OR name IN ('Conv2D_1', 'Conv2D_2'));
DELETE FROM rungs WHERE scan_id NOT IN (SELECT id FROM scans);
DELETE FROM correspondences WHERE layer_id IN (SELECT id FROM layers WHERE network_id > 2)
    OR other_id IN (SELECT id FROM layers WHERE network_id > 2);
DELETE FROM baselines WHERE layer_id IN (SELECT id FROM layers WHERE network_id > 2);
DELETE FROM studies WHERE network_id > 1;
DELETE FROM layers WHERE network_id > 2;
DELETE FROM networks WHERE id > 2;
VACUUM;
"""


def copy(source: Path, target: Path) -> None:
    """A copy of a database in one file, without a log."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as made:
        original.backup(made)


class Cases:
    """All cases of a seed."""

    #: One of these a case, in turn; the n-th of a family takes the n-th of its list.
    FAMILIES = (
        *("column", "array", "network", "column", "spec", "bytes", "column", "lie"),
        *("column", "array", "network", "column", "orphan", "names", "column", "layout"),
        *("column", "array", "network", "spec", "lie", "swap", "no database", "other"),
    )
    #: How an OIP is found that comes from a row of another table.
    _BY: ClassVar = {"oips": "id", "layers": "layer_id", "runs": "run_id"}

    def __init__(self, sound: Path, seed: int) -> None:
        self.sound, self.seed = sound, seed
        self.content = (sound / "sound.db").read_bytes()
        with closing(sqlite3.connect(sound / "sound.db")) as connection:
            names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'alem%'"
            self.tables = [name for (name,) in connection.execute(names)]
            #: Table, column, SQL's type, whether NULL is forbidden.
            self.columns = [
                (table, *column[1:4])
                for table in self.tables
                for column in connection.execute(f"PRAGMA table_info({table})")
                if column[1] != "id"
            ]

    def make(self, number: int, folder: Path) -> Case:
        """The case of a number, written into a folder."""
        turns, at = divmod(number, len(self.FAMILIES))
        family = self.FAMILIES[at]
        place = turns * self.FAMILIES.count(family) + self.FAMILIES[:at].count(family)
        rng = random.Random(f"{self.seed}:file:{number}")
        made: Case = getattr(self, "_" + family.replace(" ", "_"))(folder, rng, place)
        return made

    def _nth(self, choices: Sequence[T], place: int) -> T:
        """All in turn, in an order of the seed's."""
        shuffled = random.Random(f"{self.seed}:{len(choices)}").sample(choices, len(choices))
        return shuffled[place % len(choices)]

    def _copy(self, folder: Path) -> closing[sqlite3.Connection]:
        path = folder / "hostile.db"
        path.write_bytes(self.content)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA journal_mode = DELETE")
        return closing(connection)

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

    def _get(self, connection: Any, table: str, column: str, id: int) -> Any:
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        return connection.execute(f"SELECT {column} FROM {table} WHERE id = {id}").fetchone()[0]

    def _row(self, connection: Any, table: str, rng: random.Random) -> int:
        return rng.choice([id for (id,) in connection.execute(f"SELECT id FROM {table}")])

    def _oip_of(self, connection: Any, table: str, id: int) -> int:
        """An OIP to ask for: the damaged one, or one that comes from the row."""
        query = f"SELECT id FROM oips WHERE {self._BY.get(table, 'NULL')} = ?"
        found = connection.execute(query, (id,)).fetchone()
        return found[0] if found else 1

    # --- families ---

    def _column(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Every column of every table, with a value that can't be."""
        table, column, sql_type, is_needed = self._nth(self.columns, place)
        value = None if rng.random() < 0.12 else value_for(sql_type, rng)
        with self._copy(folder) as connection:
            id = self._row(connection, table, rng)
            if (table, column) == ("runs", "environment"):  # one that `show` shows
                id = self._get(connection, "oips", "run_id", 1)
            before = self._get(connection, table, column, id)
            self._set(connection, table, column, id, value)
            after = self._get(connection, table, column, id)
            oip = self._oip_of(connection, table, id)
        what = f"{table}.{column} of row {id} = {shown(value)}"
        is_free = after == before or _may_be(f"{table}.{column}", after)
        is_free |= not is_needed and (value is None or value == "null")
        return Case("column", what, "" if is_free else "lie", f"no {sql_type} of ours", oip)

    def _array(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Every column of arrays, with every kind of array."""
        columns = [each[:2] for each in self.columns if each[2] == "BLOB" and each[1] != "weights"]
        table, column = self._nth(columns, place)
        kind = self._nth(ARRAY_KINDS, place)
        with self._copy(folder) as connection:
            query = "SELECT id, {1} FROM {0} WHERE {1} IS NOT NULL"
            rows = connection.execute(query.format(table, column)).fetchall()
            if not rows:  # the probe of a model that was taken in
                table, column = "oips", "image"
                rows = connection.execute(query.format(table, column)).fetchall()
            id, value = rng.choice(rows)
            sound = np.load(io.BytesIO(zlib.decompress(value)))
            if not sound.size and kind in ("NaN", "infinity", "other values", "a row less"):
                kind = "a rank more"
            self._set(connection, table, column, id, array(kind, sound, rng))
            oip = self._oip_of(connection, table, id)
        what = f"{table}.{column} of row {id}: {kind}"
        expects = "lie" if is_wrong_array(kind, sound, column) else ""
        return Case("array", what, expects, "another type, shape or value", oip)

    def _network(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Architectures and weights, with the old hashes or with new ones."""
        kinds = [("architecture", kind) for kind in hostile_models.ARCHITECTURES]
        kinds += [("weights", kind) for kind in hostile_models.ARCHIVES]
        column, kind = self._nth(kinds, place)
        with self._copy(folder) as connection:
            sound = self._get(connection, "networks", column, 1)
            value = (
                hostile_models.architecture(kind, sound)
                if column == "architecture"
                else hostile_models.archive(kind, sound, rng)
            )
            self._set(connection, "networks", column, 1, value)
            rehashed = rng.random() < 0.5
            if rehashed:
                self._rehash_network(connection)
        is_lie = kind not in hostile_models.MAYBE_SOUND
        what = f"networks.{column}: {kind}" + _ANEW * rehashed
        reason = "can't be rebuilt, or answers otherwise"
        return Case("network", what, "lie" if is_lie else "", reason, commands=("replay", "derive"))

    def _rehash_network(self, connection: Any) -> None:
        """The hashes that belong to the weights and the architecture of network 1 now."""
        query = "SELECT architecture, weights, inputs FROM networks WHERE id = 1"
        architecture, weights, inputs = connection.execute(query).fetchone()
        digest = hashlib.sha256()
        # What isn't an archive has some hash, too.
        with suppress(Exception), np.load(io.BytesIO(weights)) as arrays:
            for name in arrays.files:
                digest.update(arrays[name].tobytes())
        parts = [digest.hexdigest(), architecture] + [inputs] * (inputs != "standardized")
        sha256 = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()
        change = "UPDATE networks SET weights_sha256 = ?, sha256 = ? WHERE id = 1"
        connection.execute(change, (parts[0], sha256))
        self._rekey(connection)

    def _rekey(self, connection: Any) -> None:
        """Keys of OIPs and hashes of specs as they follow from the rows, where they can."""
        from oiplib import OipError
        from oiplib.study.rows import oip_key
        from oiplib.values import Spec, parse_objective, start_of

        unreadable = OipError, ValueError, TypeError, RecursionError, AttributeError
        for table, column, *_ in self.columns:
            if column != "spec_sha256" or table == "networks":
                continue
            for id, text in connection.execute(f"SELECT id, spec FROM {table}").fetchall():
                try:
                    sha256 = Spec.from_dict(json.loads(text)).sha256
                except unreadable:
                    sha256 = hashlib.sha256(str(text).encode()).hexdigest()
                change = f"UPDATE OR IGNORE {table} SET spec_sha256 = ? WHERE id = ?"
                connection.execute(change, (sha256, id))
        query = (
            "SELECT oips.id, networks.sha256, objective, start, oips.spec FROM oips JOIN layers ON "
            "layers.id = layer_id JOIN networks ON networks.id = network_id"
        )
        for id, network, objective, start, spec in connection.execute(query).fetchall():
            with suppress(*unreadable):
                parts = start_of(json.loads(start)), Spec.from_dict(json.loads(spec))
                key = oip_key(network, parse_objective(objective), *parts)
                connection.execute("UPDATE OR IGNORE oips SET key = ? WHERE id = ?", (key, id))

    def _spec(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Specs and starts that are ours, with huge values."""
        name, change = self._nth(list(SPECS.items()), place)
        table, column = name.split(":")[0].split()[-1].split(".")
        with self._copy(folder) as connection:
            query = f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL"
            changed = [(id, change(json.loads(text))) for id, text in connection.execute(query)]
            id, value = rng.choice([pair for pair in changed if pair[1] is not None])
            text = value if isinstance(value, str) else json.dumps(value)
            self._set(connection, table, column, id, text)
            rehashed = rng.random() < 0.7
            if rehashed:
                self._rekey(connection)
            oip = self._oip_of(connection, table, id)
        is_free = name.startswith("plausible") or (rehashed and table == "studies")
        what = f"{name} of row {id}" + _ANEW * rehashed
        reason = "its result isn't of these numbers, or they can't be"
        commands = ("replay", "derive", "screen")
        return Case("spec", what, "" if is_free else "lie", reason, oip, commands=commands)

    def _lie(self, folder: Path, rng: random.Random, place: int) -> Case:
        """A plausible value in the place of another, with hashes made anew or not."""
        kind, sql = self._nth(list(LIES.items()), place)
        with self._copy(folder) as connection:
            connection.executescript(sql)
            rehashed = rng.random() < 0.7
            if rehashed:
                self._rekey(connection)
        # Whether a result follows from its numbers takes an ascent, but their hash doesn't.
        expects = "" if rehashed and kind == "another step size" else "lie"
        return Case("lie", kind + _ANEW * rehashed, expects, "contradicts another value")

    def _orphan(self, folder: Path, rng: random.Random, place: int) -> Case:
        """References to nowhere, or to a row that is gone."""
        columns = [each[:2] for each in self.columns if each[1].endswith("_id")]
        table, column = self._nth(columns, place)
        with self._copy(folder) as connection:
            id = self._row(connection, table, rng)
            if rng.random() < 0.7:
                self._set(connection, table, column, id, rng.choice([999, -1, 2**62, 0]))
                what = f"{table}.{column} of row {id} names no row"
            else:
                parent = {"other_id": "layers"}.get(column, column.removesuffix("_id") + "s")
                gone = self._get(connection, table, column, id)
                connection.execute(f"DELETE FROM {parent} WHERE id = ?", (gone,))
                what = f"{parent} row {gone} is deleted"
            oip = self._oip_of(connection, table, id)
        return Case("orphan", what, "lie", "names a row that doesn't exist", oip)

    def _swap(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Two rows that have each other's value."""
        with self._copy(folder) as connection:
            pairs: list[tuple[Any, Any]] = []
            while not pairs:  # in many columns all rows have the same value
                table, column, *_ = self._nth(self.columns, place)
                rows = connection.execute(f"SELECT id, {column} FROM {table}").fetchall()
                pairs = [(a, b) for a in rows for b in rows if a[0] < b[0] and a[1] != b[1]]
                place += 1
            (one, first), (other, second) = rng.choice(pairs)
            is_lie = not {column, f"{table}.{column}"} & _UNKNOWABLE
            try:
                self._set(connection, table, column, one, f"swapping {rng.random()}")
                self._set(connection, table, column, other, first)
                self._set(connection, table, column, one, second)
            except sqlite3.IntegrityError:  # the layout itself keeps them from it
                self._set(connection, table, column, one, first)
                is_lie = False
            oip = self._oip_of(connection, table, one)
        what = f"{table}.{column} of rows {one} and {other} swapped"
        return Case("swap", what, "lie" if is_lie else "", "belongs to another row", oip)

    def _layout(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Triggers, views, tables and the like."""
        kind, sql = self._nth(list(LAYOUTS.items()), place)
        is_harmless = kind.startswith("harmless")
        with self._copy(folder) as connection:
            try:
                connection.executescript(sql)
            except sqlite3.Error as error:  # SQLite itself keeps the file from being so
                kind, is_harmless = f"{kind} (not possible: {error})", True
        expects = "" if is_harmless else "lie"
        return Case("layout", kind, expects, "isn't oiplib's layout", is_ours=not is_harmless)

    def _bytes(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Bits flipped and files cut short, anywhere."""
        content, n = bytearray(self.content), len(self.content)
        what = ("a flipped bit", "300 flipped bits", "cut short", "noise", "a header")[place % 5]
        if "flipped" in what:
            content = bytearray(flipped(self.content, rng, 300 if "300" in what else 1))
        elif what == "cut short":
            del content[rng.randrange(1, n) :]
        elif what == "noise":
            at = rng.randrange(0, n - 5000)
            content[at : at + 4096] = rng.randbytes(4096)
        else:
            content[rng.randrange(16, 100)] = rng.randrange(256)
        (folder / "hostile.db").write_bytes(content)
        found = self._difference(folder / "hostile.db") if content != self.content else ""
        return Case("bytes", what, "lie" if found else "", found)

    def _values(self, path: Path) -> dict[tuple[str, str, int], Any]:
        """All values of a database as SQLite reads them."""
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            connection.text_factory = bytes
            return {
                (table, column, id): value
                for table, column, *_ in self.columns
                for id, value in connection.execute(f"SELECT id, {column} FROM {table}")
            }

    def _difference(self, path: Path) -> str:
        """What SQLite reads otherwise than in the sound file, if it can be known, or nothing."""
        try:
            found = self._values(path)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return "SQLite can't read it"
        sound = self._values(self.sound / "sound.db")
        for table, column, id in sorted(found.keys() | sound.keys()):
            place, is_known = (table, column, id), not {column, f"{table}.{column}"} & _UNKNOWABLE
            if is_known and found.get(place) != sound.get(place):
                return f"{table}.{column} of row {id} is another"
        return ""

    def _no_database(self, folder: Path, rng: random.Random, place: int) -> Case:
        """What isn't a database at all."""
        path, sound = folder / "hostile.db", self.content
        contents = {
            "text": b"hello\n" * 999,
            "noise": rng.randbytes(50_000),
            "empty": b"",
            "header only": sound[:100],
            "a zip": b"PK\x03\x04" + bytes(9999),
            "WAL only": b"\x37\x7f\x06\x82" + bytes(99999),
            "magic and noise": sound[:16] + rng.randbytes(30_000),
        }
        makers: dict[str, Callable[[], Any]] = {
            **{kind: lambda kind=kind: path.write_bytes(contents[kind]) for kind in contents},
            "folder": path.mkdir,
            "FIFO": lambda: os.mkfifo(path),
            "link to itself": lambda: path.symlink_to(path),
            "dangling link": lambda: path.symlink_to("nowhere.db"),
            "/dev/zero": lambda: path.symlink_to("/dev/zero"),
            "/dev/null": lambda: path.symlink_to("/dev/null"),
            "another database": lambda: _run(path, "CREATE TABLE notes (text)"),
            "sparse 4 GB": lambda: (path.write_bytes(sound[:100]), os.truncate(path, 4 << 30)),
            "UTF-16": lambda: _run(path, "PRAGMA encoding = 'UTF-16';\n" + self._dump()),
        }
        kind = list(makers)[place % len(makers)]
        makers[kind]()
        expects = "" if kind == "UTF-16" else "lie"
        return Case("no database", kind, expects, "is no database of ours")

    def _dump(self) -> str:
        with closing(sqlite3.connect(self.sound / "sound.db")) as connection:
            return "\n".join(connection.iterdump())

    def _names(self, folder: Path, rng: random.Random, place: int) -> Case:
        """The sound database in a file of a strange name."""
        name = self._nth(_NAMES, place)
        (folder / name).write_bytes(self.content)
        return Case("names", repr(name[:40]), "sound", file=name, commands=("merge", "export"))

    def _other(self, folder: Path, rng: random.Random, place: int) -> Case:
        """Data sets and models."""
        kind, make = self._nth(list(hostile_models.OTHERS.items()), place)
        args = hostile_models.train_line(make(folder, self.sound))
        return Case("other", kind, "refused", args=args)


_ANEW = ", hashes made anew"
_NAMES = (
    *("what?.db", "100%.db", "%20.db", "a#b.db", " space .db", "new\nline.db", "quo'te.db"),
    *('dou"ble.db', "?mode=memory", "file:x.db", "-dash.db", "ünï✓.db", ":memory:x", "a&b=c.db"),
    *("semi;colon.db", "back\\slash.db", "\x1b[31mred.db", "a%00b.db", "{curly}.db", "tab\t.db"),
    *("sqlite.db?immutable=1", "%s%d.db", "$HOME.db", "x" * 240 + ".db"),
)


def _may_be(name: str, value: Any) -> bool:
    if name not in _PLAUSIBLE or type(value) is not _PLAUSIBLE[name][0]:
        return False
    _, least, most = _PLAUSIBLE[name]
    return bool(least <= (len(value) if isinstance(value, str) else value) <= most)


def _run(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
