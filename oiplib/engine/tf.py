"""TensorFlow and Keras, loaded quietly. Every other module gets them from here."""

import os
import sqlite3  # noqa: F401 - before TensorFlow, which brings another copy that would take its place
import sys
import tempfile

# TensorFlow logs a missing GPU as an error. A user who wants to see such messages sets the level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# TensorFlow leaves oneDNN's convolutions off on processors without AVX-512, where they are a
# fifth faster, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _load() -> None:
    """Import TensorFlow; what it writes to stderr is shown only if the import fails.

    Its libraries announce themselves (oneDNN is on, no GPU found) before they read any log
    level. Only redirecting the file descriptor keeps them quiet.
    """
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except BaseException:
            messages.seek(0)
            os.write(stderr_copy, messages.read())
            raise
        finally:
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)


_load()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

# TensorFlow warns of functions that are compiled often; studying many layers needs that.
tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "tf"]
