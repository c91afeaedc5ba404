"""The model as other libraries know estimators: `learner.adapters.river` and `learner.adapters.sklearn`.

Each imports its library, which is no dependency of ours: ``pip install 'learner[river]'`` or ``'learner[sklearn]'``.
"""
