"""The protocol between producers, askers and the worker; any client can speak it with plain Redis commands.

::

    XADD learner:{spam}:examples * record '{"address": "abc@gmail.com"}' target 1 id order-1234
    XADD learner:{spam}:requests * record '{"address": "abc@gmail.com"}' reply learner:{spam}:replies:me id 7
    BLPOP learner:{spam}:replies:me 5

`learner.service.wire.entries` says what an entry holds, `learner.service.wire.requests` what a request and its reply hold.
"""

from learner.service.wire.bounds import (
    MAX_BATCH,
    MAX_DEPTH,
    MAX_ENTRY_BYTES,
    MAX_REASON,
    MAX_REQUESTS,
    MAX_SHORT_BYTES,
    MAX_VALUE_BYTES,
    REJECTED_BYTES,
)
from learner.service.wire.described import describe
from learner.service.wire.entries import (
    LEARN_HELD,
    CutFields,
    Example,
    RawExample,
    RejectedEntry,
    decode_entry,
    decode_raw,
    decode_single,
    has_records,
    is_learn_held,
    rejected_entry,
    size_of,
)
from learner.service.wire.keys import ANSWERERS, FLEET, GROUP, MODELS, REPLIES, Keys, is_name
from learner.service.wire.outcomes import Kept, OutcomeFields, decode_kept, encode_kept, expiry_of, is_outcome
from learner.service.wire.requests import (
    REPLY_SECONDS,
    TOO_LATE,
    TOO_MANY,
    RawRecord,
    deadline_ms,
    decode_request,
    decode_vector,
    encode_reply,
)
from learner.service.wire.together import ALONE, FEATURES, pack_together
from learner.service.wire.values import decode_target, decode_value, is_one, split, to_json

__all__ = [
    "ALONE",
    "ANSWERERS",
    "FEATURES",
    "FLEET",
    "GROUP",
    "LEARN_HELD",
    "MAX_BATCH",
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "MAX_REASON",
    "MAX_REQUESTS",
    "MAX_SHORT_BYTES",
    "MAX_VALUE_BYTES",
    "MODELS",
    "REJECTED_BYTES",
    "REPLIES",
    "REPLY_SECONDS",
    "TOO_LATE",
    "TOO_MANY",
    "CutFields",
    "Example",
    "Kept",
    "Keys",
    "OutcomeFields",
    "RawExample",
    "RawRecord",
    "RejectedEntry",
    "deadline_ms",
    "decode_entry",
    "decode_kept",
    "decode_raw",
    "decode_request",
    "decode_single",
    "decode_target",
    "decode_value",
    "decode_vector",
    "describe",
    "encode_kept",
    "encode_reply",
    "expiry_of",
    "has_records",
    "is_learn_held",
    "is_name",
    "is_one",
    "is_outcome",
    "pack_together",
    "rejected_entry",
    "size_of",
    "split",
    "to_json",
]
