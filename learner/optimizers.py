"""The named algorithms: each is one algorithm from a paper, used alone in place of the default mixture.

An algorithm is one scalar function. It takes a feature's weight ``w``, at most two numbers of its own state, ``a`` and ``b``, a
`Seen` and the options; it returns the new ``w``, ``a``, ``b``. It is called for every feature of an example, and for the
constant, which is a feature of value 1. A `Seen` has

- ``x``, the feature's value, neither scaled nor centred; ``slope``, d loss / d score before the update; ``importance``;
- ``t``, the sum of importances, and ``updates``, the number of examples with an importance above 0, this example included;
- ``n``, the sum of ``importance x^2 / s^2`` over these examples' features: N of Ross, Mineiro and Langford.

The gradient is ``slope x``. With the option ``clip``, which every algorithm has and which is on by default, the slope of the
squared and the quantile loss is taken at the score clipped to the range of 0 and all targets so far, this example's
included, as in Vowpal Wabbit; the papers do not clip. A "Differs:" line names the differences from the paper. Most of them say
that only the example's own features are updated. Options have Vowpal Wabbit's defaults, where it has the algorithm, so that the
two can be compared; they are not tuned for any stream.

State is float32, as in Vowpal Wabbit, and arithmetic is float64. Stored numbers are kept within +-3e38, so none becomes
infinite.

The functions are plain Python on floats: `learner.kernels` compiles these very functions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from learner.errors import SpecError, show

__all__ = ["OPTIMIZERS", "Optimizer", "Seen", "parse"]

# A slope of the logistic loss up to this size is taken as 0, because float32 can't tell such a loss from 0. Otherwise AdaGrad,
# with an epsilon of 0, would take a full step on a new feature, however small the gradient.
MIN_LOGISTIC_SLOPE = 2.0**-24
State = tuple[float, float, float]  # w, a, b


class Seen(NamedTuple):
    """A feature's value in an example, the example's slope and importance, and counts of the stream: see the module."""

    x: float
    slope: float
    importance: float
    t: float
    updates: float
    n: float


def sgd(w: float, a: float, b: float, seen: Seen, options: Sequence[float]) -> State:
    """Stochastic gradient descent: ``w <- w - r (slope x + l2 w)``, with ``r = rate (1 + t)^-power``.

    ``power`` 0 is a constant learning rate, 0.5 the inverse square root (Zinkevich, 2003, "Online convex programming and
    generalized infinitesimal gradient ascent", section 2). L1 by a proximal step, ``w <- sign(w) max(|w| - r l1, 0)`` (Duchi,
    Singer, 2009, "Efficient online and batch learning using forward backward splitting", section 5).
    Differs: L1 and L2 act on the features of the example only. An importance multiplies r.

    >>> sgd(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (0.1, 0.0, 0.0, 0.0))
    (0.1, 0.0, 0.0)
    """
    rate, power, l1, l2 = options[0], options[1], options[2], options[3]
    step = rate * (1.0 + seen.t) ** -power * seen.importance
    w -= step * (seen.slope * seen.x + l2 * w)
    return math.copysign(max(abs(w) - step * l1, 0.0), w) + 0.0, a, b  # + 0.0: no -0.0


def adagrad(w: float, a: float, b: float, seen: Seen, options: Sequence[float]) -> State:
    """AdaGrad, diagonal: ``G += g^2``, ``w <- w - r g``, with ``r = rate / (epsilon + sqrt G)`` and ``g = slope x + l2 w``.

    Duchi, Hazan, Singer, 2011, "Adaptive subgradient methods for online learning and stochastic optimization", figure 1
    (composite mirror descent); section 5.1 for L1, ``w <- sign(w) max(|w| - r l1, 0)``. ``a`` is G.
    Differs: L1 and L2 act on the features of the example only. An importance multiplies the step and ``g^2``.

    >>> adagrad(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (0.5, 0.0, 0.0, 0.0))
    (0.5, 1.0, 0.0)
    """
    rate, epsilon, l1, l2 = options[0], options[1], options[2], options[3]
    g = seen.slope * seen.x + l2 * w
    G = a + seen.importance * g * g
    H = epsilon + math.sqrt(G)
    if H == 0.0:
        return w, a, b
    step = seen.importance * rate / H
    w -= step * g
    return math.copysign(max(abs(w) - step * l1, 0.0), w) + 0.0, G, b


def adam(w: float, a: float, b: float, seen: Seen, options: Sequence[float]) -> State:
    """Adam: ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``, ``w <- w - rate m' / (sqrt v' + epsilon)``.

    ``m' = m / (1 - beta1^updates)``, ``v' = v / (1 - beta2^updates)`` (Kingma, Ba, 2015, "Adam: a method for stochastic
    optimization", algorithm 1). ``a`` is m, ``b`` is v; g is ``importance slope x``.
    Differs: sparse ("lazy"). A feature that is not in the example keeps w, m and v; in the paper m and v decay and w moves. The
    two are the same if every example has every feature.

    >>> w, m, v = adam(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (0.001, 0.9, 0.999, 1e-8))
    >>> f"{w:.6f} {m:.1f} {v:.3f}"
    '0.001000 -0.1 0.001'
    """
    rate, beta1, beta2, epsilon = options[0], options[1], options[2], options[3]
    g = seen.importance * seen.slope * seen.x
    m = beta1 * a + (1.0 - beta1) * g
    v = beta2 * b + (1.0 - beta2) * g * g
    first, second = m / (1.0 - beta1**seen.updates), v / (1.0 - beta2**seen.updates)
    return w - rate * first / (math.sqrt(second) + epsilon), m, v


def ftrl(w: float, a: float, b: float, seen: Seen, options: Sequence[float]) -> State:
    """FTRL-Proximal: ``w = 0 if |z| <= l1 else -(z - sign(z) l1) / ((beta + sqrt n) / alpha + l2)``.

    ``sigma = (sqrt(n + g^2) - sqrt n) / alpha``, ``z += g - sigma w``, ``n += g^2`` (McMahan et al., 2013, "Ad click
    prediction: a view from the trenches", algorithm 1). ``a`` is z, ``b`` is n; g is ``importance slope x``.
    Differs: w is computed when z and n change, not when it is used. The number is the same.

    >>> ftrl(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (0.1, 1.0, 0.5, 0.0))
    (0.025, -1.0, 1.0)
    >>> ftrl(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (0.1, 1.0, 1.0, 0.0))
    (0.0, -1.0, 1.0)
    """
    alpha, beta, l1, l2 = options[0], options[1], options[2], options[3]
    g = seen.importance * seen.slope * seen.x
    N = b + g * g
    root = math.sqrt(N)
    z = a + g - (root - math.sqrt(b)) / alpha * w
    return math.copysign(max(abs(z) - l1, 0.0), -z) / ((beta + root) / alpha + l2) + 0.0, z, N


def ng(w: float, a: float, b: float, seen: Seen, options: Sequence[float]) -> State:
    """Normalised gradient descent: ``w <- w - rate t^-power (t / N) slope x / s^2``, with s the feature's largest ``|x|``.

    Before scoring, a new largest ``|x|`` multiplies w by ``s^2 / x^2`` (see `rescaled`). Ross, Mineiro, Langford, 2013,
    "Normalized online learning", algorithm 1 (NG). ``a`` is s. An importance of k counts as k examples in t and N, and
    multiplies the step.

    >>> ng(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (10.0, 0.5))
    (1.25, 2.0, 0.0)
    """
    rate, power = options[0], options[1]
    s = max(a, abs(seen.x))
    return w - rate * seen.t**-power * (seen.t / seen.n) * seen.importance * seen.slope * seen.x / (s * s), s, b


def nag(w: float, a: float, b: float, seen: Seen, options: Sequence[float]) -> State:
    """Normalised adaptive gradient: ``G += g^2``, ``w <- w - rate sqrt(t / N) g / (s sqrt G)``, with s the largest ``|x|``.

    Before scoring, a new largest ``|x|`` multiplies w by ``s / |x|`` (see `rescaled`). Ross, Mineiro, Langford, 2013,
    "Normalized online learning", algorithm 2 (NAG). ``a`` is s, ``b`` is G; g is ``slope x``. An importance of k counts as k
    examples in t, N and G, and multiplies the step. This is not Nesterov's accelerated gradient.

    >>> nag(0.0, 0.0, 0.0, Seen(2.0, -0.5, 1.0, 1.0, 1.0, 2.0), (0.5,))
    (0.1767766952966369, 2.0, 1.0)
    """
    s = max(a, abs(seen.x))
    g = seen.slope * seen.x
    G = b + seen.importance * g * g
    if G == 0.0:
        return w, s, G
    return w - options[0] * math.sqrt(seen.t / seen.n) * seen.importance * g / (s * math.sqrt(G)), s, G


def rescaled(normalised: float, w: float, s: float, x: float) -> float:
    """Return the weight for scoring a value: for ``|x| > s`` it is w times ``s / |x|`` to the power ``normalised`` (0, 1 or 2).

    >>> rescaled(2.0, 4.0, 1.0, -2.0), rescaled(1.0, 4.0, 1.0, 2.0), rescaled(1.0, 4.0, 1.0, 0.5), rescaled(0.0, 4.0, 1.0, 2.0)
    (1.0, 2.0, 4.0, 4.0)
    """
    if normalised == 0.0 or abs(x) <= s:
        return w
    ratio = s / abs(x)
    return w * ratio * ratio if normalised == 2.0 else w * ratio


SGD, ADAGRAD, ADAM, FTRL, NG, NAG = range(6)


@dataclass(frozen=True)
class Optimizer:
    """A named algorithm.

    Attributes
    ----------
    code : int
        The place in the table, by which the compiled loops choose it.
    update : function
        The scalar function.
    options : mapping of str to (default, least, most)
        Its options, in the order in which the function takes them: default and bounds.
    normalised : float
        The power in `rescaled`; 0 for algorithms that don't rescale.
    """

    name: str
    code: int
    update: Callable[..., State]
    options: Mapping[str, tuple[float, float, float]]
    normalised: float = 0.0


L1_L2 = {"l1": (0.0, 0.0, 1e6), "l2": (0.0, 0.0, 1e6)}


def _rate(default: float) -> tuple[float, float, float]:
    return default, 1e-9, 1e6


OPTIMIZERS = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer("sgd", SGD, sgd, {"rate": _rate(10.0), "power": (0.5, 0.0, 1.0)} | L1_L2),
        Optimizer("adagrad", ADAGRAD, adagrad, {"rate": _rate(10.0), "epsilon": (0.0, 0.0, 1.0)} | L1_L2),
        Optimizer(
            "adam",
            ADAM,
            adam,
            {
                "rate": _rate(0.001),
                "beta1": (0.9, 0.0, 0.999999),
                "beta2": (0.999, 0.0, 0.999999),
                "epsilon": (1e-8, 1e-12, 1.0),
            },
        ),
        Optimizer("ftrl", FTRL, ftrl, {"alpha": _rate(0.5), "beta": (1.0, 1e-9, 1e6)} | L1_L2),
        Optimizer("ng", NG, ng, {"rate": _rate(10.0), "power": (0.5, 0.0, 1.0)}, normalised=2.0),
        Optimizer("nag", NAG, nag, {"rate": _rate(0.5)}, normalised=1.0),
    )
}


def parse(spec: str | Mapping[str, Any]) -> tuple[Optimizer, dict[str, float | bool]]:
    """Return the algorithm, and all its options with ``clip`` last, for a name or a mapping of ``name`` and options.

    >>> optimizer, options = parse({"name": "ftrl", "alpha": 0.1, "l1": 1})
    >>> optimizer.name, options
    ('ftrl', {'alpha': 0.1, 'beta': 1.0, 'l1': 1.0, 'l2': 0.0, 'clip': True})

    Raises
    ------
    SpecError
        When there is no such algorithm or option, or an option's value is out of its range.
    """
    chosen = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = chosen.pop("name", None)
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise SpecError(f"optimizer must be one of {', '.join(OPTIMIZERS)} (got {show(name)})")
    optimizer = OPTIMIZERS[name]
    if unknown := sorted(map(str, chosen.keys() - optimizer.options.keys() - {"clip"})):
        known = ", ".join([*optimizer.options, "clip"])
        raise SpecError(f"options of {name} must be among {known} (got {', '.join(unknown)})")
    clip = chosen.get("clip", True)
    if not isinstance(clip, bool | int | float) or clip not in (0, 1):
        raise SpecError(f"clip of {name} must be true or false, or 1 or 0 (got {show(clip)})")
    options: dict[str, float | bool] = {}
    for option, (default, least, most) in optimizer.options.items():
        value = chosen.get(option, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise SpecError(f"{option} of {name} must be a number within [{least:g}, {most:g}] (got {show(value)})")
        options[option] = float(value)
    return optimizer, options | {"clip": bool(clip)}
