"""Settings: their values, as texts."""

import pytest

from learner import settings
from learner.errors import LearnerError


def test_defaults_hold_until_set() -> None:
    values = settings.read({})
    assert values == {name: setting.default for name, setting in settings.SETTINGS.items()}
    assert settings.read({"replicas": "3", "of_a_newer_release": "x"}) == values | {"replicas": 3}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", "-1"),
        ("history", "1w"),
        ("history", "inf"),
        ("max_rejected", "1.5"),
        ("max_rejected", "nan"),
        ("rejected_window", 0),
        ("durability", "safe"),
        ("default_outcome", "x" * 257),
        ("keep_predictions", True),
        ("unknown", "1"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object) -> None:
    with pytest.raises(LearnerError, match=f"{name}|setting must be one of"):
        settings.parse({name: value})


def test_an_empty_text_is_the_default() -> None:
    assert settings.parse({"history": ""}) == {"history": ""}
