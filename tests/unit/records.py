"""Records of words and two dense numbers, and models that learned them."""

import math
import random

from learner import Model

SEED = b"sixteen bytes it"


def new(task="binary", **options):
    return Model(task, seed=SEED, **options)


def records(n, seed=1):
    """Yield (features, score) of words and two dense numbers, one far from zero and on another scale."""
    r = random.Random(seed)
    for _ in range(n):
        x = {f"w{r.randint(0, 12)}": r.choice([1, 1, 2]) for _ in range(3)}
        x |= {"age": r.gauss(40, 12), "income": r.gauss(0, 1e4)}
        noise = r.gauss(0, 0.5)
        yield x, ("w1" in x) - ("w2" in x) + (x["age"] - 40) / 12 - x["income"] / 1e4 + noise


def trained(task="binary", n=150, **options):
    model = new(task, **options)
    for x, score in records(n):
        model.learn_one(x, target_of(task, score))
    return model


def target_of(task, score):
    """A target of the task: counts are exponential in the score."""
    if task == "poisson":
        return round(math.exp(1 + 0.3 * score))
    return score > 0 if task == "binary" else score


OTHER_TASKS = [{"task": "regression"}, {"task": "quantile", "level": 0.9}, {"task": "poisson"}]
