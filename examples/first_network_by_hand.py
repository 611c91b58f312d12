"""One training step of a 2-2-2 network, line by line, with nothing but NumPy: docs/maths.md derives each line.

The numbers are chosen so that all results of the first step are simple fractions, easily checked by hand.
"""

import numpy as np


def show(name: str, value: object) -> None:
    """Print one line of the computation."""
    print(f"{name:14} {np.round(value, 4).tolist()}")


def main() -> None:
    """Print forward pass, loss and backward pass, before and after one step of gradient descent."""
    x, y = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
    w1, b1 = np.array([[2.0, -2.0], [-1.0, 1.0]]), np.array([0.0, np.log(3)])
    w2, b2 = np.array([[3.0, -3.0], [-2.0, 2.0]]), np.array([0.0, np.log(3)])

    for step in (1, 2):
        print(f"step {step}: forward")
        show("z1", z1 := x @ w1 + b1)
        show("a1 = f(z1)", a1 := 1 / (1 + np.exp(-z1)))
        show("z2", z2 := a1 @ w2 + b2)
        show("p", p := np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True))
        show("loss", -np.log(p[0, 0]))

        print(f"step {step}: backward")
        show("delta2 = p - y", delta2 := p - y)
        show("dL/dW2", dw2 := a1.T @ delta2)
        show("dL/db2", db2 := delta2.sum(axis=0))
        show("f'(z1)", slope := a1 * (1 - a1))
        show("delta1", delta1 := (delta2 @ w2.T) * slope)
        show("dL/dW1", dw1 := x.T @ delta1)
        show("dL/db1", db1 := delta1.sum(axis=0))

        w1, b1, w2, b2 = (old - 0.1 * gradient for old, gradient in ((w1, dw1), (b1, db1), (w2, dw2), (b2, db2)))
        print()


if __name__ == "__main__":
    main()
