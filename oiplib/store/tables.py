"""The tables of the database: the experiment, whole."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from html import escape
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column, relationship
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.types import JSON, TypeDecorator

from ..errors import OipError
from ..values import Inputs, start_of
from .arrays import Array, NumpyArray, Packed, unpacked

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


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC, whatever the database makes of time zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """UTC with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """As SQLAlchemy's own, with an error of ours where a file holds no moment."""
        process = super().result_processor(dialect, coltype)
        assert process is not None

        def read(value: Any) -> Any:
            try:
                return process(value)
            except (ValueError, TypeError, AttributeError, OverflowError):
                raise OipError(f"{str(value)[:40]!r} is no moment") from None

        return read


def _large(dtype: str, *axes: str) -> MappedColumn[Any]:
    """A column of arrays that comes with `Store.oip` and `Store.oips` only."""
    return mapped_column(Array(dtype, *axes), deferred=True)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        datetime: UtcTime,
        bytes: LargeBinary,
    }

    def __getattribute__(self, name: str) -> Any:
        """A value of the row; an error of ours where it wasn't loaded, or is a damaged array.

        Rows are handed out without a connection, so nothing is loaded later. An array is unpacked
        when it is asked for the first time.
        """
        try:
            value = super().__getattribute__(name)
        except DetachedInstanceError:
            raise OipError(
                f"{name} of this {type(self).__name__.lower()} wasn't loaded: "
                "ask the store for the row itself"
            ) from None
        if type(value) is Packed:
            try:
                value = vars(self)[name] = unpacked(*value, self.sizes())
            except (OipError, TypeError) as error:  # a stranger's row may hold anything
                raise OipError(f"{self.row_name}: {name}: {error}") from None
        return value

    @property
    def row_name(self) -> str:
        """What messages call the row."""
        return f"{self.__tablename__} row {vars(self).get('id')}"

    def sizes(self) -> dict[str, int]:
        """How long the axes of the row's arrays must be, as far as the row tells."""
        return {}


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


# Of a text but an architecture's, in characters.
_LONGEST_TEXT = 1_000_000


@event.listens_for(Base, "load", propagate=True)
def _check_types(row: Base, _: Any) -> None:
    """Raise `OipError` if a plain value isn't of its column's type: SQLite lets in anything."""
    values = vars(row)
    for name, kind, may_be_missing in _plain_columns(type(row)):
        if name not in values:  # it wasn't asked for
            continue
        value = values[name]
        if type(value) is not kind and not (value is None and may_be_missing):
            wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
            raise OipError(f"{row.row_name}: {name} is {str(value)[:40]!r}, and not {wanted}")
        if type(value) is str and len(value) > _LONGEST_TEXT and name != "architecture":
            raise OipError(f"{row.row_name}: {name} has {len(value):,} characters")


# Of an image's side and a map's, and how many channels and maps there may be.
_LARGEST_SIZES = {
    **dict.fromkeys(("image_height", "image_width", "map_height", "map_width"), 2**14),
    **dict.fromkeys(("image_channels", "n_maps"), 10**6),
}


@cache
def _plain_columns(kind: type[Base]) -> list[tuple[str, type, bool]]:
    """The columns of a table that hold numbers or texts: name, type, whether NULL is allowed."""
    columns = [(attribute.key, attribute.columns[0]) for attribute in kind.__mapper__.column_attrs]
    kinds = {Integer: int, BigInteger: int, Float: float, String: str}
    return [
        (name, kinds[type(column.type)], bool(column.nullable))
        for name, column in columns
        if type(column.type) in kinds
    ]


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
    start: Mapped[dict[str, Any]]
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
        """Images as its network takes them, and a loss before each step and after the last."""
        return {**sizes_of(self.layer), "losses": self.steps + 1}

    @property
    def caption(self) -> str:
        """Whose it is, its numbers, and where it comes from."""
        prior = "" if self.prior == "none" else f", prior {self.prior}"
        return (
            f"OIP {self.id} of {self.subject}, network {self.layer.network_id}: "
            f"loss {self.loss:.4g} after {self.steps} steps, by {self.origin} from "
            f"{start_of(self.start)}{prior}"
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

    def row(self) -> dict[str, Any]:
        """Its plain values, as `ROW_FIELDS` names them; the moment in ISO 8601."""
        converted = {
            "network": self.layer.network_id,
            "layer": self.layer.name,
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
