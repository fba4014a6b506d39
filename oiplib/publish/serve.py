"""Open a database in Datasette: tables, views and named queries, images as pictures."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..store import VIEWS, Store

_COLUMNS = "id, image, network, layer, map, loss, origin, prior, pattern, trial, steps, stop_reason"
_OF_A_LAYER = "(:network = '' OR network = :network) AND (:layer = '' OR layer = :layer)"

#: Name -> title, description, SQL.
QUERIES = {
    "map": (
        "All OIPs of a map",
        "The largest loss first.",
        f"SELECT {_COLUMNS} FROM oip_list WHERE map = :map AND {_OF_A_LAYER} ORDER BY loss DESC",
    ),
    "best_of_map": (
        "The best OIP of a map",
        "With its frames, from the start to the end.",
        "SELECT id, best.image, frames, network, layer, best.map, best.loss, best.origin, pattern, "
        "trial, best.steps FROM best_oips AS best JOIN oips USING (id) "
        f"WHERE best.map = :map AND {_OF_A_LAYER}",
    ),
    "gallery": (
        "The best OIP of every map",
        "The images of the book's gallery, by layer and map.",
        "SELECT map, image, loss, origin, id, layer, network FROM best_oips "
        "WHERE map IS NOT NULL AND prior = 'none' ORDER BY network, layer, map",
    ),
    "other": (
        "Other objectives than maps",
        "The best OIP of each, by prior.",
        "SELECT objective, image, loss, prior, origin, id, layer, network FROM best_oips "
        "WHERE map IS NULL ORDER BY network, objective, prior",
    ),
    "only_by_revival": (
        "Maps found only by revival",
        "No random image and no pattern excites them; a start had to be led towards them first.",
        "SELECT * FROM maps WHERE found_by = 'revival' ORDER BY network, layer, map",
    ),
    "not_found": (
        "Maps without an OIP",
        "The search found nothing for them.",
        "SELECT * FROM maps WHERE found_by = 'nothing' ORDER BY network, layer, map",
    ),
    "most_unique": (
        "Most unique maps",
        "The starts led to much the same pattern, though not always in the same place.",
        "SELECT * FROM uniqueness WHERE prior = 'none' ORDER BY median_similarity DESC",
    ),
    "least_unique": (
        "Least unique maps",
        "Different starts led to different patterns.",
        "SELECT * FROM uniqueness WHERE prior = 'none' ORDER BY median_similarity",
    ),
    "spread": (
        "How far the OIPs of a map differ in loss",
        "The worst over the best: near 1 where all starts led to equally good patterns.",
        "SELECT network, layer, map, COUNT(*) AS n_oips, MIN(loss) / MAX(loss) AS worst_over_best "
        "FROM oip_list WHERE map IS NOT NULL AND prior = 'none' "
        "GROUP BY network, layer, map HAVING COUNT(*) > 1 ORDER BY 5",
    ),
}


def serve(store: Store, host: str = "127.0.0.1", port: int = 8001) -> None:
    """Serve a database with Datasette until it is stopped.

    Parameters
    ----------
    store
        An SQLite file. It is only read.
    host, port
        The address to serve at. Only this machine can reach the default address.

    Raises
    ------
    InputError
        If the database isn't an SQLite file, or Datasette isn't installed.
    """
    if not store.is_file:
        raise InputError(f"Datasette opens SQLite files, and {store.name} isn't one")
    if importlib.util.find_spec("datasette") is None:
        raise InputError("Datasette isn't installed: pip install 'oiplib[serve]'")
    if not host:  # all networks of the machine, which nobody asks for by leaving a name out
        raise InputError("an empty text names no host: name an address, such as 127.0.0.1")
    try:
        socket.create_server((host, port)).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name of a host"
        raise InputError(f"{host}:{port} can't be served at: {reason}") from None
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder) / "metadata.json"
        metadata.write_text(json.dumps(_metadata(Path(store.name).stem)))
        frozen = [] if os.access(Path(store.name).parent, os.W_OK) else ["--immutable"]
        options = {
            "--metadata": metadata,
            "--plugins-dir": Path(__file__).parent / "datasette_plugins",
            "--host": host,
            "--port": port,
        }
        command = ["serve", *frozen, store.name]
        for name, value in options.items():
            command += [name, str(value)]
        for name, value in (("sql_time_limit_ms", 5000), ("truncate_cells_html", 120)):
            command += ["--setting", name, str(value)]
        from datasette.cli import cli

        cli.main(command, prog_name="datasette", standalone_mode=False)


def _metadata(database: str) -> dict[str, Any]:
    tables: dict[str, Any] = {
        name: {"description": description, "size": 50} for name, (description, _) in VIEWS.items()
    }
    # These hold rows by the hundred thousand, or bytes that nobody can read. People have the views.
    tables |= {name: {"hidden": True} for name in ("alembic_version", "rungs", "layers")}
    queries = {
        name: {"title": title, "description": description, "sql": sql, "hide_sql": True}
        for name, (title, description, sql) in QUERIES.items()
    }
    about = "OIPs: images to which the maps of a network respond strongly. Every row is a result."
    return {
        "title": "oiplib",
        "databases": {database: {"description": about, "queries": queries, "tables": tables}},
    }
