"""The learning rate of an optimizer, where reading it changes nothing."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf  # noqa: TID251 - the one door to TensorFlow

from tensorview_insitu.explain.untouched import random_as_it_was, written_by
from tensorview_insitu.text.one_line import told


def why_not_read(optimizer: Any) -> str:
    """Why `optimizer.learning_rate` is not to be read once more than Keras does; empty where it may be.

    A schedule of the user's own may count its calls, in a variable or in Python: the training would go on
    with the next value. It is asked once, apart from the training, and put back.
    """
    rate = getattr(optimizer, "_learning_rate", None)
    if not callable(rate) or isinstance(rate, keras.Variable) or type(rate).__module__.startswith("keras."):
        return ""
    with tf.init_scope(), random_as_it_was():
        own = dict(getattr(rate, "__dict__", {}))
        try:
            read = tf.function(lambda: tf.convert_to_tensor(optimizer.learning_rate), autograph=False)
            writes = bool(written_by(read.get_concrete_function()))
        except Exception as error:  # what cannot be traced cannot be looked at
            return f"whether its schedule may be asked once more cannot be found out: {told(error)}"
        finally:
            changed = _put_back(rate, own)
    if writes or changed:
        return "its schedule counts how often it is asked, and would go on otherwise"
    return ""


def _put_back(rate: Any, own: dict[str, Any]) -> bool:
    """Give an object the attributes that it had; whether it had others."""
    now = getattr(rate, "__dict__", own)
    if now.keys() == own.keys() and all(now[name] is own[name] for name in own):
        return False
    now.clear()
    now.update(own)
    return True
