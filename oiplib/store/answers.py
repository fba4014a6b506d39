"""The tables of answers: what excites maps, how different their patterns are, which correspond."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..values import ConditionSpec, CorrespondenceSpec
from .arrays import Array, NumpyArray, Packed, unpacked
from .base import Base
from .tables import IMAGE, Layer, sizes_of


class Reaction(Base):
    """How the maps of a layer respond to images that are neither patterns nor starts.

    `top_images` are the numbers of the images with the largest responses, in the data set or
    among the random ones. `class_means` is the mean response to each class of a data set; there
    are none for random images. `images` holds the data set's images among the top ones, each
    once, in the order of their numbers.
    """

    __tablename__ = "reactions"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    n_images: Mapped[int]
    n_reacting: Mapped[NumpyArray] = mapped_column(Array("int64", "maps"))
    strongest_preactivation: Mapped[NumpyArray] = mapped_column(Array("float32", "maps"))
    top_images: Mapped[NumpyArray] = mapped_column(Array("int64", "maps", "top"))
    top_responses: Mapped[NumpyArray] = mapped_column(Array("float32", "maps", "top"))
    class_means: Mapped[NumpyArray] = mapped_column(Array("float32", "maps", "classes"))
    images: Mapped[NumpyArray] = mapped_column(Array("uint8", "images", *IMAGE))
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (
        UniqueConstraint("layer_id", "spec_sha256"),
        CheckConstraint("kind IN ('fluctuation', 'data')"),
    )

    def sizes(self) -> dict[str, int]:
        """Its maps are those of the layer, its images the top ones, as the network takes them."""
        import numpy as np

        sizes = sizes_of(self.layer)
        top = vars(self)["top_images"]
        numbers = unpacked(*top, sizes) if isinstance(top, Packed) else top
        return {**sizes, "images": len(np.unique(numbers)) if self.kind == "data" else 0}

    def pictures(self, map: int) -> NumpyArray:
        """The data set's images that a map responds to most: (n, height, width, channels)."""
        import numpy as np

        return self.images[np.searchsorted(np.unique(self.top_images), self.top_images[map])]


class Null(Base):
    """How alike OIPs of different maps of a layer are: by it the layer's `Variety` is judged.

    It is computed once, from restarts of all maps of the layer. `n_starts` says how many
    restarts came to excite each map. For each map, `peaks` counts how alike its restarts are to
    others', by their pixels, in equal classes from 0 to 1; `features` the same by what goes
    into the layer. From all of them come the thresholds.
    """

    __tablename__ = "nulls"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    threshold: Mapped[float]
    feature_threshold: Mapped[float]
    n_starts: Mapped[NumpyArray] = mapped_column(Array("int64", "maps"))
    peaks: Mapped[NumpyArray] = mapped_column(Array("int64", "maps", "classes"))
    features: Mapped[NumpyArray] = mapped_column(Array("int64", "maps", "classes"))
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (UniqueConstraint("layer_id", "spec_sha256"),)

    def sizes(self) -> dict[str, int]:
        """Its maps are those of the layer."""
        return sizes_of(self.layer)


class Variety(Base):
    """How different the patterns are that excite a map, from many starts.

    `starts` are the numbers of the trials and `losses` what they reached. For all pairs of
    restarts, in the order of ``numpy.triu_indices``: `peaks` are the largest normalized
    cross-correlations of the images, `features` the same of what goes into the layer, `shifts`
    by how many rows and columns the pattern of the first stands further down and right. By the
    threshold of the layer's null, `patterns` numbers the distinct patterns, from 0 on, the
    commonest first. `images` shows the best restart of each of the first eight.

    The images `unlike` come from ascents that were kept away from all of these patterns.
    `unlike_alike` is how alike each is, in the mean, to the pattern that it resembles most.
    `unlike_loss` is the largest loss among those that are below the threshold there.
    """

    __tablename__ = "varieties"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    null_id: Mapped[int] = mapped_column(ForeignKey("nulls.id"))
    map: Mapped[int]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    n_starts: Mapped[int]
    n_patterns: Mapped[int]
    commonest: Mapped[float]
    median: Mapped[float | None]
    best_loss: Mapped[float]
    unlike_loss: Mapped[float | None]
    starts: Mapped[NumpyArray] = mapped_column(Array("int64", "starts"))
    losses: Mapped[NumpyArray] = mapped_column(Array("float32", "starts"))
    patterns: Mapped[NumpyArray] = mapped_column(Array("int16", "starts"))
    peaks: Mapped[NumpyArray] = mapped_column(Array("float16", "pairs"))
    features: Mapped[NumpyArray] = mapped_column(Array("float16", "pairs"))
    shifts: Mapped[NumpyArray] = mapped_column(Array("int16", "pairs", "directions"))
    images: Mapped[NumpyArray] = mapped_column(Array("uint8", "shown", *IMAGE))
    unlike_losses: Mapped[NumpyArray] = mapped_column(Array("float32", "unlike"))
    unlike_alike: Mapped[NumpyArray] = mapped_column(Array("float32", "unlike"))
    unlike_images: Mapped[NumpyArray] = mapped_column(Array("uint8", "unlike", *IMAGE))
    layer: Mapped[Layer] = relationship(lazy="joined")
    null: Mapped[Null] = relationship(lazy="joined")

    __table_args__ = (
        UniqueConstraint("layer_id", "map", "spec_sha256"),
        CheckConstraint("map >= 0"),
        CheckConstraint("n_patterns > 0"),
        CheckConstraint("commonest BETWEEN 0 AND 1"),
    )

    def sizes(self) -> dict[str, int]:
        """As many restarts as it says, all pairs of them, and images as the network takes them."""
        pairs = self.n_starts * (self.n_starts - 1) // 2
        return {**sizes_of(self.layer), "starts": self.n_starts, "pairs": pairs, "directions": 2}


class Correspondence(Base):
    """Which map of a layer corresponds to which of the same layer of another training.

    `scores` tells how well each map of the first layer and each of the second suit each other,
    `shuffled` the same after what belongs together was torn apart. The way is ``activations``
    (correlation over `n_images` images) or ``oips`` (response to each other's OIPs). `relation`
    says in what the trainings differ. `svcca` and `cka` tell how alike both layers are as wholes;
    with ``oips`` there are none.
    """

    __tablename__ = "correspondences"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    other_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    relation: Mapped[str]
    way: Mapped[str]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    n_images: Mapped[int]
    images_sha256: Mapped[str]
    median: Mapped[float]
    shuffled_median: Mapped[float]
    svcca: Mapped[float | None]
    cka: Mapped[float | None]
    scores: Mapped[NumpyArray] = mapped_column(Array("float16", "maps", "other_maps"))
    shuffled: Mapped[NumpyArray] = mapped_column(Array("float16", "maps", "other_maps"))
    layer: Mapped[Layer] = relationship(foreign_keys=[layer_id], lazy="joined")
    other: Mapped[Layer] = relationship(foreign_keys=[other_id], lazy="joined")

    __table_args__ = (
        UniqueConstraint("layer_id", "other_id", "way", "spec_sha256"),
        CheckConstraint("relation IN ('order', 'weights', 'both', 'untrained')"),
        CheckConstraint("way IN ('activations', 'oips')"),
    )

    def sizes(self) -> dict[str, int]:
        """The maps of both layers."""
        return {**sizes_of(self.layer), "other_maps": sizes_of(self.other)["maps"]}


class Baseline(Base):
    """How well the maps of a layer suit those of networks that were never trained.

    What trained networks have in common is judged by it. Untrained networks aren't stored: they
    follow from the spec. `own_scores` holds for each of them the scores of the pairs in which an
    assignment puts the layer's maps; `pair_scores` those in all pairs of two untrained networks,
    in the order of ``numpy.triu_indices``. With ``activations`` as its way, `svcca` and `cka`
    tell how alike whole layers are: first the layer and each of the untrained, then their pairs.
    `active` is the share of positions, over all images, at which each map is above 0.
    """

    __tablename__ = "baselines"

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("layers.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    way: Mapped[str]
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    n_images: Mapped[int]
    images_sha256: Mapped[str]
    own_scores: Mapped[NumpyArray] = mapped_column(Array("float32", "untrained", "maps"))
    pair_scores: Mapped[NumpyArray] = mapped_column(Array("float32", "untrained_pairs", "maps"))
    active: Mapped[NumpyArray] = mapped_column(Array("float32", "maps"))
    svcca: Mapped[NumpyArray] = mapped_column(Array("float32", "wholes"))
    cka: Mapped[NumpyArray] = mapped_column(Array("float32", "wholes"))
    layer: Mapped[Layer] = relationship(lazy="joined")

    __table_args__ = (
        UniqueConstraint("layer_id", "way", "spec_sha256"),
        CheckConstraint("way IN ('activations', 'oips')"),
    )

    def sizes(self) -> dict[str, int]:
        """Its maps are those of the layer, its networks those that the spec names."""
        wholes = self.way == "activations"
        spec = CorrespondenceSpec.from_dict(self.spec)
        n = len(spec.untrained) if wholes else spec.n_searched
        pairs = n * (n - 1) // 2
        of_spec = {"untrained": n, "untrained_pairs": pairs, "wholes": (n + pairs) * wholes}
        return {**sizes_of(self.layer), **of_spec}


class Condition(Base):
    """How far an OIP can be trusted: what becomes of it where something small is different.

    Its start was moved a little, by each of the spec's `moves` so many times as it has `draws`:
    `losses` are what the ascents then reached, `alike` how well their images correlate with the
    OIP's. `moved` and `noisy` are the shares of its response that it keeps when it is moved by a
    pixel, and under noise. `path` tells, for each convolutional layer before its own, how alike
    the responses of its maps are to two images: the OIP and the real images that excite its map
    most, the OIP and those of other maps, two of the map's own, these and those of other maps.
    Where a map has no such images, or the network came without any, there are no layers.
    """

    __tablename__ = "conditions"

    id: Mapped[int] = mapped_column(primary_key=True)
    oip_id: Mapped[int] = mapped_column(ForeignKey("oips.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    spec: Mapped[dict[str, Any]]
    spec_sha256: Mapped[str]
    moved: Mapped[float]
    noisy: Mapped[float]
    losses: Mapped[NumpyArray] = mapped_column(Array("float32", "moves", "draws"))
    alike: Mapped[NumpyArray] = mapped_column(Array("float32", "moves", "draws"))
    path: Mapped[NumpyArray] = mapped_column(Array("float32", "layers", "kinds"))

    __table_args__ = (UniqueConstraint("oip_id", "spec_sha256"),)

    def sizes(self) -> dict[str, int]:
        """As many moves and draws as the spec names, and what `path` tells of each layer."""
        spec = ConditionSpec.from_dict(self.spec)
        return {"moves": len(spec.moves), "draws": spec.n_draws, "kinds": 4}
