"""The gradient check: a wrong gradient is named."""

import pytest

from learner.graph import OPS, Op, Parameter, check_gradient


def test_a_wrong_gradient_is_named(monkeypatch):
    monkeypatch.setitem(OPS, "cube", None)
    cube = Op("cube", "", lambda a: a**3, lambda g, f, a: (2.0 * g * a,), None)
    a = Parameter([1.0, 2.0], "a")
    with pytest.raises(AssertionError, match=r"^loss: the gradient by 'a' must be .*, -?\d+\.\d+ \(got -?\d+\.\d+\)$"):
        check_gradient(cube(a).named("loss"))
