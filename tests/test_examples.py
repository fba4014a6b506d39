"""What docstrings and the README show does run, and gives what they say."""

import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import oiplib

README = (Path(__file__).parent.parent / "README.md").read_text()
MODULES = sorted(module.name for module in pkgutil.walk_packages(oiplib.__path__, "oiplib."))

#: Commands of the README that are not run here, and why.
NOT_HERE = {
    "oip serve": "it serves until it is stopped",
    "oip screen": "1.95 million patterns take a minute",
    "oip train": "twelve epochs take minutes; tests/test_cli.py trains for one",
}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    lines = [line.split("#")[0].strip() for block in blocks("") for line in block.splitlines()]
    return [line for line in lines if line.startswith("oip ")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.fixture
def folder(reference, tiny_study, tmp_path, copied):
    """A folder with the reference database and what else the README's reader may have."""
    copied(reference, tmp_path / "oip.db")
    copied(tiny_study.store.name, tmp_path / "other-machine.db")
    tiny_study.model.save(tmp_path / "my.keras")
    return tmp_path


def test_the_python_of_the_readme_runs(folder):
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, check=True, capture_output=True, text=True
    )
    assert "(28, 28, 1)" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_runs(folder, oip, line):
    words = shlex.split(line)
    if " ".join(words[:2]) in NOT_HERE:
        assert oip(words[1], "--help", check=0).stdout  # it is a command at least
        return
    if line.startswith("oip replay"):
        words += ["--tolerance", "0.1"]  # of another machine, the last bits may differ
    done = oip(*words[1:], check=0)
    assert done.stdout
