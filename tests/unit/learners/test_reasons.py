"""What breaks a rule is rejected in words, and a prediction breaks the same rules."""

import math

import pytest

from learner import layout
from learner.errors import ExampleError
from learner.learners import reasons
from learner.model import Model
from tests.unit.broken import BAD, CUT, RESERVED, one_rejection
from tests.unit.streams import new, pack


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in BAD])
def test_what_breaks_a_rule_is_rejected_in_words(data, message):
    rejection = one_rejection("logistic", data)
    assert (rejection.index, rejection.reason, rejection.data) == (0, message, data)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.1e30, -1.1e30, None, "spam", [1], {}])
def test_the_target_of_a_regression_is_a_number(value):
    assert (
        one_rejection("squared", pack([value, {}])).reason
        == f"target must be finite, at most 1e+30 in size (got {value!r})"
    )


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, math.inf, 1.1e30, None, "spam"])
def test_the_target_of_a_count_is_at_least_zero(value):
    assert (
        one_rejection("poisson", pack([value, {}])).reason
        == f"target must be a number within [0, 1e+30] (got {value!r})"
    )


@pytest.mark.parametrize(
    "options", [{"task": "regression"}, {"task": "quantile"}, {"task": "poisson"}, {"optimizer": "sgd"}]
)
def test_a_target_outside_the_target_range_is_rejected_by_its_name(options):
    model = Model(**{"task": "regression", **options}, target_range=[1, 50.5])
    targets = [1, 50.5, 0.999, 51, "spam", True, False]
    rejections = model.learn_packed(pack(*([y, {"a": 1}] for y in targets))).rejections
    rule = "target must be a number within target_range, [1, 50.5]"
    assert [rejection.reason for rejection in rejections] == [f"{rule} (got {y!r})" for y in (0.999, 51, "spam", False)]
    assert model.n_examples == 3


def test_the_name_of_the_constant_is_reserved():
    assert one_rejection("logistic", pack([1, {layout.CONSTANT_NAME: 1}])).reason == RESERVED


@pytest.mark.parametrize("data", [b"\x92\xcb\x00", b"\x92\xcd\x01", b"\x92\xca"])
def test_a_target_that_is_cut_off_is_called_so(data):
    assert one_rejection("logistic", data).reason == CUT


def test_every_reason_is_tested():
    codes = {name.removeprefix("BAD_") for name in vars(layout) if name.startswith("BAD_")}
    assert codes == {case[0] for case in BAD} | {"NAME_RESERVED"}


@pytest.mark.parametrize(("name", "data"), [case[:2] for case in BAD])
def test_a_reason_has_its_code(name, data, monkeypatch):
    monkeypatch.setattr(reasons, "reason", lambda code, *_: code)
    assert one_rejection("logistic", data).reason == getattr(layout, f"BAD_{name}")


def test_a_prediction_breaks_the_same_rules():
    for name, data, message in BAD:
        if name not in {"EXAMPLE", "TARGET", "IMPORTANCE"} and data[1:2] == b"\x01" and data[:1] == b"\x92":
            with pytest.raises(ExampleError) as caught:
                new().learner.score_packed(data[2:])
            assert str(caught.value) == message
    with pytest.raises(ExampleError, match=r"features must be one msgpack value \(got 2 more bytes\)"):
        new().learner.score_packed(b"\x80\x01\x02")
