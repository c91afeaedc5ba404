"""What the tests of the formats share: examples to write down, and what is read of them."""

import io

import msgpack
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from learner.files import read

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

finite = st.floats(allow_nan=False, allow_infinity=False)
word = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters=":|'#\""), min_size=1)
number = st.integers(-(2**62), 2**62) | finite
exact = st.integers(-(2**53), 2**53) | finite  # what a feature's value in text keeps
features = st.dictionaries(word, exact.filter(bool), max_size=6)
label = st.none() | st.integers(-9, 9) | finite | st.sampled_from(["spam", "ham", "nan", "02139"])
importance = st.floats(0, 1e6)
text = st.text(st.characters(codec="utf-8"), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def unpacked(content: bytes, form: str, **options: object) -> list[list]:
    return [msgpack.unpackb(example.data) for example in read(io.BytesIO(content), form, **options)]


def faults(content: bytes, form: str, **options: object) -> tuple[list[list], list[str]]:
    """Return the good examples and what was said about the others."""
    said: list[str] = []
    good = unpacked(content, form, on_error=lambda where, message, raw: said.append(f"{where}: {message}"), **options)
    return good, said


def travels(target: object, found: dict, weight: float = 1) -> list:
    return [target, found] if weight == 1 else [target, found, weight]


SMALL = {
    "jsonl": b'{"target":1,"a":2}\n\n{"target":0,"a":3}',
    "json": b'[{"target":1,"a":2},\n\n{"target":0,"a":3}]',
    "csv": b"a,target\n2,1\n\n3,0",
    "tsv": b"a\ttarget\n2\t1\n\n3\t0",
    "vw": b"1 | a:2\n\n0 | a:3",
    "libsvm": b"1 a:2\n\n0 a:3",
}
