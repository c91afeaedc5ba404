"""The reason of a rejection, in words: the subject, the rule, and the offending value."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

from learner import kernels, layout
from learner.errors import show
from learner.packing import by_name
from learner.spec import Spec
from learner.tasks import TASKS

__all__ = ["OtherTargets", "msgpack_at", "reason"]

SHOWN_BYTES = 4096  # the most bytes that are decoded for a message
FIRST_EXTENSION, LAST_EXTENSION = 0xC7, 0xD8  # the range of msgpack's first bytes of arrays; some others lie between


def reason(code: int, data: bytes, where: int, spec: Spec) -> str:
    """Return the reason for a rejection.

    Parameters
    ----------
    code : int
        A code of `learner.layout`, such as BAD_TARGET.
    data : bytes
        The examples.
    where : int
        The position of the fault in `data`.
    spec : Spec
        The model's.
    """
    targets = TASKS[spec.task].targets
    if spec.labels:
        targets = f"one of the model's labels, {show(spec.labels[0])} and {show(spec.labels[1])}"
    first, second = msgpack_at(data, where)
    if code == layout.BAD_VALUE_FINITE and FIRST_EXTENSION <= data[where] <= LAST_EXTENSION:
        first, second = _bad_value(data, where)
    hint = ""
    if code == layout.BAD_VALUE_TYPE and isinstance(second, str):
        hint = ': strings need a featurizer, such as Model(featurizer="fields"), and a record in place of features'
    if spec.target_range is not None:
        targets = "a number within target_range, [{:g}, {:g}]".format(*spec.target_range)
    shown = show(first) if code in (layout.BAD_TARGET, layout.BAD_IMPORTANCE) else show(second)
    return {
        layout.BAD_FRAMING: "example must be whole msgpack (it is cut off or malformed)",
        layout.BAD_EXAMPLE: f"example must be [target, features] or [target, features, importance] (got {show(first)})",
        layout.BAD_TARGET: f"target must be {targets} (got {shown})",
        layout.BAD_IMPORTANCE: f"importance must be a number within [0, {layout.MAX_IMPORTANCE:g}] (got {shown})",
        layout.BAD_MAP: "features must be a map of name to number, or an array as extension 4 (float32) or 8 (float64) "
        f"(got {show(first)})",
        layout.BAD_NAME_TYPE: f"feature name must be a string (got {show(first)})",
        layout.BAD_NAME_LENGTH: f"feature name must have 1 to {layout.MAX_NAME_BYTES} bytes "
        f"(got {len(first.encode()) if isinstance(first, str) else show(first)})",
        layout.BAD_NAME_UTF8: "feature name must be UTF-8",
        layout.BAD_NAME_RESERVED: f"feature name must not be {layout.CONSTANT_NAME}: every model has this feature already",
        layout.BAD_VALUE_TYPE: f"feature {show(first)} must be a number (got {shown}){hint}",
        layout.BAD_VALUE_FINITE: f"feature {show(first)} must be finite, at most {layout.MAX_NUMBER:g} in size (got {shown})",
        layout.BAD_WIDTH: f"features must be at most {layout.MAX_FEATURES} an example "
        f"(got {len(first) if isinstance(first, dict) else 'more'})",
        layout.BAD_DUPLICATE: f"feature {show(first)} must be there once (it came again)",
        layout.NEW_CLASS: f"labels must be at most max_labels, {spec.max_labels} (got {show(first)} after so many others)",
    }[code]


class OtherTargets:
    """The first different targets that a binary model rejected, and the option with which they would be learned."""

    def __init__(self, labels: tuple[str, str] | None) -> None:
        self.labels = labels
        self.values: list[str | float] = []

    def add(self, data: bytes, where: int) -> None:
        """Note the target at a position, unless it is a value that no model learns."""
        value, _ = msgpack_at(data, where)
        is_target = isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
        if is_target and len(self.values) < 3 and value not in self.values:
            self.values.append(value)

    def hint(self, learned: Sequence[float] = ()) -> str:
        r"""Return what to do about the targets; "" if there is nothing to say.

        Parameters
        ----------
        learned : sequence of float
            The numbers, 0 and 1 or one of them, that targets which were learned may have been; empty if none was learned.

        Examples
        --------
        >>> targets = OtherTargets(None)
        >>> for data in (b"\xa3Yes", b"\xa2No"):
        ...     targets.add(data, 0)
        >>> targets.hint()
        'two values, No and Yes: add --labels No,Yes'
        """
        if len(self.values) < 2 and self.values != [2]:  # one odd value is a mistake; after 0 and 1, 2 is a class
            return ""
        values = [*((learned and self.labels) or learned), *self.values]
        n_texts = sum(isinstance(value, str) for value in self.values)
        if len(values) > 2:
            return "more than two values: add --task multiclass" + (" or regression" if n_texts == 0 else "")
        if len(values) < 2:
            return ""
        negative, positive = sorted(values) if n_texts == 0 else sorted(map(str, values))
        option = ",".join(f'"{label}"' if "," in str(label) else str(label) for label in (negative, positive))
        return f"two values, {negative} and {positive}: add --labels {shlex.quote(option)}"


def _bad_value(data: bytes, where: int) -> tuple[str, float]:
    """Return the name and value of the first number of an array that breaks the rule."""
    end = int(kernels.skip(np.frombuffer(data, np.uint8), where))
    values: dict[str, float] = by_name(msgpack.unpackb(data[where:end]))
    return next((name, value) for name, value in values.items() if not abs(value) <= layout.MAX_NUMBER)


def msgpack_at(data: bytes, where: int) -> tuple[Any, Any]:
    """Return the two msgpack values at a position, for a message; None for a value that can't be decoded."""
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="replace", strict_map_key=False, max_buffer_size=SHOWN_BYTES)
    unpacker.feed(data[where : where + SHOWN_BYTES])
    values: list[Any] = []
    for _ in range(2):
        try:
            values.append(unpacker.unpack())
        except Exception:  # noqa: BLE001  (a value that can't be decoded is shown as None)
            values.append(None)
            break
    return values[0], values[1] if len(values) > 1 else None
