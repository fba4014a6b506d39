"""Views for people who ask in SQL: plain columns, names instead of keys, nothing to decode."""

from __future__ import annotations

_OIP_LIST = """
SELECT oips.id, oips.image, layers.network_id AS network, layers.name AS layer, oips.map,
  oips.objective, oips.loss, oips.origin, oips.prior,
  CAST(oips.start ->> 'index' AS BIGINT) AS pattern,
  CAST(oips.start ->> 'trial' AS INTEGER) AS trial, oips.steps, oips.stop_reason,
  oips.spec_sha256, oips.created
FROM oips JOIN layers ON layers.id = oips.layer_id
"""

_BEST_OIPS = """
SELECT id, image, network, layer, map, objective, loss, origin, prior, pattern, trial, steps,
  stop_reason, spec_sha256, created
FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY network, layer, objective, prior ORDER BY loss DESC, id
  ) AS place
  FROM oip_list
) AS ranked
WHERE place = 1
"""

_MAPS = """
SELECT layers.network_id AS network, layers.name AS layer, searched.map,
  COALESCE(found.found_by, 'nothing') AS found_by, COALESCE(found.n_oips, 0) AS n_oips,
  best.id AS best_oip, best.loss, best.image
FROM (
  SELECT layer_id, map FROM scans WHERE map IS NOT NULL AND origin IN ('fluctuation', 'pattern')
  GROUP BY layer_id, map
) AS searched
JOIN layers ON layers.id = searched.layer_id
LEFT JOIN (
  SELECT layer_id, map, COUNT(*) AS n_oips, CASE
    WHEN SUM(CASE WHEN origin = 'fluctuation' THEN 1 ELSE 0 END) > 0 THEN 'fluctuation'
    WHEN SUM(CASE WHEN origin = 'pattern' THEN 1 ELSE 0 END) > 0 THEN 'pattern'
    ELSE 'revival' END AS found_by
  FROM oips WHERE prior = 'none' GROUP BY layer_id, map
) AS found ON found.layer_id = searched.layer_id AND found.map = searched.map
LEFT JOIN best_oips AS best ON best.network = layers.network_id
  AND best.layer = layers.name AND best.map = searched.map AND best.prior = 'none'
"""

_UNIQUENESS = """
SELECT layers.network_id AS network, layers.name AS layer, varieties.map, varieties.n_starts,
  varieties.n_patterns, varieties.commonest, varieties.median AS median_similarity,
  varieties.best_loss, varieties.unlike_loss, varieties.spec_sha256,
  COALESCE(
    varieties.spec -> 'climb' ->> 'prior', varieties.spec -> 'climb' -> 'stages' -> 0 ->> 'prior'
  ) AS prior
FROM varieties JOIN layers ON layers.id = varieties.layer_id
"""

_CONDITION_LIST = """
SELECT conditions.oip_id AS oip, layers.network_id AS network, layers.name AS layer, oips.map,
  oips.objective, oips.prior, oips.loss, conditions.moved AS kept_when_moved,
  conditions.noisy AS kept_under_noise
FROM conditions JOIN oips ON oips.id = conditions.oip_id
JOIN layers ON layers.id = oips.layer_id
"""

_CORRESPONDENCE_LIST = """
SELECT layers.network_id AS network, others.network_id AS other_network, layers.name AS layer,
  correspondences.relation, correspondences.way, correspondences.n_images,
  correspondences.median AS median_score, correspondences.shuffled_median
FROM correspondences JOIN layers ON layers.id = correspondences.layer_id
JOIN layers AS others ON others.id = correspondences.other_id
"""

_NETWORK_LIST = """
SELECT id, name, dataset ->> 'name' AS dataset, inputs,
  CAST(spec ->> 'weights_seed' AS BIGINT) AS seed,
  accuracy, weights_sha256, created
FROM networks
"""

_RUN_LIST = """
SELECT id, kind, status, started, seconds, environment ->> 'tensorflow' AS tensorflow,
  environment ->> 'python' AS python, environment ->> 'device' AS device,
  CAST(environment ->> 'threads' AS INTEGER) AS threads, error
FROM runs
"""

#: Name -> what it lists, and its query. Later ones may use earlier ones.
VIEWS: dict[str, tuple[str, str]] = {
    "oip_list": ("Every OIP: whose, its loss, where it comes from.", _OIP_LIST),
    "best_oips": (
        "The OIP with the largest loss of each objective and prior; columns as oip_list.",
        _BEST_OIPS,
    ),
    "maps": (
        "Every map that was searched: the first of fluctuation, pattern and revival that led to "
        "an OIP without a prior, how many there are, and the best.",
        _MAPS,
    ),
    "uniqueness": (
        "Every map that was restarted many times: how many distinct patterns were found, which "
        "share of the restarts shows the commonest, how alike two restarts are from 0 to 1, the "
        "largest loss, and the largest of an OIP that resembles none of these patterns; under "
        "which prior. Where no such OIP was looked for, fewer restarts compare priors.",
        _UNIQUENESS,
    ),
    "condition_list": (
        "OIPs that were put to the test: which share of its response each keeps when it is moved "
        "by a pixel, and under noise.",
        _CONDITION_LIST,
    ),
    "correspondence_list": (
        "How well maps of two trainings that correspond suit each other, in the median; the same "
        "where what belongs together was torn apart.",
        _CORRESPONDENCE_LIST,
    ),
    "network_list": ("The networks, without their weights.", _NETWORK_LIST),
    "run_list": ("Each piece of work: what, when, how long, on what.", _RUN_LIST),
}
