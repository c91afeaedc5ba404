"""The names of a model's keys."""

import pytest

from learner.errors import SpecError
from learner.service.wire import REPLIES, Keys


def test_all_keys_of_a_model_share_one_hash_tag():
    keys = Keys("spam-2.A_b")
    names = [keys.spec, keys.examples, keys.requests, keys.owner, keys.rejected, keys.progress, keys.head]
    names += [keys.rows(3), keys.names(0)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("learner:{spam-2.A_b}:") for name in names)
    assert [keys.spec, keys.examples, keys.rejected] == [
        f"learner:{{spam-2.A_b}}:{x}" for x in ("spec", "examples", "rejected")
    ]
    assert not any(name.startswith(REPLIES) for name in names)


@pytest.mark.parametrize("name", ["", "a b", "a}b", "{a}", "a:b", "a\n", "é", "a/b", "a*", "x" * 65, "a\x00"])
def test_a_model_name_that_could_break_the_keys_is_refused(name):
    with pytest.raises(SpecError, match="model name must be 1 to 64 of the characters"):
        Keys(name)


def test_a_model_name_may_have_64_characters():
    assert Keys("x" * 64).spec == f"learner:{{{'x' * 64}}}:spec"
