"""The model as an estimator of other libraries: `learner.adapters.river` and `learner.adapters.sklearn`.

Each module imports its library, an optional dependency: ``pip install '.[river]'`` or ``'.[sklearn]'``
in a clone of the project.
"""
