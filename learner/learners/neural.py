"""The neural head: score = w . s(V_k ... s(V_1 phi(x) + b_1) ...) + b, trained by the computation graph's own kernel.

V_1 grows with the weights: it has one column for each feature name, in the feature's row of the weight dict. A column starts
with small random numbers drawn from the name's keyed hash alone, so neither the order of the stream nor a restart changes it.
Features without a row add nothing. `learner.graph.compiler` writes the graph as flat loops; the loops of `learner.kernels` are
compiled around these, and learn one example at a time, in stream order.

The columns of V_1 and the upper layers are learned by AdaGrad (Duchi, Hazan and Singer, 2011).
"""

import itertools
import math
import random
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from learner import graph, kernels, layout
from learner.graph import compiler as graph_compiler
from learner.graph.loader import load
from learner.kernels import experts, heads, jit

if TYPE_CHECKING:
    from learner.spec import Network

__all__ = ["NeuralHead"]

RATE = 0.2
# Norms of gradients that cause a warning: of a layer relative to the top layer; of any layer.
VANISHING, EXPLODING = 1e-4, 1e3
# V_1 and b_1 start uniform within plus and minus these numbers: see `network_graph`
STARTS = {"relu": (0.3, 0.3), "logistic": (1.0, 2.0), "tanh": (0.5, 0.5)}
NORM_DECAY = 0.999  # of the running mean squares of the gradients

# Appended to the source of the head's graph: its doors, and the numbers that its loops are compiled for, so that heads with
# other numbers have another source, and hence other machine code.
DOORS = """

# {shape}


def learn(buffer, position, holds_back, learner, work, block, results):
    return learn_of_head(buffer, position, holds_back, learner, work, block, results)


def predict(buffer, learner, work):
    return predict_of_head(buffer, learner, work)


def measure(buffer, position, learner, work, results):
    return measure_of_head(buffer, position, learner, work, results)


def pull_back(d, inputs, parameters, scratch, gradients, sizes):
    backward(d, inputs, parameters, scratch, gradients, sizes)
"""


class NeuralHead:
    """A feed-forward network over the features: one expert beside the linear ones, or the whole model.

    Parameters
    ----------
    network : learner.spec.Network
        The units of each hidden layer, their activation s, and whether the head's score is the model's.
    n_rates : int
        The number of learning rates, on which the place of a column in its row depends.
    seed : bytes
        The seed of the upper layers' initial weights.

    Attributes
    ----------
    network : float32 array, (2, parameters)
        The biases and upper layers, and their sums of squared gradients.
    norms : float64 array, (layers,)
        Running means of the gradients' squared norms: of V_1, of b_1, then of each layer upwards.
    kernels : module
        This head's own versions of the doors `learn`, `predict` and `measure` of `learner.kernels`.
    """

    def __init__(self, network: "Network", n_rates: int, seed: bytes) -> None:
        self.hidden, self.activation, self.alone = network.hidden, network.activation, network.alone
        root, layers = network_graph(self.hidden, self.activation, seed)
        self.program = graph_compiler.generate(root)
        self.network = np.zeros(
            (2, sum(place.stop - place.start for place in self.program.parameters.values())), np.float32
        )
        self.network[0] = self.program.pack(self.program.parameters)
        self.norms = np.zeros(len(layers) + 1)
        self.column = layout.HEADER + experts.n_columns(n_rates)
        starts = [self.program.parameters[layer[0]].start for layer in layers]
        # where each layer's parameters start; the first number is the width of a column instead
        self._layers = np.array([self.hidden[0], *starts, self.network.shape[1]], np.uint64)
        self._are_weights = np.zeros(self.network.shape[1], np.bool_)
        for above in layers[1:]:
            self._are_weights[self.program.parameters[above[0]]] = True
        self._gradients = np.zeros(self.network.shape[1], np.float32)
        self._scratch = self.program.scratch()
        n = layout.MAX_FEATURES + layout.MAX_DENSE
        self._columns = np.zeros(n, np.uint64)
        self._values = np.zeros(n, np.float32)
        self.kernels = self._compile()

    @property
    def size(self) -> int:
        """The number of float32s of a row that belong to the head: a column of V_1 and its sums of squared gradients."""
        return 2 * self.hidden[0]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The argument of the loops: a `learner.kernels.heads.Head` as a plain tuple."""
        parameters, squares = self.network
        return (
            parameters, squares, self.norms, self._gradients, self._scratch, self.program.sizes, self._columns, self._values,
            self._layers, self._are_weights,
        )  # fmt: skip

    def columns_of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the columns of V_1 in some rows, (rows, units of the first layer)."""
        return rows[:, self.column : self.column + self.hidden[0]]

    def input_gradients(self) -> NDArray[np.float32]:
        """Return d score / d (V_1 phi(x)) at the last scored example: one number for each unit of the first layer."""
        parameters = self.network[0]
        self.kernels.pull_back(
            np.float32(1), parameters, parameters, self._scratch, self._gradients, self.program.sizes
        )
        return self._scratch[self.program.delta].copy()

    def layer_norms(self) -> dict[str, float]:
        """Return the root mean square norms of the recent gradients, by layer."""
        names = ["V1", "b1", *(f"V{k}" for k in range(2, len(self.hidden) + 1)), "w"]
        return {name: math.sqrt(norm) for name, norm in zip(names, self.norms, strict=True)}

    def warning(self) -> str:
        """Return a warning about vanishing or exploding gradients, or ""."""
        norms = self.layer_norms()
        largest = max(norms, key=norms.__getitem__)
        if norms[largest] > EXPLODING:
            return f"gradients explode: {largest}'s have a norm of {norms[largest]:.3g}, above {EXPLODING:g}"
        for name in norms:
            if name.startswith("V") and norms[name] < VANISHING * norms["w"]:
                return (
                    f"gradients vanish: {name}'s have a norm of {norms[name]:.3g}, below {VANISHING:g} of the top layer's "
                    f"{norms['w']:.3g}; that layer hardly learns"
                )
        return ""

    def _compile(self) -> ModuleType:
        """Return a module with the doors `learn`, `predict`, `measure` and `pull_back` of a head of this shape."""
        shape = heads.Shape(
            self.column, self.hidden[0], self.program.delta.start, STARTS[self.activation][0], RATE, 1.0 - NORM_DECAY
        )

        def link(module: Any) -> None:
            functions = heads.functions(shape, jit.inlined(module.forward), backward := jit.inlined(module.backward))
            module.backward = backward
            module.learn_of_head, module.predict_of_head, module.measure_of_head = kernels.of_head(functions)
            for door in ("learn", "predict", "measure"):
                setattr(module, door, jit.loop(getattr(module, door)))
            module.pull_back = jit.door(module.pull_back)

        return load(self.program.source + DOORS.format(shape=shape), link, jit.cache_folder() / "graphs")


def network_graph(
    hidden: tuple[int, ...], activation: str, seed: bytes
) -> tuple[graph.Node, list[list[graph.Parameter]]]:
    """Return the head as a computation graph for an example of one feature, and its parameters layer by layer.

    The upper layers start uniform in +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio, 2010, "Understanding the difficulty of
    training deep feedforward neural networks", equation 16), their biases at zero. b_1 starts at random: columns are small, so
    ``V_1 phi + b_1`` is near b_1, and near 0 tanh and the logistic function are almost linear. With b_1 = 0 the network would
    start as a linear predictor, and remain one where that has no gradient, as on the lecture's two cars. Random biases spread
    the units over the curved parts (Nguyen and Widrow, 1990, "Improving the learning speed of 2-layer neural networks by
    choosing initial values of the adaptive weights").
    """
    draw = random.Random(seed)  # noqa: S311  (not a secret)
    s = getattr(graph, activation)
    V = graph.Parameter(np.zeros((hidden[0], 1)), "V1")
    features = graph.sparse_product(V, graph.Constant([0], "columns"), graph.Constant([1.0], "values"))
    _, bound = STARTS[activation]
    layers = [[graph.Parameter([draw.uniform(-bound, bound) for _ in range(hidden[0])], "b1")]]
    h = s(features + layers[0][0])
    for k, (below, above) in enumerate(itertools.pairwise(hidden), 2):
        bound = math.sqrt(6.0 / (below + above))
        W = [[draw.uniform(-bound, bound) for _ in range(below)] for _ in range(above)]
        layers.append([graph.Parameter(W, f"V{k}"), graph.Parameter(np.zeros(above), f"b{k}")])
        h = s(layers[-1][0] @ h + layers[-1][1])
    bound = math.sqrt(6.0 / (hidden[-1] + 1))
    top = [draw.uniform(-bound, bound) for _ in range(hidden[-1])]
    layers.append([graph.Parameter(top, "w"), graph.Parameter(0.0, "b")])
    return (graph.dot(layers[-1][0], h) + layers[-1][1]).named("score"), layers
