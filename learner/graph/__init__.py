"""Backpropagation: write an expression, and compute its gradient.

An expression is a *computation graph*: a directed acyclic graph. Its leaves are constants and parameters, its inner nodes are
operations, and its root is the value to be computed, usually a loss. A node holds a number, a vector, a matrix or a batch of
them. Every node keeps two arrays of the same shape:

``f``, its forward value
    the value of the node's subexpression; `forward` computes it, from the leaves to the root;
``g``, its backward value
    the gradient of the root with respect to that value; `backward` computes it, from the root to the leaves. It is the sum,
    over all paths from the node to the root, of the product of the slopes along the path. This is the chain rule (Rumelhart,
    Hinton and Williams, 1986, "Learning representations by back-propagating errors", equations 4 to 7; Linnainmaa, 1970, for
    any expression).

The example of the lecture is linear regression with the squared loss:

>>> from learner.graph import SGD, Constant, Parameter, backward, dot, forward, square, to_text
>>> w = Parameter([3.0, 1.0], "w")
>>> phi, y = Constant([1.0, 2.0], "phi"), Constant(2.0, "y")
>>> score = dot(w, phi).named("score")
>>> residual = (score - y).named("residual")
>>> loss = square(residual).named("loss")
>>> forward(loss)
array(9.)
>>> backward(loss)
>>> w.g
array([ 6., 12.])
>>> print(to_text(loss))
loss = square              f 9       g 1
└─ residual = subtract     f 3       g 6
   ├─ score = dot          f 5       g 6
   │  ├─ w (parameter)     f [3 1]   g [6 12]
   │  └─ phi (constant)    f [1 2]   g [18 6]
   └─ y (constant)         f 2       g -6

A step against the gradient makes the loss smaller:

>>> SGD(0.01).update([w])
>>> w.f
array([2.94, 0.88])
>>> float(forward(loss).round(2))
7.29

The modules, in reading order. This package exports their names, except those of the last two, which only a learner needs.

==============  ==============================================================================================================
`engine`        nodes and leaves, the forward and the backward pass, and what an operation is
`operations`    the building blocks: sums and products, ``dot``, ``matmul``, ``relu``, ``softmax``, ...
`losses`        the losses of `learner.losses`, built from operations
`optimizers`    SGD, AdaGrad and Adam: what to do with a gradient
`check`         compares gradients with finite differences
`text`          drawings of a graph as text, Graphviz or Mermaid
`compiler`      writes both passes of a graph as flat loops in Python source; `loops` has the text of a single operation's loops
`loader`        makes functions of that source
==============  ==============================================================================================================
"""

from learner.graph.check import check_gradient
from learner.graph.engine import (
    OPS,
    Array,
    Constant,
    Flat,
    Node,
    Op,
    Operand,
    Parameter,
    backward,
    forward,
    order,
    parameters,
)
from learner.graph.losses import hinge_loss, logistic_loss, loss_of, poisson_loss, quantile_loss, squared_loss
from learner.graph.operations import (
    absolute,
    add,
    divide,
    dot,
    elementwise,
    exp,
    expm1,
    log,
    log1p,
    log_softmax,
    log_sum_exp,
    logistic,
    matmul,
    maximum,
    mean,
    minimum,
    multiply,
    negative,
    power,
    relu,
    softmax,
    softplus,
    sparse_product,
    square,
    subtract,
    tanh,
    threshold,
    total,
    transpose,
)
from learner.graph.optimizers import SGD, AdaGrad, Adam
from learner.graph.text import to_dot, to_mermaid, to_text

__all__ = [
    "OPS",
    "SGD",
    "AdaGrad",
    "Adam",
    "Array",
    "Constant",
    "Flat",
    "Node",
    "Op",
    "Operand",
    "Parameter",
    "absolute",
    "add",
    "backward",
    "check_gradient",
    "divide",
    "dot",
    "elementwise",
    "exp",
    "expm1",
    "forward",
    "hinge_loss",
    "log",
    "log1p",
    "log_softmax",
    "log_sum_exp",
    "logistic",
    "logistic_loss",
    "loss_of",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "order",
    "parameters",
    "poisson_loss",
    "power",
    "quantile_loss",
    "relu",
    "softmax",
    "softplus",
    "sparse_product",
    "square",
    "squared_loss",
    "subtract",
    "tanh",
    "threshold",
    "to_dot",
    "to_mermaid",
    "to_text",
    "total",
    "transpose",
]
