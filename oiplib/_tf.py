"""TensorFlow and Keras, loaded quietly: the one place where the engine imports them."""

import os
import sys
import tempfile

# Without a GPU even "no GPU" is an error there; a user who wants to hear more sets the level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _load() -> None:
    """Import TensorFlow with the process' stderr held back, shown only if the import fails.

    Its libraries announce themselves (oneDNN is on, no GPU found) before they have read any
    log level, so nothing short of the file descriptor keeps them quiet.
    """
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except BaseException:
            held.seek(0)
            os.write(real, held.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)


_load()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

# It would warn that functions are compiled often, where many layers are studied.
tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "tf"]
