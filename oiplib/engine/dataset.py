"""A data set as a value: images with labels, the names of their classes, an identity by content.

Whatever a data set comes from, it is checked here. So what later asks it needs no checks of its
own, and each mistake that people make has one line that says what to do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError

#: More classes than anybody has. A larger label is a number of something else.
_MOST_CLASSES = 100_000
_LONGEST_NAME = 100
_LONGEST_PATH = 4096
_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
_PARTS = {"train": "training", "test": "test"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels, for training and for testing.

    Attributes
    ----------
    name : str
    train_images, test_images : integers or floats, (n, height, width, channels)
        Images without an axis of channels, (n, height, width), get one.
    train_labels, test_labels : int64, (n,)
        Classes, counted from 0. Whole numbers of any type, also as (n, 1), become int64.
    class_names : tuple of str
        A name for each class; by default "0", "1", ... up to the largest label.
    noun : str
        One of its images in one word.

    Raises
    ------
    InputError
        If images or labels aren't as above, aren't finite, or don't suit each other.

    Examples
    --------
    >>> images, labels = np.zeros((2, 8, 8), np.uint8), [0, 1]
    >>> toys = Dataset("toys", images, labels, images, labels, ("ball", "kite"), "toy")
    >>> toys.train_images.shape, toys.n_classes, toys.pixel_range
    ((2, 8, 8, 1), 2, (0.0, 255.0))
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...] = ()
    noun: str = "image"

    def __post_init__(self) -> None:
        for part, word in _PARTS.items():
            images = _images(f"{self.name}: the {word} images", getattr(self, f"{part}_images"))
            labels = _labels(f"{self.name}: the {word} labels", getattr(self, f"{part}_labels"))
            if len(images) != len(labels):
                raise InputError(
                    f"{self.name}: there are {len(images)} {word} images and {len(labels)} "
                    f"{word} labels: each image needs one label"
                )
            vars(self).update({f"{part}_images": images, f"{part}_labels": labels})
        train, test = self.train_images.shape[1:], self.test_images.shape[1:]
        if train != test:
            raise InputError(
                f"{self.name}: the training images are {_size(train)} and the test images "
                f"{_size(test)}: bring them to one size"
            )
        largest = int(max(self.train_labels.max(), self.test_labels.max()))
        names = _class_names(self.name, self.class_names, largest)
        vars(self).update(class_names=names, noun=_noun(self.name, self.noun))

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def sha256(self) -> str:
        """The data set's identity: the hash of its four arrays, and of no name or path."""
        digest = hashlib.sha256()
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            array = getattr(self, name)
            # The same numbers have the same bytes on every machine.
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def pixel_range(self) -> tuple[float, float]:
        """What a black and a white pixel are: (0, 255), (0, 1) or (-1, 1).

        Integers are 0 to 255. Floats are the first of 0..1, 0..255 and -1..1 that holds them all.

        Raises
        ------
        InputError
            If pixels lie outside.
        """
        if self.train_images.dtype == self.test_images.dtype == np.uint8:
            return 0.0, 255.0  # nothing else is possible, so nothing is searched
        images = self.train_images, self.test_images
        lows, highs = [float(x.min()) for x in images], [float(x.max()) for x in images]
        low, high = min(lows), max(highs)
        floats = any(x.dtype.kind == "f" for x in images)
        for least, most in _RANGES if floats else ((0.0, 255.0),):
            if least <= low and high <= most:
                if floats and most == 255 and 0 < min(highs) <= 1:
                    raise InputError(
                        f"{self.name}: the training images go from {lows[0]:g} to {highs[0]:g} "
                        f"and the test images from {lows[1]:g} to {highs[1]:g}: bring them to "
                        "one range"
                    )
                return least, most
        raise InputError(
            f"{self.name}: its pixels go from {low:g} to {high:g}, which is no known range: "
            "scale them to 0..1, -1..1 or 0..255"
        )


def one_line(error: object) -> str:
    """The text of somebody else's error, short enough to stand inside ours."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _images(whose: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    _refuse_objects(whose, images, "make them one array, for example with np.stack")
    if images.dtype.kind not in "uif" or images.dtype.itemsize > 8:
        raise InputError(
            f"{whose} are {images.dtype.name}: pixels are integers or floats, so convert them, "
            "for example with images.astype('float32')"
        )
    if images.ndim not in (3, 4):
        raise InputError(
            f"{whose} have the shape {images.shape}: bring them to (n, height, width) or "
            "(n, height, width, channels) with images.reshape"
        )
    if not images.size:
        raise InputError(f"{whose} are empty, {images.shape}: at least one image must be there")
    if _is_channels_first(images.shape):
        raise InputError(
            f"{whose} have their channels first, {images.shape}: write them as "
            "images.transpose(0, 2, 3, 1)"
        )
    # A NaN makes the least value NaN.
    if images.dtype.kind == "f" and not np.isfinite([images.min(), images.max()]).all():
        raise InputError(
            f"{whose} hold NaN or infinite values: leave these images out, or repair them with "
            "np.nan_to_num"
        )
    images = images.astype(images.dtype.newbyteorder("="), copy=False)  # TensorFlow takes no other
    return images[..., None] if images.ndim == 3 else images


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether images have 1 or 3 channels where the height belongs, and none at the end."""
    if len(shape) != 4 or shape[3] in (1, 3, 4):
        return False
    return shape[1] in (1, 3) and min(shape[2:]) > shape[1]


def _labels(whose: str, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    numbered = "number the classes from 0 on"
    _refuse_objects(whose, labels, f"{numbered}; class_names may hold their names")
    if labels.dtype.kind in "US":
        raise InputError(f"{whose} are text: {numbered}; class_names may hold their names")
    if labels.dtype.kind not in "buif":
        raise InputError(f"{whose} are {labels.dtype.name}: {numbered}")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputError(
            f"{whose} have {labels.shape[1]} numbers per image: if they are one-hot, write "
            "labels.argmax(axis=1)"
        )
    if labels.ndim not in (1, 2):
        raise InputError(f"{whose} have the shape {labels.shape}: give one number per image")
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        broken = labels[~np.isfinite(labels) | (labels != np.floor(labels))]
        if broken.size:
            raise InputError(f"{whose} hold {broken[0]:g}, which is no whole number: {numbered}")
    if labels.size and not 0 <= labels.min() <= labels.max() < _MOST_CLASSES:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"{whose} hold {int(wrong)}, which can't be a class: {numbered}")
    return labels.astype(np.int64, copy=False)


def _refuse_objects(whose: str, array: np.ndarray, instead: str) -> None:
    if array.dtype.hasobject:
        raise InputError(f"{whose} are Python objects, not numbers: {instead}")


def check_description(described: Any) -> None:
    """`InputError` unless a network names a data set as `oiplib.study.networks` does."""
    if not isinstance(described, dict):
        raise InputError("its data set isn't described")
    name = described.get("name")
    if not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise InputError(f"{str(name)[:40]!r} is no name of a data set")
    source = described.get("source", "")
    if not isinstance(source, str) or not source.isprintable() or len(source) > _LONGEST_PATH:
        raise InputError("where its data set is from is no plain text")
    if not set(described) <= {"name", "source", "sha256", "classes", "noun"}:
        raise InputError("its data set's description holds something else")
    classes = described.get("classes", [])
    if not isinstance(classes, list) or len(classes) > _MOST_CLASSES:
        raise InputError("the classes of its data set aren't listed")
    if classes:
        _class_names(name, classes, 0)
    _noun(name, described.get("noun", "image"))
    if not re.fullmatch("[0-9a-f]{64}", str(described.get("sha256") or "0" * 64)):
        raise InputError("its data set's hash is no SHA-256")


def _class_names(name: str, given: Sequence[str], largest_label: int) -> tuple[str, ...]:
    if isinstance(given, str):
        raise InputError(f"{name}: class_names must be a list of names, not one text")
    names = tuple(given) or tuple(str(label) for label in range(largest_label + 1))
    for class_name in names:
        if not isinstance(class_name, str) or not class_name.strip():
            raise InputError(f"{name}: the class name {class_name!r} is no name: write a text")
        # Names stand on pages and in terminals.
        if not class_name.isprintable() or len(class_name) > _LONGEST_NAME:
            raise InputError(
                f"{name}: the class name {class_name[:20]!r} is longer than {_LONGEST_NAME} "
                "characters, or holds one that can't be printed: write a short text of one line"
            )
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise InputError(f"{name}: two classes are called {twice!r}: give each its own name")
    if largest_label >= len(names):
        raise InputError(
            f"{name}: the labels hold {largest_label}, but there are {len(names)} class names "
            f"(for labels 0 to {len(names) - 1}): name every class"
        )
    return tuple(str(class_name) for class_name in names)


def _noun(name: str, noun: str) -> str:
    if not isinstance(noun, str) or not re.fullmatch(r"[^\W\d_][\w-]{0,29}", noun):
        raise InputError(
            f"{name}: the noun {str(noun)[:40]!r} must be one word for one image, such as digit"
        )
    return str(noun)


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
