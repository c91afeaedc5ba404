"""Nodes of every operation, to try rules on that hold for all of them."""

import inspect

import numpy as np

from learner.graph import OPS, Constant, Parameter
from learner.graph.operations import aligned

# Every operation of `OPS` is tried. An elementwise one needs an entry only in `POSITIVE`, if its operands must be positive; any
# other must have its cases in `OTHER`: shapes of the operands, and settings.
POSITIVE = {"divide", "log", "log1p", "power"}
ELEMENTWISE = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((4, 2, 3), (2, 1))]
OTHER = {
    "dot": [((3,), (3,)), ((4, 3), (3,)), ((3,), (4, 3)), ((2, 4, 3), (4, 3)), ((1,), (1,))],
    "matmul": [
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((3,), (3,)),
        ((2, 3), (3, 4)),
        ((1, 3), (3, 1)),
        ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((3,), (5, 3, 2)),
        ((5, 2, 3), (3,)),
    ],
    "transpose": [((2, 3),), ((4, 2, 3),)],
    "log_sum_exp": [((3,),), ((2, 3),)],
}
OTHER["sum"] = OTHER["mean"] = [
    (shape, {"axis": axis, "keepdims": keepdims})
    for shape in ((3,), (2, 3), (4, 2, 3))
    for axis in (None, 0, -1)
    for keepdims in (False, True)
]


def draw(r, shape, positive=False):
    """Return random numbers, positive ones of at least 0.5."""
    values = r.normal(size=shape)
    return np.abs(values) + 0.5 if positive else values


def n_operands(op):
    return len(inspect.signature(op.flat.slopes).parameters) - 2  # all but g and f


def cases(name):
    """Yield nodes of an operation over parameters of all the shapes that it takes."""
    r = np.random.default_rng(1)
    op = OPS[name]
    if name == "sparse_product":
        for columns in ([1, 4], [3], [2, 2, 0], [[0, 1], [4, 1]]):  # the last: a batch of two
            values = Parameter(r.normal(size=np.shape(columns)), "values")
            yield op(Parameter(r.normal(size=(3, 5)), "V"), Constant(columns), values)
        return
    is_elementwise = op.flat.letters is aligned
    assert is_elementwise or name in OTHER, f"'{name}' has no cases"
    for case in ELEMENTWISE if is_elementwise else OTHER[name]:
        shapes, settings = (case[:1], case[1]) if isinstance(case[-1], dict) else (case[: n_operands(op)], {})
        leaves = [Parameter(draw(r, shape, name in POSITIVE), "ab"[i]) for i, shape in enumerate(shapes)]
        yield op(*leaves, **settings)
