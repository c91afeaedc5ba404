"""The errors a user meets, in one tree.

::

    LearnerError            everything below; the command line prints it as one line and exits with 2
    ├── SpecError           a model's description is wrong
    ├── FormatError         a file or an entry can't be decoded
    ├── ExampleError        an example was decoded but can't be learned or predicted
    ├── ServerError         no Redis or Valkey server could be found or started
    ├── AnswerError         a worker answered a request with an error
    ├── SilentError         no worker answered a request in time
    ├── StoreError          the committed state doesn't fit: another featurizer, damaged data
    │   ├── MissingError    there is no model of that name
    │   └── StreamError     the stream of examples doesn't fit what was learned from it: learning ends, answering goes on
    │       └── BehindError a candidate did not read entries in time (exit code 3)
    ├── FencedError         another worker owns the model now (exit code 4)
    └── RejectedError       too many of the incoming examples can't be learned (exit code 5)

Messages name the subject, the rule, and the offending value: ``entry 1699-0: field 'lat' must be within [-90, 90] (got 91.2)``.
"""

import reprlib


class LearnerError(Exception):
    """The root of all errors of this package."""

    exit_code = 2


class SpecError(LearnerError):
    """A model's description is wrong."""


class FormatError(LearnerError):
    """A file or an entry can't be decoded."""


class ExampleError(LearnerError):
    """An example was decoded but can't be learned or predicted."""


class ServerError(LearnerError):
    """No Redis or Valkey server could be found or started."""


class AnswerError(LearnerError):
    """A worker answered a request with an error."""


class SilentError(LearnerError):
    """No worker answered a request in time."""


class StoreError(LearnerError):
    """The committed state doesn't fit the request."""


class MissingError(StoreError):
    """There is no model of that name."""


class StreamError(StoreError):
    """The stream of examples doesn't fit what was learned from it."""


class BehindError(StreamError):
    """Entries were deleted before a candidate had read them."""

    exit_code = 3


class FencedError(LearnerError):
    """Another worker owns the model now."""

    exit_code = 4


class RejectedError(LearnerError):
    """Too many of the incoming examples can't be learned."""

    exit_code = 5


def show(value: object) -> str:
    """Return a value for a message: its repr, shortened in depth and length.

    >>> show("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    >>> show([[[[[[1]]]]]])
    '[[[[...]]]]'
    """
    try:
        return _REPR.repr(value)
    except Exception:  # noqa: BLE001  an integer of thousands of digits, or somebody's own __repr__
        return f"<{type(value).__name__}>"


_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 60
