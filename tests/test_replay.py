import sqlite3

import numpy as np
import pytest

from oiplib import InputError, Store, Study
from oiplib.study.replay import replay


def test_each_oip_is_made_again_with_equal_bytes(tiny_study, tmp_path, oip, copied):
    """From a copy of the file alone, in a process of its own."""
    copied(tiny_study.store.name, tmp_path / "oip.db")
    n = len(tiny_study.oips())
    told = oip("replay", "--all", check=0).stdout
    assert f"{n} of {n} hold, {n} with equal bytes" in told
    origins = {each.origin for each in tiny_study.oips()}
    assert origins >= {"fluctuation", "pattern"}


def test_alone_or_among_others_is_the_same(tiny_study):
    ids = [each.id for each in tiny_study.oips()]
    alone = list(replay(tiny_study.store, ids[:1]))
    sample = tiny_study.store.oip_ids(5)
    assert alone[0].same_bytes
    assert sample == tiny_study.store.oip_ids(5)
    assert all(each.same_bytes for each in replay(tiny_study.store, sample))


def test_an_oip_that_does_not_hold_is_told(tiny_study, tmp_path, oip_here, copied):
    path = tmp_path / "oip.db"
    copied(tiny_study.store.name, path)
    some = tiny_study.oips()[0]
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE oips SET loss = loss * 1.01 WHERE id = ?", (some.id,))
        other = np.roll(some.image, 1, axis=0)
        row = next(each for each in tiny_study.oips() if each.id != some.id)
    with Store(path).session() as session:
        session.get(type(row), row.id).image = other
    result = oip_here("replay", str(some.id), str(row.id), check=1)
    assert result.stderr == "Error: 2 of 2 OIPs don't hold\n"
    assert " no" in oip_here("replay", str(some.id), "--tolerance", "0.02", check=0).stdout
    oip_here("replay", str(row.id), "--tolerance", "0.02", check=1)


def test_wrong_usage_says_what_to_name(tiny_study, oip_here, tmp_path, copied):
    copied(tiny_study.store.name, tmp_path / "oip.db")
    assert "--sample N" in oip_here("replay", check=2).stderr
    assert "--sample N" in oip_here("replay", "1", "--all", check=2).stderr
    assert "--sample must be at most" in oip_here("replay", "--sample", str(2**63), check=2).stderr
    assert "there is no OIP 99999: choose 1 to" in oip_here("replay", "99999", check=2).stderr
    with pytest.raises(InputError, match="there is no OIP"):
        list(replay(Study(tmp_path / "oip.db").store, [0]))
