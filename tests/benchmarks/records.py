"""Raw records, over the templates in Python and over other learners: ``python -m tests.benchmarks.records [--quick] [--json]``.

Messages of about 80 characters, e-mail addresses, and records of five fields, all of random words.

A first table: how much faster a featurizer's program is than its templates. Each road runs on the same records with the model's
program and without it (``model.program = None``), in turn; the figures are medians of examples a second of CPU time, and of
their ratios.

- ``featurize``: from packed records to packed features, nothing else. ``learn_packed``: from packed features to weights.
- ``learn_one``, ``predict_one``: from Python.
- ``batches``: a worker's `Learning` of entries with 200 records each; ``pushed``: entries with one record each, as
  `Client.push` makes them; ``JSON``: entries with one record in JSON. No server takes part.
- ``predict_many``: a worker's reply to requests for 256 predictions.
- ``replay``: a file of JSON lines.

A second table, with the extra ``bench``: other learners learn the messages and the addresses from the same file of JSON lines,
each as its users run it: scikit-learn's `HashingVectorizer` (and `FeatureHasher`, of words counted in Python) and
`SGDClassifier.partial_fit` in batches of 256; River's `BagOfWords` and `LogisticRegression`, one by one. Their features are
words and pairs of words of messages, and one to three characters of addresses (for `FeatureHasher`: two and three). ``decode``
only parses the lines, with Python's ``json``. Vowpal Wabbit reads the same words, or characters, in its own text format, with
``--ngram``, as a process of its own, ten copies of the file, its start taken off. ``replay`` is the file to weights;
``batches`` and ``JSON`` are a worker's `Learning`, without the reading of the file. The figures are our examples a second over
theirs: of CPU time, but of wall-clock time beside Vowpal Wabbit, which has two threads.

Caveats: real texts have other words. A text that the program leaves to the templates, such as an address beyond ASCII, is not
among these. The shares of reading JSON, framing entries and learning are in every figure but the first two. Features differ:
our messages have ratios and lengths, too, and our addresses shapes and parts in place of characters; ours keep names, theirs
only hashes.
"""

import argparse
import importlib.util
import itertools
import json
import math
import random
import statistics
import string
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from learner.commands.progressive import learn_file
from learner.model import Model
from learner.packing import pack, pack_example
from learner.service.acceptance import Acceptance
from learner.service.answering import Reply
from learner.service.learning import Learning
from tests.benchmarks import Asked, Row
from tests.benchmarks.core import run
from tests.conftest import SEED

Records = list[dict[str, Any]]

N_HASHES = 2**18  # of scikit-learn, as of Vowpal Wabbit by default; with its own default of 2^20 it is slower
VW = "Vowpal Wabbit"
N_COPIES = 10  # of the file, for Vowpal Wabbit: otherwise its pass would take less time than its start
OVER = ("replay", "batches", "JSON")  # roads that are compared with other learners


class Seconds(NamedTuple):
    """Seconds of CPU time and of wall-clock time."""

    cpu: float
    wall: float


def records_of(featurizer: str, n: int) -> Records:
    """Return random records for a ready featurizer."""
    draw = random.Random(1)
    words = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 8))) for _ in range(3000)]
    one = draw.choice
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "text": lambda: {"text": " ".join(draw.choices(words, k=14)).capitalize() + "!"},
        "email": lambda: {"address": f"{one(words)}{one('._')}{one(words)}@{one(words)}.{one(['com', 'de', 'co.uk'])}"},
        "fields": lambda: {
            "price": round(draw.uniform(0, 100), 2), "brand": one(words[:200]), "new": draw.random() < 0.5,
            "rooms": draw.randint(1, 9), "city": one(words[:50]),
        },
    }  # fmt: skip
    return [makers[featurizer]() for _ in range(n)]


def roads(featurizer: str, records: Records, folder: Path) -> dict[str, Callable[[Model], Any]]:
    """Return the functions that are timed; each takes a model and does all records."""
    targets = [1 if i % 3 else -1 for i in range(len(records))]
    examples = [pack([y, x]) for x, y in zip(records, targets, strict=True)]
    templates = Model(featurizer=featurizer).featurizer
    assert templates is not None
    features = b"".join(pack_example(y, pack(templates(x))) for x, y in zip(records, targets, strict=True))
    file = folder / f"{featurizer}.jsonl"
    file.write_text("".join(json.dumps(x | {"target": y}) + "\n" for x, y in zip(records, targets, strict=True)))
    in_json = [{b"record": json.dumps(x).encode(), b"target": b"%d" % y} for x, y in zip(records, targets, strict=True)]
    batches = [{b"records": b"".join(examples[i : i + 200])} for i in range(0, len(examples), 200)]
    requests = [{b"records": b"".join(map(pack, records[i : i + 256]))} for i in range(0, len(records), 256)]

    def featurize(model: Model) -> None:
        if model.program:
            model.program.run_each(examples)
        else:
            for x, y in zip(records, targets, strict=True):
                pack_example(y, pack(templates(x)))

    def answer(model: Model) -> None:
        for fields in requests:
            Reply(model, fields, model.pack).work(math.inf)

    return {
        "featurize": featurize,
        "learn_packed": lambda model: model.learn_packed(features),
        "learn_one": lambda model: [model.learn_one(x, y) for x, y in zip(records, targets, strict=True)],
        "predict_one": lambda model: [model.predict_one(x) for x in records],
        "batches": lambda model: learn(model, batches),
        "pushed": lambda model: learn(model, [{b"records": example} for example in examples]),
        "JSON": lambda model: learn(model, in_json),
        "predict_many": answer,
        "replay": lambda model: learn_file(model, str(file), None, "target", quiet=True, late=0),
    }


def learn(model: Model, entries: list[dict[bytes, bytes]]) -> None:
    """Learn entries as a worker does, 1,000 at a time."""
    learning = Learning(model, Acceptance(), lambda: False)
    for first in range(0, len(entries), 1000):
        learning.learn([(b"%d-1" % i, fields) for i, fields in enumerate(entries[first : first + 1000], first + 1)])


def seconds(road: Callable[[Model], Any], featurizer: str, with_program: bool = True) -> Seconds:
    """Return the seconds of a road on a model that has learned nothing yet."""
    model = Model(featurizer=featurizer, seed=SEED)
    model.warm()
    if not with_program:
        model.program = None
    return timed(lambda: road(model))


def timed(function: Callable[[], Any]) -> Seconds:
    """Return the seconds that a call takes in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def over_templates(featurizer: str, n: int, n_pairs: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return, for each road, examples a second with the program and without it, and the ratio."""
    table = {}
    for name, road in roads(featurizer, records_of(featurizer, n), folder).items():
        road(Model(featurizer=featurizer, seed=SEED))  # what is still to be compiled or loaded
        pairs = [(seconds(road, featurizer).cpu, seconds(road, featurizer, False).cpu) for _ in range(n_pairs)]
        rates = [n / statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(without / with_it for with_it, without in pairs)
        table[name] = {"program": rates[0], "templates": rates[1], "ratio": ratio}
    return table


# ---- other learners ------------------------------------------------------------------------------------------------------
FIELDS = {"text": "text", "email": "address"}


def lines_of(path: Path, field: str) -> Iterator[tuple[str, int]]:
    """Yield the texts and targets of a file of JSON lines."""
    with path.open() as lines:
        for record in map(json.loads, lines):
            yield record[field], record["target"]


def words_of(text: str) -> Iterator[str]:
    """Yield the words and the pairs of words of a message."""
    words = text.lower().split()
    yield from words
    yield from map(" ".join, itertools.pairwise(words))


def pieces_of(text: str) -> Iterator[str]:
    """Yield two and three characters in a row of an address."""
    return (text[i : i + n] for n in (2, 3) for i in range(len(text) - n + 1))


def scikit_learn(path: Path, field: str, vectorizer: Any, prepare: Callable[[str], Any] = str) -> None:
    """Learn a file with scikit-learn, in batches of 256."""
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss")
    lines = lines_of(path, field)
    while batch := [*itertools.islice(lines, 256)]:
        texts, targets = zip(*batch, strict=True)
        model.partial_fit(vectorizer.transform(map(prepare, texts)), targets, classes=[-1, 1])


def river(path: Path, field: str, bag: Any) -> None:
    """Learn a file with River, one by one."""
    from river.linear_model import LogisticRegression

    model = bag | LogisticRegression()
    for text, target in lines_of(path, field):
        model.learn_one(text, target > 0)


def in_process(featurizer: str, path: Path) -> dict[str, Callable[[], Any]]:
    """Return the functions that learn a file with other libraries, or only parse it."""
    from river.feature_extraction import BagOfWords
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.feature_extraction.text import HashingVectorizer

    field = FIELDS[featurizer]
    if featurizer == "text":
        hashing, bag, split = (
            HashingVectorizer(n_features=N_HASHES, ngram_range=(1, 2)),
            BagOfWords(ngram_range=(1, 2)),
            words_of,
        )
    else:
        hashing = HashingVectorizer(n_features=N_HASHES, analyzer="char", ngram_range=(1, 3))
        bag, split = BagOfWords(tokenizer=list, ngram_range=(1, 3)), pieces_of
    hasher = FeatureHasher(n_features=N_HASHES, input_type="string")
    return {
        "scikit-learn": lambda: scikit_learn(path, field, hashing),
        "FeatureHasher": lambda: scikit_learn(path, field, hasher, split),
        "River": lambda: river(path, field, bag),
        "decode": lambda: [*lines_of(path, field)],
    }


def vowpal_wabbit(featurizer: str, path: Path) -> Callable[[], float]:
    """Return a function that learns a file with Vowpal Wabbit, and returns the wall-clock seconds of it, without the start."""
    text, empty = path.with_suffix(".vw"), path.with_name("empty.vw")
    empty.write_text("")
    lines = lines_of(path, FIELDS[featurizer])
    once = "".join(f"{target} | {line if featurizer == 'text' else ' '.join(line)}\n" for line, target in lines)
    text.write_text(N_COPIES * once)
    ngram = "2" if featurizer == "text" else "3"
    command = [sys.executable, "-m", "vowpalwabbit", "--quiet", "--loss_function", "logistic", "--ngram", ngram, "-d"]
    return lambda: (run([*command, str(text)]).wall - run([*command, str(empty)]).wall) / N_COPIES


def over_others(featurizer: str, n: int, n_pairs: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return each road's examples a second over those of other learners, and the others' examples a second."""
    ours = {name: road for name, road in roads(featurizer, records_of(featurizer, n), folder).items() if name in OVER}
    path = folder / f"{featurizer}.jsonl"
    others, peer = in_process(featurizer, path), vowpal_wabbit(featurizer, path)
    ratios: dict[str, dict[str, list[float]]] = {name: {} for name in [*others, VW]}
    rates: dict[str, list[float]] = {}
    for _ in range(n_pairs):
        our_seconds = {name: seconds(road, featurizer) for name, road in ours.items()}
        their_seconds = {name: timed(other) for name, other in others.items()} | {VW: Seconds(math.nan, peer())}
        for other, theirs in their_seconds.items():
            kind = "wall" if other == VW else "cpu"
            rates.setdefault(other, []).append(n / getattr(theirs, kind))
            for name, mine in our_seconds.items():
                ratios[other].setdefault(name, []).append(getattr(theirs, kind) / getattr(mine, kind))
    return {
        other: {"rate": statistics.median(rates[other])} | {name: statistics.median(all_) for name, all_ in row.items()}
        for other, row in ratios.items()
    }


# ---- the program ---------------------------------------------------------------------------------------------------------
def measure(quick: bool) -> dict[str, Any]:
    """Return both tables."""
    n, n_many, n_pairs = (2000, 5000, 1) if quick else (5000, 40_000, 3)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        return {
            "over templates": {kind: over_templates(kind, n, n_pairs, folder) for kind in ("text", "email", "fields")},
            "over others": {kind: over_others(kind, n_many, n_pairs, folder) for kind in FIELDS if has_peers()},
        }


def has_peers() -> bool:
    """Tell whether the other learners are installed."""
    return all(map(importlib.util.find_spec, ("sklearn", "river", "vowpalwabbit")))


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    result = measure(asked.quick)
    ours, others = result["over templates"], result["over others"]

    def cells(*roads: str) -> str:
        return "; ".join(
            f"{ours[kind][road]['program']:,.0f} ({ours[kind][road]['ratio']:.1f})" for kind in ours for road in roads
        )

    yield Row(
        "raw records featurized, examples/s of CPU time (over the templates in Python): messages; addresses; five fields",
        cells("featurize"),
    )
    yield Row("the same, learned by a worker without a server, in batches of 200", cells("batches"))
    yield Row("the same, an entry each from `Client.push`", cells("pushed"))
    yield Row("the same, an entry each in JSON", cells("JSON"))
    yield Row("the same, `learner replay` of JSON lines", cells("replay"))
    yield Row("the same, `predict_many` of 256 in the worker", cells("predict_many"))
    if not others:
        return

    def ratios(other: str, road: str) -> str:
        return "; ".join(f"{others[kind][other][road]:.2f}" for kind in others)

    yield Row(
        "from JSON lines to weights, examples/s over scikit-learn's (hashing, `partial_fit` of 256): messages; addresses",
        ratios("scikit-learn", "replay"),
        "at least 4",
    )
    yield Row("the same over scikit-learn's with `FeatureHasher`", ratios("FeatureHasher", "replay"), "at least 4")
    yield Row("the same over River's", ratios("River", "replay"))
    yield Row("the same over Vowpal Wabbit's, which reads its own text with `--ngram`", ratios(VW, "replay"))
    yield Row("the same over parsing the lines alone", ratios("decode", "replay"))
    yield Row(
        "a worker, without a server, over scikit-learn: batches of 200", ratios("scikit-learn", "batches"), "at least 3"
    )
    yield Row("a worker over scikit-learn: an entry each in JSON", ratios("scikit-learn", "JSON"), "at least 3")


def main() -> None:
    """Print the tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer records and repeats")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.quick)
    if options.json:
        print(json.dumps(result))
        return
    for kind, table in result["over templates"].items():
        print(f"{kind:<14}{'program':>12}{'templates':>12}{'ratio':>8}")
        for name, row in table.items():
            print(f"{name:<14}{row['program']:>12,.0f}{row['templates']:>12,.0f}{row['ratio']:>8.2f}")
    for kind, table in result["over others"].items():
        print(f"\n{kind:<14}{'examples/s':>12}" + "".join(f"{'over: ' + name:>16}" for name in OVER))
        for name, row in table.items():
            print(f"{name:<14}{row['rate']:>12,.0f}" + "".join(f"{row[road]:>16.2f}" for road in OVER))


if __name__ == "__main__":
    main()
