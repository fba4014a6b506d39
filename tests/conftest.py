"""A tiny trained network on real digits, and a finished study of it."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from oiplib import (
    AscentSpec,
    ClimbSpec,
    CnnSpec,
    FluctuationSpec,
    GridSpec,
    LayerMaps,
    RungSpec,
    ScanSpec,
    Study,
    StudySpec,
    TrialSpec,
    VarietySpec,
    book,
    data,
    notebooks,
)

os.environ.pop("OIP_DB", None)


@pytest.fixture(scope="session")
def mnist():
    return data.load("mnist")


@pytest.fixture(scope="session")
def digits(mnist, tmp_path_factory):
    """A file with a few thousand real digits."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(
        path,
        x_train=mnist.train_images[:3000, ..., 0],
        y_train=mnist.train_labels[:3000],
        x_test=mnist.test_images[:500, ..., 0],
        y_test=mnist.test_labels[:500],
    )
    return path


@pytest.fixture(scope="session")
def tiny_spec(digits):
    """A study with the geometry of the articles, and little of everything."""
    return StudySpec(
        cnn=CnnSpec(dataset=str(digits), maps=(6, 8, 12), dense=(16,), epochs=2),
        trials=TrialSpec(FluctuationSpec(), n_trials=3, ascent=AscentSpec(n_epochs=40, n_steps=3)),
        scan=ScanSpec(
            GridSpec((0.2, 0.8), 3, 3),
            rungs=(
                RungSpec(16, AscentSpec(6, 0.3, n_steps=0, objective="pre-activation")),
                RungSpec(4, AscentSpec(21, 0.2, n_steps=2, schedule="cosine")),
            ),
            n_oips=3,
        ),
        variety=VarietySpec(
            n_starts=6,
            climb=ClimbSpec(
                (
                    AscentSpec(6, 0.3, n_steps=0, objective="pre-activation"),
                    AscentSpec(21, 0.3, n_steps=0, schedule="cosine"),
                )
            ),
            n_unlike=2,
        ),
    )


@pytest.fixture(scope="session")
def tiny_study(tiny_spec, tmp_path_factory):
    """The study, with everything computed."""
    study = Study(tmp_path_factory.mktemp("study") / "oip.db", tiny_spec)
    study.screening()
    study.derive_from_fluctuations()
    study.derive_from_patterns()
    study.varieties()
    return study


@pytest.fixture(scope="session")
def copied():
    """A function that copies a database with what is in its log, and returns the path."""

    def copied(source, path):
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(path)) as target:
            original.backup(target)
        return path

    return copied


@pytest.fixture
def copy(tiny_study, tmp_path, copied):
    """A copy of the finished database that a test may spoil."""
    return copied(tiny_study.store.name, tmp_path / "copy.db")


@pytest.fixture(scope="session")
def layer(tiny_study) -> LayerMaps:
    return tiny_study.engine


@pytest.fixture
def oip(tmp_path):
    """The command line as a process of its own, in a folder of its own."""

    def run(*args, check=None, **env):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("oip")), *map(str, args)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, **{name: str(value) for name, value in env.items()}},
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def shown(tiny_study, tmp_path_factory, copied):
    """A study to make a site of: on a copy, as some chapters compute what isn't stored yet."""
    path = tmp_path_factory.mktemp("shown") / "oip.db"
    return Study(copied(tiny_study.store.name, path))


@pytest.fixture(scope="session")
def built(shown, tmp_path_factory):
    """The site of some maps."""
    site = tmp_path_factory.mktemp("book") / "site"
    executed, fresh = book.build(shown, site, maps=[0, 3, 7])
    assert fresh
    assert executed == len(notebooks.CHAPTERS) + 3
    return site
