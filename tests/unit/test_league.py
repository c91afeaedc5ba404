"""The league's program: which figures of peers count and when one is measured, options of the model, and its streams."""

import json

import pytest

from tests.benchmarks.league import (
    Figures,
    Judged,
    alternatives,
    fair_peers,
    judge,
    load_peers,
    options_of,
    summary,
    worth,
)
from tests.benchmarks.own_streams import HELD_OUT, KINDS, REGRESSION, STREAMS, featurized, grams, table
from tests.benchmarks.protocols import PROTOCOLS
from tests.conftest import SEED


def test_peers_of_both_files_are_found_by_stream_and_protocol(tmp_path):
    (tmp_path / "peers.json").write_text(
        json.dumps({"a": {"constant": [0.1, 0], "vw": [0.5, 1], "river x": [None, 1]}})
    )
    (tmp_path / "fresh_peers.json").write_text(json.dumps({"a/late": {"vw": 0.6}}))
    assert load_peers(tmp_path) == {"a/late": {"vw": 0.6}, "a/next": {"vw": 0.5}}


def test_river_counts_only_where_it_learned_the_whole_stream():
    figures = Figures({"a/next": {"vw": 0.5, "river sgd (30000)": 0.4, "-l 2": float("nan")}}, None)
    assert [*fair_peers(figures, "a/next", 30_000)] == ["vw", "river sgd (30000)"]
    assert [*fair_peers(figures, "a/next", 30_001)] == ["vw"]


def test_figures_are_measured_once_and_only_if_there_is_a_file_to_keep_them(tmp_path):
    calls = []
    measures = {"vw": lambda: calls.append("vw") or 0.5, "sgd": lambda: calls.append("sgd") or float("inf")}
    figures = Figures({}, None)
    figures.complete("a/late", measures)
    assert (calls, figures.of("a/late")) == ([], {})
    for _ in range(2):
        figures = Figures({}, tmp_path / "peers.json")
        figures.complete("a/late", measures)
        assert (calls, figures.of("a/late")) == (["vw", "sgd"], {"vw": 0.5})


def test_options_of_the_model_are_those_of_replay_and_only_what_differs_from_the_default():
    assert options_of([], regression=False) == {}
    options = options_of(["rates=0.5,2", "loss=hinge"], regression=False)
    assert (options["rates"], options["loss"]) == ([0.5, 2.0], "hinge")
    assert not {"task", "seed", "featurizer"} & {*options}
    assert options_of(["optimizer=ftrl"], regression=True)["optimizer"]["name"] == "ftrl"


@pytest.mark.parametrize("regression", [False, True])
def test_under_next_the_compiled_loop_predicts_what_a_user_is_answered(regression):
    examples = [(float(i % 3 - 1 or 1), {f"w{i % 7}": 1.0, "x": i % 5 / 4}) for i in range(60)]
    steps = [*PROTOCOLS["next"].of(examples)]
    loop, asked = (judge(protocol, steps, regression, {"seed": SEED}) for protocol in ("next", "one by one"))
    assert loop.loss == pytest.approx(asked.loss, abs=1e-4)


def test_a_stream_without_peers_does_not_count():
    assert summary({"a": {"ratio": None}}) is None
    line = summary({"a": {"ratio": 0.5}, "b": {"ratio": 2.0}, "c": {"ratio": None}})
    assert line == {"mean": pytest.approx(1.0), "worsts": {"b": 2.0, "a": 0.5}}


def test_parts_are_worth_the_mean_loss_and_the_median_time_over_the_defaults():
    judged = dict.fromkeys(alternatives(), Judged(1.0, None, 2.0)) | {"rates alone": Judged(2.0, None, 1.0)}
    row = worth({"late": {"a": judged}, "fresh": {"a": judged, "b": judged}})["rates alone"]
    assert row == {"late": pytest.approx(2.0), "fresh": pytest.approx(2.0), "time": 0.5}


def test_of_each_kind_of_our_streams_a_third_is_held_out():
    names = [stream.__name__ for stream in STREAMS]
    assert len({*names}) == len(names)
    assert {*names} >= HELD_OUT | REGRESSION
    held_out = {kind: sum(stream.__name__ in HELD_OUT for stream in streams) for kind, streams in KINDS.items()}
    assert held_out == {"binary": 2, "numbers": 2, "in the order of time": 1, "text": 1}


def test_an_outcome_is_a_number_a_class_or_yes_or_no_and_rows_without_one_are_left_out():
    rows = [{"y": text, "x": "1"} for text in ("2", "NA", "3")]
    outcomes = {
        "y": [2.0, 3.0],
        lambda row: row["y"] == "2": [1.0, -1.0, -1.0],
        lambda row: None if row["y"] == "NA" else f"class {row['y']}": ["class 2", "class 3"],
    }
    for outcome, expected in outcomes.items():
        stream = table("a", lambda: rows, outcome, without=("y",), in_time=True)
        assert [*stream()] == [(target, {"x": 1.0}) for target in expected]


def test_a_row_is_its_numbers_as_they_are_and_its_texts_and_groups_as_indicators():
    rows = [{"age": "3", "id": "7", "city": "New York"}, {"age": "NA", "id": "8", "city": ""}]
    assert [*featurized(rows, ["age", "id", "city"], ("id",))] == [
        {"age": 3.0, "id=7": 1.0, "city=New_York": 1.0},
        {"id=8": 1.0},
    ]
    assert [*grams("^a:$", (2,))] == ["^a", "a_", "_$"]
