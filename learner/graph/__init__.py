"""The computation graph: expressions, and the gradients that follow from them."""
