"""Tables of hostile specs, contradictions and layouts; see ``fuzz.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostile_values import deep, shown

# --- specs ---


def _in(kind: str, changes: dict[str, Any]) -> Callable[[Any], Any]:
    """Changes all specs of a kind within a spec; gives None if there are none."""

    def changed(values: Any) -> Any:
        if isinstance(values, list):
            return [changed(item) for item in values]
        if not isinstance(values, dict):
            return values
        own = changes if values.get("kind") == kind else {}
        return {name: changed(item) for name, item in values.items()} | own

    return lambda values: None if (new := changed(values)) == values else new


_HUGE = {"rows": 99999, "columns": 99999}
#: Column and kind -> values that are too large or otherwise not for it.
_FIELDS: dict[str, tuple[dict[str, Any], ...]] = {
    "oips.start: GridSpec": (
        *(_HUGE, {"rows": 4000, "columns": 1}, {"rows": 62, "columns": 1}),
        {"values": [float("nan"), 0.5]},
    ),
    "oips.start: PatternStart": ({"index": 2**61}, {"noise": -1.0}, {"noise": 1e308}),
    "oips.start: FluctuationStart": ({"trial": 2**62}, {"trial": 10**400}, {"map": 2**70}),
    "oips.start: FluctuationSpec": (
        *({"grids": [[4096, 4096]] * 4}, {"factors": [1e308] * 4}, {"seed": 10**4000}),
        {"grids": [[2000, 2000]] * 1000, "factors": [0.1] * 1000},
    ),
    "oips.spec: AscentSpec": (
        *({"n_epochs": 2**60}, {"n_epochs": 10**7}, {"n_epochs": 10**400}, {"epsilon": 1e308}),
        *({"n_steps": 10**6}, {"n_steps": 10**12}, {"prior": "variation(1e308)"}),
        *({"prior": "+".join(["smooth"] * 300_000)}, {"prior": "smooth(" + "1" * 10**6 + ")"}),
    ),
    "studies.spec: GridSpec": (_HUGE, {"rows": 8, "columns": 7}),
    "studies.spec: TrialSpec": ({"n_trials": 10**12},),
    "studies.spec: AscentSpec": ({"n_epochs": 2**60},),
    "studies.spec: CnnSpec": ({"maps": [10**9]}, {"dataset": "/etc"}),
    "studies.spec: StudySpec": ({"layer": "\x1b[2Jnowhere"}, {"layer": ["Conv2D_3"]}),
    "studies.spec: ScanSpec": ({"n_top": 2**60},),
    "studies.spec: RungSpec": ({"n_starts": 10**12},),
    "screenings.spec: ScreeningSpec": ({"n_top": 2**60}, {"n_bins": 2**60}),
    "screenings.spec: GridSpec": (_HUGE,),
    "scans.spec: ScanSpec": ({"oversampling": 2**60},),
    "scans.spec: GridSpec": (_HUGE,),
    "nulls.spec: NullSpec": ({"n_classes": 2**60}, {"quantile": float("nan")}),
    "varieties.spec: VarietySpec": ({"n_images": 2**60},),
    "baselines.spec: CorrespondenceSpec": ({"n_searched": 2**60}, {"untrained": [1] * 10**5}),
    "conditions.spec: ConditionSpec": ({"n_draws": 2**60}, {"moves": [float("nan")]}),
    "reactions.spec: ReactionSpec": ({"n_images": 2**60},),
}
_SIGNS = "\x1b[2J\x1b]0;owned\x07"
_DEEP_START = deep(400, '{"kind":"PatternStart","index":0,"grid":', "}", "1")
#: Column and what is in it -> makes it of the sound values. Its name tells if it is plausible.
SPECS: dict[str, Callable[[Any], Any]] = {
    **{
        f"{place} {shown(changes)}": _in(place.split()[1], changes)
        for place, several in _FIELDS.items()
        for changes in several
    },
    "oips.start: a text": lambda v: '"start"',
    "oips.start: a field more": lambda v: {**v, "more": 1},
    "oips.start: no kind": lambda v: {name: v[name] for name in v if name != "kind"},
    "oips.start: deep specs": lambda v: _DEEP_START,
    "oips.spec: very many stages": lambda v: {
        "kind": "ClimbSpec",
        "stages": [{"kind": "AscentSpec"}] * 100_000,
    },
    "oips.spec: no stages": lambda v: {"kind": "ClimbSpec", "stages": []},
    "runs.spec: a huge grid": lambda v: {"kind": "GridSpec", **_HUGE},
    "runs.environment: lists": lambda v: {name: [name] * 9 for name in v},
    "plausible runs.environment: escapes": lambda v: dict.fromkeys(v, _SIGNS),
    "plausible runs.environment: a commit that is a number": lambda v: {**v, "git_commit": 7},
    "networks.dataset: classes that are a text": lambda v: {**v, "classes": "abc"},
    "networks.dataset: classes that are a number": lambda v: {**v, "classes": 7},
    "networks.dataset: classes with escapes": lambda v: {**v, "classes": [_SIGNS] * 10},
    "plausible networks.dataset: another source": lambda v: {**v, "source": ["/etc/passwd"]},
    "plausible networks.history: texts": lambda v: {name: ["much"] for name in v},
    "networks.history: NaN": lambda v: {name: [float("nan")] for name in v},
}


# --- tables of SQL ---


def _table(text: str) -> dict[str, str]:
    """Name -> SQL, of lines such as ``name | oips 2 | loss = 0``; indented ones go on.

    Between the bars stands a row that is updated, ``master`` for SQLite's own table, or nothing
    where the SQL is whole.
    """
    table = {}
    for line in text.strip().replace("\n    ", " ").splitlines():
        name, place, sql = (part.strip() for part in line.split("|", 2))
        if place == "master":
            sql = f"PRAGMA writable_schema = ON; UPDATE sqlite_master SET {sql}"
        elif place:
            of_table, row = place.split()
            sql = f"UPDATE {of_table} SET {sql} WHERE id = {row}"
        table[name] = sql
    return table


#: Plausible values that contradict others.
LIES = _table("""
a loss doubled | oips 2 | loss = 2 * loss
steps one less | oips 2 | steps = steps - 1
the image of another OIP | oips 2 | image = (SELECT image FROM oips WHERE id = 3)
the results of another OIP | oips 2 | (loss, image, trace, steps, frames, report_steps) =
    (SELECT loss, image, trace, steps, frames, report_steps FROM oips AS o WHERE o.map != oips.map
    AND o.spec_sha256 = oips.spec_sha256 AND o.steps = oips.steps LIMIT 1)
the start of another OIP | oips 2 | start = (SELECT start FROM oips AS o
    WHERE o.map = oips.map AND o.id != oips.id AND o.start != oips.start LIMIT 1)
another map | oips 2 | map = (map + 1) % 5, objective = 'Conv2D_3:' || ((map + 1) % 5)
another map, objective left | oips 2 | map = (map + 1) % 5
another layer | oips 2 | layer_id = 1
another network's layer | oips 2 | layer_id = (SELECT b.id FROM layers AS a, layers AS b
    WHERE a.id = oips.layer_id AND a.name = b.name AND a.network_id != b.network_id LIMIT 1)
another origin | oips 2 | origin = 'revival'
another reason | oips 2 | stop_reason = 'converged'
another prior | oips 2 | prior = 'smooth(1)'
another step size | oips 1 | spec = replace(spec, '"epsilon": 0.01', '"epsilon": 0.02')
report steps that are none | oips 2 | report_steps = (SELECT starts FROM rungs LIMIT 1)
an OIP before its run | oips 1 | created = '1999-01-01 00:00:00.000000'
an OIP from the future | oips 1 | created = '2999-01-01 00:00:00.000000'
other inputs | networks 1 | inputs = '0..255'
inputs of 3 channels | networks 1 | inputs = '0..1 mean 0.5,0.5,0.5 deviation 1,1,1'
an accuracy above 1 | networks 1 | accuracy = 1.5
images of another height | networks 1 | image_height = 29
another network's weights | networks 1 | weights = (SELECT weights FROM networks WHERE id = 2)
two networks with one hash | networks 2 | sha256 = (SELECT sha256 FROM networks WHERE id = 1)
a network from the future | networks 1 | created = '2999-01-01 00:00:00.000000'
a layer with other maps | layers 5 | n_maps = n_maps + 1
a layer of another place | layers 1 | position = 99
a layer's name | layers 5 | name = 'Conv2D_9'
a layer that isn't there | | INSERT INTO layers VALUES (999, 1, 99, 'More', 9, 1, 1)
no layers | | DELETE FROM layers WHERE network_id = 1
a scan of another spec | scans 1 | spec =
    (SELECT spec FROM scans AS s WHERE s.origin != scans.origin LIMIT 1)
a scan without rungs | | DELETE FROM rungs WHERE scan_id = 1
a rung numbered anew | rungs 1 | number = 7
a rung of negative steps | rungs 1 | steps = -4
a screening of fewer patterns | screenings 1 | n_patterns = -1
a screening's part | screenings 1 | first = 5, last = 3
a screening's counts | screenings 1 | n_reacting = (SELECT n_reacting FROM reactions LIMIT 1)
a reaction of no images | reactions 1 | n_images = -5
a reaction's kind | reactions 1 | kind = CASE kind WHEN 'data' THEN 'fluctuation' ELSE 'data' END
a null's threshold | nulls 1 | threshold = threshold * 0.9
a null's other threshold | nulls 1 | feature_threshold = 2
a variety's median | varieties 1 | median = median * 0.9
a variety's best loss | varieties 1 | best_loss = best_loss * 2
a variety's patterns | varieties 1 | n_patterns = n_patterns + 1
a variety's commonest | varieties 1 | commonest = 0.123
a variety's unlike loss | varieties 1 | unlike_loss = 99
a variety's map | varieties 1 | map = 77
a correspondence's images | correspondences 1 | n_images = -1
a correspondence's hash | correspondences 1 | images_sha256 = 'ab'
a correspondence's relation | correspondences 1 | relation = 'friends'
a correspondence's way | correspondences 1 | way = 'by heart'
a correspondence's infinite median | correspondences 1 | median = 9e999
a baseline's images | baselines 1 | n_images = -1
a baseline's way | baselines 1 | way = 'by heart'
a baseline's pairs | baselines 1 | pair_scores = own_scores
a condition without a number | conditions 1 | moved = 9e999
a condition's losses as correlations | conditions 1 | alike = path
a run that took no time | runs 1 | seconds = -1
a run without seconds | runs 1 | seconds = NULL
a run of another kind | runs 1 | kind = 'pillage'
a run of another status | runs 1 | status = 'resting'
a run that is done with an error | runs 1 | error = 'Error: but it is done'
a run before computers | runs 1 | started = '1826-01-01 00:00:00.000000'
a study from the future | studies 1 | asked = '2999-01-01 00:00:00.000000'
a schema that is older | | UPDATE alembic_version SET version_num = '9'
two schemas | | INSERT INTO alembic_version VALUES ('9')
""")

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n"
#: Layouts that oiplib doesn't make.
LAYOUTS = _table(f"""
a trigger | | CREATE TRIGGER t AFTER INSERT ON oips BEGIN UPDATE oips SET loss = 2 * loss; END
a trigger on a view | | CREATE TRIGGER t INSTEAD OF INSERT ON maps BEGIN DELETE FROM oips; END
a view without end | | CREATE VIEW v AS {_ENDLESS}
our view without end | | DROP VIEW maps; CREATE VIEW maps AS {_ENDLESS}
a virtual table | | CREATE VIRTUAL TABLE words USING fts5(text)
a virtual table of our name | | DROP TABLE varieties;
    CREATE VIRTUAL TABLE varieties USING fts5(text)
a view in the place of a table | | DROP TABLE studies;
    CREATE VIEW studies AS SELECT 1 AS id, 1 AS network_id, '{{}}' AS spec, '' AS asked
a generated column | |
    ALTER TABLE oips ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(900000000)))
an index more | | CREATE INDEX heavy ON oips (hex(image))
an index less | | DROP INDEX oips_by_map
an index of our name | | DROP INDEX oips_by_map;
    CREATE INDEX oips_by_map ON oips (layer_id, map, abs(loss))
an index renamed | master | name = 'oips_by_nap' WHERE name = 'oips_by_map'
harmless: a table renamed twice | | ALTER TABLE rungs RENAME TO r; ALTER TABLE r RENAME TO rungs
a table that is another's | master | rootpage =
    (SELECT rootpage FROM sqlite_master WHERE name = 'runs') WHERE name = 'studies'
all tables on one page | master | rootpage = 3
a page that isn't there | master | rootpage = 999999 WHERE name = 'oips'
SQL that isn't SQL | master | sql = 'CREATE TABLE oips (' WHERE name = 'oips'
SQL of some MB | master | sql = sql || '/*' || hex(zeroblob(3000000)) || '*/' WHERE name = 'oips'
SQL that is a number | master | sql = 7 WHERE name = 'oips'
SQL that is bytes | master | sql = x'fffe' WHERE name = 'oips_by_map'
a name with escapes | | CREATE TABLE "\x1b[2Jowned" (a)
a name of some MB | | CREATE TABLE "{"x" * 900_000}" (a)
a table without rowid | | CREATE TABLE w (a PRIMARY KEY) WITHOUT ROWID
ten thousand tables | | BEGIN; {"".join(f"CREATE TABLE t{i} (a);" for i in range(10_000))} COMMIT
a table of ours twice, nearly | | CREATE TABLE "o\u0131ps" (a)
a schema number of bytes | | UPDATE alembic_version SET version_num = x'fffe'
a huge schema number | | UPDATE alembic_version SET version_num = '{"9" * 6000}'
a schema number in Arabic | | UPDATE alembic_version SET version_num = '\u0661\u0660'
a schema number with a zero | | UPDATE alembic_version SET version_num = '010'
a superscript as schema number | | UPDATE alembic_version SET version_num = '\u00b2'
no schema number | | DELETE FROM alembic_version
no table of schemas | | DROP TABLE alembic_version
harmless: ANALYZE | | ANALYZE
harmless: another page size | | PRAGMA page_size = 512; VACUUM
harmless: another user version | | PRAGMA user_version = 77
harmless: auto vacuum | | PRAGMA auto_vacuum = FULL; VACUUM
harmless: statistics that lie | | ANALYZE; UPDATE sqlite_stat1 SET stat = '-1 0 0'
harmless: statistics of nonsense | | ANALYZE; UPDATE sqlite_stat1 SET stat = x'fffe', tbl = 7
""")
