"""The worker's log: one line an event."""

import json

import pytest

from learner.messages import MAX_TOLD
from learner.service import counting, log
from learner.service.counting import Counts, Minutes

NASTY = 'a "quote", a \\ and\na line\x1b[2J, é ' + '"' * 3000


@pytest.fixture
def as_json():
    log.choose_format("json")
    yield
    log.choose_format("text")


def test_an_event_is_one_line_of_pairs(capsys):
    log.event("m", "start", "epoch 1, 0 examples learned up to 0-0", epoch=1)
    line = capsys.readouterr().err
    assert line[:7] + line[29:] == (
        'time=20 level=info event=start model=m epoch=1 message="worker of m: epoch 1, 0 examples learned up to 0-0"\n'
    )


def test_an_event_is_a_json_object_whatever_its_words_are(capsys, as_json):
    log.event("m", "retry", NASTY, "warning", uncommitted=3)
    line = capsys.readouterr().err.removesuffix("\n")
    assert len(line) <= MAX_TOLD
    assert line.isprintable()
    event = json.loads(line)
    assert list(event) == ["time", "level", "event", "model", "uncommitted", "message"]
    assert (event["level"], event["uncommitted"]) == ("warning", 3)
    assert event["message"].startswith('worker of m: a "quote", a \\ and\\na line\\x1b[2J, é ""')


def test_a_long_line_of_pairs_is_cut_within_its_quotation_marks(capsys):
    log.event("m", "retry", NASTY)
    line = capsys.readouterr().err.removesuffix("\n")
    assert len(line) <= MAX_TOLD
    assert line.isprintable()
    assert json.loads(line.partition(" message=")[2]).endswith("...")


def test_what_happened_in_a_minute_is_one_line_and_nothing_is_none(capsys, monkeypatch):
    monkeypatch.setattr(counting, "MINUTE_SECONDS", 0.0)
    counts = Counts(figures={"examples": 1000, "rejected": 1})
    minutes = Minutes("m", counts)
    minutes.tell_if_due()
    assert capsys.readouterr().err == ""
    counts.figures = {"examples": 1012, "rejected": 4}
    counts.commit_seconds.observe(0.01)
    counts.request_seconds.observe(0.02)
    counts.n_errors += 1
    minutes.tell_if_due()
    assert "event=minute model=m commits=1 examples=12 rejected=3 requests=1 errors=1 " in capsys.readouterr().err
    minutes.tell_if_due()
    assert capsys.readouterr().err == ""
