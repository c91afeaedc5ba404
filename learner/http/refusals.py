"""Errors as answers: the status says whose fault it is, the words are those of the client and the worker."""

from collections.abc import Mapping

from learner.errors import (
    AnswerError,
    ExampleError,
    FormatError,
    LearnerError,
    MissingError,
    ServerError,
    SilentError,
    SpecError,
    StoreError,
)
from learner.service.store.connection import passing_trouble
from learner.service.wire import TOO_LATE, TOO_MANY

__all__ = ["RefusedError", "refusal_of"]

STATUSES = (  # the first that an error is an instance of
    (MissingError, 404),
    (SilentError, 503),
    (ServerError, 503),
    (StoreError, 500),
    ((AnswerError, ExampleError, FormatError, SpecError), 400),
    (LearnerError, 400),
)
RETRY = {"retry-after": "1"}  # seconds


class RefusedError(LearnerError):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
        Of HTTP.
    text : str
        What is wrong.
    headers : mapping, optional
        Of the answer.
    more : values
        What else the answer says.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {}) | (RETRY if status in (429, 503) else {})
        self.more = more


def refusal_of(error: Exception) -> RefusedError | None:
    """Return what an error is answered with; None: it is a fault of this program.

    >>> [refusal_of(AnswerError(text)).status for text in ("record must be JSON", f"{TOO_LATE} (it is 5 ms too late)")]
    [400, 504]
    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, AnswerError) and str(error).startswith(TOO_LATE):
        return RefusedError(504, str(error))
    if isinstance(error, AnswerError) and str(error).startswith(TOO_MANY):
        return RefusedError(503, str(error))
    if isinstance(error, LearnerError):
        return RefusedError(next(status for kind, status in STATUSES if isinstance(error, kind)), str(error))
    if type(error).__module__.partition(".")[0] == "redis":
        trouble = passing_trouble(error)  # type: ignore[arg-type]
        return RefusedError(503 if trouble else 500, f"server: {trouble or error}")
    return None
