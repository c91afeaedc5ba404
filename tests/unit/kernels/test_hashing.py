"""Names: what is UTF-8, and each name's hash, which is the polynomial of its docstring."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from learner.learners.weights import hash_keys, hash_of
from tests.unit.kernels import doors
from tests.unit.streams import SEED

N_TRIES = 200 if kernels.JIT else 10  # hypothesis examples


@given(
    st.one_of(
        st.binary(max_size=8), st.text(max_size=6).map(str.encode), st.binary(max_size=4).map(lambda b: b"\xf0\x90" + b)
    )
)
@settings(max_examples=5 * N_TRIES, deadline=None)
def test_utf8_is_what_pythons_decoder_takes(data):
    assert bool(doors.is_utf8(np.frombuffer(b"\xff" + data + b"\x80", np.uint8), 1, len(data))) == decodes(data)


def test_utf8_of_two_and_three_bytes_is_what_pythons_decoder_takes():
    """All pairs, and every third byte at the edges of its range."""
    leads, edges = range(0xC0, 0x100), (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    for data in [bytes([a, b]) for a in leads for b in edges] + [
        bytes([a, b, c, 0x80]) for a in leads for b in edges for c in edges
    ]:
        for n in (len(data), len(data) - 1):
            assert bool(doors.is_utf8(np.frombuffer(data, np.uint8), 0, n)) == decodes(data[:n]), data[:n]


def decodes(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def polynomial(name, r):
    """The docstring of `hash_name` in Python's own integers."""
    h = len(name)
    for start in range(0, len(name), 7):
        h = (h + int.from_bytes(name[start : start + 7], "little")) * r % (2**61 - 1)
    h = (h ^ h >> 32) * 0x9E3779B97F4A7C15 % 2**64
    return max(h ^ h >> 32, 1)


def test_the_hash_is_the_polynomial_of_its_docstring():
    """The values of a fixed seed are written down, so that committed models stay readable."""
    keys = hash_keys(SEED)
    r = int(keys[layout.KEY_BLOCK])
    assert 2**32 <= r < 2**61 - 1
    for length in range(1, 257):
        name = bytes((7 * i * i + length) % 256 for i in range(length))
        assert hash_of(name, keys) == polynomial(name, r)
        for before, after in ((0, 0), (3, 0), (0, 3), (5, 20)):  # wherever it lies, up to the very end
            buffer = np.frombuffer(b"\xaa" * before + name + b"\xbb" * after, np.uint8)
            h, beyond_ascii = doors.hash_name(buffer, before, length, keys)
            assert int(h) == hash_of(name, keys)
            assert bool(beyond_ascii) == (not name.isascii())
    assert {name: hash_of(name.encode(), keys) for name in GOLDEN} == GOLDEN


GOLDEN = {
    "a": 13348472026064842825,
    "contains_@": 17681114515697476321,
    "größe": 6961433254683382616,
    "(constant)": 13447464523425125442,
}


def test_the_keys_hold_the_hashes_of_the_constant_and_of_the_labels():
    plain, labelled = hash_keys(SEED), hash_keys(SEED, ("ham", "größer als 3"))
    r = int(plain[layout.KEY_BLOCK])
    hashes = [polynomial(name.encode(), r) for name in ("(constant)", "ham", "größer als 3")]
    assert labelled[: layout.POSITION_HASHES].tolist() == [r, *hashes]
    assert not labelled[layout.POSITION_HASHES : layout.NEGATIVE_NUMBER].any()  # until an array comes
    assert labelled[layout.NEGATIVE_NUMBER] == labelled[layout.POSITIVE_NUMBER]  # neither is a number
    assert plain[: layout.POSITION_HASHES].tolist() == [*labelled[:2].tolist(), 0, 0]


@pytest.mark.parametrize("r", [2**32, 2**32 + 1, 2**60, 2**61 - 2**55, 2**61 - 3, 2**61 - 2])
def test_the_hash_is_the_polynomial_whatever_the_secret(r):
    keys, draw = np.full(layout.N_KEYS, r, np.uint64), random.Random(r)
    for length in [*range(1, 30), 100, 255, 256] * 10:
        name = draw.randbytes(length)
        assert hash_of(name, keys) == polynomial(name, r)


def test_the_hash_is_the_polynomial_when_its_last_product_is_large():
    name = bytes.fromhex("4c4c0cb4c4386e979106e52489c48eff80ad5890cc")
    assert hash_of(name, np.full(layout.N_KEYS, 2**61 - 1 - 2**40, np.uint64)) == polynomial(name, 2**61 - 1 - 2**40)


def test_the_spread_is_a_bijection():
    """It can be undone, so that it adds no collision; and it uses all the bits."""
    undo, r = pow(0x9E3779B97F4A7C15, -1, 2**64), random.Random(6)
    used = 0
    for h in [0, 1, 2**32 - 1, 2**32, 2**61 - 2, 2**64 - 1, *(r.getrandbits(64) for _ in range(200))]:
        scattered = int(doors.spread(np.uint64(h)))
        back = (scattered ^ scattered >> 32) * undo % 2**64
        assert back ^ back >> 32 == h
        used |= scattered
    assert used == 2**64 - 1


def test_a_million_names_have_a_million_hashes():
    n = 1_000_000 if kernels.JIT else 1_000
    keys = hash_keys(SEED)
    data = b"".join(b"%07d" % i for i in range(n))
    assert n_hashes(np.frombuffer(data, np.uint8), keys) == n


def n_hashes(buffer, keys):
    return len({int(doors.hash_name(buffer, start, 7, keys)[0]) for start in range(0, len(buffer), 7)})


def test_names_that_share_their_head_or_tail_or_end_in_zeros_have_their_own_hashes():
    keys = hash_keys(SEED)
    names = (
        {b"\0" * n for n in range(1, 257)} | {b"a" * n for n in range(1, 257)} | {b"a" * n + b"\0" for n in range(256)}
    )
    names |= {b"a" * n + b"b" + b"a" * (255 - n) for n in range(256)}
    assert len({hash_of(name, keys) for name in names}) == len(names)


def test_the_hash_belongs_to_the_seed():
    """Two seeds share no hash, and a seed always gives its own."""
    names = [f"name {i}".encode() for i in range(300)]
    hashes = [[hash_of(name, hash_keys(seed)) for name in names] for seed in (SEED, b"sixteen bytes is", SEED)]
    assert hashes[0] == hashes[2]
    assert not set(hashes[0]) & set(hashes[1])
    assert all(1 <= h < 2**64 for h in hashes[0])
    assert max(hashes[0]) > 2**63  # the table's tags are the upper half
