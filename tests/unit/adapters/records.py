"""Records for the adapters."""

import random


def records(n=300, seed=4):
    """Records of a number and a category, and whether their sum is large."""
    r = random.Random(seed)
    for _ in range(n):
        x = {"a": r.gauss(0, 1), "place": r.choice(["rome", "oslo"])}
        yield x, x["a"] + (x["place"] == "rome") > 0.5
