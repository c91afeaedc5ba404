"""L1 and L2: after an example, the weights of its features shrink, for each expert in its own metric.

A proximal step for ``l1 |w| + l2 w^2 / 2`` (Duchi, Singer, 2009, "Efficient online and batch learning using forward backward
splitting", section 5; Duchi, Hazan, Singer, 2011, "Adaptive subgradient methods", section 5).
"""

import math

from learner.kernels.jit import inlined


@inlined
def penalized(w, r, settings):
    """Return ``sign(w) max(|w| - r l1, 0) / (1 + r l2)``, never -0."""
    return math.copysign(max(abs(w) - r * settings.l1, 0.0), w) / (1.0 + r * settings.l2) + 0.0
