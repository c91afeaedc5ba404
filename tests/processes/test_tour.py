"""The tour of a model in production, run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import matches

ROOT = Path(__file__).parent.parent.parent
TOUR = Path(__file__).parent / "tour.sh"
ESSENTIAL = """
# A model, its settings in the same file
$ learner create spam --spec spam.toml
created spam (binary, logistic loss): now 'learner worker spam'
$ learner status spam --check live
not live: no process works for the model
(exit code 1)
...
$ learner status spam --check live
live: process ... on ... is running
$ learner status spam --check ready --max-lag 10 --max-age 5
ready: process ... on ... learns and answers, 0 entries wait
...
$ learner predict spam '{"address": "xyz@gmail.com"}' --outcome-id order-1
0...
$ learner outcome spam order-1 1
pushed 1 outcome
examples          201 and 0 rejected, ...
answered loss     0.0... (of 1 answers whose outcomes came)
late outcomes     0 awaited, 0 didn't come in time

# Metrics for Prometheus
learner_worker_state{model="spam",state="running"} 1.0
learner_examples_total{model="spam"} 201.0
learner_lag_entries{model="spam"} 0.0

# A snapshot, a mishap, and the way back
$ learner snapshot spam good
snapshot good of spam: commit ..., ... MB
$ learner push spam wrong.jsonl
pushed 600 examples in ... s
$ learner predict spam '{"address": "xyz@gmail.com"}'
0...
$ learner rollback spam good
spam is back at good, commit ...: ... entries are forgotten
$ learner predict spam '{"address": "xyz@gmail.com"}'
0...

# What is kept of a person is erased, while the worker runs: an answer and its record, and a feature by its name
$ learner predict spam '{"address": "bob@example.org"}' --outcome-id order-3
0...
$ learner weights spam --prefix endsWith_org
endsWith_org  ...
$ learner erase spam --id order-3 --feature endsWith_org --yes
erased 0 entries that waited, 0 learned ones, 0 rejected ones, 1 kept answers
erased features: endsWith_org ...
erased features from snapshots: good
...
$ learner weights spam --prefix endsWith_org

# Settings: the running worker follows, and says so
...
settings changed: default_outcome=0, keep_predictions=1.0...

# A candidate learns the same entries and is compared; it takes the place of the model, and gives it back
$ learner create next --beside spam --from-history --featurizer fields
created spam/next (binary, logistic loss): now 'learner worker spam/next'
$ learner push spam more.jsonl
pushed 1200 examples in ... s
compared          with spam on 1000 examples: late loss 0..., spam's 0...
difference        +0..., at any time within [+0..., +0...] (95%): worse
$ learner promote spam next
spam and spam/next have changed places: spam goes on from ...
$ learner predict spam '{"address": "xyz@gmail.com"}'
0...
Note: the model has learned nothing about these fields or their values: address
$ learner promote spam next
spam and spam/next have changed places: spam goes on from ...
$ learner delete spam/next --yes
deleted spam/next: ... keys

# kill -9: the worker that waits takes over
$ kill -9 ...
$ learner status spam --check ready
ready: process ... on ... learns and answers, 0 entries wait
dead              process ... on ...: it ended without a word
late outcomes     0 awaited, 1 didn't come in time

# kill -9 once more: nobody is left, a probe says so, and producers go on
$ kill -9 ...
$ learner status spam --check live
not live: process ... on ... is dead
(exit code 1)
$ learner push spam right.jsonl
pushed 200 examples in ... s

# A model is a file, is copied, renamed, deleted
$ learner export spam spam.learner
exported spam (1402 examples, 1 entries to come) to spam.learner
$ learner import spam.learner restored
imported restored (1402 examples, 1 entries to come): now 'learner worker restored'
$ learner copy restored twin
copied restored (1402 examples) to twin: now 'learner worker twin'
$ learner rename spam mail
renamed spam to mail, with ... entries of its stream: now 'learner worker mail'
$ learner list
model    task   state  lag ...
mail     binary none     1 ...
restored binary none     1 ...
twin     binary none     0 ...
$ learner delete twin --yes
deleted twin: ... keys

# The next worker learns what was pushed meanwhile
$ learner worker mail --burst
...
lag               0 entries, 0 requests waiting
examples          1602 and 0 rejected
"""


@pytest.mark.slow
def test_the_tour_prints_what_is_essential():
    # PYTHONPATH: the source of the tests, whose loops are compiled already
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(["bash", TOUR], env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert matches(ESSENTIAL, run.stdout), run.stdout
    right, wrong, again, _ = (float(text) for text in re.findall(r"predict .*gmail.*\n(.*)", run.stdout))
    assert min(right, again) > 0.5 > wrong
