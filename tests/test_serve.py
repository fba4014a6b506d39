"""Datasette on a finished database, in a real browser; and the folder that others can load."""

import csv
import io
import json
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from browsing import Watched, needs_browser

from oiplib import Store
from oiplib.publish.export import write_csv
from oiplib.store.arrays import packed


@contextmanager
def serving(path):
    """Address of a Datasette that shows a database while the context lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("oip"), "serve", "--db", path, "--port", str(port)]
    address = f"http://127.0.0.1:{port}/{path.stem}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(address).close()
                    break
                except OSError:
                    assert process.poll() is None, process.stdout.read()
                    time.sleep(0.1)
            yield address
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def served(tiny_study, tmp_path_factory, copied):
    """Address of a Datasette that shows the study's database, which no test may change."""
    path = copied(tiny_study.store.name, tmp_path_factory.mktemp("served") / "copy.db")
    with serving(path) as address:
        yield address


def answer_of(address):
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


@needs_browser
def test_the_page_of_a_map_shows_its_pictures(browser, served, tiny_study):
    n = len(tiny_study.oips(3))
    watched = Watched(browser, served.rpartition("/")[0])
    page = watched.open(f"{served}/maps")
    page.click("td.col-map a:text-is('3')")
    page.wait_for_load_state("networkidle")
    assert page.inner_text("h1") == "All OIPs of a map"
    widths = page.eval_on_selector_all("td img", "all => all.map(i => i.naturalWidth)")
    page.goto(f"{served}/best_of_map?map=3")
    frames = page.eval_on_selector_all("td img", "all => all.map(i => i.naturalWidth)")
    assert widths == [28] * n
    assert frames == [28] * (1 + len(tiny_study.oips(3).best().frames))
    assert watched.wrong == []


def test_each_named_query_and_view_answers(served, tiny_study):
    from oiplib.publish.serve import QUERIES
    from oiplib.store import VIEWS

    ids = [oip.id for oip in tiny_study.oips(3)]
    for name in (*QUERIES, *VIEWS):
        rows = answer_of(f"{served}/{name}.json?map=3&_shape=array")
        if name == "map":
            assert [row["id"] for row in rows] == ids
        if name == "best_of_map":
            assert [row["id"] for row in rows] == ids[:1]
        if name == "gallery":
            assert len(rows) == len(tiny_study.oips(best=True))


def test_a_damaged_array_harms_nobody(copy):
    damaged = b"\x93NUMPY\x01\x00 <script>alert(1)</script>"
    swelling = packed(np.zeros((90, 512, 512, 1), np.uint8))
    many = packed(np.zeros((2000, 1, 1, 1), np.uint8))
    with Store(copy, create=True).session(writes=True) as session:
        for id, value in enumerate((damaged, swelling, many), 1):
            sql = "UPDATE oips SET image = ? WHERE id = ?"
            session.connection().exec_driver_sql(sql, (value, id))
    with serving(copy) as address, urllib.request.urlopen(f"{address}/oip_list") as answer:
        page = answer.read().decode()
    assert "a damaged array" in page
    assert "uint8, 90 x 512 x 512 x 1" in page
    assert "uint8, 2000 x 1 x 1 x 1" in page
    assert "<script>alert" not in page


def test_what_cannot_be_served_is_refused(oip, tmp_path):
    assert "there is no database" in oip("serve", "--db", "none.db", check=1).stderr


def test_an_export_can_be_loaded_without_us(oip, copy, tmp_path, tiny_study):
    output = oip("export", "out", "--maps", "3-5", "--db", copy, check=0).stdout
    oips = [o for map in (3, 4, 5) for o in tiny_study.oips(map)]
    assert output == f"{len(oips)} OIPs in out\n"
    folder = tmp_path / "out"
    images = np.load(folder / "images.npy", allow_pickle=False)
    assert images.tobytes() == np.array([o.image for o in oips]).tobytes()
    with (folder / "oips.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(int(row["id"]), float(row["loss"])) for row in table] == [(o.id, o.loss) for o in oips]
    rows = json.loads((folder / "oips.json").read_text())
    assert [row["start"] for row in rows] == [o.start_fields for o in oips]
    for row in rows:
        assert (folder / row["png"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(list((folder / "png").iterdir())) == len(oips)


def test_no_cell_of_a_csv_file_is_a_formula():
    """OWASP's list of what spreadsheets take for one, and what they don't."""
    formulas = [f"{sign}1+cmd|'/C calc'!A0" for sign in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"]
    texts = [*formulas, "a\r=b", "a=b", "map 7", "'", ""]
    file = io.StringIO(newline="")
    rows = [{"layer": text, "loss": -0.5, "map": -1, "prior": None} for text in texts]
    write_csv(rows, file, ("layer", "loss", "map", "prior"))
    file.seek(0)
    read = list(csv.DictReader(file))
    harmless = [f"'{text}".replace("\r", "\n") for text in formulas]
    assert [row["layer"] for row in read] == [*harmless, "a\n=b", *texts[-4:]]
    assert {(row["loss"], row["map"], row["prior"]) for row in read} == {("-0.5", "-1", "")}


def test_an_export_replaces_nothing(oip, copy, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    assert "holds something" in oip("export", "full", "--db", copy, check=2).stderr
    assert "no such OIPs" in oip("export", "new", "--least", 1e9, "--db", copy, check=2).stderr
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("host", ["", "a" * 70, "999.1.1.1"])
def test_what_is_no_host_is_refused(oip_here, copy, host):
    """An empty one would be reached from everywhere."""
    done = oip_here("serve", "--host", host, "--db", copy)
    assert done.returncode == 2
    assert done.stderr.count("Error: ") == 1
