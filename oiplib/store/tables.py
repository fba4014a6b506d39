"""The tables of the database: the experiment, whole."""

from __future__ import annotations

import math
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    event,
)
from sqlalchemy.orm import Mapped, MappedColumn, mapped_column, relationship

from ..errors import OipError
from ..values import MOST_STEPS, Inputs, Start, start_of
from .arrays import Array, NumpyArray
from .base import Base

if TYPE_CHECKING:
    from ..figures import Picture

#: The names of an OIP's plain values.
ROW_FIELDS = (
    "id",
    "network",
    "layer",
    "map",
    "objective",
    "loss",
    "steps",
    "stop_reason",
    "origin",
    "prior",
    "start",
    "spec",
    "spec_sha256",
    "created",
)


def _large(dtype: str, *axes: str) -> MappedColumn[Any]:
    """A column of arrays that comes with `Store.oip` and `Store.oips` only."""
    return mapped_column(Array(dtype, *axes), deferred=True)


#: The axes of an image.
IMAGE = ("height", "width", "channels")


def sizes_of(layer: Layer | None) -> dict[str, int]:
    """The maps of a layer, and the images that its network takes.

    Raises
    ------
    OipError
        If there is no such layer.
    """
    if layer is None:
        raise OipError("its layer doesn't exist")
    network = layer.network
    image = network.image_height, network.image_width, network.image_channels
    return {"maps": layer.n_maps, **dict(zip(IMAGE, image, strict=True))}


# Of an image's side and a map's, and how many channels and maps there may be.
_LARGEST_SIZES = {
    **dict.fromkeys(("image_height", "image_width", "map_height", "map_width"), 2**14),
    **dict.fromkeys(("image_channels", "n_maps"), 10**6),
}


# Of the numbers in an image, 256 MB, and in what a layer gives for one, 512 MB.
_LARGEST_PRODUCTS = {
    ("image_height", "image_width", "image_channels"): 2**26,
    ("map_height", "map_width", "n_maps"): 2**27,
}


class Network(Base):
    """A trained network: enough to rebuild it without anything else."""

    __tablename__ = "networks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    spec: Mapped[dict[str, Any] | None]
    spec_sha256: Mapped[str | None]
    # Large, so they come only with `Store.network` and `Store.networks`; a network that comes
    # along with another row has none, and says so.
    architecture: Mapped[str] = mapped_column(deferred=True, deferred_raiseload=True)
    weights: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)
    weights_sha256: Mapped[str]
    # Of the weights' hash and the architecture: other networks may have the same weights.
    sha256: Mapped[str]
    image_height: Mapped[int]
    image_width: Mapped[int]
    image_channels: Mapped[int]
    # What images it takes: the text of an `Inputs`.
    inputs: Mapped[str]
    # Where its images come from and what they show; see `oiplib.study.networks`.
    dataset: Mapped[dict[str, Any] | None]
    # Its outputs on a few fixed images, as the model gave them when it was taken in.
    probe: Mapped[NumpyArray | None] = mapped_column(Array("float32", "outputs"), deferred=True)
    history: Mapped[dict[str, Any]]
    accuracy: Mapped[float | None]
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    created: Mapped[datetime]
    layers: Mapped[list[Layer]] = relationship(
        order_by="Layer.position", lazy="selectin", back_populates="network"
    )

    __table_args__ = (
        # Machines that round differently make different networks by the same spec.
        UniqueConstraint("spec_sha256", "weights_sha256"),
        CheckConstraint("accuracy BETWEEN 0 AND 1"),
    )

    @property
    def text(self) -> str:
        """Its name, images, layers and quality, in a line."""
        # A network that comes along with another row has no layers.
        named = ", ".join(f"{each.name} ({each.n_maps})" for each in vars(self).get("layers", ()))
        layers = f"; layers (maps): {named}" if named else ""
        score = "" if self.accuracy is None else f"; {self.accuracy:.2%} of the test images right"
        return (
            f"network {self.id} ({self.name}) takes images of {self.image_height} x "
            f"{self.image_width} x {self.image_channels}, {self.inputs}{layers}{score}"
        )

    def __repr__(self) -> str:
        return f"<{self.text}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.text)}</p>"


class Layer(Base):
    """A layer of a network that has maps."""

    __tablename__ = "layers"

    id: Mapped[int] = mapped_column(primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    position: Mapped[int]
    name: Mapped[str]
    n_maps: Mapped[int]
    map_height: Mapped[int]
    map_width: Mapped[int]
    network: Mapped[Network] = relationship(back_populates="layers", lazy="joined")

    __table_args__ = (UniqueConstraint("network_id", "name"), CheckConstraint("n_maps > 0"))


@event.listens_for(Network, "load")
@event.listens_for(Layer, "load")
def _check_sizes(row: Network | Layer, _: Any) -> None:
    """Raise `OipError` if a network's images or a layer's maps are more than there can be."""
    for name, most in _LARGEST_SIZES.items():
        size = vars(row).get(name, 1)
        if not 0 < size <= most:
            raise OipError(f"{row.row_name}: {name} is {size}: 1 to {most} can be")
    for names, most in _LARGEST_PRODUCTS.items():
        product = math.prod(vars(row).get(name, 1) for name in names)
        if product > most:
            raise OipError(f"{row.row_name}: {' x '.join(names)} is {product:,}: {most:,} can be")


class Run(Base):
    """One piece of work: what was asked, when, on what, how long, how it ended."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    spec: Mapped[dict[str, Any] | None]
    started: Mapped[datetime]
    seconds: Mapped[float | None]
    status: Mapped[str] = mapped_column(default="running")
    error: Mapped[str | None]
    environment: Mapped[dict[str, Any]]

    __table_args__ = (CheckConstraint("status IN ('running', 'done', 'failed', 'interrupted')"),)


class StoredStudy(Base):
    """What was asked of a network: the spec of a study that computed something.

    A study without a spec goes on with the one of its network that was `asked` last.
    """

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    asked: Mapped[datetime]

    __table_args__ = (UniqueConstraint("network_id", "spec_sha256"),)


class Screening(Base):
    """All distinct patterns of a grid, or of a part of it, shown to a layer."""

    __tablename__ = "screenings"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    n_patterns: Mapped[int] = mapped_column(BigInteger)
    n_reacting: Mapped[NumpyArray] = mapped_column(Array("int64", "maps"))
    top_indices: Mapped[NumpyArray] = mapped_column(Array("int64", "maps", "top"))
    top_responses: Mapped[NumpyArray] = mapped_column(Array("float32", "maps", "top"))
    top_preactivations: Mapped[NumpyArray] = mapped_column(Array("float32", "maps", "top"))
    edges: Mapped[NumpyArray] = mapped_column(Array("float64", "edges"))
    histogram: Mapped[NumpyArray] = mapped_column(Array("int64", "maps", "classes"))
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (UniqueConstraint("layer_id", "spec_sha256", "first", "last"),)

    def sizes(self) -> dict[str, int]:
        """Its maps are those of the layer."""
        return sizes_of(self.layer)


class Scan(Base):
    """One objective's search for OIPs by one spec, finished. Its rungs hold all candidates.

    `objective` is its text. Where it is the mean of a map, `map` is the map's number, else None.
    `layer` is then the last of the network's layers that it looks at. `origin` follows from the
    spec: where its starts come from, or ``selection`` where it keeps no OIP.
    """

    __tablename__ = "scans"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    map: Mapped[int | None]
    objective: Mapped[str]
    origin: Mapped[str]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    rungs: Mapped[list[Rung]] = relationship(
        order_by="Rung.number", lazy="selectin", cascade="all, delete-orphan"
    )
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (
        UniqueConstraint("layer_id", "objective", "spec_sha256"),
        CheckConstraint("map >= 0"),
        CheckConstraint("origin IN ('fluctuation', 'pattern', 'selection')"),
    )


class Rung(Base):
    """Where the candidates of a scan stood after some steps.

    `starts` are pattern indices or trial numbers; those that stand in no later rung, and
    became no OIP, were dropped because others had a larger loss, or theirs was 0.
    """

    __tablename__ = "rungs"

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("scans.id"), index=True)
    number: Mapped[int]
    steps: Mapped[int]
    starts: Mapped[NumpyArray] = mapped_column(Array("int64", "starts"))
    losses: Mapped[NumpyArray] = mapped_column(Array("float32", "starts"))

    __table_args__ = (UniqueConstraint("scan_id", "number"),)


class Oip(Base):
    """An image that excites an objective, such as the mean of a map, and where it came from.

    `map` and `layer` are as for a `Scan`. `prior` is the text of the prior that led the image.
    """

    __tablename__ = "oips"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    map: Mapped[int | None]
    objective: Mapped[str]
    origin: Mapped[str]
    prior: Mapped[str]
    start_fields: Mapped[dict[str, Any]] = mapped_column("start")
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    loss: Mapped[float]
    steps: Mapped[int]
    stop_reason: Mapped[str]
    created: Mapped[datetime]
    # The large columns stand last, because SQLite reads a row up to the last column asked for.
    image: Mapped[NumpyArray] = _large("float32", *IMAGE)
    report_steps: Mapped[NumpyArray] = _large("int64", "reports")
    # Pictures with 0 for the darkest and 255 for the brightest pixel, of the best OIP of a
    # search only. A replay gives those of the others.
    frames: Mapped[NumpyArray] = _large("uint8", "reports", *IMAGE)
    trace: Mapped[NumpyArray] = _large("float32", "losses")
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (
        Index("oips_by_map", "layer_id", "map", "loss"),
        Index("oips_by_map_number", "map"),
        CheckConstraint("map >= 0"),
        CheckConstraint("steps >= 0"),
        CheckConstraint("origin IN ('fluctuation', 'pattern', 'revival')"),
    )

    def sizes(self) -> dict[str, int]:
        """Images as its network takes them, and a loss before each step and after the last.

        Raises
        ------
        OipError
            If there is no such layer, or there are more steps than ascents can take.
        """
        if not 0 <= self.steps <= MOST_STEPS:
            raise OipError(f"it took {self.steps:,} steps, and {MOST_STEPS:,} are the most")
        return {**sizes_of(self.layer), "losses": self.steps + 1}

    @property
    def start(self) -> Start:
        """What it grew from: a `FluctuationStart` or a `PatternStart`.

        Raises
        ------
        OipError
            If the row describes none.
        """
        return start_of(self.start_fields)

    @property
    def caption(self) -> str:
        """Whose it is, its numbers, and where it comes from."""
        prior = "" if self.prior == "none" else f", prior {self.prior}"
        return (
            f"OIP {self.id} of {self.subject}, network {self.layer.network_id}: "
            f"loss {self.loss:.4g} after {self.steps} steps, by {self.origin} from "
            f"{self.start}{prior}"
        )

    @property
    def subject(self) -> str:
        """What it excites, in words: a map of a layer, or another objective."""
        return self.objective if self.map is None else f"map {self.map} of {self.layer.name}"

    @property
    def of_map(self) -> int:
        """The number of its map.

        Raises
        ------
        OipError
            If it excites another objective than a map.
        """
        if self.map is None:
            raise OipError(f"OIP {self.id} is one of {self.objective}, and not of a map")
        return self.map

    @property
    def inputs(self) -> Inputs:
        """What images its network takes, from which its pictures are drawn back."""
        return Inputs.parse(self.layer.network.inputs)

    def plot(self) -> Picture:
        """How it grew, its last image alone where no others are kept, and its loss curve.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; ``savefig("oip.png")`` saves it.
        """
        from ..figures import growing, growth

        has_frames = len(self.frames) > 0
        pictures = growing(self.frames if has_frames else self.image[None], self.inputs)
        steps = self.report_steps if has_frames else [self.steps]
        return growth(pictures, steps, self.trace, f"OIP {self.id} of {self.subject}", self.caption)

    def row(self) -> dict[str, Any]:
        """Its plain values, as `ROW_FIELDS` names them; the moment in ISO 8601."""
        converted = {
            "network": self.layer.network_id,
            "layer": self.layer.name,
            "start": self.start_fields,
            "created": self.created.isoformat(timespec="seconds"),
        }
        return {
            name: converted[name] if name in converted else getattr(self, name)
            for name in ROW_FIELDS
        }

    def __repr__(self) -> str:
        return f"<{self.caption}>"

    def _repr_html_(self) -> str:
        """A notebook shows it as computed, with contrast enhanced, and its numbers."""
        from ..pictures import data_uri

        pictures = "".join(
            f'<img src="{data_uri(self.image, contrast, self.inputs)}" '
            f'alt="{label}" title="{label}" '
            'width="112" style="image-rendering:pixelated;display:inline-block;margin:0 6px 0 0">'
            for contrast, label in ((False, "as computed"), (True, "contrast enhanced"))
        )
        return f"<figure>{pictures}<figcaption>{escape(self.caption)}</figcaption></figure>"
