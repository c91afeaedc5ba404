"""Commands sent over a line, and their replies."""

import pytest
import redis

from learner.service.store.line import Line


def test_replies_come_in_order_and_an_error_stands_in_its_place(client):
    client.set("text", "x")
    first, error, last = Line(client).exchange([("SET", "a", 1), ("LPUSH", "text", b"y"), ("GET", "a")])
    assert (first, last) == (b"OK", b"1")
    assert isinstance(error, redis.ResponseError)
    assert "WRONGTYPE" in str(error)


def test_an_error_inside_of_a_transaction_is_one_of_its_results(client):
    client.set("text", "x")
    *_, results = Line(client).exchange([("MULTI",), ("LPUSH", "text", "y"), ("INCR", "n"), ("EXEC",)])
    assert isinstance(results[0], redis.ResponseError)
    assert results[1] == 1


def test_replies_that_nobody_read_are_never_taken_for_those_of_what_is_sent_next(client):
    line = Line(client)
    line.send([("ECHO", "old"), ("ECHO", "older")])
    assert line.exchange([("ECHO", "new")]) == [b"new"]


def test_a_lost_connection_is_an_error_once_and_nothing_is_sent_twice(client):
    line = Line(client)
    (number,) = line.exchange([("CLIENT", "ID")])
    client.client_kill_filter(_id=number)
    with pytest.raises(redis.ConnectionError):
        line.exchange([("INCR", "n")])
    assert line.exchange([("GET", "n")]) == [None]


def test_what_is_sent_along_is_read_later(client):
    line = Line(client)
    assert line.exchange([("ECHO", "first")], ahead=[("ECHO", "second"), ("ECHO", "third")]) == [b"first"]
    assert line.is_open
    assert line.replies() == [b"second", b"third"]
    assert not line.is_open


def test_after_a_lost_connection_nothing_is_waited_for_that_was_sent_along(client):
    line = Line(client)
    with pytest.raises(redis.ConnectionError):
        line.exchange(
            [("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"), ("PING",)], ahead=[("BLPOP", "nothing", 60)]
        )
    assert not line.is_open
    assert line.exchange([("ECHO", "new")]) == [b"new"]
