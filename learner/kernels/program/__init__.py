"""A featurizer's program: records to features, compiled once for all featurizers. `interpreter` has the overview."""
