"""Compiled code reads nothing behind the buffer that it is given."""

import subprocess
import sys
from pathlib import Path

import pytest

from learner import kernels

ROOT = Path(__file__).parent.parent.parent

GUARD = """
import ctypes, mmap, random
import numpy as np
from learner import kernels
from learner.model import Model
from learner.learners.weights import hash_keys, hash_of
from tests.unit.kernels import doors

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(start + page), page, 0) == 0
model, keys, r = Model(seed=b"sixteen bytes it"), hash_keys(b"sixteen bytes it"), random.Random(5)
heads = [b"", b"\\x92\\x01", b"\\x92\\x01\\x82\\xa1a\\x01", b"\\x93\\x01\\x80", b"\\x92\\x01\\x81\\xa3"]


def at_the_end(data):
    memory[page - len(data):page] = data
    return memoryview(memory)[page - len(data):page].toreadonly()


for length in range(1, 257):
    name = r.randbytes(length)
    buffer = np.frombuffer(at_the_end(name), np.uint8)
    assert doors.hash_name(buffer, 0, length, keys)[0] == kernels.hash_name(buffer, keys) == hash_of(name, keys)
    doors.is_utf8(np.frombuffer(at_the_end(name[:-1] + r.choice([b"\\xf0", b"\\xe1", b"\\xc3"])), np.uint8), 0, length)
for _ in range(20_000):
    data = r.choice(heads) + bytes(r.choice([r.randrange(256), r.randrange(0x80, 256)]) for _ in range(r.randrange(1, 12)))
    view = at_the_end(data)
    kernels.skip(np.frombuffer(view, np.uint8), 0)
    model.learn_packed(view)
assert model.n_rejected
"""


@pytest.mark.skipif(not kernels.JIT, reason="numpy checks the bounds")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect by hand")
def test_nothing_is_read_behind_the_buffer():
    """With the next page of memory forbidden, reading one byte too many would kill the process."""
    subprocess.run([sys.executable, "-c", GUARD], check=True, cwd=ROOT)
