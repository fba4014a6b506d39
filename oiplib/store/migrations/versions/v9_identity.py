"""Identities that hold: hashes without defaults, a null of its own, the studies that were asked.

Every constant that changes a result stands in a spec now, and fields at their default are left
out of the hashed text. So all specs are completed and all hashes made anew. What a scan was made
for is no longer part of it. The null of a layer, which each map's variety repeated, becomes a
row; varieties that were judged by a part of their layer only are left out, and made anew when
they are asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from alembic import op
from sqlalchemy import text

from oiplib.errors import OipError
from oiplib.store.arrays import header_of, unpacked
from oiplib.store.migrations.rows import canonical, define, recreate, sha256

revision = "9"
down_revision = "8"

# In which similarities are counted; oiplib made 200.
_MOST_CLASSES = 10_000

_FLUCTUATION = {
    "kind": "FluctuationSpec",
    "grids": [[3, 3], [7, 7], [14, 14], [28, 28]],
    "factors": [0.2, 0.2, 0.0, 0.0],
    "seed": 0,
}
_GRID = {"kind": "GridSpec", "values": [0.2, 0.5, 0.8], "rows": 3, "columns": 3}
_ASCENT = {
    "kind": "AscentSpec",
    "n_epochs": 600,
    "epsilon": 0.01,
    "n_steps": 6,
    "conv_criterion": 2e-4,
    "stop_with_convergence": False,
    "objective": "response",
    "schedule": "constant",
}
_RESTARTS = {
    "kind": "ClimbSpec",
    "stages": [
        {**_ASCENT, "n_epochs": 11, "epsilon": 0.8, "n_steps": 0, "objective": "pre-activation"},
        {**_ASCENT, "n_epochs": 91, "epsilon": 0.8, "n_steps": 0, "schedule": "cosine"},
    ],
}
_NULL = {
    "kind": "NullSpec",
    "fluctuation": _FLUCTUATION,
    "n_starts": 64,
    "climb": _RESTARTS,
    "tries": 4,
    "seed": 0,
    "quantile": 0.99,
    "n_classes": 200,
}
_TRIALS = {"kind": "TrialSpec", "fluctuation": _FLUCTUATION, "n_trials": 4, "ascent": _ASCENT}
_CNN = {
    "kind": "CnnSpec",
    "dataset": "mnist",
    "maps": [32, 64, 128],
    "kernel": 3,
    "dense": [100],
    "epochs": 12,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "final_learning_rate": 2e-5,
    "momentum": 0.5,
    "l2": 1e-3,
    "weights_seed": 0,
    "order_seed": 0,
}


def _rung(n_starts: int, n_epochs: int, **ascent: Any) -> dict[str, Any]:
    ascent = {**_ASCENT, "n_epochs": n_epochs, **ascent}
    return {"kind": "RungSpec", "n_starts": n_starts, "ascent": ascent}


_RUNGS = {
    "article": [_rung(0, 10, n_steps=0), _rung(8, 1200)],
    "race": [
        _rung(96, 11, epsilon=0.8, n_steps=1, objective="pre-activation"),
        _rung(32, 21, epsilon=0.8, n_steps=0, schedule="cosine"),
        _rung(8, 61, epsilon=0.8, n_steps=3, schedule="cosine"),
    ],
}
_SCAN = {
    "kind": "ScanSpec",
    "grid": _GRID,
    "strategy": "race",
    "rungs": _RUNGS["race"],
    "n_oips": 3,
    "seed": 0,
    "n_top": 256,
    "alike": 0.9,
    "oversampling": 8,
    "keeps_frames": True,
}
_VARIETY = {
    "kind": "VarietySpec",
    **{name: _NULL[name] for name in ("fluctuation", "n_starts", "climb")},
    "n_unlike": 8,
    "tries": 4,
    "null_seed": 0,
    "quantile": 0.99,
    "n_classes": 200,
    "margin": 0.9,
    "n_typical": 4,
    "n_images": 8,
}
_COMPARED = {
    **_SCAN,
    "rungs": [{**rung, "n_starts": max(2, rung["n_starts"] // 4)} for rung in _RUNGS["race"]],
    "n_oips": 1,
    "keeps_frames": False,
}
#: What each kind of spec is where nothing is named, in this schema.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "AscentSpec": _ASCENT,
    "ClimbSpec": {},
    "CnnSpec": _CNN,
    "CorrespondenceSpec": {
        "kind": "CorrespondenceSpec",
        "scan": _COMPARED,
        "untrained": [1, 2],
        "seed": 0,
        "batch_size": 250,
        "least_spread": 1e-4,
    },
    "FluctuationSpec": _FLUCTUATION,
    "GridSpec": _GRID,
    "NullSpec": _NULL,
    "ReactionSpec": {"kind": "ReactionSpec", "random": None, "n_images": 2048, "n_top": 10},
    "RungSpec": {},
    "ScanSpec": _SCAN,
    "ScreeningSpec": {
        "kind": "ScreeningSpec",
        "grid": _GRID,
        "n_top": 256,
        "decades": [-4, 4],
        "n_bins": 10,
    },
    "StudySpec": {
        "kind": "StudySpec",
        "cnn": _CNN,
        "layer": "Conv2D_3",
        "trials": _TRIALS,
        "scan": _SCAN,
        "variety": _VARIETY,
    },
    "TrialSpec": _TRIALS,
    "VarietySpec": _VARIETY,
    "FluctuationStart": {},
    "PatternStart": {},
}

_NETWORKS_TABLE = """
CREATE TABLE new_networks (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    spec JSON,
    spec_sha256 VARCHAR,
    architecture VARCHAR NOT NULL,
    weights BLOB NOT NULL,
    weights_sha256 VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    image_height INTEGER NOT NULL,
    image_width INTEGER NOT NULL,
    image_channels INTEGER NOT NULL,
    history JSON NOT NULL,
    accuracy DOUBLE,
    run_id INTEGER NOT NULL,
    created DATETIME NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (spec_sha256, weights_sha256),
    CHECK (accuracy BETWEEN 0 AND 1),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_NETWORK_COLUMNS = (
    "id, name, spec, spec_sha256, architecture, weights, weights_sha256, sha256, image_height, "
    "image_width, image_channels, history, accuracy, run_id, created"
)
_SCANS_TABLE = """
CREATE TABLE new_scans (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, map, spec_sha256),
    CHECK (map >= 0),
    CHECK (origin IN ('fluctuation', 'pattern', 'selection')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_OIPS_TABLE = """
CREATE TABLE new_oips (
    id INTEGER NOT NULL,
    "key" VARCHAR NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    start JSON NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    loss DOUBLE NOT NULL,
    steps INTEGER NOT NULL,
    stop_reason VARCHAR NOT NULL,
    created DATETIME NOT NULL,
    image BLOB NOT NULL,
    report_steps BLOB NOT NULL,
    frames BLOB NOT NULL,
    trace BLOB NOT NULL,
    PRIMARY KEY (id),
    CHECK (map >= 0),
    CHECK (loss > 0),
    CHECK (steps >= 0),
    CHECK (origin IN ('fluctuation', 'pattern', 'revival')),
    UNIQUE ("key"),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_OIP_COLUMNS = (
    'id, "key", layer_id, run_id, map, origin, start, spec, spec_sha256, loss, steps, '
    "stop_reason, created, image, report_steps, frames, trace"
)
_REACTIONS_TABLE = """
CREATE TABLE new_reactions (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    n_reacting BLOB NOT NULL,
    strongest_preactivation BLOB NOT NULL,
    top_images BLOB NOT NULL,
    top_responses BLOB NOT NULL,
    class_means BLOB NOT NULL,
    images BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, spec_sha256),
    CHECK (kind IN ('fluctuation', 'digit')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_NULLS_TABLE = """
CREATE TABLE nulls (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    threshold DOUBLE NOT NULL,
    feature_threshold DOUBLE NOT NULL,
    n_starts BLOB NOT NULL,
    peaks BLOB NOT NULL,
    features BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, spec_sha256),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_VARIETIES_TABLE = """
CREATE TABLE new_varieties (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    null_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_starts INTEGER NOT NULL,
    n_patterns INTEGER NOT NULL,
    commonest DOUBLE NOT NULL,
    median DOUBLE,
    best_loss DOUBLE NOT NULL,
    unlike_loss DOUBLE,
    starts BLOB NOT NULL,
    losses BLOB NOT NULL,
    patterns BLOB NOT NULL,
    peaks BLOB NOT NULL,
    features BLOB NOT NULL,
    shifts BLOB NOT NULL,
    images BLOB NOT NULL,
    unlike_losses BLOB NOT NULL,
    unlike_alike BLOB NOT NULL,
    unlike_images BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, map, spec_sha256),
    CHECK (map >= 0),
    CHECK (n_patterns > 0),
    CHECK (commonest BETWEEN 0 AND 1),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id),
    FOREIGN KEY(null_id) REFERENCES nulls (id)
)
"""
_VARIETY_COLUMNS = (
    "id, layer_id, run_id, {null_id}map, spec, spec_sha256, n_starts, n_patterns, commonest, "
    "median, best_loss, unlike_loss, starts, losses, patterns, peaks, features, shifts, images, "
    "unlike_losses, unlike_alike, unlike_images"
)
_CORRESPONDENCES_TABLE = """
CREATE TABLE new_correspondences (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    other_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    relation VARCHAR NOT NULL,
    way VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    images_sha256 VARCHAR NOT NULL,
    median DOUBLE NOT NULL,
    shuffled_median DOUBLE NOT NULL,
    scores BLOB NOT NULL,
    shuffled BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, other_id, way, spec_sha256),
    CHECK (relation IN ('order', 'weights', 'both', 'untrained')),
    CHECK (way IN ('activations', 'oips')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(other_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_STUDIES_TABLE = """
CREATE TABLE studies (
    id INTEGER NOT NULL,
    network_id INTEGER NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    asked DATETIME NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (network_id, spec_sha256),
    FOREIGN KEY(network_id) REFERENCES networks (id)
)
"""


def upgrade() -> None:
    """Specs, hashes and keys are made anew; tables without what no longer is."""
    random, compared = _random_images(), _compared_layers()
    _studies()
    _networks()
    _screenings()
    _scans()
    _oips()
    _reactions(random)
    _nulls()
    _correspondences(compared)


def _rows(query: str, **values: Any) -> list[Any]:
    return list(op.get_bind().execute(text(query), values))


def _set(table: str, id: int, **values: Any) -> None:
    assigned = ", ".join(f"{name} = :{name}" for name in values)
    op.get_bind().execute(
        text(f"UPDATE {table} SET {assigned} WHERE id = :row"), values | {"row": id}
    )


def _add(table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    op.get_bind().execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


def _complete(value: Any) -> Any:
    """A spec with all its fields, also those that were constants before."""
    if isinstance(value, list):
        return [_complete(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {name: _complete(item) for name, item in value.items()}
    return {**_DEFAULTS[named["kind"]], **named}


def _bare(value: Any) -> Any:
    """A complete spec without the fields that are at their default."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value["kind"]
    defaults = dict(_DEFAULTS[kind])
    if kind == "ScanSpec":
        defaults["rungs"] = _RUNGS[value["strategy"]]
        if value["strategy"] == "article":  # which chooses no starts
            unused = ("seed", "n_top", "alike", "oversampling")
            defaults |= {name: value[name] for name in unused}
    named = {
        k: _bare(item) for k, item in value.items() if k not in defaults or item != defaults[k]
    }
    return {**named, "kind": kind}


def _identity(spec: Any) -> str:
    return sha256(canonical(_bare(spec)))


def _stored(spec: Any) -> dict[str, str]:
    """The columns of a complete spec."""
    return {"spec": json.dumps(spec), "spec_sha256": _identity(spec)}


def _networks() -> None:
    op.execute("ALTER TABLE networks ADD COLUMN sha256 VARCHAR")
    for id, weights, architecture in _rows("SELECT id, weights_sha256, architecture FROM networks"):
        _set("networks", id, sha256=sha256(f"{weights}|{architecture}"))
    _network_specs()
    recreate("networks", _NETWORKS_TABLE, _NETWORK_COLUMNS)


def _network_specs() -> None:
    for id, spec, old in _rows("SELECT id, spec, spec_sha256 FROM networks"):
        if old is None:
            continue
        cnn = _complete(json.loads(spec))
        if not cnn["dataset"].endswith(".npz"):
            _set("networks", id, **_stored(cnn))
            continue
        # A file counts by its content. Where it is gone the old hash stays, which no new
        # training can have.
        before = canonical(json.loads(spec) | {"dataset": ".npz"})
        now = canonical(_bare(cnn | {"dataset": ".npz"}))
        digests = hashlib.sha256(before.encode()), hashlib.sha256(now.encode())
        path = Path(cnn["dataset"])
        try:
            if not path.is_file():  # a pipe has no end
                continue
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    for digest in digests:
                        digest.update(piece)
        except OSError:
            continue
        if digests[0].hexdigest() == old:
            _set("networks", id, spec=json.dumps(cnn), spec_sha256=digests[1].hexdigest())


def _screenings() -> None:
    for id, grid in _rows("SELECT id, spec FROM screenings"):
        spec = _complete({"kind": "ScreeningSpec", "grid": json.loads(grid)})
        _set("screenings", id, **_stored(spec))


def _scan_spec(origin: str, spec: str) -> Any:
    """The spec of a scan, which says what was said by its purpose."""
    complete = _complete(json.loads(spec))
    if origin == "selection":
        complete["n_oips"] = 0
    if origin == "comparison":
        complete["keeps_frames"] = False
    return complete


def _scans() -> None:
    for id, origin, spec in _rows("SELECT id, origin, spec FROM scans"):
        _set("scans", id, **_stored(_scan_spec(origin, spec)))
    columns = "id, layer_id, run_id, map, {}, spec, spec_sha256"
    kept = "CASE origin WHEN 'comparison' THEN 'pattern' ELSE origin END"
    recreate("scans", _SCANS_TABLE, columns.format("origin"), columns.format(kept))


def _oips() -> None:
    query = (
        "SELECT oips.id, networks.sha256, layers.name, map, start, oips.spec FROM oips "
        "JOIN layers ON layers.id = layer_id JOIN networks ON networks.id = network_id"
    )
    for id, network, layer, map, start, spec in _rows(query):
        climb = _complete(json.loads(spec))
        start_text = canonical(_bare(_complete(json.loads(start))))
        key_text = "|".join([network, layer, str(map), start_text, canonical(_bare(climb))])
        _set("oips", id, key=sha256(key_text), **_stored(climb))
    recreate("oips", _OIPS_TABLE, _OIP_COLUMNS)
    op.execute("CREATE INDEX oips_by_map ON oips (layer_id, map, loss)")
    op.execute("CREATE INDEX oips_by_map_number ON oips (map)")


def _random_images() -> dict[str, Any]:
    """Descriptions of random images that the trials name, by the hash that they had."""
    trials = [row[0] for row in _rows("SELECT spec FROM scans WHERE origin = 'fluctuation'")]
    specs = [_FLUCTUATION, *(json.loads(spec)["fluctuation"] for spec in trials)]
    return {sha256(canonical(spec)): spec for spec in specs}


def _reactions(random: dict[str, Any]) -> None:
    op.execute("ALTER TABLE reactions ADD COLUMN spec JSON")
    for id, kind, old in _rows("SELECT id, kind, spec_sha256 FROM reactions"):
        if kind == "fluctuation" and old not in random:
            op.execute(f"DELETE FROM reactions WHERE id = {int(id)}")
            continue
        images = random[old] if kind == "fluctuation" else None
        _set("reactions", id, **_stored(_complete({"kind": "ReactionSpec", "random": images})))
    columns = (
        "id, layer_id, run_id, kind, spec, spec_sha256, n_images, n_reacting, "
        "strongest_preactivation, top_images, top_responses, class_means, images"
    )
    recreate("reactions", _REACTIONS_TABLE, columns)


def _nulls() -> None:
    """The null of each layer whose maps were all restarted together."""
    define(_NULLS_TABLE)
    op.execute("ALTER TABLE varieties ADD COLUMN null_id INTEGER")
    groups = _rows(
        "SELECT layer_id, max(CAST(varieties.spec AS VARCHAR)), max(run_id), count(*), "
        "max(n_maps), count(DISTINCT run_id) + count(DISTINCT threshold) FROM varieties "
        "JOIN layers ON layers.id = layer_id GROUP BY layer_id, spec_sha256 "
        "ORDER BY layer_id, spec_sha256"
    )
    for layer, old, run, n, n_maps, n_runs_and_thresholds in groups:
        variety = _complete(json.loads(old))
        # A map may be missing that no start excites. Then the null can't be told from one of a
        # part of the layer.
        if n == n_maps and n_runs_and_thresholds == 2:
            _null(layer, run, variety, old)
    op.execute("DELETE FROM varieties WHERE null_id IS NULL")
    for id, old in _rows("SELECT id, spec FROM varieties"):
        _set("varieties", id, **_stored(_complete(json.loads(old))))
    columns = _VARIETY_COLUMNS.format(null_id="null_id, ")
    recreate("varieties", _VARIETIES_TABLE, columns)


def _null(layer: int, run: int, variety: dict[str, Any], old: str) -> None:
    spec = {**_NULL, **{k: variety[k] for k in ("fluctuation", "n_starts", "climb")}}
    rows = _rows(
        "SELECT n_starts, null_peaks, null_features, threshold, feature_threshold "
        "FROM varieties WHERE layer_id = :layer AND CAST(spec AS VARCHAR) = :spec ORDER BY map",
        layer=layer,
        spec=old,
    )
    n_starts, peaks, features = (
        np.array([value if k == 0 else _array(value) for value in column], np.int64)
        for k, column in enumerate(list(zip(*rows, strict=True))[:3])
    )
    _add(
        "nulls",
        layer_id=layer,
        run_id=run,
        **_stored(spec),
        threshold=rows[0][3],
        feature_threshold=rows[0][4],
        n_starts=_packed(n_starts),
        peaks=_packed(peaks),
        features=_packed(features),
    )
    op.get_bind().execute(
        text(
            "UPDATE varieties SET null_id = (SELECT max(id) FROM nulls) "
            "WHERE layer_id = :layer AND CAST(spec AS VARCHAR) = :spec"
        ),
        {"layer": layer, "spec": old},
    )


def _array(blob: bytes) -> np.ndarray:
    """Counts in classes, of which there never were more than some hundreds."""
    dtype, shape, *_ = header_of(blob)
    if dtype.kind not in "iu" or len(shape) != 1 or shape[0] > _MOST_CLASSES:
        raise OipError(f"a null's counts have the shape {shape} of {dtype}: don't trust the file")
    return unpacked(blob)


def _packed(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def _images_sha256(layers: list[int]) -> dict[str, str]:
    """What says by which images some layers were compared: a training set, or OIPs."""
    best = [_best_keys(layer) for layer in layers]
    query = "SELECT spec_sha256 FROM networks JOIN layers ON networks.id = network_id "
    (training,) = _rows(query + "WHERE layers.id = :layer", layer=layers[0])
    return {"activations": str(training[0]), "oips": sha256("".join(best))}


def _best_keys(layer: int) -> str:
    """The keys of the best OIPs of a layer, map after map."""
    rows = _rows('SELECT map, loss, id, "key" FROM oips WHERE layer_id = :layer', layer=layer)
    best: dict[int, tuple[float, int, str]] = {}
    for map, loss, id, key in rows:
        best[map] = max(best.get(map, (0.0, 0, "")), (loss, -id, key))
    return "".join(best[map][2] for map in sorted(best))


def _compared_layers() -> list[tuple[list[int], dict[str, str]]]:
    """Layers that were compared with each other, and by which images, before the change."""
    rows = _rows("SELECT layer_id, other_id FROM correspondences")
    groups: list[list[int]] = []
    for pair in sorted({tuple(sorted(row)) for row in rows}):
        touched = [group for group in groups if set(group) & set(pair)]
        untouched = [group for group in groups if group not in touched]
        groups = [*untouched, sorted({*pair, *(id for group in touched for id in group)})]
    return [(ids, _images_sha256(ids)) for ids in groups]


def _correspondences(before: list[tuple[list[int], dict[str, str]]]) -> None:
    """Comparisons stay valid: they name their spec, and the same images by their new hashes."""
    op.execute("ALTER TABLE correspondences ADD COLUMN spec JSON")
    op.execute("ALTER TABLE correspondences ADD COLUMN spec_sha256 VARCHAR")
    for layers, old in before:
        studies = _rows(
            "SELECT spec FROM studies WHERE network_id = "
            "(SELECT network_id FROM layers WHERE id = :first)",
            first=layers[0],
        )
        scan = _compared_scan(json.loads(studies[0][0])["scan"] if studies else _SCAN)
        named = _stored(_complete({"kind": "CorrespondenceSpec", "scan": scan}))
        for layer in layers:
            query = "SELECT id FROM correspondences WHERE layer_id = :layer"
            for (id,) in _rows(query, layer=layer):
                _set("correspondences", id, **named)
        for way, now in _images_sha256(layers).items():
            for layer in layers:
                op.get_bind().execute(
                    text(
                        "UPDATE correspondences SET images_sha256 = :now WHERE way = :way "
                        "AND layer_id = :layer AND images_sha256 = :old"
                    ),
                    {"now": now, "way": way, "layer": layer, "old": old[way]},
                )

    columns = (
        "id, layer_id, other_id, run_id, relation, way, spec, spec_sha256, n_images, "
        "images_sha256, median, shuffled_median, scores, shuffled"
    )
    recreate("correspondences", _CORRESPONDENCES_TABLE, columns)


def _compared_scan(scan: dict[str, Any]) -> dict[str, Any]:
    """The smaller race by which trainings are compared, where a study's scan is this one."""
    rungs = scan["rungs"] if scan["strategy"] == "race" else _RUNGS["race"]
    fewer = [{**rung, "n_starts": max(2, rung["n_starts"] // 4)} for rung in rungs]
    return {**scan, "strategy": "race", "rungs": fewer, "n_oips": 1, "keeps_frames": False}


def _studies() -> None:
    """What most maps of each network were searched by becomes what was asked of it."""
    define(_STUDIES_TABLE)
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
    for network, cnn in _rows("SELECT id, spec FROM networks ORDER BY id"):
        spec: dict[str, Any] = {"kind": "StudySpec"}
        if cnn is not None and json.loads(cnn) is not None:
            spec["cnn"] = json.loads(cnn)
        for name, origin in (("trials", "fluctuation"), ("scan", "pattern")):
            main = _main_scan(network, origin)
            if main is not None:
                spec["layer"], spec[name] = main[0], json.loads(main[1])
        variety = _rows(
            "SELECT max(CAST(varieties.spec AS VARCHAR)) FROM varieties "
            "JOIN layers ON layers.id = layer_id "
            "WHERE network_id = :n GROUP BY spec_sha256 "
            "ORDER BY count(*) DESC, max(varieties.id) DESC LIMIT 1",
            n=network,
        )
        if variety:
            spec["variety"] = json.loads(variety[0][0])
        if "layer" in spec:
            _add("studies", network_id=network, asked=now, **_stored(_complete(spec)))


def _main_scan(network: int, origin: str) -> Any:
    """Layer and spec by which most maps were searched; of equals the deepest, then the latest."""
    rows = _rows(
        "SELECT max(layers.name), max(CAST(scans.spec AS VARCHAR)) FROM scans "
        "JOIN layers ON layers.id = layer_id "
        "WHERE network_id = :n AND origin = :o GROUP BY layer_id, spec_sha256 "
        "ORDER BY count(*) DESC, max(position) DESC, max(scans.id) DESC LIMIT 1",
        n=network,
        o=origin,
    )
    return rows[0] if rows else None
