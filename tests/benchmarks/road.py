"""What the road through Redis costs, over floors without it: ``python -m tests.benchmarks.road [--quick] [--json]``.

A server, a worker and a client run on one machine. Two runs of a pair follow each other, and each figure is a median over
pairs: the ratio of wall-clock times, and beside it the CPU seconds of each process, which a busy machine disturbs less.

Learning, in examples a second:

- ``features``, ``fields``, ``email``, ``text``: the worker reads and learns entries of 200 examples, of ready features (25 an
  example) or of raw records. The floor is the same bytes featurized and learned in one process, without a server.
- ``JSON``: entries of one record of five fields in JSON. The floor is a loop that reads the same entries with redis-py's XREAD,
  1,000 at a time, and drops them.
- ``push_many``, ``pipelined``: a client pushes records of five fields, 200 an entry, or an entry each, in a pipeline. The
  floor of the first packs the same examples, that of the second sends the same entries with redis-py's pipeline.

Answers:

- ``one``: the time from a request for one prediction to its answer. The floor is two processes that exchange the same commands
  by redis-py, and compute nothing.
- ``learning``: the same while the worker learns at full speed.
- ``many``: ``predict_many`` of 256, of ready features (25 a map) or of raw records, in records a second. The floor packs them.
- ``in process``: microseconds of a prediction by `Model.predict_many_packed`, of a call of `predict_one` and of `score_packed`.

Caveats: server, worker and client share two cores, or whatever the machine has. The streams are random (see
`tests.benchmarks.streams` and `tests.benchmarks.records`); nothing drifts.
"""
