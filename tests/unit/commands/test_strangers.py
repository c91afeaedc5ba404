"""Each kind of file that strangers bring gives what is right: the cases of `tests.strangers`."""

import pytest

from tests.strangers import CASES, trouble


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_a_stranger_brings(case, tmp_path):
    assert trouble(case, tmp_path) == ""
