"""Where bytes come from: positions for progress bars, standard input while it is open, gzip and its damage."""

import gzip
import io
import os
import subprocess
import sys

import pytest

from learner.errors import FormatError
from learner.files import Source, read
from tests.unit.files.reading import SMALL, faults


def test_position_goes_up_to_the_stored_size_and_no_further(tmp_path):
    path = tmp_path / "many.vw.gz"
    path.write_bytes(gzip.compress(b"".join(os.urandom(40).hex().encode() + b" | a\n" for _ in range(20_000))))
    with Source(path) as source:
        positions = [source.position() for _ in read(source)]
        assert source.size == path.stat().st_size == positions[-1]
        assert positions == sorted(positions)
        assert positions[0] < positions[-1]


def test_a_stream_handed_in_stays_open_and_has_no_size():
    stream = io.BytesIO(SMALL["vw"])
    source = Source(stream)
    assert len(list(read(source, "vw"))) == 2
    assert (source.size, source.position(), stream.closed) == (None, len(SMALL["vw"]), False)


def test_lines_of_standard_input_arrive_while_it_is_still_open():
    program = "from learner.files import read\nfor e in read('-', 'vw'): print(e.where, flush=True)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as child:
        child.stdin.write(b"1 | a\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"line 1\n"
        child.stdin.write(b"1 | a")
        child.stdin.close()
        assert child.stdout.read() == b"line 2\n"


def test_a_gzip_that_ends_early_or_is_damaged_raises_even_when_errors_are_counted():
    content = gzip.compress(b"1 | a\n" * 1000)
    for damaged in (content[:-9], content[:20] + b"\xff\xff" + content[22:], content + b"junk"):
        with pytest.raises(FormatError, match="gzip must be whole"):
            faults(damaged, "vw")
