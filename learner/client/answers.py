"""Requests made of records, and what a reply says about each of them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from learner.client.batches import BATCH_BYTES
from learner.errors import ExampleError, LearnerError
from learner.packing import pack
from learner.service.wire import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "Many", "in_requests", "label_of", "probabilities_of", "request_of", "value_of"]

ASKED_AT_ONCE = 1000  # records in a request
WITH_PROBABILITIES = 100  # records in a request whose reply has every class's probability

Answer = dict[str, Any]


# ---- requests ----
def request_of(
    record: Any, features: "Mapping[str, float] | NDArray[Any] | None", outcome_id: str | None = None
) -> dict[str, bytes]:
    r"""Return the fields of a request for one record, or for features, whose outcome may come later under a name.

    >>> request_of({"a": 1}, None), request_of(7, None, "order-1")
    ({'record': b'\x81\xa1a\x01'}, {'outcome_id': b'order-1', 'record': b'7'})
    """
    named = {} if outcome_id is None else {"outcome_id": outcome_id.encode()}
    if features is not None:
        return named | {"features": pack(features)}
    packed = pack(record)
    return named | {"record": packed if packed[0] >= 0x80 else b"%d" % packed[0]}  # a small number would look like JSON


class Many(NamedTuple):
    """Records that are asked for at once.

    Attributes
    ----------
    fields : dict
        The request's fields.
    errors : list
        For each record the error why it can't be asked for; None: it is in the request.
    """

    fields: dict[str, Any]
    errors: list[ExampleError | None]

    def answers(self, reply: Mapping[str, Any]) -> list[Answer | ExampleError]:
        """Return the answer to each record, or the error, in the order of the records."""
        names = {"predictions": "prediction", "scores": "score", "labels": "label", "probabilities": "probabilities"}
        columns = {name: reply[column] for column, name in names.items() if column in reply}
        keys = ("task", *columns)
        rows = zip(itertools.repeat(reply.get("task"), self.errors.count(None)), *columns.values(), strict=False)
        return self._with_errors([dict(zip(keys, row, strict=True)) for row in rows], reply)

    def values(self, reply: Mapping[str, Any]) -> list[Any]:
        """Return what `value_of` returns of each answer, or the error, in the order of the records."""
        predictions = reply.get("predictions", [])
        if reply.get("task") == "multiclass":
            return self._with_errors(reply.get("labels", predictions), reply)
        return self._with_errors([value if value is None else float(value) for value in predictions], reply)

    def _with_errors(self, found: list[Any], reply: Mapping[str, Any]) -> list[Any]:
        """Return what was found of the records that were asked for with the errors of all, in the order of the records."""
        for i, text in reply.get("errors", {}).items():
            found[int(i)] = ExampleError(text)
        if not any(self.errors):
            return found
        asked = iter(found)
        return [next(asked) if error is None else error for error in self.errors]


def in_requests(records: Iterable[Any], features: bool, probabilities: bool) -> Iterator[Many]:
    """Yield records in as few requests as the bounds allow; an `ExampleError` among them is one that can't be asked for."""
    field, most = "batch" if features else "records", WITH_PROBABILITIES if probabilities else ASKED_AT_ONCE
    packed: list[bytes] = []
    errors: list[ExampleError | None] = []
    n_bytes = 0

    def many() -> Many:
        return Many({field: b"".join(packed)} | ({"probabilities": "1"} if probabilities else {}), errors)

    for record in records:
        try:
            packed.append(_packed(record))
        except ExampleError as error:
            errors.append(error)
        else:
            errors.append(None)
            n_bytes += len(packed[-1])
        if len(errors) == most or n_bytes >= BATCH_BYTES:
            yield many()
            packed, errors, n_bytes = [], [], 0
    if errors:
        yield many()


def _packed(record: Any) -> bytes:
    if isinstance(record, ExampleError):
        raise record
    packed = pack(record)
    if len(packed) > MAX_VALUE_BYTES:  # a request that is too large would have no answer for its other records either
        raise ExampleError(f"record must be at most {MAX_VALUE_BYTES} bytes (got {len(packed)})")
    return packed


# ---- answers ----
def value_of(answer: Mapping[str, Any]) -> Any:
    """Return what `Client.predict` returns: a probability, a number, or with many classes the label.

    >>> value_of({"task": "multiclass", "prediction": 0.9, "label": "kiwi"}), value_of({"task": "binary", "prediction": 0.2})
    ('kiwi', 0.2)
    """
    return answer["label"] if answer.get("task") == "multiclass" else float(answer["prediction"])


def label_of(answer: Mapping[str, Any]) -> Any:
    """Return the most probable class: its label, or -1 or +1.

    Raises
    ------
    LearnerError
        When the model predicts numbers.
    """
    return _of_classes(answer, "label")


def probabilities_of(answer: Mapping[str, Any]) -> dict[Any, float]:
    """Return the probability of every class.

    Raises
    ------
    LearnerError
        When the model predicts numbers.

    >>> probabilities_of({"task": "binary", "label": 1, "probabilities": {"-1": 0.25, "1": 0.75}})
    {-1: 0.25, 1: 0.75}
    """
    probabilities = _of_classes(answer, "probabilities")
    named_by_numbers = isinstance(answer["label"], int)  # which are strings in JSON
    return {int(name) if named_by_numbers else name: p for name, p in probabilities.items()}


def _of_classes(answer: Mapping[str, Any], what: str) -> Any:
    if what not in answer:
        raise LearnerError(f"{what} must be asked of a model of classes (this one is a {answer.get('task')})")
    return answer[what]
