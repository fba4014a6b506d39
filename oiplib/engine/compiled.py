"""Compiled functions, of one network or shared by all networks of one architecture.

With a network's weights for constants, XLA makes its functions a little faster. But to trace and
compile it takes seconds, also for a tiny network, and a comparison of trainings asks dozens of
networks that differ in nothing but their weights. So there the weights are arguments of functions
that are compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from .tf import keras, tf
from .threads import first_alone


class _Functions(dict[str, Any]):
    """Name -> compiled function; a class of its own, as a plain dict has no weak references."""


# They live as long as one of their networks does.
_SHARED: WeakValueDictionary[str, _Functions] = WeakValueDictionary()


class Compiled:
    """The compiled functions of one network, or of all networks of its architecture.

    Parameters
    ----------
    variables : sequence of keras.Variable
        The weights that the functions read. Their values of now count.
    architecture : str
        Tells all that the functions depend on, but for the values of `variables`; they are shared
        by all networks with the same one. Without it each function is the network's own.
    """

    def __init__(self, variables: Sequence[Any] = (), architecture: str | None = None) -> None:
        self._variables = list(variables)
        self._weights = [tf.convert_to_tensor(variable.value) for variable in variables]
        self._are_shared = architecture is not None
        functions = _Functions()
        if architecture is not None:
            functions = _SHARED.setdefault(architecture, functions)
        self._functions = functions

    def get(self, name: str, make: Callable[[], tuple[Any, Sequence[Any]]]) -> Any:
        """The compiled function of this name, bound to the network's weights.

        Parameters
        ----------
        name
        make : function
            Gives the function, if it isn't compiled yet, and the types of its arguments. The
            first of these is a batch.
        """
        if name not in self._functions:
            self._functions[name] = self._compile(*make())
        function = self._functions[name]
        if not self._are_shared:
            return function
        return lambda *arguments: function(*arguments, self._weights)

    def _compile(self, function: Any, types: Sequence[Any]) -> Any:
        # AutoGraph, which turns Python's loops into TensorFlow's, fails on Python 3.13. So loops
        # are written with TensorFlow's own functions.
        if not self._are_shared:
            return first_alone(tf.function(function, input_signature=types, autograph=False))
        types_of_weights = [tf.TensorSpec(each.shape, each.dtype) for each in self._weights]

        @tf.function(input_signature=[*types, types_of_weights], autograph=False)
        def with_weights(*arguments):  # type: ignore[no-untyped-def]
            *others, weights = arguments
            with keras.StatelessScope(zip(self._variables, weights, strict=True)):
                return function(*others)

        return first_alone(with_weights)
