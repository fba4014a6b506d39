"""Sizes are checked before memory is asked for: arrays, networks, grids, JSON."""

import errno
import io
import json
import shutil
import sqlite3
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from contextlib import closing, contextmanager

import h5py
import numpy as np
import pytest

from oiplib import GridSpec, InputError, OipError, PatternStart, Store
from oiplib.engine import network
from oiplib.engine.tf import keras
from oiplib.store.arrays import packed, unpacked
from oiplib.study.check import problems
from oiplib.values import AscentSpec, ClimbSpec, FluctuationSpec, ScreeningSpec, parsed, start_of

MEGABYTE = 2**20


@contextmanager
def little_memory(limit=64 * MEGABYTE):
    """What is done asks for little memory at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def declared(shape, body=b"", dtype="<f4"):
    """The bytes of an array that says it has some shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def bomb(shape):
    """A few bytes that become as many zeros as a shape has."""
    pack = zlib.compressobj(9)
    parts = [pack.compress(declared(shape))]
    parts += [pack.compress(bytes(MEGABYTE)) for _ in range(int(np.prod(shape)) * 4 // MEGABYTE)]
    return b"".join([*parts, pack.flush()])


@pytest.fixture(scope="module")
def swelling():
    """640 kB that become 640 MB."""
    return bomb((160, 1024, 1024))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", "u1", "f2", "i8"])
def test_an_array_survives(dtype, order):
    array = np.arange(24).astype(dtype).reshape(2, 3, 4, order=order)
    for value in (packed(array), zlib.decompress(packed(array))):
        again = unpacked(value)
        assert again.dtype == array.dtype
        assert np.array_equal(again, array)
        again[0] = 1  # may be changed


def test_an_array_that_swells_is_refused_before_it_does(swelling):
    with little_memory(), pytest.raises(OipError, match=r"has the shape \(160, 1024, 1024\)"):
        unpacked(swelling)
    with (
        little_memory(),
        pytest.raises(OipError, match=r"not \(28, 1024, 1024\)"),
    ):
        unpacked(swelling, "float32", ("height", "width", "channels"), {"height": 28})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (declared((2**40,)), "no array of ours is as large"),
        (zlib.compress(declared((2**40,))), "no array of ours is as large"),
        (declared((-1, 4)), "holds no numbers"),
        (declared((2**62,), dtype="|S0"), "holds no numbers"),
        (declared((2**28 - 1,), dtype="<U0"), "holds no numbers"),
        (declared((1,) * 70), "holds no numbers"),
        (declared((4,), bytes(15)), "cut short"),
        (declared((4,), bytes(17)), "longer than it says"),
        (zlib.compress(declared((4,), bytes(16)))[:-1], "cut short"),
        (zlib.compress(declared((4,), bytes(16))) + b"more", "something follows"),
        (zlib.compress(declared((4,), bytes(16)) * 9000), "longer than it says"),
        (declared("(" * 3000), "damaged array"),
    ],
)
def test_an_array_is_as_large_as_it_says(value, reason):
    with little_memory(), pytest.raises(OipError, match=reason):
        unpacked(value)


def test_an_array_may_be_larger_where_its_row_tells_its_size():
    value = declared((300_000_000,), dtype="|u1")
    with pytest.raises(OipError, match="no array of ours is as large"):
        unpacked(value, "uint8", ("images",))
    with pytest.raises(OipError, match="cut short"):
        unpacked(value, "uint8", ("images",), {"images": 300_000_000})


def test_a_stored_array_that_swells_is_told_with_its_row(copy, swelling):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE oips SET image = ? WHERE id = 2", (swelling,))
    with little_memory(200 * MEGABYTE):
        lines = list(problems(Store(copy)))
    expected = "it has the shape (160, 1024, 1024), not (28, 28, 1)"
    assert lines == [f"oips row 2: image: {expected}"]


# --- networks ---


def dense(units):
    """A network whose last layer has some units: its architecture, and weights for ten."""
    image = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(image)
    architecture, weights = network.pack(keras.Model(image, keras.layers.Dense(10)(flat)))
    return architecture.replace('"units": 10', f'"units": {units}'), weights


def test_a_network_without_its_weights_is_refused_before_it_is_built():
    architecture, weights = dense(10)
    assert network.unpack(architecture, weights).output_shape == (None, 10)
    for units in (2_000_000_000, 2**62):
        with little_memory(), pytest.raises(OipError, match="bytes, and there are"):
            network.unpack(*dense(units))
    # What was refused is not made by whatever comes next.
    with little_memory():
        assert network.unpack(architecture, weights).output_shape == (None, 10)


def test_a_layer_that_gives_too_much_is_refused():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.UpSampling2D(7)(image))
    architecture, weights = network.pack(model)
    architecture = architecture.replace("[7, 7]", "[70000, 70000]")
    with little_memory(), pytest.raises(OipError, match="too many"):
        network.unpack(architecture, weights)


@pytest.mark.parametrize("n", [50_000, 5_000])
def test_an_operation_that_gives_too_much_is_refused(n):
    """One that is no layer, alone or by many of them together."""
    image = keras.Input((8, 8, 1))
    wide = image
    for axis in (1, 2):
        wide = keras.ops.repeat(wide, 2, axis=axis)
    several = [keras.ops.mean(keras.ops.relu(wide * k), axis=(1, 2)) for k in range(1, 20)]
    model = keras.Model(image, keras.layers.Add()(several))
    architecture, weights = network.pack(model)
    changed = architecture.replace('"repeats": 2', f'"repeats": {n // 8}')
    assert changed != architecture
    with little_memory(), pytest.raises(OipError, match="too many"):
        network.unpack(changed, weights)


def test_weights_that_swell_are_refused():
    architecture, weights = dense(10)
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(weights)) as plain,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in plain.namelist():
            deflated.writestr(name, plain.read(name))
    with pytest.raises(OipError, match="its weights are packed"):
        network.unpack(architecture, buffer.getvalue())


def test_a_model_file_that_asks_for_more_weights_than_it_has_is_refused(tmp_path):
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(image)))
    model.save(tmp_path / "small.keras")
    with (
        zipfile.ZipFile(tmp_path / "small.keras") as small,
        zipfile.ZipFile(tmp_path / "large.keras", "w") as large,
    ):
        for name in small.namelist():
            content = small.read(name).replace(b'"units": 10', b'"units": 2000000000')
            large.writestr(name, content)
    with little_memory(), pytest.raises(InputError, match="bytes, and there are"):
        network.load(tmp_path / "large.keras")


def _at_kernel(change):
    """A change to the HDF5 file that holds a model's weights: of the first array in it."""

    def changed(file):
        names = []
        file.visit(names.append)
        kernel = next(name for name in names if getattr(file[name], "shape", ()) == (64, 10))
        parent, _, name = kernel.rpartition("/")
        change(file[parent], name)

    return changed


def _replaced(make):
    def change(group, name):
        del group[name]
        make(group, name)

    return _at_kernel(change)


def _virtual(group, name):
    layout = h5py.VirtualLayout((64, 10), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", (64, 10))
    group.create_virtual_dataset(name, layout)


def _one_part(group, name):
    """Ten numbers of an array that could grow; they lie in a part of 200 MB."""
    part = (50 * 2**20,)
    array = group.create_dataset(name, (10,), "f4", maxshape=(None,), chunks=part, compression=9)
    array.id.write_direct_chunk((0,), zlib.compress(bytes(200 * MEGABYTE)))


HOSTILE_HDF5 = {
    "chunks that aren't there": (
        _replaced(lambda g, n: g.create_dataset(n, (7 * 2**27,), "f4", chunks=(2**20,))),
        "MB of weights, and doesn't",
    ),
    "external storage": (
        _replaced(lambda g, n: g.create_dataset(n, (64, 10), "f4", external=[("s", 0, 2560)])),
        "lies in another file",
    ),
    "a virtual array": (_replaced(_virtual), "lies in another file"),
    "an external link": (
        _replaced(lambda g, n: g.__setitem__(n, h5py.ExternalLink("secret.h5", "/x"))),
        "a link to what lies elsewhere",
    ),
    "a soft link": (
        _replaced(lambda g, n: g.__setitem__(n, h5py.SoftLink("/"))),
        "a link to what lies elsewhere",
    ),
    "one part that swells": (_replaced(_one_part), "MB of weights, and doesn't"),
    "texts": (
        _replaced(lambda g, n: g.create_dataset(n, (3,), h5py.string_dtype())),
        "holds no numbers",
    ),
    "many names of one array": (
        _at_kernel(lambda g, n: [g.__setitem__(f"{n}{i}", g[n]) for i in range(2000)]),
        "MB of weights, and doesn't",
    ),
}


@pytest.fixture(scope="module")
def small_models(tmp_path_factory):
    """A small model, as .keras and as .h5."""
    folder = tmp_path_factory.mktemp("models")
    network.unpack(*dense(10)).save(folder / "small.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.unpack(*dense(10)).save(folder / "small.h5")
    return folder


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("what", HOSTILE_HDF5)
def test_weights_that_lie_elsewhere_or_are_not_there_are_refused(
    small_models, tmp_path, what, ending
):
    change, reason = HOSTILE_HDF5[what]
    path = tmp_path / f"hostile.{ending}"
    content = io.BytesIO((small_models / f"small.{ending}").read_bytes())
    if ending == "keras":
        with zipfile.ZipFile(content) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file)
    if ending == "keras":
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                is_changed = name == "model.weights.h5"
                archive.writestr(name, content.getvalue() if is_changed else member)
    else:
        path.write_bytes(content.getvalue())
    assert network.load(small_models / f"small.{ending}").count_params() == 650
    with little_memory(), pytest.raises(InputError, match=reason):
        network.load(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("assets/words.txt", b"words", "which no network that takes images needs"),
        ("config.json", b"{}", "holds a part twice"),
        ("model.weights.h5", bytes(100 * MEGABYTE), "packed so tightly"),
    ],
)
def test_an_archive_with_more_than_a_model_is_refused(
    small_models, tmp_path, name, content, reason
):
    path = tmp_path / "hostile.keras"
    with (
        zipfile.ZipFile(small_models / "small.keras") as small,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as large,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of a part that is there twice
        for part in small.namelist():
            if part != name or len(content) < 100:
                large.writestr(part, small.read(part))
        large.writestr(name, content)
    with little_memory(), pytest.raises(InputError, match=reason):
        network.load(path)


def test_weights_that_swell_twice_are_refused(small_models, tmp_path):
    """Packed in the archive, and declared in a file that is large only by what is packed."""
    path = tmp_path / "hostile.keras"
    with zipfile.ZipFile(small_models / "small.keras") as small:
        members = {name: small.read(name) for name in small.namelist()}
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        zeros = np.zeros(2 * MEGABYTE, "u1")
        file.create_dataset("more", data=zeros)
        file.create_dataset("declared", (19 * MEGABYTE,), "u1", chunks=(MEGABYTE,))
        file.create_dataset(
            "noise", data=np.random.default_rng(0).integers(0, 256, MEGABYTE // 8, "u1")
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            is_changed = name == "model.weights.h5"
            archive.writestr(name, content.getvalue() if is_changed else member)
    with pytest.raises(InputError, match="MB of weights, and doesn't"):
        network.load(path)


@pytest.mark.filterwarnings("ignore")
def test_a_whole_model_under_the_name_of_weights_is_loaded(small_models, tmp_path):
    path = tmp_path / "whole.weights.h5"
    path.write_bytes((small_models / "small.h5").read_bytes())
    assert network.load(path).count_params() == 650


def test_numbers_that_are_added_to_weights_are_loaded(tmp_path):
    """Keras joins them when it saves, so the file holds fewer than the network."""
    image = keras.Input((8, 8, 1))
    layer = keras.layers.Dense(10, lora_rank=4)
    keras.Model(image, layer(keras.layers.Flatten()(image))).save(tmp_path / "lora.keras")
    assert network.load(tmp_path / "lora.keras").output_shape == (None, 10)


def test_a_full_folder_for_temporary_files_is_told(small_models, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OipError, match=r"are unpacked into .*No space left") as refused:
        network.load(small_models / "small.keras")
    assert not isinstance(refused.value, InputError)


@pytest.mark.parametrize("kind", ["__numpy__", "__tensor__"])
def test_an_array_inside_an_architecture_holds_numbers(kind):
    architecture, weights = dense(10)
    layers = json.loads(architecture)
    value = {"class_name": kind, "config": {"value": [0], "dtype": "S1500000000"}}
    layers["config"]["layers"][1] = {
        **layers["config"]["layers"][1],
        "class_name": "Rescaling",
        "config": {"name": "flatten", "scale": value},
    }
    with little_memory(), pytest.raises(OipError, match="no numbers"):
        network.unpack(json.dumps(layers), weights)


def test_first_weights_are_not_drawn(monkeypatch):
    """Those of a network that is loaded are to come; to draw the first ones could take minutes."""

    def drawn(*args, **kwargs):
        raise AssertionError

    image = keras.Input((8, 8, 1))
    layer = keras.layers.Dense(10, kernel_initializer="orthogonal")
    model = keras.Model(image, layer(keras.layers.Flatten()(image)))
    architecture, weights = network.pack(model)
    monkeypatch.setattr(keras.initializers.Orthogonal, "__call__", drawn)
    model = network.unpack(architecture, weights)
    assert network.pack(model) == (architecture, weights)


def test_an_image_of_too_many_pixels_is_refused(copy):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE networks SET image_height = 15800, image_width = 15800")
    with little_memory(), pytest.raises(OipError, match="image_height x image_width x image_ch"):
        Store(copy).oip(2)


def test_a_trace_of_too_many_steps_is_refused(copy):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE oips SET steps = 249000000 WHERE id = 2")
    with little_memory(), pytest.raises(OipError, match="16,777,216 are the most"):
        Store(copy).oip(2).trace  # noqa: B018 - it is unpacked here
    with pytest.raises(InputError, match="takes at most 16,777,216 steps"):
        ClimbSpec((AscentSpec(10**6),) * 20)


def test_a_network_of_very_many_layers_is_refused():
    architecture = json.loads(dense(10)[0])
    layers = architecture["config"]["layers"]
    layers += [{"class_name": "ReLU", "config": {"name": f"r{i}"}} for i in range(4000)]
    with pytest.raises(OipError, match="more than 3,000 layers"):
        network.unpack(json.dumps(architecture), dense(10)[1])


# --- values ---


@pytest.mark.parametrize("side", [63, 99999, 10**30])
def test_a_grid_of_too_many_cells_is_refused_at_once(side):
    for rows, columns in ((side, side), (1, side), (side, 1)):
        with pytest.raises(InputError, match=r"must be at most|more patterns than"):
            GridSpec(rows=rows, columns=columns)
    stored = PatternStart(GridSpec(), 7).to_dict()
    stored["grid"] |= {"rows": side, "columns": side}
    with pytest.raises(InputError, match="must be at most"):
        start_of(stored)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: AscentSpec(n_epochs=10**12), "n_epochs must be at most"),
        (
            lambda: ScreeningSpec(GridSpec((0.2, 0.8), 8, 7)),
            "make 7e\\+16 patterns, and 1e\\+12 at",
        ),
        (lambda: AscentSpec(epsilon=1e308), "epsilon must be above 0 and at most|at most 1e"),
        (lambda: FluctuationSpec(seed=2**80), "seed must be at most"),
        (lambda: FluctuationSpec(grids=((9999, 9999),), factors=(1.0,)), "side must be at most"),
        (lambda: FluctuationSpec(grids=((2, 2),) * 99, factors=(1.0,) * 99), "at most 16 grids"),
    ],
)
def test_numbers_are_bounded(make, reason):
    with pytest.raises(InputError, match=reason):
        make()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deep"),
        ("[" * 500 + "]" * 500, "nested too deep"),
        ('{"a":' * 90 + "1" + "}" * 90, "nested too deep"),
        ("[" + "0," * 3_000_000 + "0]", "are the most"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "Infinity is no number"),
        ("[1e999]", "1e999 is no number"),
        ("[1" + "0" * 400 + "]", "is too large a number"),
        ("1" * 5000, "can't be read"),
        ("{", "can't be read"),
        (7, "a JSON text is needed"),
    ],
)
def test_json_is_bounded(text, reason):
    with pytest.raises(OipError, match=reason):
        parsed(text)


def test_a_deep_spec_of_a_row_is_told(copy):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE oips SET start = ? WHERE id = 2", ("[" * 100_000,))
    assert "oips row 2: its JSON is nested too deep" in list(problems(Store(copy)))
    with pytest.raises(OipError, match="oips row 2: its JSON is nested too deep"):
        Store(copy).oip(2)


def test_what_is_not_finite_is_not_stored(copy):
    store = Store(copy, create=True)
    before = store.oip(2)
    image = before.image.copy()
    image[3, 4] = np.nan
    with pytest.raises(OipError, match="aren't finite"), store.session(writes=True) as session:
        session.get(type(before), 2).image = image
    assert np.array_equal(Store(copy).oip(2).image, before.image)


def test_a_network_whose_weights_are_not_finite_is_refused():
    architecture, _ = dense(10)
    model = network.unpack(architecture, dense(10)[1])
    weights = model.get_weights()
    weights[0][0] = np.inf
    model.set_weights(weights)
    with pytest.raises(OipError, match="no finite numbers"):
        network.unpack(*network.pack(model))
