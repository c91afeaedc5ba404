"""Learners: Python around the compiled loops; all implement `learner.learners.protocol.Learner`.

==============  ===========================================================================================================
``protocol``    the interface of all learners; the results of learning and explaining
``linear``      learners with one score an example, and their weights by name
``mixture``     the default: experts side by side, mixed; optionally with a neural head among them
``optimizer``   one named algorithm in place of the mixture
``multiclass``  one mixture a class
``neural``      the neural head
``weights``     the growing dict of weights; ``sweeping``: which features a full dict drops
``reasons``     why an example was rejected, in words
==============  ===========================================================================================================
"""

from learner.learners.mixture import Mixture
from learner.learners.multiclass import MultiClass
from learner.learners.optimizer import NamedAlgorithm
from learner.learners.protocol import Contribution, Learned, Learner, NamedWeights, Rejection, StateChanges
from learner.spec import Spec

__all__ = ["Contribution", "Learned", "Learner", "NamedWeights", "Rejection", "StateChanges", "make"]


def make(spec: Spec) -> Learner:
    """Return a new, untrained learner for a spec."""
    if spec.optimizer is not None:
        return NamedAlgorithm(spec)
    return MultiClass(spec) if spec.task == "multiclass" else Mixture(spec)
