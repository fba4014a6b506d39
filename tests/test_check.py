"""A sound database passes; each damage is named with its row, and no code is run."""

import io
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner

from oiplib import Store
from oiplib.check import problems
from oiplib.cli import main


def blob(values, allow_pickle=False):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=allow_pickle)
    return buffer.getvalue()


class Bomb:
    """Would write a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("bomb-went-off", "w"))


def lambda_model():
    from oiplib._tf import keras

    image = keras.Input((28, 28, 1))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image))
    return json.dumps(json.loads(model.to_json()))


@pytest.fixture
def damaged(copy):
    """A function that spoils a copy of the finished database and returns it."""

    def spoil(sql, *values):
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            changed = connection.execute(sql, values).rowcount
        assert changed
        return copy

    return spoil


def test_a_sound_database_passes(copy, oip):
    assert oip("check", "--db", copy.name, check=0).stdout == "copy.db is sound\n"


IMAGE = np.zeros((28, 28, 1), np.float32)
NOT_FINITE = np.full((28, 28, 1), np.nan, np.float32)


@pytest.mark.parametrize(
    ("sql", "values", "told"),
    [
        ("UPDATE oips SET image = ? WHERE id = 2", [b""], "oips row 2: the database holds a"),
        ("UPDATE oips SET image = ? WHERE id = 2", [b"nonsense"], "oips row 2: the database"),
        ("UPDATE oips SET image = ? WHERE id = 2", [blob(IMAGE)[:-9]], "oips row 2: the data"),
        ("UPDATE oips SET image = ? WHERE id = 2", [blob([Bomb()], True)], "oips row 2: the"),
        ("UPDATE oips SET image = ? WHERE id = 2", [blob(IMAGE[0])], "with 2 axes where float32"),
        ("UPDATE oips SET image = ? WHERE id = 2", [blob(IMAGE + 1j)], "an array of complex"),
        ("UPDATE oips SET image = ? WHERE id = 2", [blob(IMAGE[1:])], "image has the shape (27,"),
        ("UPDATE oips SET image = ? WHERE id = 2", [blob(NOT_FINITE)], "image has values that"),
        ("UPDATE oips SET trace = ? WHERE id = 2", [blob(np.zeros(3, "f4"))], "trace has the"),
        ("UPDATE oips SET loss = 2 * loss WHERE id = 2", [], "oips row 2: its trace ends at"),
        ("UPDATE oips SET loss = 'much' WHERE id = 2", [], "oips row 2: "),
        ("UPDATE oips SET map = 12 WHERE id = 2", [], "there is no map 12 in Conv2D_3"),
        ("UPDATE oips SET map = -1 WHERE id = 2", [], "there is no map -1"),
        ("UPDATE oips SET steps = 9999 WHERE id = 2", [], "oips row 2: trace has the shape"),
        ("UPDATE oips SET start = '{}' WHERE id = 2", [], "oips row 2: "),
        ("UPDATE oips SET start = 'no json' WHERE id = 2", [], "oips row 2: "),
        ("UPDATE oips SET start = '[1]' WHERE id = 2", [], "oips row 2: "),
        ('UPDATE oips SET spec = \'{"kind": "Nothing"}\' WHERE id = 2', [], "oips row 2: "),
        ("UPDATE oips SET spec_sha256 = 'ab' WHERE id = 2", [], "its ascents aren't those"),
        ("UPDATE oips SET layer_id = 99 WHERE id = 2", [], "names a row of layers that"),
        ("UPDATE oips SET created = 'never' WHERE id = 2", [], "oips row 2: "),
        ("UPDATE scans SET map = 99 WHERE id = 1", [], "scans row 1: there is no map 99"),
        ("UPDATE rungs SET losses = ? WHERE id = 1", [blob(np.zeros(1, "f4"))], "losses of rung"),
        ("UPDATE screenings SET last = 5000 WHERE id = 1", [], "it isn't part of a grid"),
        ("UPDATE screenings SET histogram = ? WHERE id = 1", [blob([[1]])], "histogram has the"),
        ("UPDATE networks SET weights = ? WHERE id = 1", [b"PK"], "networks row 1: the stored"),
        ("UPDATE networks SET weights_sha256 = 'ab' WHERE id = 1", [], "its weights aren't"),
        ("UPDATE networks SET architecture = '{}' WHERE id = 1", [], "networks row 1: "),
        ("UPDATE networks SET architecture = ? WHERE id = 1", [lambda_model], "networks row 1: "),
        ("UPDATE networks SET name = '<script>' WHERE id = 1", [], "networks row 1: '<script>' is"),
        ("UPDATE layers SET name = 'a&b' WHERE id = 5", [], "networks row 1: 'a&b' is no name"),
        ("UPDATE varieties SET peaks = ? WHERE id = 1", [blob(np.zeros(1, "f2"))], "peaks has the"),
        ("UPDATE varieties SET map = 99 WHERE id = 1", [], "varieties row 1: there is no map 99"),
        ("UPDATE varieties SET n_patterns = 50 WHERE id = 1", [], "don't show 50 patterns"),
        ("UPDATE varieties SET spec_sha256 = 'ab' WHERE id = 1", [], "its spec isn't the one"),
        ("UPDATE networks SET image_height = 27 WHERE id = 1", [], "images of another size"),
    ],
)
def test_each_damage_is_told_with_its_row(damaged, tmp_path, monkeypatch, sql, values, told):
    monkeypatch.chdir(tmp_path)
    path = damaged(sql, *(value() if callable(value) else value for value in values))
    found = list(problems(Store(path)))
    assert any(told in problem for problem in found), found
    # What meets the damage on its way says so in a line; what doesn't, may answer.
    for command in ("query", "show 2", "replay 2", "export out", "derive --maps 0"):
        done = CliRunner().invoke(main, [*command.split(), "--db", str(path)])
        assert done.exception is None or isinstance(done.exception, SystemExit), command
        if done.exit_code:
            message = done.stderr.splitlines()
            assert message[-1].startswith("Error: "), done.stderr
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_truncated_file_is_an_error_not_a_crash(copy, oip):
    data = copy.read_bytes()
    copy.write_bytes(data[: len(data) // 2])
    done = oip("check", "--db", copy, check=1)
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
