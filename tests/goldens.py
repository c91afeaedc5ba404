"""Digests of what models learn, to see that a change to the code changed no bit: ``python -m tests.goldens [NAME ...]``.

For every kind of model and every generated stream it prints a line: the kind, the stream, a digest of the learned state (every
array, every byte of `Model.state`), and one of what answers: the scores and losses before learning, which examples were
rejected, the effective weights by name, and what the model says of records that it has not learned. Then it restores the dumps
of models' keys that are beside this file, has a worker learn what waits in them and some hundred entries more, and prints the
digests of what was committed. A NAME chooses the kinds that start so, ``dump`` the dumps.

A digest that differs says that a bit differs, not which one is right. So no digest is typed into a test: the exponential
function of one machine's C library or compiler differs from another's in the last bit. What is the same at two commits must be
seen side by side, on one machine and in one environment, with the JIT on::

    python -m tests.goldens > after.txt
    git worktree add ../before COMMIT
    cp tests/goldens.py ../before/tests/ && cp -r tests/dumps ../before/tests/   # where that commit has none
    (cd ../before && python -m tests.goldens) > before.txt
    diff before.txt after.txt

(Each must run in its own folder, where ``learner`` is imported from; an editable install of another one comes after it.)

A dump is the model's keys as (key, type, value) as the worker of some commit wrote them, msgpack in gzip. ``--make-dump`` makes
those that are not there yet, and leaves the others alone: an old dump is what shows that an old model still loads.
"""

import argparse
import gzip
import hashlib
import itertools
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgpack
import numba
import numpy as np
from numpy.typing import NDArray

from learner.client import Client
from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import temporary
from learner.service.wire import Keys

if TYPE_CHECKING:
    import redis

SEED = b"the goldens' seed"
FOLDER = Path(__file__).parent / "dumps"
N_DIGITS = 32  # of a digest
N_FRESH, N_EXPLAINED = 50, 5  # records that are scored afterwards, and of them explained

# ---- the kinds of models: what `Model` is given ------------------------------------------------------------------------------
SQUARED = {"task": "regression"}
POISSON = {"task": "poisson"}
AT_ONCE = {"outcomes": "at_once"}
PARTS = ("kalman", "bayes", "newton", "trends", "bins", "cells", "crosses")
LATE_PARTS = tuple(part for part in PARTS if part != "trends")  # these only go with outcomes that come at once
OPTIMIZERS = ("sgd", "adagrad", "adam", "ftrl", "ng", "nag")
THREE_RATES = {"rates": [0.5, 4.0, 16.0], "decays": [1.0, 0.99, 0.9]}
RELU = {"hidden": [5, 4], "activation": "relu"}
SLOW_SGD = {
    "name": "sgd",
    "rate": 0.0003,
    "power": 0.25,
}  # at the default rate all weights would be as large as they get
ALONE = {"hidden": [5, 4], "alone": True}

KINDS: dict[str, dict[str, Any]] = {
    "binary": {},
    "binary.labels": {"labels": ("ham", "spam")},
    "binary.hinge": {"loss": "hinge"},
    "regression": SQUARED,
    "quantile": {"task": "quantile", "level": 0.8},
    "quantile.median": {"task": "quantile"},
    "poisson": POISSON,
    "binary.at_once": AT_ONCE,
    "regression.at_once": {**SQUARED, **AT_ONCE},
    "multiclass": {"task": "multiclass"},
    "multiclass.at_once": {"task": "multiclass", **AT_ONCE},
    "multiclass.plain": {"task": "multiclass", "parts": ()},
    "multiclass.rate": {"task": "multiclass", "rates": [0.5]},
    "multiclass.capped": {"task": "multiclass", "max_features": 300},
    "multiclass.l1.l2": {"task": "multiclass", "l1": 0.1, "l2": 0.01},
    "capped": {"max_features": 300},
    "capped.regression": {**SQUARED, "max_features": 300},
    "capped.least": {"max_features": 100},
    "capped.l1": {"max_features": 1000, "l1": 0.3},
    "capped.rate": {"max_features": 300, "rates": [0.5]},
    "l1": {"l1": 0.3},
    "l1.regression": {**SQUARED, "l1": 0.3},
    "l1.poisson": {**POISSON, "l1": 0.3},
    "l1.rate": {"rates": [0.5], "l1": 0.3},
    "l1.l2": {"l1": 0.001, "l2": 0.01},
    "l2": {"l2": 0.01},
    "l2.regression": {**SQUARED, "l2": 0.01},
    "rates.one": {"rates": [0.5]},
    "rates.one.regression": {**SQUARED, "rates": [0.5]},
    "rates.one.quantile": {"task": "quantile", "level": 0.8, "rates": [0.5]},
    "rates.one.poisson": {**POISSON, "rates": [0.5]},
    "rates.two": {"rates": [0.5, 4.0]},
    "rates.two.regression": {**SQUARED, "rates": [0.5, 4.0]},
    "rates.three": THREE_RATES,
    "rates.three.parts": {**THREE_RATES, "parts": LATE_PARTS},
    "rates.three.regression": {**SQUARED, **THREE_RATES, **AT_ONCE, "parts": PARTS},
    **{f"parts.{part}": {"parts": [part]} for part in LATE_PARTS},
    "parts.trends": {**AT_ONCE, "parts": ["trends"]},
    "parts.none.regression": {**SQUARED, "parts": ()},
    "neural": {"neural": [8]},
    "neural.at_once": {**AT_ONCE, "neural": [8]},
    "neural.regression": {**SQUARED, "neural": [8]},
    "neural.poisson": {**POISSON, "neural": [8]},
    "neural.capped": {"neural": [8], "max_features": 300},
    "neural.l1": {"neural": [8], "l1": 0.1},
    "neural.l2": {"neural": [8], "l2": 0.01},
    "neural.rate": {"neural": [8], "rates": [0.5]},
    "neural.relu": {"neural": RELU},
    "neural.relu.regression": {**SQUARED, "neural": RELU},
    "neural.alone": {"neural": ALONE},
    "neural.alone.regression": {**SQUARED, "neural": ALONE},
    **{f"optimizer.{name}": {"optimizer": name} for name in OPTIMIZERS},
    **{f"optimizer.{name}.regression": {**SQUARED, "optimizer": name} for name in OPTIMIZERS},
    "optimizer.sgd.regression": {**SQUARED, "optimizer": SLOW_SGD},
    "optimizer.sgd.l1.l2": {"optimizer": {"name": "sgd", "rate": 0.5, "l1": 0.001, "l2": 0.01}},
    "optimizer.adagrad.l1.l2": {"optimizer": {"name": "adagrad", "rate": 0.5, "l1": 0.001, "l2": 0.01}},
    "optimizer.ftrl.l1": {"optimizer": {"name": "ftrl", "alpha": 0.1, "l1": 1.0}},
    "optimizer.ftrl.capped": {"optimizer": "ftrl", "max_features": 300},
    "optimizer.nag.capped": {**SQUARED, "optimizer": "nag", "max_features": 300},
    "optimizer.adagrad.hinge": {"loss": "hinge", "optimizer": "adagrad"},
    "optimizer.adam.quantile": {"task": "quantile", "level": 0.8, "optimizer": "adam"},
    "optimizer.ftrl.poisson": {**POISSON, "optimizer": "ftrl"},
    "optimizer.ng.labels": {"labels": ("ham", "spam"), "optimizer": "ng"},
}


# ---- the streams -------------------------------------------------------------------------------------------------------------
class Example(NamedTuple):
    """An example of any task: its target is made of `signal`, which the features tell something of, and of `noise`."""

    features: Any
    signal: float
    noise: float
    importance: float = 1.0


def effect(name: int) -> float:
    """Return what the feature of a number does to the signal, within [-1, 1): the same on every machine.

    >>> effect(1), effect(2)
    (0.522, 0.044)
    """
    return (name * 2654435761 % 1000 - 500) / 500


def words(n: int, seed: int) -> Iterator[Example]:
    """Yield examples of names by Zipf's law, each with the value 1, among them names that never came before."""
    r = random.Random(seed)
    for i in range(n):
        ids = dict.fromkeys(int(r.paretovariate(0.7)) % 1_000_003 for _ in range(r.randint(4, 12)))
        features: dict[str, Any] = {f"w{k}": 1.0 for k in ids}
        if r.random() < 0.4:
            features[f"new {seed} {i}"] = 1
        if i % 50 == 0:
            features["größer " * r.randint(1, 25)] = 1.0  # up to 200 bytes
        yield Example(features, sum(map(effect, ids)), r.gauss(0.0, 0.5))


WHOLE = (-1, -100, -1000, -100_000, -(10**12), 100, 200, 1000, 100_000, 10**12, 2**64 - 1)  # each form of msgpack


def mixed(n: int, seed: int, n_words: int = 400) -> Iterator[Example]:
    """Yield words with values, the categories of two fields, and numbers at odd scales, one of them there half of the time."""
    r = random.Random(seed)
    for i in range(n):
        a, b, c, d = (r.gauss(0.0, 1.0) for _ in range(4))
        ids = [int(r.random() ** 2 * n_words) for _ in range(r.randint(2, 6))]
        features = {f"word {k}": round(r.uniform(0.1, 3.0), 2) for k in ids}
        colour, shape = r.randrange(4), r.randrange(3)
        features |= {f"colour={colour}": 1, f"shape={shape}": 1.0, "degrees": 15.0 + 8.0 * a, "tiny": 3e-7 * b}
        features |= {"huge": 1e12 + 2e11 * c, "count": r.randrange(7), "always": 2.5, "sometimes 0": max(d, 0.0)}
        if r.random() < 0.5:
            features["half"] = -40.0 + d
        if i % 60 == 1:
            features["whole"] = r.choice(WHOLE)
        signal = (
            effect(7 * colour + shape) + abs(a) + a * b - 0.5 * c + sum(features[f"word {k}"] * effect(k) for k in ids)
        )
        drift = 1.0 if i > 2 * n // 3 else -0.2
        importance = r.choice((0.0, 0.5, 1.0, 1.0, 3.0))
        yield Example(features, 0.7 * signal + drift, r.gauss(0.0, 0.5), importance)


def arrays(n: int, seed: int) -> Iterator[Example]:
    """Yield arrays of 36 numbers (more than there are bins for), float32 or float64, some of them shorter, many values 0."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.integers(-2, 2, 36)
    true = rng.normal(0.0, 0.4, 36)
    for i in range(n):
        x = rng.normal(0.3, 1.0, 36) * (rng.random(36) < 0.8)
        signal = float((x * true).sum() + x[0] * x[1] - abs(x[2]))
        values = (x * scales)[: 36 if i % 10 else 20].astype(np.float64 if i % 3 else np.float32)
        yield Example(values, signal, float(rng.normal(0.0, 0.5)))


STREAMS = {"words": (words, 10_300), "mixed": (mixed, 5200), "arrays": (arrays, 3000)}
LABELS = ("early", "often", 3, "late")  # of many classes


def target(options: Mapping[str, Any], example: Example, late: bool) -> Any:
    """Return an example's target, as a model with such options takes it."""
    signal = example.signal + example.noise
    task = options.get("task", "binary")
    if task == "binary":
        return options["labels"][signal > 0.0] if "labels" in options else 1 if signal > 0.0 else -1
    if task == "multiclass":
        return LABELS[3 if late and signal > 1.5 else (signal > -0.7) + (signal > 0.4)]
    if task == "poisson":
        return int(max(2.0 + 1.5 * signal, 0.0))
    if task == "quantile":
        return 100.0 + 20.0 * signal + 30.0 * example.noise**2
    return 37.5 + 12.0 * signal


def pack(value: Any) -> bytes:
    """Return a value in msgpack, a numpy array as `learner.service.wire` says; not by its code, which is to be compared."""
    return cast("bytes", msgpack.packb(value, default=_array))


def _array(values: NDArray[Any]) -> msgpack.ExtType:
    size = values.dtype.itemsize
    return msgpack.ExtType(size, values.astype(f"<f{size}").tobytes())


def packed(y: Any, features: bytes, importance: float) -> bytes:
    """Return one example as `Model.learn_packed` takes it."""
    if importance == 1.0:
        return b"\x92" + pack(y) + features
    return b"\x93" + pack(y) + features + pack(importance)


NOT_FEATURES = (  # each is the reason that an example is rejected, whatever its target
    pack({"word 1": "a text"}),
    pack({"word 1": float("nan")}),
    pack({"": 1.0}),
    pack({"x" * 300: 1.0}),
    pack({"(constant)": 1.0}),
    pack({3: 1.0}),
    pack([1.0, 2.0]),
    b"\x82\xa4same\x01\xa4same\x02",
    b"\x81\xa2\xff\xff\x01",
    pack(np.array([1.0, np.inf])),
    pack(msgpack.ExtType(4, b"five.")),
)


@cache
def featurized(stream: str) -> tuple[list[tuple[Example, bytes]], list[Any]]:
    """Return a stream's examples, each with its features packed, and the features of those that are only to be scored."""
    make, n = STREAMS[stream]
    fresh = [example.features for example in make(N_FRESH, 2)]
    return [(example, pack(example.features)) for example in make(n, 1)], fresh


def pieces(options: Mapping[str, Any], stream: str) -> list[bytes]:
    """Return a stream for a model, in the pieces that it learns one after another, with some examples that can't be learned."""
    examples, _ = featurized(stream)
    late = len(examples) // 2
    found = [
        packed(target(options, example, i > late), features, example.importance)
        for i, (example, features) in enumerate(examples)
    ]
    y = target(options, examples[0][0], False)
    bad = [packed(y, features, 1.0) for features in NOT_FEATURES]
    bad += [packed(None, pack({}), 1.0), packed(y, pack({}), -1.0), pack([y]), pack("a text")]
    for place, example in enumerate(bad):
        found.insert(300 + 100 * place, example)
    ends = (0, 1, 8, 900, len(found))
    joined = [b"".join(found[start:end]) for start, end in itertools.pairwise(ends)]
    joined[2] += found[1][:-1]  # cut off: the end of a piece
    return joined


# ---- digests -----------------------------------------------------------------------------------------------------------------
def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return 32 hex digits that depend on every name, type, shape and byte of some arrays, and not on their order.

    >>> digest({"a": np.zeros(2), "b": np.zeros(1)}) == digest({"b": np.zeros(1), "a": np.zeros(2)})
    True
    >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros((2, 1))})
    False
    """
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        found.update(json.dumps([name, array.dtype.str, array.shape, array.nbytes]).encode() + b"\n")
        found.update(array.tobytes())
    return found.hexdigest()[:N_DIGITS]


def texts(values: Sequence[Any]) -> NDArray[np.uint8]:
    """Return JSON of some values as an array, to be digested."""
    return np.frombuffer(json.dumps(values).encode(), np.uint8)


def answers(model: Model, fresh: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return what a model says, as arrays: its weights by name; of some records scores, predictions, explanations."""
    weights: Any = model.weights
    found = {"scores": np.array([model.score_one(x) for x in fresh], np.float64)}
    found["predictions"] = texts([model.predict_one(x) for x in fresh])
    if model.task in ("binary", "multiclass"):
        found["probabilities"] = np.array([list(model.predict_proba_one(x).values()) for x in fresh], np.float64)
    for label, some in weights.items() if model.task == "multiclass" else [("", weights)]:
        found[f"names {label}"] = texts(list(some))
        found[f"weights {label}"] = some.array()
    contributions = [part for x in fresh[:N_EXPLAINED] for part in model.explain_one(x)]
    found["explained"] = texts([part.name for part in contributions])
    found["explanations"] = np.array([part[1:] for part in contributions], np.float64)
    return found


def learned(options: Mapping[str, Any], stream: str) -> tuple[str, str]:
    """Have a new model learn a stream; return the digests of its state and of what answers."""
    model = Model(**options, seed=SEED)
    at_first = model.score_one(featurized(stream)[1][0])
    results = [model.learn_packed(piece) for piece in pieces(options, stream)]
    said = answers(model, featurized(stream)[1]) | {"score at first": np.array(at_first)}
    for i, result in enumerate(results):
        said |= {f"scores {i}": result.scores, f"losses {i}": result.losses}
        said[f"rejected {i}"] = np.array([rejection.index for rejection in result.rejections], np.int64)
    return digest(model.state()), digest(said)


# ---- dumps of models' keys ---------------------------------------------------------------------------------------------------
Dumped = list[tuple[str, str, Any]]  # (key, type, value)

DUMPS: dict[str, dict[str, Any]] = {  # the model of each
    "binary": {"featurizer": "fields", "labels": ("ham", "spam")},
    "multiclass": {"task": "multiclass"},
    "neural": {**SQUARED, "neural": [5, 4], "max_features": 200},
}
PUSHED = {  # entries before each commit, and last those that wait
    "binary": (500, 300, 3, 2, 2, 110),
    "multiclass": (220, 3, 2, 60),
    "neural": (400, 2, 3, 80),
}
N_EARLY = 230  # entries before the last label may come: it comes first among those that wait
FURTHER = slice(2000, 2500)  # entries that are pushed after a dump was restored


def dump(client: "redis.Redis", model: str) -> Dumped:
    """Return all keys of a model, in order of their names, as (key, type, value)."""
    found: Dumped = []
    for key in sorted(name.decode() for name in client.scan_iter(f"{Keys(model).spec.removesuffix('spec')}*")):
        kind = client.type(key).decode()
        read = {"string": client.get, "hash": client.hgetall, "stream": lambda key: _stream(client, key)}[kind]
        found.append((key, kind, read(key)))
    return found


def _stream(client: "redis.Redis", key: str) -> dict[str, Any]:
    info = cast("dict[str, Any]", client.xinfo_stream(key))
    return {
        "entries": [[entry_id, fields] for entry_id, fields in client.xrange(key)],
        "added": info["entries-added"],
        "last": info["last-generated-id"],
        "deleted": info["max-deleted-entry-id"],
        "groups": [[g["name"], g["last-delivered-id"], g["entries-read"]] for g in client.xinfo_groups(key)],
    }


def restore(client: "redis.Redis", dumped: Dumped) -> None:
    """Write keys as `dump` returned them onto a server that has none of them."""
    for key, kind, value in dumped:
        if kind == "string":
            client.set(key, value)
        elif kind == "hash":
            client.hset(key, mapping=value)
        else:
            for entry_id, fields in value["entries"]:
                client.xadd(key, fields, id=entry_id)
            for name, delivered, n_read in value["groups"]:
                client.xgroup_create(key, name, delivered, mkstream=True, entries_read=n_read)
            added, deleted = ("ENTRIESADDED", value["added"]), ("MAXDELETEDID", value["deleted"])
            client.execute_command("XSETID", key, value["last"], *added, *deleted)


def path_of(name: str) -> Path:
    """Return the file of a dump."""
    return FOLDER / f"{name}.msgpack.gz"


def write(path: Path, dumped: Dumped) -> None:
    """Write a dump to a file."""
    path.write_bytes(gzip.compress(pack(dumped), mtime=0))


def read(path: Path) -> Dumped:
    """Return the dump in a file."""
    found = msgpack.unpackb(gzip.decompress(path.read_bytes()), strict_map_key=False)
    return [tuple(entry) for entry in found]


def entries(name: str) -> list[dict[str, Any]]:
    """Return the entries for a dump's model, in every form that there is, some that can't be learned, some pushed again."""
    options = DUMPS[name]
    examples = [
        (example, target(options, example, i > N_EARLY))
        for i, example in enumerate(mixed(FURTHER.stop + 3, 3, n_words=60))
    ]
    found: list[dict[str, Any]] = []
    for i, (example, y) in enumerate(examples[: FURTHER.stop]):
        record = example.features | ({"city": f"city {i % 7}"} if "featurizer" in options else {})
        few = [(x.features, y, x.importance) for x, y in examples[i : i + 3]]
        numbers = np.array([example.signal, example.noise, i % 5], np.float32)
        text = {"target": str(y), "importance": str(example.importance)}
        forms: list[dict[str, Any]] = [
            {"record": json.dumps(record), **text, "id": f"order {i}"},
            {"features": pack(example.features), **text},
            {"records": b"".join(pack([y, x, importance]) for x, y, importance in few), "id": f"three {i}"},
            {"features": json.dumps(example.features), "target": str(y)},
            {"batch": b"".join(packed(y, pack(x), importance) for x, y, importance in few)},
            {"features": pack(numbers), "target": str(y)},
            {"record": pack(record), "target": str(y), "id": f"order {i}"},
        ]
        bad: list[dict[str, Any]] = [
            {"record": "no JSON", "target": str(y)},
            {"features": pack({"word 1": "a text"}), "target": str(y), "id": f"bad {i}"},
            {"batch": packed(y, pack(example.features), 1.0) + packed(y, NOT_FEATURES[0], 1.0)},
            {"records": pack([y, example.features]) + b"\xc1"},
            {"target": str(y)},
        ]
        found.append(bad[i // 29 % 5] if i % 29 == 7 else forms[i % 7])
        if i % 23 == 14:
            found[-1] = next(entry for entry in reversed(found) if "id" in entry)  # again
    return found


def push(client: "redis.Redis", name: str, some: Sequence[Mapping[str, Any]]) -> None:
    """Push entries for a model."""
    for fields in some:
        client.xadd(Keys(name).examples, cast("Any", fields))


def drain(client: "redis.Redis", name: str) -> None:
    """Have a worker learn what waits, commit and end."""
    from worker import Worker

    worker = Worker(Store(client, name), commit_seconds=1000.0, held_seconds=math.inf)
    worker.wait_to_own()
    worker.run(burst=True)


def make(client: "redis.Redis", name: str) -> Dumped:
    """Return the keys of a model that learned in several commits, and has entries that wait."""
    Store(client, name).create(Model(**DUMPS[name], seed=SEED).to_spec())
    *counts, n_waiting = PUSHED[name]
    every = entries(name)
    start = 0
    for n in counts:
        push(client, name, every[start : start + n])
        drain(client, name)
        start += n
    push(client, name, every[start : start + n_waiting])
    return dump(client, name)


def went_on(name: str) -> tuple[str, str]:
    """Restore a dump, have a worker go on; return the digests of the committed state and of what answers."""
    with temporary() as url, connect(url) as client:
        restore(client, read(path_of(name)))
        drain(client, name)
        push(client, name, entries(name)[FURTHER])
        drain(client, name)
        model: Model = Client(name, url).committed()
        fresh = [example.features for example in mixed(N_FRESH, 4)]
        rejected = [(fields[b"stage"], fields[b"data"]) for _, fields in client.xrange(Keys(name).rejected)]
        said = answers(model, fresh) | {"rejected": np.frombuffer(pack(rejected), np.uint8)}
        return digest(model.state()), digest(said)


# ---- the program -------------------------------------------------------------------------------------------------------------
def lines(names: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, stream, and the digests of the state and of what answers, of the kinds that start with one of the names."""
    prefixes = tuple(names) or ("",)
    for kind, options in KINDS.items():
        if kind.startswith(prefixes):
            for stream in STREAMS:
                yield kind, stream, *learned(options, stream)
    for name in DUMPS:
        if f"dump.{name}".startswith(prefixes):
            yield f"dump.{name}", "further", *went_on(name)


def main() -> None:
    """Print the digests as a table, or as an object of JSON a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.goldens", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only the kinds that start so; dump: the dumps")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make-dump", action="store_true", help="make the dumps that are not there yet, and end")
    options = parser.parse_args()
    if numba.config.DISABLE_JIT:
        parser.error("the JIT must be on: without it the last bits may be others, and it takes far longer")
    if options.make_dump:
        FOLDER.mkdir(exist_ok=True)
        for name in DUMPS:
            if not path_of(name).exists():
                with temporary() as url, connect(url) as client:
                    write(path_of(name), make(client, name))
                print(f"{path_of(name).name} {path_of(name).stat().st_size} bytes", flush=True)
        return
    found = False
    for kind, stream, state, answered in lines(options.names):
        found = True
        if options.json:
            print(json.dumps({"kind": kind, "stream": stream, "state": state, "answers": answered}), flush=True)
        else:
            print(f"{kind:27} {stream:8} {state} {answered}", flush=True)
    if not found:
        sys.exit(f"names must be how one of {', '.join(KINDS)}, dump starts (got {', '.join(options.names)})")


if __name__ == "__main__":
    main()
