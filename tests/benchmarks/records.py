"""How much faster a featurizer's program is than its templates: ``python -m tests.benchmarks.records [--quick]``.

Messages of about 80 characters, e-mail addresses, and records of five fields, all of random words. Each road runs on the same
records with the model's program and without it (``model.program = None``), in turn; the figures are medians of examples a
second of CPU time, and of their ratios.

- ``featurize``: from packed records to packed features, nothing else. ``learn_packed``: from packed features to weights.
- ``learn_one``, ``predict_one``: from Python.
- ``batches``: a worker's `Learning` of entries with 200 records each; ``pushed``: entries with one record each, as
  `Client.push` makes them; ``JSON``: entries with one record in JSON. No server takes part.
- ``predict_many``: a worker's reply to requests for 256 predictions.
- ``replay``: a file of JSON lines.

Caveats: real texts have other words. A text that the program leaves to the templates, such as an address beyond ASCII, is not
among these. The shares of reading JSON, framing entries and learning are in every figure but the first two.
"""

import argparse
import json
import random
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learner.commands.progressive import learn_file
from learner.model import Model
from learner.packing import pack, pack_example
from learner.service.acceptance import Acceptance
from learner.service.answering import Answering
from learner.service.learning import Learning
from tests.conftest import SEED

Records = list[dict[str, Any]]


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
        answering = Answering.__new__(Answering)
        answering.model, answering.pack = model, model.pack
        for fields in requests:
            answering.reply(fields)

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


def seconds(function: Callable[[Model], Any], featurizer: str, with_program: bool) -> float:
    """Return the CPU seconds of a function on a model that has learned nothing yet."""
    model = Model(featurizer=featurizer, seed=SEED)
    model.warm()
    if not with_program:
        model.program = None
    started = time.process_time()
    function(model)
    return time.process_time() - started


def main() -> None:
    """Print a table for each kind of record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer records and repeats")
    quick = parser.parse_args().quick
    n, n_repeats = (2000, 1) if quick else (5000, 3)
    with tempfile.TemporaryDirectory() as folder:
        for featurizer in ("text", "email", "fields"):
            print(f"{featurizer:<14}{'program':>12}{'templates':>12}{'ratio':>8}")
            for name, road in roads(featurizer, records_of(featurizer, n), Path(folder)).items():
                road(Model(featurizer=featurizer, seed=SEED))  # what is still to be compiled or loaded
                pairs = [(seconds(road, featurizer, True), seconds(road, featurizer, False)) for _ in range(n_repeats)]
                rates = [n / statistics.median(column) for column in zip(*pairs, strict=True)]
                ratio = statistics.median(without / with_it for with_it, without in pairs)
                print(f"{name:<14}{rates[0]:>12,.0f}{rates[1]:>12,.0f}{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
