"""Tokens: who may do what, over HTTP; and the file that says so, which is read again when it has changed."""

import hashlib
import os

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
from learner.errors import LearnerError
from learner.http.operations import OPERATIONS
from learner.http.refusals import RefusedError
from learner.http.tokens import ROLES, Tokens
from tests.service.http.conftest import serve

SECRET = "a secret of some length"  # noqa: S105  (it opens nothing)
ALL = {role: f"the token of the {role}" for role in ROLES}


def toml(*tokens):
    return "".join(f"[[token]]\n{text}\n" for text in tokens)


def row(secret, roles, models=None, hashed=False):
    name, value = ("sha256", hashlib.sha256(secret.encode()).hexdigest()) if hashed else ("token", secret)
    return f"{name} = {value!r}\nroles = {list(roles)!r}" + ("" if models is None else f"\nmodels = {models!r}")


@pytest.fixture
def written(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "tokens.toml"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


@pytest.fixture(scope="module")
def guarded(server, tmp_path_factory):
    """A server with a token for each role, one for all of them and the model m alone, and its file."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    rows = [row(ALL[role].replace(" ", "-"), [role], hashed=role == "monitor") for role in ROLES]
    path.write_text(toml(*rows, row("for-the-model-m-alone", ROLES, ["m"])))
    path.chmod(0o600)
    process, http = serve(server, "--tokens", str(path))
    yield http, path
    process.terminate()
    assert process.communicate(timeout=30)[0] is None
    assert process.returncode == 0


def bearer(token):
    return {"Authorization": f"Bearer {token.replace(' ', '-')}"}


def test_each_route_is_for_its_role_alone(guarded, redis_url, create):
    http, _ = guarded
    create(featurizer="fields")
    for operation in OPERATIONS:
        path, body = operation.path.replace("{model}", "m"), {} if operation.takes else None
        if operation.role is None:
            assert http(operation.method, path).status == 200
            continue
        without = http(operation.method, path, body)
        assert (without.status, without.headers["www-authenticate"]) == (401, "Bearer")
        assert ("connection" in without.headers) == (body is not None), "a body that nobody reads must not go on"
        assert http(operation.method, path, body, headers=bearer("another token of them")).status == 401
        for role in ROLES:
            answer = http(operation.method, path, body, headers=bearer(ALL[role]))
            if role == operation.role:
                assert answer.status in (200, 400), operation.path
            else:
                expected = f"token must have the role {operation.role} for this (it has {role})"
                assert (answer.status, answer.data["error"]) == (403, expected)
    assert http("GET", "/metrics").status == 401
    assert http("GET", "/metrics", headers=bearer(ALL["monitor"])).status == 200
    for path in ("/docs", "/openapi.json"):
        assert http("GET", path).status == 200


def test_a_token_for_some_models_neither_sees_nor_touches_others(guarded, redis_url, create):
    http, _ = guarded
    headers = bearer("for-the-model-m-alone")
    for name in ("m", "other"):
        create(name, featurizer="fields")
    assert [row["model"] for row in http("GET", "/models", headers=headers).data] == ["m"]
    assert http("GET", "/models/m", headers=headers).status == 200
    assert http("GET", "/models/m%2Fc", headers=headers).status == 404
    for name in ("other", "nosuch", "other%2Fm", "m2"):
        answer = http("GET", f"/models/{name}", headers=headers)
        assert (answer.status, "token must be for the model" in answer.data["error"]) == (403, True)
        assert http("POST", f"/models/{name}/predict", {"record": {}}, headers=headers).status == 403


def test_a_server_whose_user_has_a_role_does_what_that_role_may(roles, serving):
    """And says what it may not, which no token changes."""
    with serving():
        for role in ("asker", "producer"):
            process, http = serve(roles[role])
            try:
                asked = http("POST", "/models/m/predict", {"record": {}, "timeout": 20})
                pushed = http("POST", "/models/m/examples", {"a": 1, "target": 1})
                seen = http("GET", "/models/m")
            finally:
                process.terminate()
                process.communicate(timeout=30)
            assert (asked.status, pushed.status, seen.status) == (
                (200, 500, 500) if role == "asker" else (500, 200, 500)
            )
            assert "permissions" in seen.data["error"]


def test_schemes_that_are_none(guarded, redis_url):
    http, _ = guarded
    token = ALL["monitor"].replace(" ", "-")
    for value in ("", "Bearer", "Bearer ", f"Basic {token}", token, "Bearer \xff\xfe", f"Bearer {token} x"):
        assert http("GET", "/models", headers={"Authorization": value}).status == 401
    assert http("GET", "/models", headers={"Authorization": f"bearer   {token} "}).status == 200


def test_a_changed_file_counts_at_once_and_a_broken_one_not_at_all(written, capsys):
    path = written(toml(row(SECRET.replace(" ", "-"), ["asker"])))
    tokens = Tokens(path)
    old, new = f"Bearer {SECRET.replace(' ', '-')}", "Bearer another-secret-of-some-length"
    assert tokens.require(old, "asker", "m").models is None
    written(toml(row("another-secret-of-some-length", ["asker"], ["m", "n"])))
    assert tokens.require(new, "asker", "m/c").models == {"m", "n"}
    with pytest.raises(RefusedError, match="token must be one of the server's"):
        tokens.require(old, "asker", "m")
    assert "was read again: 1 tokens" in capsys.readouterr().err
    for _ in range(3):
        written("[[token]")
        assert tokens.require(new, "asker", "m")
    os.chmod(path, 0o644)  # noqa: PTH101
    assert tokens.require(new, "asker", "m")
    os.remove(path)  # noqa: PTH107
    for _ in range(3):
        assert tokens.require(new, "asker", "m")
    said = capsys.readouterr().err.splitlines()
    assert [line.count("the tokens before still count") for line in said] == [1] * 3
    assert "must be TOML" in said[0]
    assert SECRET not in "".join(said)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[token]", "must be TOML"),
        ("", "must have tables \\[\\[token\\]\\] and nothing else"),
        ("token = 7", "must have tables"),
        ("tokens = []\ntoken = []", "must have tables"),
        (toml("roles = ['asker']"), "token 1: must have either token or sha256"),
        (toml(row(SECRET, ["asker"]) + "\nsha256 = 'x'"), "either token or sha256"),
        (toml("sha256 = 'x'\nroles = ['asker']"), "sha256 must be 64 hexadecimal digits"),
        (toml(row("short", ["asker"])), "token must be at least 16 printable characters"),
        (toml("token = 7\nroles = ['asker']"), "token must be at least 16 printable"),
        (
            toml("token = 'sixteen-characters'"),
            "roles must be a list of some of producer, asker, monitor, administrator",
        ),
        (toml(row("sixteen-characters", ["worker"])), "got \\['worker'\\]"),
        (toml(row("sixteen-characters", [])), "roles must be a list"),
        (toml(row("sixteen-characters", ["asker"], "m")), "models must be a list of names"),
        (toml(row("sixteen-characters", ["asker"]) + "\nmodel = 'm'"), "got 'model'"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_without_showing_a_token(written, text, words):
    with pytest.raises(LearnerError, match=words) as refused:
        Tokens(written(text))
    assert "sixteen" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_file_that_others_can_read_or_that_is_not_there_is_refused(written, tmp_path):
    text = toml(row("sixteen-characters", ["asker"]))
    for mode in (0o644, 0o602, 0o620, 0o604):
        with pytest.raises(LearnerError, match=f"chmod 600 .* \\(got mode {mode:o}"):
            Tokens(written(text, mode))
    for mode in (0o600, 0o400, 0o440):  # a group may read a mounted secret
        assert Tokens(written(text, mode)).are_required
    with pytest.raises(LearnerError, match="must be a file that can be read"):
        Tokens(str(tmp_path / "nosuch"))
    with pytest.raises(LearnerError, match="must be a file that can be read"):
        Tokens(str(tmp_path))
