"""What the learner does once more, slow and obvious: compiled loops must give the same numbers."""
