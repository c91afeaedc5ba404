"""The drawings as text."""

import numpy as np

from learner.graph import Constant, Parameter, backward, dot, square, to_dot, to_mermaid, to_text


def test_drawings_show_every_node_and_both_values():
    w = Parameter(np.arange(8.0), 'w "quoted"')
    loss = square(dot(w, Constant(np.ones(8), "phi")) - 2.0).named("loss")
    backward(loss)
    text, dots, mermaid = to_text(loss), to_dot(loss), to_mermaid(loss)
    assert "f 8 of norm 11.83" in text
    assert "loss = square" in text
    assert r'label="w \"quoted\" (parameter)' in dots
    assert "#34;quoted#34;" in mermaid
    for drawing in (dots, mermaid):
        assert sum(arrow in drawing for arrow in ("->", "-->")) >= 1
        assert len([line for line in drawing.splitlines() if "->" in line]) == 5
