"""libsvm's text comes back equal; comments and query ids are skipped."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.reading import exact, faults, label, quick, travels, unpacked


@quick
@given(st.lists(st.tuples(label, st.dictionaries(st.integers(0, 2**40), exact.filter(bool), max_size=6)), max_size=5))
def test_libsvm_comes_back_equal(examples):
    lines = [" ".join(["" if t is None else str(t), *(f"{i}:{v!r}" for i, v in f.items())]) for t, f in examples]
    expected = [
        travels(t, {str(i): v for i, v in f.items()}) for t, f in examples if not (t is None and not f)
    ]  # nothing at all is an empty line
    assert unpacked("\n".join(lines).encode(), "libsvm") == expected


def test_libsvm_skips_comments_and_query_ids_and_names_features_by_index():
    content = b"# made by hand\n+1 qid:3 1:0.5 7:0 9:2 # first\n1:1\n-1\n"
    assert unpacked(content, "libsvm") == [[1, {"1": 0.5, "9": 2.0}], [None, {"1": 1.0}], [-1, {}]]
    assert faults(b"1 2 3:1\n", "libsvm") == ([], ["line 1: must be index:value (got '2')"])
