"""The tables of the database: the experiment, whole."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any, ClassVar

import numpy as np
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import JSON, TypeDecorator

from ..pictures import data_uri
from ..specs import start_of
from .arrays import Array

#: The names of an OIP's plain values.
ROW_FIELDS = (
    "id",
    "network",
    "layer",
    "map",
    "loss",
    "steps",
    "stop_reason",
    "origin",
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


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        datetime: UtcTime,
        bytes: LargeBinary,
    }


class Network(Base):
    """A trained network: enough to rebuild it without anything else."""

    __tablename__ = "networks"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    spec: Mapped[dict[str, Any] | None]
    spec_sha256: Mapped[str | None]
    architecture: Mapped[str] = mapped_column(deferred=True)
    weights: Mapped[bytes] = mapped_column(deferred=True)
    weights_sha256: Mapped[str]
    image_height: Mapped[int]
    image_width: Mapped[int]
    image_channels: Mapped[int]
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
    network: Mapped[Network] = relationship(back_populates="layers")

    __table_args__ = (UniqueConstraint("network_id", "name"), CheckConstraint("n_maps > 0"))


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
    n_reacting: Mapped[np.ndarray] = mapped_column(Array("int64", 1))
    top_indices: Mapped[np.ndarray] = mapped_column(Array("int64", 2))
    top_responses: Mapped[np.ndarray] = mapped_column(Array("float32", 2))
    top_preactivations: Mapped[np.ndarray] = mapped_column(Array("float32", 2))
    edges: Mapped[np.ndarray] = mapped_column(Array("float64", 1))
    histogram: Mapped[np.ndarray] = mapped_column(Array("int64", 2))
    layer: Mapped[Layer] = relationship()

    __table_args__ = (UniqueConstraint("layer_id", "spec_sha256", "first", "last"),)


class Reaction(Base):
    """How the maps of a layer respond to images that are neither patterns nor starts.

    `top_images` are the numbers of the images with the largest responses, in the data set or
    among the random ones, `class_means` the mean response to each class of a data set (none for
    random images). `images` holds the data set's images among the top ones, each once, in the
    order of their numbers.
    """

    __tablename__ = "reactions"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str]
    spec_sha256: Mapped[str]
    n_images: Mapped[int]
    n_reacting: Mapped[np.ndarray] = mapped_column(Array("int64", 1))
    strongest_preactivation: Mapped[np.ndarray] = mapped_column(Array("float32", 1))
    top_images: Mapped[np.ndarray] = mapped_column(Array("int64", 2))
    top_responses: Mapped[np.ndarray] = mapped_column(Array("float32", 2))
    class_means: Mapped[np.ndarray] = mapped_column(Array("float32", 2))
    images: Mapped[np.ndarray] = mapped_column(Array("uint8", 4))
    layer: Mapped[Layer] = relationship()

    __table_args__ = (
        UniqueConstraint("layer_id", "kind", "spec_sha256"),
        CheckConstraint("kind IN ('fluctuation', 'digit')"),
    )

    def pictures(self, map: int) -> np.ndarray:
        """The data set's images that a map responds to most: (n, height, width, channels)."""
        return self.images[np.searchsorted(np.unique(self.top_images), self.top_images[map])]


class Scan(Base):
    """One map's search for OIPs by one spec, finished; its rungs hold all candidates.

    Where `origin` is ``selection`` nobody was dropped, and no OIP was kept; ``comparison`` is a
    search that serves to compare trainings.
    """

    __tablename__ = "scans"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    map: Mapped[int]
    origin: Mapped[str]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    rungs: Mapped[list[Rung]] = relationship(
        order_by="Rung.number", lazy="selectin", cascade="all, delete-orphan"
    )
    layer: Mapped[Layer] = relationship()

    __table_args__ = (
        UniqueConstraint("layer_id", "map", "spec_sha256"),
        CheckConstraint("map >= 0"),
        CheckConstraint("origin IN ('fluctuation', 'pattern', 'selection', 'comparison')"),
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
    starts: Mapped[np.ndarray] = mapped_column(Array("int64", 1))
    losses: Mapped[np.ndarray] = mapped_column(Array("float32", 1))

    __table_args__ = (UniqueConstraint("scan_id", "number"),)


class Oip(Base):
    """An image to which a map responds strongly, and where it came from."""

    __tablename__ = "oips"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    map: Mapped[int]
    origin: Mapped[str]
    start: Mapped[dict[str, Any]]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    loss: Mapped[float]
    steps: Mapped[int]
    stop_reason: Mapped[str]
    created: Mapped[datetime]
    # The large columns stand last: SQLite walks through a row up to what is asked for.
    image: Mapped[np.ndarray] = mapped_column(Array("float32", 3), deferred=True)
    report_steps: Mapped[np.ndarray] = mapped_column(Array("int64", 1), deferred=True)
    # Pictures, 0 for the darkest and 255 for the brightest pixel of each, of the best OIP of a
    # search only: the first is rebuilt from `start`, the last is `image`, others by a replay.
    frames: Mapped[np.ndarray] = mapped_column(Array("uint8", 4), deferred=True)
    trace: Mapped[np.ndarray] = mapped_column(Array("float32", 1), deferred=True)
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (
        Index("oips_by_map", "layer_id", "map", "loss"),
        Index("oips_by_map_number", "map"),
        CheckConstraint("map >= 0"),
        CheckConstraint("loss > 0"),
        CheckConstraint("steps >= 0"),
        CheckConstraint("origin IN ('fluctuation', 'pattern', 'revival', 'digit')"),
    )

    @property
    def caption(self) -> str:
        """Whose it is, its numbers, and where it comes from."""
        return (
            f"OIP {self.id} of map {self.map}, {self.layer.name}, network "
            f"{self.layer.network_id}: loss {self.loss:.4g} after {self.steps} steps, "
            f"by {self.origin} from {start_of(self.start)}"
        )

    def row(self) -> dict[str, Any]:
        """Its plain values, as `ROW_FIELDS` names them; the moment in ISO 8601."""
        told = {
            "network": self.layer.network_id,
            "layer": self.layer.name,
            "created": self.created.isoformat(timespec="seconds"),
        }
        return {name: told[name] if name in told else getattr(self, name) for name in ROW_FIELDS}

    def __repr__(self) -> str:
        return f"<{self.caption}>"

    def _repr_html_(self) -> str:
        """A notebook shows it as computed, with contrast enhanced, and its numbers."""
        pictures = "".join(
            f'<img src="{data_uri(self.image, contrast)}" alt="{told}" title="{told}" width="112" '
            'style="image-rendering:pixelated;display:inline-block;margin:0 6px 0 0">'
            for contrast, told in ((False, "as computed"), (True, "contrast enhanced"))
        )
        return f"<figure>{pictures}<figcaption>{escape(self.caption)}</figcaption></figure>"


class Variety(Base):
    """How different the patterns are that excite a map, from many starts.

    Of the restarts `starts` are the numbers of the trials and `losses` what they reached. For
    all pairs of them, in the order of ``numpy.triu_indices``: `peaks` are the largest normalized
    cross-correlations of the images, `features` the same of what goes into the layer, `shifts`
    by how many rows and columns the pattern of the first stands further down and right.
    `null_peaks` and `null_features` count as many pairs of OIPs of different maps, in equal
    classes from 0 to 1; from these come the thresholds by which `patterns` numbers the distinct
    patterns, from 0 on, the commonest first. `images` shows the best restart of each of the
    first eight.

    The images `unlike` come from ascents that were kept away from all of these patterns;
    `unlike_alike` is how alike each is, in the mean, to the pattern that it resembles most, and
    `unlike_loss` the largest loss among those that are below the threshold there.
    """

    __tablename__ = "varieties"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    map: Mapped[int]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    n_starts: Mapped[int]
    n_patterns: Mapped[int]
    commonest: Mapped[float]
    median: Mapped[float | None]
    best_loss: Mapped[float]
    unlike_loss: Mapped[float | None]
    threshold: Mapped[float]
    feature_threshold: Mapped[float]
    starts: Mapped[np.ndarray] = mapped_column(Array("int64", 1))
    losses: Mapped[np.ndarray] = mapped_column(Array("float32", 1))
    patterns: Mapped[np.ndarray] = mapped_column(Array("int16", 1))
    peaks: Mapped[np.ndarray] = mapped_column(Array("float16", 1))
    features: Mapped[np.ndarray] = mapped_column(Array("float16", 1))
    shifts: Mapped[np.ndarray] = mapped_column(Array("int16", 2))
    null_peaks: Mapped[np.ndarray] = mapped_column(Array("int64", 1))
    null_features: Mapped[np.ndarray] = mapped_column(Array("int64", 1))
    images: Mapped[np.ndarray] = mapped_column(Array("uint8", 4))
    unlike_losses: Mapped[np.ndarray] = mapped_column(Array("float32", 1))
    unlike_alike: Mapped[np.ndarray] = mapped_column(Array("float32", 1))
    unlike_images: Mapped[np.ndarray] = mapped_column(Array("uint8", 4))
    layer: Mapped[Layer] = relationship()

    __table_args__ = (
        UniqueConstraint("layer_id", "map", "spec_sha256"),
        CheckConstraint("map >= 0"),
        CheckConstraint("n_patterns > 0"),
        CheckConstraint("commonest BETWEEN 0 AND 1"),
    )


class Correspondence(Base):
    """Which map of a layer corresponds to which of the same layer of another training.

    `scores` tells how well each map of the first layer and each of the second suit each other,
    `shuffled` the same where what belongs together was torn apart. The way is ``activations``
    (correlation over `n_images` images) or ``oips`` (response to each other's OIPs); `relation`
    says in what the trainings differ, or that both networks were not trained at all. Those
    are not stored, so that such a row has the trained network's layer on both sides.
    """

    __tablename__ = "correspondences"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    other_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    relation: Mapped[str]
    way: Mapped[str]
    n_images: Mapped[int]
    images_sha256: Mapped[str]
    median: Mapped[float]
    shuffled_median: Mapped[float]
    scores: Mapped[np.ndarray] = mapped_column(Array("float16", 2))
    shuffled: Mapped[np.ndarray] = mapped_column(Array("float16", 2))
    layer: Mapped[Layer] = relationship(foreign_keys=[layer_id], lazy="joined")
    other: Mapped[Layer] = relationship(foreign_keys=[other_id], lazy="joined")

    __table_args__ = (
        UniqueConstraint("layer_id", "other_id", "way"),
        CheckConstraint("relation IN ('order', 'weights', 'both', 'untrained')"),
        CheckConstraint("way IN ('activations', 'oips')"),
    )
