"""A CNN and its training as a value."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .fields import MANY, count, number, sequence, text
from .spec import Spec


@dataclass(frozen=True)
class CnnSpec(Spec):
    """A small CNN and its training; the default is the network of the articles.

    The articles give the convolutional part; the dense layer, the schedule and the regularizer
    (part III) are our choice (99.3 % test accuracy).

    Attributes
    ----------
    dataset
        Name of a registered data set, or the path of a user's ``.npz``.
    maps
        Number of maps of each convolutional layer. All but the last are max-pooled 2x2.
    kernel
        Side of the square kernels in pixels; stride 1, padding ``valid``.
    dense
        Widths of the hidden dense layers.
    epochs, batch_size
        Passes over the training images, and images per weight update.
    learning_rate, final_learning_rate
        RMSprop's step size, linearly decaying over the whole training.
    momentum, l2
        RMSprop's momentum, and the factor of the L2 penalty on the dense layers' weights.
    weights_seed, order_seed
        Seeds of the initial weights and of the order of the training images, apart from
        each other, so that either can be varied alone.

    Examples
    --------
    >>> CnnSpec().maps, CnnSpec(weights_seed=1).replace(epochs=3).epochs
    ((32, 64, 128), 3)
    """

    dataset: str = "mnist"
    maps: tuple[int, ...] = (32, 64, 128)
    kernel: int = 3
    dense: tuple[int, ...] = (100,)
    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 2e-5
    momentum: float = 0.5
    l2: float = 1e-3
    weights_seed: int = 0
    order_seed: int = 0

    def __post_init__(self) -> None:
        self._set("dataset", text("dataset (a name, or the path of an .npz file)", self.dataset))
        self._set("maps", tuple(count("maps", n, 1, MANY) for n in sequence("maps", self.maps)))
        if not self.maps:
            raise InputError("maps must name at least one convolutional layer")
        self._set("dense", tuple(count("dense", n, 1, MANY) for n in sequence("dense", self.dense)))
        for name in ("kernel", "epochs", "batch_size"):
            self._set(name, count(name, getattr(self, name), 1, MANY))
        for name in ("learning_rate", "final_learning_rate"):
            self._set(name, number(name, getattr(self, name), above=0.0))
        self._set("momentum", number("momentum", self.momentum, low=0.0, below=1.0))
        self._set("l2", number("l2", self.l2, low=0.0))
        for name in ("weights_seed", "order_seed"):
            self._set(name, count(name, getattr(self, name), 0))

    def n_maps_of(self, layer: str) -> int | None:
        """How many maps or units a layer will have; None where that depends on the data.

        Raises
        ------
        InputError
            If the network will have no such layer.

        Examples
        --------
        >>> CnnSpec().n_maps_of("Conv2D_3")
        128
        """
        sizes: dict[str, int | None] = {"Flatten": None, "Classes": None}
        for place, n in enumerate(self.maps, 1):
            sizes[f"Conv2D_{place}"] = n
            if place < len(self.maps):
                sizes[f"Max_Pool_{place}"] = n
        sizes |= {f"Dense_{place}": n for place, n in enumerate(self.dense, 1)}
        if layer not in sizes:
            raise InputError(f"unknown layer {layer!r}: choose one of {', '.join(sizes)}")
        return sizes[layer]

    def siblings(self) -> dict[str, CnnSpec]:
        """The same training with the other seed of a pair: 0 and 1, or 2 and 3, and so on.

        Returns
        -------
        dict
            ``order``, ``weights``, ``both``: what is other. Each of the four has the same four
            as its family.
        """
        order, weights = self.order_seed ^ 1, self.weights_seed ^ 1
        return {
            "order": self.replace(order_seed=order),
            "weights": self.replace(weights_seed=weights),
            "both": self.replace(weights_seed=weights, order_seed=order),
        }
