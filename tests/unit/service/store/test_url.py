"""Server URLs: what is refused, by a line that names it and shows nothing of a password."""

import pytest

from learner.errors import ServerError
from learner.service.store.connection import address
from learner.service.store.connection import client as connect
from learner.service.store.url import checked


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h/0?nosuch=1", "option 'nosuch' must be one of db, username"),
        ("redis://h/0?retry_on_timeout=True", "option 'retry_on_timeout' must be one of"),
        ("redis://h/0?socket_timeout=soon", "socket_timeout must be a number of seconds above 0 (got 'soon')"),
        ("redis://h/0?socket_timeout=-1", "socket_timeout must be a number of seconds above 0 (got '-1')"),
        ("redis://h/0?socket_timeout=nan", "socket_timeout must be"),
        ("redis://h/0?socket_timeout=", "socket_timeout must be"),
        ("redis://h/0?health_check_interval=1.5", "health_check_interval must be a whole number"),
        ("redis://h/0?socket_keepalive=maybe", "socket_keepalive must be True or False (got 'maybe')"),
        ("redis://h/0?db=abc", "option db must be a whole number (got 'abc')"),
        ("redis://h/0?ssl_ca_certs=ca.pem", "option ssl_ca_certs must be with rediss:// (got redis://)"),
        ("rediss://h/0?ssl_cert_reqs=some", "ssl_cert_reqs must be none, optional or required"),
        ("redis://h/abc", "database must be a whole number (got 'abc')"),
        ("redis://h/1/2", "database must be a whole number (got '1/2')"),
        ("redis://h/-1", "database must be a whole number (got '-1')"),
        ("redis://h/%31x", "database must be a whole number (got '1x')"),
        ("redis://h:port/0", "a port of 1 to 65535"),
        ("redis://h:0/0", "a port of 1 to 65535"),
        ("redis://h:65536/0", "a port of 1 to 65535"),
        (
            "http://h/0",
            "must be redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://, at its beginning (got 'http')",
        ),
        ("redis+cluster://a:1,b:70000", "with a port of 1 to 65535"),
        (
            "redis+cluster://a:1,:2",
            "HOST:PORT of some nodes, with commas between them, after +cluster:// (one has no host)",
        ),
        ("redis+cluster://a:1,b:2/3", "database of a cluster must be 0 (got 3)"),
        ("redis+cluster://a:1?db=2", "database of a cluster must be 0 (got 2)"),
        ("redis+cluster://a:1?ssl_ca_certs=ca.pem", "option ssl_ca_certs must be with rediss:// (got redis://)"),
        ("h:6379", "must be redis://"),
        ("REDIS://h/0", "must be redis://"),
        ("", "must be redis://"),
        ("redis://::1:6379/0", "an IPv6 address must be in brackets"),
        ("redis://[::1/0", "must be well formed"),
        ("redis://[::g]/0", "must"),
        ("unix://", "path of a socket"),
        ("unix:///run/s?nosuch=1", "option 'nosuch'"),
    ],
)
def test_a_wrong_url_is_one_line_that_names_what_is_wrong(url, told):
    with pytest.raises(ServerError) as error:
        connect(url)
    assert told in str(error.value)
    assert str(error.value).startswith("server URL: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sign", list("/?#@[]:%&=;+ \\"))
@pytest.mark.parametrize(
    "form",
    [
        "redis://:{}@example.org:6379/0",
        "redis://ann:{}@example.org:6379/0?socket_timeout=2",
        "rediss://:{}@[::1]/0",
        "redis://:{}",
        "redis://:{}@example.org/abc",
        "redis://:{}@example.org/0?nosuch=1",
        "redis://:{}@example.org:x/0",
        "redis://example.org/0?password={}&socket_timeout=x",
        "http://:{}@example.org/0",
        ":{}@example.org:6379",
    ],
)
def test_a_password_with_any_sign_connects_or_is_refused_without_a_piece_of_it(form, sign):
    url, password, message = form.format(f"q7w{sign}e9r{sign}t5z"), "", ""
    try:
        password = connect(url).connection_pool.connection_kwargs["password"]
    except ServerError as error:
        message = str(error)
    assert message or "q7w" in password
    assert not any(piece in message for piece in ("q7w", "e9r", "t5z"))


def test_a_password_with_escaped_signs_is_what_it_says():
    assert connect("redis://:a%2Fb%23c%3Fd%40@h/0").connection_pool.connection_kwargs["password"] == "a/b#c?d@"  # noqa: S105
    assert connect("redis://:a@b@h/0").connection_pool.connection_kwargs["password"] == "a@b"  # noqa: S105


@pytest.mark.parametrize("option", ["protocol=3", "decode_responses=True", "protocol=x&decode_responses=1"])
def test_how_replies_come_is_ours_to_say(option):
    options = connect(f"redis://h:1/2?{option}&socket_timeout=3").connection_pool.connection_kwargs
    assert (options["protocol"], options["db"], options["socket_timeout"]) == (2, 2, 3.0)
    assert not options.get("decode_responses")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://[::1]:7000/0", "[::1]:7000"),
        ("redis://:secret@[fe80::1]", "[fe80::1]:6379"),
        ("redis://", "localhost:6379"),
        ("redis://:7000", "localhost:7000"),
        (" redis://h:1/0\n", "h:1"),
        ("unix:///run/a@b.sock?db=1&password=a@b", "/run/a@b.sock"),
    ],
)
def test_where_a_url_leads(url, where):
    assert address(connect(url)) == where


def test_options_that_are_known_stay():
    url = "rediss://h:1/0?ssl_ca_certs=%2Fetc%2Fca.pem&ssl_cert_reqs=required"
    assert checked(url) == url


def test_a_url_s_timeout_is_added_to_the_time_that_a_command_may_block():
    options = connect("redis://h/0?socket_timeout=2", block_ms=3000).connection_pool.connection_kwargs
    assert options["socket_timeout"] == 5.0
