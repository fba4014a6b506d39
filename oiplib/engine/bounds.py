"""How large a network is: looked at before memory is asked for.

A stranger's architecture can ask for more than any machine has. It must fit the weights that come
with it, which nobody can make up without their bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import OipError
from ..values import parsed
from .nested import is_nested
from .tf import keras

#: Of an architecture's text, in characters. ResNet152 has 600,000.
LARGEST_ARCHITECTURE = 2**24

# So many numbers may a layer, and all of them together, give for one image: 512 MB and 2 GB.
_LARGEST_OUTPUT = 2**27
_LARGEST_TOTAL = 2**29


def parsed_architecture(text: str | bytes) -> Any:
    """The values of an architecture's text; errors as for `parsed`."""
    return parsed(text, LARGEST_ARCHITECTURE, finite=False)


def built(build: Callable[[], Any], n_bytes: int) -> Any:
    """The network of an architecture, with weights that aren't its own yet.

    Parameters
    ----------
    build
        Lets Keras build it; the architecture is checked already.
    n_bytes
        How many bytes its weights have.

    Raises
    ------
    OipError
        If the weights of the architecture need more bytes than that, or there are images or
        outputs of a layer that are too large.
    ValueError, TypeError, ...
        If Keras can't build it.
    """
    try:
        # Here Keras notes the shapes of weights, and makes none.
        with keras.StatelessScope(initialize_variables=False):
            model = build()
            if not isinstance(model, keras.Model):
                raise TypeError("its architecture isn't that of a Keras model")
            _check(model, n_bytes)
            for weight in model.weights:
                # Its own are to come. Some ways to draw the first ones take minutes.
                weight._initializer = keras.initializers.Zeros()
    except BaseException:
        keras.backend.clear_session()  # else the weights would be made by whatever comes next
        raise
    with keras.StatelessScope():
        pass  # at its end Keras makes the weights
    return model


def _check(model: Any, n_bytes: int) -> None:
    """Raise `OipError` if a network has more weights than its bytes, or layers give too much."""
    needed = sum(math.prod(weight.shape) * _item_bytes(weight.dtype) for weight in model.weights)
    if needed > n_bytes:
        raise OipError(f"its weights need {needed:,} bytes, and there are {n_bytes:,} of them")
    total = 0
    for name, shape in _outputs(model):
        n_numbers = math.prod(side or 1 for side in shape)
        total += n_numbers
        if n_numbers > _LARGEST_OUTPUT or total > _LARGEST_TOTAL:
            raise OipError(f"{name} gives {shape} numbers for an image: too many")


def _item_bytes(dtype: str) -> int:
    """How many bytes a number of a type takes, by the bits that its name tells."""
    bits = re.search(r"\d+$", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1


def _outputs(model: Any) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """What each layer and each other operation of a network gives, in each of its calls."""
    for operation in getattr(model, "operations", None) or model.layers:
        if is_nested(operation):
            yield from _outputs(operation)
        for node in operation._inbound_nodes:
            for output in keras.tree.flatten(node.outputs):
                yield operation.name, tuple(output.shape)
