"""Streams that strangers with a role spoil: the last possible id, trimmed examples, another kind of key, an emptied server."""

import json
import signal
import time
from typing import Any

import redis

from learner.client import Client
from learner.service.store import Store
from learner.service.store.position import LAST
from tests.command_line import invoke
from tests.reliability import Row, row
from tests.reliability.machinery import (
    KEYS,
    Process,
    Server,
    committed,
    create,
    digest,
    drain,
    examples,
    lag,
    push,
    wait_for,
)

NOTICE_SECONDS = 15.0  # until a worker has found out and said so


def ask(server: Server) -> dict[str, Any]:
    """Return the reply to a request for a prediction."""
    return Client("m", server.url, timeout=30.0).ask({"features": "{}"})


@row
def last_id(quick: bool) -> Row:
    """An asker and a producer send the last possible id, which leaves no id for what comes after."""
    times, packed = 2 if quick else 20, examples(6000)
    size = len(packed) // times
    with Server() as server, server.client() as client:
        model = create(client)
        with Process(server.url, "--commit-seconds", "0.05").ready() as worker:
            for first in range(0, len(packed), size):
                push(client, packed[first : first + size - 1])
                client.xadd(KEYS.examples, {"batch": packed[first + size - 1]}, id=LAST)
                client.xadd(KEYS.requests, {"features": "{}", "reply": "learner:replies:me"}, id=LAST)
                n = first // size + 1
                wait_for(lambda n=n: client.llen("learner:replies:me") == n, "the request is answered")
                for stream in (KEYS.examples, KEYS.requests):
                    wait_for(lambda key=stream: client.xinfo_stream(key)["last-generated-id"] != LAST, "it begins anew")
                ask(server)
            wait_for(lambda: lag(client) == 0, "worker learns all")
            worker.signal(signal.SIGTERM)
            code, _ = worker.end()
        learned_model = committed(client)
    model.learn_packed(b"".join(packed))
    same = digest(learned_model) == digest(model)
    return Row(
        f"the last possible stream id from a producer and an asker, {times} times",
        "learning, answering and pushing go on; lost 0, twice 0, state hash equal to an undisturbed run",
        f"went on {times} times, hash {'equal' if same else 'different'}",
        same and code == 0,
    )


@row
def trimmed(quick: bool) -> Row:
    """A producer's XADD with MAXLEN deletes what others have pushed, while the worker is stopped for a moment."""
    packed = examples(3000)
    with Server() as server, server.client() as client:
        model = create(client)
        with Process(server.url, "--commit-seconds", "0.05").ready() as worker:
            push(client, packed[:1000])
            wait_for(lambda: lag(client) == 0, "worker learns")
            worker.signal(signal.SIGSTOP)
            push(client, packed[1000:2000], 1)
            client.xadd(KEYS.examples, {"batch": packed[0]}, maxlen=1, approximate=False)
            worker.signal(signal.SIGCONT)
            words = f"1000 entries of stream {KEYS.examples} were deleted before they were learned"
            wait_for(lambda: worker.said(words), f"worker says {words!r} (it said {worker.lines})", NOTICE_SECONDS)
            reply, status = ask(server), Store(client, "m").status()
            invoke("repair", "m", "--continue", "--redis-url", server.url)
            push(client, packed[2000:])
            wait_for(lambda: lag(client) == 0, "worker learns on")
            again = ask(server)
            worker.signal(signal.SIGTERM)
            code, _ = worker.end()
        learned_model = committed(client)
    model.learn_packed(b"".join([*packed[:1000], packed[0], *packed[2000:]]))
    same = digest(learned_model) == digest(model)
    noticed = "notice" in reply and "notice" not in again and words in str(status["trouble"])
    return Row(
        "a producer's XADD MAXLEN deletes 1,000 examples of others",
        "named with their number; answers go on and say so; learns on after a repair, the rest of them once",
        f"'{words[:12]} ... {words[-37:]}', "
        f"notice {'right' if noticed else 'wrong'}; learned on, hash {'equal' if same else 'different'}",
        same and noticed and code == 0,
    )


@row
def spoiled(quick: bool) -> Row:
    """The stream is deleted, replaced by a text, loses its group, or ends before the cursor; then it is as before."""
    packed, kept = examples(2000), f"{KEYS.examples}:kept"

    def without_stream(client: redis.Redis) -> None:
        client.rename(KEYS.examples, kept)

    def text(client: redis.Redis) -> None:
        client.pipeline().rename(KEYS.examples, kept).set(KEYS.examples, "x").execute()

    def other_stream(client: redis.Redis) -> None:
        client.pipeline().rename(KEYS.examples, kept).xadd(KEYS.examples, {"x": "y"}, id="1-1").execute()

    def group(client: redis.Redis) -> None:
        client.xgroup_destroy(KEYS.examples, "learner")

    answered, same = 0, True
    spoilings = (text, group) if quick else (without_stream, text, other_stream, group)
    for spoil in spoilings:
        with Server() as server, server.client() as client:
            model = create(client)
            with Process(server.url, "--commit-seconds", "0.05").ready() as worker:
                push(client, packed[:1000])
                wait_for(lambda: lag(client) == 0, "worker learns")
                spoil(client)
                if spoil is not group:
                    wait_for(lambda: worker.said("learning has ended"), "worker says so", NOTICE_SECONDS)
                    answered += "notice" in ask(server)
                    client.rename(kept, KEYS.examples)
                    wait_for(lambda: worker.said("learning goes on"), "worker goes on", NOTICE_SECONDS)
                push(client, packed[1000:])
                answered += "notice" not in ask(server)
                wait_for(lambda: lag(client) == 0, "worker learns on")
                worker.signal(signal.SIGTERM)
                same = worker.end()[0] == 0 and same
            learned_model = committed(client)
        model.learn_packed(b"".join(packed))
        same = digest(learned_model) == digest(model) and same
    return Row(
        "the stream deleted, replaced by a text or by another stream, its group destroyed; then put back",
        "answers go on, with a notice; then learning goes on, lost 0, twice 0",
        f"answered {answered} of {2 * len(spoilings) - 1}, hash {'equal' if same else 'different'}",
        answered == 2 * len(spoilings) - 1 and same,
    )


@row
def emptied_with_two(quick: bool) -> Row:
    """FLUSHALL under a worker and another that waits; then a model of the same name, but of another kind, is made."""
    packed = examples(1000)
    with Server() as server, server.client() as client:
        create(client)
        with Process(server.url).ready() as first, Process(server.url).ready() as second:
            push(client, packed)
            client.flushall()
            ends = [first.end(NOTICE_SECONDS), second.end(NOTICE_SECONDS)]
            said = [worker.lines[-1] for worker in (first, second)]
        untouched = not client.exists(KEYS.owner, KEYS.head, KEYS.spec, KEYS.examples)
        invoke("create", "m", "--task", "regression", "--redis-url", server.url)
        push(client, packed)
        started = time.monotonic()
        n_learned = drain(server.url).n_examples
    named = all("emptied" in line for line in said)
    return Row(
        "FLUSHALL under a worker and one that waits; then a model of the same name and of another kind",
        "both exit and call it emptied; nothing is learned of the new model by the old ones",
        f"exit codes {[code for code, _ in ends]}, {'named' if named else said}, {n_learned:,} learned anew",
        [code for code, _ in ends] == [2, 2] and named and untouched and n_learned == len(packed),
        {"said": json.dumps(said), "seconds_anew": round(time.monotonic() - started, 1)},
    )
