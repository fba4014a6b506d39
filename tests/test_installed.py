"""The package without its checkout: what the wheel holds, and that it does the main job alone."""

import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


def built(folder, *kind):
    """The file that the build makes, without looking for anything on the network."""
    program = (
        "import sys; from hatchling.build import build_{0} as build; print(build(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program.format(*kind), str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="session")
def wheel(once):
    """A folder with nothing but what the wheel holds."""

    def make(folder):
        folder.mkdir()
        with zipfile.ZipFile(built(folder, "wheel")) as archive:
            archive.extractall(folder / "installed")

    return once("wheel", make) / "installed"


def run(wheel, folder, *args):
    """The command line of the wheel, in an empty folder."""
    folder.mkdir()
    return subprocess.run(
        [sys.executable, "-m", "oiplib", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_package_and_its_templates(wheel):
    names = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    for kind in ("notebooks", "book"):
        templates = [p for p in (CHECKOUT / kind).rglob("*") if p.is_file()]
        templates = [p for p in templates if "__pycache__" not in p.parts]
        assert {
            f"oiplib/_{kind}/{p.relative_to(CHECKOUT / kind).as_posix()}" for p in templates
        } <= names
    modules = {p.relative_to(CHECKOUT).as_posix() for p in (CHECKOUT / "oiplib").rglob("*.py")}
    assert modules <= names
    assert not {name.split("/")[0] for name in names} & {"tests", "benchmarks", "oip.db"}
    (described,) = wheel.glob("*.dist-info")
    metadata = Distribution.at(described).metadata
    assert metadata["Name"] == "oiplib"
    assert metadata["Version"][0].isdigit()
    assert "MIT" in metadata["License-Expression"]


def test_the_source_holds_what_make_needs(tmp_path):
    with tarfile.open(built(tmp_path, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "Makefile", "requirements.lock", "oip.db"}
    assert needed <= names
    assert {"tests/conftest.py", "notebooks/05-map.ipynb", "book/_config.yml"} <= names


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    done = run(wheel, tmp_path / "empty", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("oip, version ")
    refused = run(wheel, tmp_path / "other", "query")
    assert refused.returncode == 1
    assert "there is no database oip.db" in refused.stderr


@pytest.mark.slow
def test_the_wheel_does_the_quick_main_job(wheel, tmp_path):
    done = run(wheel, tmp_path / "empty", "reproduce", "--quick", "--maps", "0-3,120")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "site" / "maps" / "map-120.html").is_file()
    assert (tmp_path / "empty" / "oip.db").is_file()
