"""Values and bytes that the tests of the protocol draw."""

from hypothesis import strategies as st

scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6)
)
anything = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
garbage = st.binary(max_size=60) | st.builds(
    lambda first, rest: bytes([first]) + rest, st.integers(0x80, 0xFF), st.binary(max_size=40)
)
UNHASHABLE = b"\x81\x90\x01"  # {[]: 1}, which no Python dict can hold
