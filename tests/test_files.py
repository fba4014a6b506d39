"""Files of the user's own stay whole; what is written is written whole or not at all."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from oiplib import InputError, OipError, Store
from oiplib.files import check_target, replacing, scratch_in, write
from oiplib.processes import machine
from oiplib.publish import book

OWN = "years of work"


@pytest.fixture
def own(tmp_path):
    """Files of the user's own, with names that a careless program would take for its scratch."""
    names = [
        *("out.part", "q.csv.part", "p.png.part", "site.new", "site.old", "q.csv.new"),
        *("copy.db.part", "copy.db.new", "notes.prepared.ipynb"),
    ]
    for name in names:
        (tmp_path / name).write_text(OWN)
    return [tmp_path / name for name in names]


def test_files_beside_what_is_written_stay(oip_here, own, copy, tmp_path):
    oip_here("export", "out", "--map", 3, "--db", copy, check=0)
    oip_here("query", "--format", "csv", "--out", "q.csv", "--db", copy, check=0)
    oip_here("show", 1, "--png", "p.png", "--db", copy, check=0)
    (tmp_path / "work").mkdir()
    book._replace(tmp_path / "site", tmp_path / "out", tmp_path / "work")
    assert (tmp_path / "site" / "images.npy").exists()
    assert {path.read_text() for path in own} == {OWN}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".oip-")]


def test_a_folder_beside_the_site_that_is_not_ours_is_refused(tmp_path):
    (tmp_path / "site.work" / "source").mkdir(parents=True)
    (tmp_path / "site.work" / "source" / "thesis.txt").write_text(OWN)
    with pytest.raises(InputError, match=r"site\.work holds other files"):
        book.check_site(tmp_path / "site")


def test_a_notebook_that_is_not_ours_is_not_replaced(oip_here, copy, tmp_path):
    (tmp_path / "executed").mkdir()
    mine = tmp_path / "executed" / "query.ipynb"
    mine.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    message = oip_here("run", "query", "--maps", 0, "--db", copy, check=2).stderr
    assert "isn't a notebook that was executed here" in message
    assert '"cells": []' in mine.read_text()


def test_the_standard_output_is_no_file(oip, copy, tmp_path):
    program = Path(sys.executable).with_name("oip")
    command = [program, "show", "1", "--png", "-", "--db", copy]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout[:8] == b"\x89PNG\r\n\x1a\n"
    assert done.stderr.startswith(b"OIP      1\n")
    listed = oip("query", "--format", "csv", "--db", copy, check=0).stdout
    assert oip("query", "--format", "csv", "--out", "-", "--db", copy, check=0).stdout == listed
    assert not (tmp_path / "-").exists()


def test_what_is_no_plain_file_is_written_to(tmp_path):
    reader, writer = os.pipe()
    write(f"/proc/self/fd/{writer}", lambda file: file.write(b"whole"))
    assert os.read(reader, 9) == b"whole"
    os.close(reader)
    os.close(writer)
    with pytest.raises(OipError, match="No space left"):
        write("/dev/full", lambda file: file.write(b"x"))
    assert not Path("/dev/full").is_file()


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(str(tmp_path / "link"), lambda file: file.write(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_an_error_leaves_the_target_as_it_was(tmp_path):
    (tmp_path / "file").write_text("old")

    def fail():
        with replacing(tmp_path / "file") as scratch:
            scratch.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_a_killed_process_has_left_is_removed_by_the_next(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".oip-{machine()}-{ended.pid}-abcd_123"
    others = [
        tmp_path / f".oip-{machine()}-{os.getpid()}-abcd_123",  # it is still at work
        tmp_path / f".oip-{'0' * 16}-{ended.pid}-abcd_123",  # on another machine, perhaps, too
        tmp_path / ".oip-notes",
    ]
    for folder in (left, *others):
        folder.mkdir()
        (folder / "thesis.txt").write_text(OWN)
    write(str(tmp_path / "file"), lambda file: file.write(b"new"))
    assert not left.exists()
    left.mkdir()  # and by who asks for a folder alone
    with scratch_in(tmp_path):
        assert not left.exists()
    assert [(folder / "thesis.txt").read_text() for folder in others] == [OWN] * 3


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("", "file", "an empty text"),
        ("a\0b", "file", "can't be written: embedded null"),
        ("x" * 5000, "file", "File name too long"),
        ("none/x", "file", "there is no folder"),
        (".", "file", "is a folder"),
        ("here", "folder", "is a file"),
        ("here/x", "folder", "there is no folder|Not a directory"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(path, kind, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text(OWN)
    with pytest.raises(InputError, match=reason):
        check_target(path, kind)


def test_what_takes_long_is_refused_before(oip_here, copy, tmp_path):
    for command in (
        "train --save none/x.keras --epochs 1",
        "train --save x.h5",
        "book --site copy.db",
        "reproduce --quick --site copy.db/x",
        "run --out copy.db",
    ):
        message = oip_here(*command.split(), "--db", copy, check=2).stderr
        assert "Error: " in message, command
    assert len(Store(copy).networks()) == 1


def test_a_full_disk_is_an_error_of_one_line(copy, tmp_path):
    """A limit on the size of files stands for the disk; both are an error while writing."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    program = Path(sys.executable).with_name("oip")
    command = [program, "export", "out", "--db", copy]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limited)
    assert done.returncode == 1
    assert done.stderr == "Error: out can't be written: File too large\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db"]


def test_where_nobody_reads_on_the_work_still_ends_well(copy, tmp_path):
    program = Path(sys.executable).with_name("oip")
    command = f"'{program}' query --db '{copy}' --format json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


def test_containers_that_share_a_name_are_told_apart(monkeypatch):
    """Each has its own numbers of processes, so what one has left isn't the other's to remove."""
    here = machine()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[4026539999]")
    assert machine.__wrapped__() != here


def test_no_command_writes_over_its_database(oip_here, copy, tmp_path):
    before = copy.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(copy)
    for name in (copy, link, f"{copy}-wal"):
        for line in (
            ("query", "--format", "csv", "--out", name),
            ("show", 1, "--png", name),
            ("show", 1, "--npy", name),
        ):
            done = oip_here(*line, "--db", copy)
            assert (done.returncode, done.stderr) == (
                2,
                f"Error: {name} is the database: name another file\n",
            )
    assert copy.read_bytes() == before


def test_two_results_do_not_go_into_one_file(oip_here, copy):
    done = oip_here("show", 1, "--npy", "one", "--png", "./one", "--db", copy)
    assert done.returncode == 2
    assert "is what --npy names, too" in done.stderr


def test_a_database_is_not_merged_with_itself_by_another_name(oip_here, copy):
    other = copy.with_name("linked.db")
    other.symlink_to(copy)
    done = oip_here("merge", copy, other)
    assert done.returncode == 2
    assert "is the database to merge into" in done.stderr


def test_an_empty_text_names_no_database(oip_here):
    done = oip_here("query", "--db", "")
    assert done.returncode == 2
    assert done.stderr.endswith("an empty text names no database: name a file or a URL\n")
