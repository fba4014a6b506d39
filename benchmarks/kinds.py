"""Kinds of networks as people build them, each small enough to be trained in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from oiplib.engine.tf import keras

layers = keras.layers

SHAPE = (32, 32, 3)
N_CLASSES = 10
IMAGENET = "0..1 mean 0.485,0.456,0.406 deviation 0.229,0.224,0.225"

#: What layers begin with that learn from data, such as a `Normalization`: some training images.
Pixels = np.ndarray


@dataclass(frozen=True)
class Kind:
    """A kind of network, how it is trained, and what is asked of it.

    Attributes
    ----------
    build
        Some training images -> an untrained model.
    layers
        Those whose maps are asked for.
    takes
        What images it is trained on, as a text.
    tells
        Whether its first layers tell that, so that nobody needs to name it.
    ending
        Of the file that holds it; "" for a model that is handed over as an object.
    policy
        Keras' precision while it is built.
    task
        What it learns: ``classes`` (probabilities), ``logits``, ``yes or no`` (each class by
        itself), ``two`` (classes and how bright the image is), ``picture`` (its own image).
    image_size
        Named where it takes images of any size.
    is_grey
        Whether its images are grey and not square, instead of colour and 32x32.
    epochs
        How long it needs to learn.
    """

    build: Callable[[Pixels], Any]
    layers: tuple[str, ...] = ("last", "classes")
    takes: str = "0..1"
    tells: bool = False
    ending: str = ".keras"
    policy: str = "float32"
    task: str = "classes"
    image_size: tuple[int, int] | None = None
    is_grey: bool = False
    epochs: int = 4


def conv(n_maps: int, name: str | None = None, **options: Any) -> Any:
    """A convolution of 3x3 that keeps the size."""
    return layers.Conv2D(n_maps, 3, padding="same", name=name, **options)


def norm(name: str | None = None) -> Any:
    """Batch normalization whose averages are ready after a few hundred steps."""
    return layers.BatchNormalization(momentum=0.9, name=name)


def classes(activation: str | None = "softmax", name: str = "classes") -> Any:
    """The last layer."""
    return layers.Dense(N_CLASSES, activation, name=name, dtype="float32")


def ended(image: Any, x: Any) -> Any:
    """A model that ends with classes."""
    return keras.Model(image, classes()(layers.GlobalAveragePooling2D(name="mean")(x)))


def stacked(*stack: Any, shape: tuple[int | None, ...] = SHAPE, **options: Any) -> Any:
    """Layers one after the other, then classes."""
    image = x = keras.Input(shape, **options)
    for layer in stack:
        x = layer(x)
    return ended(image, x)


def usual(activation: Any = "relu") -> list[Any]:
    """Three convolutions, the last called ``last``; an activation, or a class of layers."""
    stack: list[Any] = []
    for n_maps, name in ((16, "first"), (32, "middle"), (32, "last")):
        if isinstance(activation, type):  # a layer of its own
            stack += [conv(n_maps), activation(name=name)]
        else:
            stack += [conv(n_maps, name, activation=activation)]
        stack += [layers.MaxPooling2D()]
    return stack


def vgg(_: Pixels) -> Any:
    stack: list[Any] = []
    for n_maps, name in ((16, "1"), (32, "2"), (32, "last")):
        for half in ("a", ""):
            stack += [conv(n_maps, use_bias=False), norm(), layers.ReLU(name=f"{name}{half}")]
        stack += [layers.MaxPooling2D()]
    image = x = keras.Input(SHAPE)
    stack += [layers.Flatten(), layers.Dense(32, "relu", name="dense"), layers.Dropout(0.2)]
    for layer in (*stack, classes()):
        x = layer(x)
    return keras.Model(image, x)


def resnet(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = layers.ReLU()(norm()(conv(16, strides=2)(image)))
    for n_maps, strides, name in ((16, 1, "block_1"), (32, 2, "block_2"), (32, 1, "last")):
        y = layers.ReLU()(norm()(conv(n_maps, strides=strides, use_bias=False)(x)))
        y = norm()(conv(n_maps, use_bias=False)(y))
        if strides == 2:
            x = norm()(layers.Conv2D(n_maps, 1, strides=2, use_bias=False)(x))
        x = layers.ReLU(name=name)(layers.Add(name=f"{name}_add")([x, y]))
    return ended(image, x)


def mobilenet(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = layers.ReLU(6.0)(norm()(conv(16, strides=2, use_bias=False)(image)))
    for n_maps, strides, name in ((16, 1, "block_1"), (32, 2, "block_2"), (32, 1, "block_3")):
        y = layers.ReLU(6.0)(norm()(layers.Conv2D(3 * x.shape[-1], 1, use_bias=False)(x)))
        y = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y)
        y = layers.ReLU(6.0, name=f"{name}_depthwise")(norm()(y))
        y = norm(f"{name}_out")(layers.Conv2D(n_maps, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    return ended(image, layers.ReLU(6.0, name="last")(norm()(layers.Conv2D(48, 1)(x))))


def xception(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = layers.ReLU()(norm()(conv(16, strides=2)(image)))
    y = layers.SeparableConv2D(32, 3, padding="same", activation="relu", name="separable")(x)
    y = norm()(layers.SeparableConv2D(32, 3, padding="same", name="last")(y))
    y = layers.MaxPooling2D(3, 2, padding="same")(y)
    x = layers.Add()([norm()(layers.Conv2D(32, 1, strides=2)(x)), y])
    return ended(image, layers.ReLU()(x))


def inception(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = conv(16, strides=2, activation="relu")(image)
    for name in ("mixed_1", "last"):
        x = layers.Concatenate(name=name)(
            [
                layers.Conv2D(8, 1, activation="relu")(x),
                conv(16, activation="relu")(x),
                layers.Conv2D(8, 5, padding="same", activation="relu")(x),
                layers.Conv2D(8, 1)(layers.AveragePooling2D(3, 1, padding="same")(x)),
            ]
        )
        x = layers.MaxPooling2D()(x)
    return ended(image, x)


def densenet(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = conv(16, strides=2)(image)
    for _block in range(3):
        y = conv(12)(layers.ReLU()(norm()(x)))
        x = layers.Concatenate()([x, y])
    return ended(image, layers.ReLU(name="last")(norm()(x)))


def squeezed(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = norm()(conv(16, strides=2, activation="relu")(image))
    x = norm()(conv(32, strides=2, activation="silu")(x))
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(32, 1, activation="sigmoid")(layers.Conv2D(8, 1, activation="silu")(y))
    return ended(image, layers.Multiply(name="last")([x, y]))


def convnext(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = layers.LayerNormalization()(layers.Conv2D(24, 4, strides=4)(image))
    for name in ("expand_1", "last"):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(5, padding="same")(x))
        y = layers.Dense(24)(layers.Dense(72, "gelu", name=name)(y))
        x = layers.Add()([x, y])
    return ended(image, x)


def transformer(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    x = layers.Conv2D(32, 4, strides=4, name="patches")(image)
    x = layers.Reshape((64, 32))(x)
    for _block in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 16)(y, y)])
        y = layers.Dense(64, "gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(32)(y)])
    x = layers.GlobalAveragePooling1D(name="mean")(layers.LayerNormalization()(x))
    return keras.Model(image, classes(None, "logits")(x))


def backbone(channels: int = 3) -> Any:
    """An inner model of any size, as people take one with its weights."""
    image = keras.Input((None, None, channels))
    x = layers.ReLU()(norm()(conv(16, "b1", strides=2)(image)))
    y = layers.ReLU()(norm()(conv(16)(x)))
    x = layers.Add(name="b2_out")([x, y])
    x = layers.ReLU(name="b3_out")(norm()(conv(32, strides=2)(x)))
    return keras.Model(image, x, name="backbone")


def nested(_: Pixels) -> Any:
    augment = keras.Sequential([layers.RandomFlip("horizontal")], name="augment")
    return keras.Sequential(
        [
            *(keras.Input(SHAPE), augment, layers.Rescaling(1 / 127.5, offset=-1), backbone()),
            *(layers.GlobalAveragePooling2D(name="mean"), layers.Dropout(0.1), classes()),
        ]
    )


def nested_twice(_: Pixels) -> Any:
    image, inner = keras.Input(SHAPE), keras.Input(SHAPE)
    head = keras.Sequential([conv(32, "conv"), norm("norm"), layers.ReLU(name="out")], name="head")
    outer = keras.Model(inner, head(backbone()(inner)), name="outer")
    return ended(image, outer(image))


def normalized(pixels: Pixels) -> Any:
    layer = layers.Normalization()
    layer.adapt(pixels.astype(np.float32))
    return stacked(layer, *usual())


def inner_normalization(pixels: Pixels) -> Any:
    layer = layers.Normalization()
    layer.adapt(pixels.astype(np.float32))
    first = keras.Sequential([keras.Input(SHAPE), layer], name="preprocessing")
    return stacked(first, *usual())


def two_outputs(_: Pixels) -> Any:
    image = x = keras.Input(SHAPE)
    for layer in usual():
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, [classes()(x), layers.Dense(1, name="brightness")(x)])


def shared_layer(_: Pixels) -> Any:
    image = keras.Input(SHAPE)
    shared = conv(16, "shared", activation="relu")
    x = norm()(conv(16, "first", strides=2, activation="relu")(image))
    x = norm()(shared(shared(x)))
    return ended(image, conv(32, "last", strides=2, activation="relu")(x))


def picture(_: Pixels) -> Any:
    return keras.Sequential(
        [
            *(keras.Input(SHAPE), conv(16, strides=2, activation="relu")),
            conv(8, "code", strides=2, activation="relu"),
            layers.Conv2DTranspose(16, 3, 2, padding="same", activation="relu", name="up"),
            layers.UpSampling2D(interpolation="bilinear"),
            conv(3, "picture", activation="sigmoid"),
        ]
    )


def regularized(_: Pixels) -> Any:
    options = {
        "kernel_regularizer": keras.regularizers.L2(1e-4),
        "kernel_constraint": keras.constraints.MaxNorm(3),
        "kernel_initializer": keras.initializers.HeNormal(),
    }
    return stacked(
        *(layers.GaussianNoise(0.02), conv(16, "first", activation="relu", **options)),
        *(norm(), layers.MaxPooling2D(), layers.SpatialDropout2D(0.1)),
        *(conv(32, "last", activation="relu", **options), layers.MaxPooling2D()),
    )


def own_softmax(_: Pixels) -> Any:
    image = x = keras.Input(SHAPE)
    for layer in (*usual(), layers.GlobalAveragePooling2D(), layers.Dense(N_CLASSES)):
        x = layer(x)
    return keras.Model(image, layers.Activation("softmax", name="classes")(x))


def without_input(_: Pixels) -> Any:
    return keras.Sequential([*usual(), layers.Flatten(), classes()])


def of_activation(activation: Any) -> Callable[[Pixels], Any]:
    return lambda _: stacked(*usual(activation))


#: Every kind, in the order of the table.
KINDS: dict[str, Kind] = {
    "ReLU, standardized images": Kind(of_activation("relu"), takes="standardized"),
    "VGG with batch norm": Kind(vgg, ("last", "dense", "classes")),
    "VGG with batch norm, .h5": Kind(vgg, ("1",), takes="standardized", ending=".h5"),
    "ResNet": Kind(resnet, ("last_add", "last", "classes"), takes="-1..1"),
    "GELU": Kind(of_activation("gelu")),
    "SiLU": Kind(of_activation("silu"), takes="-1..1"),
    "LeakyReLU": Kind(of_activation(layers.LeakyReLU)),
    "PReLU": Kind(of_activation(layers.PReLU), takes="standardized"),
    "ELU": Kind(of_activation("elu"), takes="-1..1"),
    "tanh, average pooling": Kind(
        lambda _: stacked(
            *(layers.Conv2D(16, 5, activation="tanh", name="first"), layers.AveragePooling2D(2)),
            *(layers.Conv2D(32, 5, activation="tanh", name="last"), layers.AveragePooling2D(2)),
        ),
        takes="standardized",
    ),
    "hard SiLU": Kind(of_activation("hard_silu")),
    "depthwise (MobileNet), ReLU6": Kind(
        mobilenet, ("block_2_depthwise", "block_3_out", "last"), takes="-1..1"
    ),
    "separable (Xception)": Kind(xception, ("separable", "last")),
    "Inception": Kind(inception, ("mixed_1", "last"), ending=".hdf5"),
    "DenseNet": Kind(densenet, takes="standardized"),
    "squeeze and excite": Kind(squeezed),
    "ConvNeXt": Kind(convnext, takes=IMAGENET),
    "groups, strides, dilation": Kind(
        lambda _: stacked(
            *(conv(16, strides=2, activation="relu"), norm(), conv(32, "groups", groups=4)),
            *(layers.ReLU(), norm(), conv(32, "last", dilation_rate=2, activation="relu")),
        ),
        ("groups", "last"),
        epochs=3,
    ),
    "GroupNormalization": Kind(
        lambda _: stacked(
            *(conv(16, strides=2), layers.GroupNormalization(4), layers.ReLU()),
            *(conv(32, strides=2), layers.GroupNormalization(4), layers.ReLU(name="last")),
        )
    ),
    "SpectralNormalization": Kind(
        lambda _: stacked(
            layers.SpectralNormalization(conv(16, strides=2, activation="relu"), name="first"),
            norm(),
            layers.SpectralNormalization(conv(32, strides=2, activation="relu"), name="last"),
            norm(),
        ),
        epochs=8,
    ),
    "dropout, noise, regularizers": Kind(regularized),
    "nested": Kind(
        nested, ("backbone/b2_out", "backbone/b3_out", "classes"), takes="0..255", tells=True
    ),
    "nested, .h5": Kind(nested, ("backbone/b3_out",), takes="0..255", tells=True, ending=".h5"),
    "nested twice": Kind(nested_twice, ("outer/backbone/b3_out", "outer/head/out")),
    "Normalization": Kind(normalized, takes="0..255", tells=True),
    "Normalization, inner, .h5": Kind(
        inner_normalization, ("last",), takes="0..255", tells=True, ending=".h5"
    ),
    "Rescaling": Kind(
        lambda _: stacked(layers.Rescaling(1 / 255), *usual()), takes="0..255", tells=True
    ),
    "Rescaling, Resizing, .h5": Kind(
        lambda _: stacked(
            *(layers.Resizing(24, 24), layers.Rescaling(1 / 127.5, offset=-1), *usual())
        ),
        takes="0..255",
        tells=True,
        ending=".h5",
    ),
    "keras.ops before the first layer": Kind(
        lambda _: stacked(lambda x: x[..., ::-1] / 127.5 - 1, *usual()),
        takes="0..255",
        tells=True,
    ),
    "trained on 0..1": Kind(of_activation("relu"), ("middle", "last", "classes")),
    "trained on 0..255": Kind(
        lambda _: stacked(norm(), *usual()), ("middle", "last", "classes"), takes="0..255"
    ),
    "ImageNet's mean and deviation": Kind(of_activation("relu"), takes=IMAGENET),
    "mixed_float16": Kind(vgg, policy="mixed_float16", epochs=2),
    "mixed_bfloat16": Kind(resnet, takes="-1..1", policy="mixed_bfloat16"),
    "float16": Kind(vgg, policy="float16"),
    "float64": Kind(of_activation("relu"), policy="float64"),
    "fully convolutional": Kind(
        lambda _: stacked(*usual(), shape=(None, None, 3)), image_size=(32, 32)
    ),
    "two outputs": Kind(two_outputs, ("last", "classes", "brightness"), task="two"),
    "shared layer": Kind(shared_layer, ("first", "last")),
    "ViT's patches": Kind(
        transformer, ("patches", "mean", "logits"), takes=IMAGENET, task="logits", epochs=8
    ),
    "logits": Kind(
        lambda _: keras.Sequential(
            [keras.Input(SHAPE), *usual(), layers.Flatten(), classes(None, "logits")]
        ),
        ("last", "logits"),
        takes="standardized",
        task="logits",
    ),
    "softmax as a layer": Kind(own_softmax, ("classes",)),
    "sigmoid, each class by itself": Kind(
        lambda _: keras.Sequential(
            [keras.Input(SHAPE), *usual(), layers.Flatten(), classes("sigmoid")]
        ),
        ("last",),  # many images bring a class to 1, and nothing brings it further
        task="yes or no",
    ),
    "autoencoder": Kind(picture, ("code", "up"), task="picture"),
    "grey, not square": Kind(
        lambda _: stacked(*usual(), shape=(28, 20, 1)), takes="standardized", is_grey=True
    ),
    "a Sequential without Input": Kind(without_input, ("last",)),
    "an object, not a file": Kind(of_activation("relu"), takes="-1..1", ending=""),
}
