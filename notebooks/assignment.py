# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Ten questions about backpropagation
#
# What a small network is, how it learns, and which hyperparameters matter: the mathematics next to the code, and the
# results of full experiments. The cells compute what takes seconds. Longer experiments were run by the scripts in
# `questions/`, and are shown here from their stored answers in `report/results`.
#
# The source of this notebook is `notebooks/assignment.py`; `make notebook` runs it and writes `assignment.ipynb`.

# %%
import os
import re
import sys
from pathlib import Path

import numpy as np
from IPython.display import SVG, Markdown, display

ROOT = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "questions" / "sections.py").exists())
sys.path.insert(0, str(ROOT / "questions"))

from sections import build_section

from chainrule import OPTIMIZERS, NeuralNetwork, load_dataset
from chainrule.charts.renderer import render_svg

# Tests use the answers of the quick versions, whose claims are not enforced.
QUICK = os.environ.get("CHAINRULE_QUICK_ANSWERS")
ANSWERS = Path(QUICK or ROOT / "report" / "results")


def show(name):
    """Display an answer: its text with its charts."""
    answer = build_section(name, ANSWERS, quick=bool(QUICK))
    display(Markdown(f"## {answer.title}"))
    for number, piece in enumerate(re.split(r"!\[(.*?)\]\(chart:(\w+)\)", answer.text)):
        if number % 3 == 2:
            display(SVG(render_svg(answer.charts[piece])))
        elif piece.strip():
            display(Markdown(piece if number % 3 == 0 else f"*{piece}*"))


# %% [markdown]
# ## Data
#
# `x` holds images as rows of 784 gray values from 0 to 1, `y` their classes from 0 to 9. 10 % of the training images
# are held out for validation; the test images are only used at the end.

# %%
data = load_dataset("fashion_mnist", seed=0)
data.x_train.shape, data.x_val.shape, data.x_test.shape, data.classes

# %%
show("question1")

# %% [markdown]
# ## The forward pass
#
# Layer $l$ computes $z_l = h_{l-1} W_l + b_l$ and $h_l = f(z_l)$, with $h_0 = x$. The last layer has a softmax instead
# of $f$:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}$$
#
# By hand, for a network with two hidden layers:

# %%
network = NeuralNetwork([784, 128, 64, 10], activation="tanh", weight_init="Xavier", seed=0, dtype="float64")
images = data.x_test[:5].astype("float64")

h = images
for layer in (1, 2, 3):
    z = h @ network.parameters[f"layer{layer}.weights"] + network.parameters[f"layer{layer}.biases"]
    h = np.tanh(z)
p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

np.abs(p - network.predict_proba(images)).max()

# %%
show("question2")

# %% [markdown]
# ## The backward pass
#
# The chain rule, from the loss $L$ backwards. With $\delta_l = \partial L / \partial z_l$,
#
# $$\frac{\partial L}{\partial W_l} = h_{l-1}^T \delta_l \qquad
#   \frac{\partial L}{\partial b_l} = \sum_{samples} \delta_l \qquad
#   \delta_{l-1} = (\delta_l W_l^T) \odot f'(z_{l-1})$$
#
# and for softmax with cross-entropy $\delta = (p - y) / n$ at the output, with one-hot rows $y$. That is all of
# backpropagation; by hand for the network above:

# %%
labels = data.y_test[:5]
y = np.eye(10)[labels]
w = network.parameters

h1 = np.tanh(images @ w["layer1.weights"] + w["layer1.biases"])
h2 = np.tanh(h1 @ w["layer2.weights"] + w["layer2.biases"])
d3 = (p - y) / len(labels)
d2 = (d3 @ w["layer3.weights"].T) * (1 - h2**2)
d1 = (d2 @ w["layer2.weights"].T) * (1 - h1**2)
by_hand = {"layer1.weights": images.T @ d1, "layer2.weights": h1.T @ d2, "layer3.weights": h2.T @ d3}

loss, gradients = network.loss_and_gradients(images, labels)
{name: float(np.abs(gradient - gradients[name]).max()) for name, gradient in by_hand.items()}

# %% [markdown]
# A correct gradient agrees with the change of the loss when one weight changes a little.

# %%
step, name, index = 1e-6, "layer2.weights", (3, 7)
ends = []
for sign in (1, -1):
    w[name][index] += sign * step
    ends.append(network.loss_and_gradients(images, labels)[0])
    w[name][index] -= sign * step
(ends[0] - ends[1]) / (2 * step), gradients[name][index]

# %% [markdown]
# ## Optimizers
#
# An optimizer updates a weight $w$ from its gradient $g$. Plain SGD computes $w \leftarrow w - \eta g$; the others keep
# state. RMSprop, for example, normalizes steps by a running mean of squared gradients:
#
# $$s \leftarrow \beta s + (1 - \beta) g^2 \qquad w \leftarrow w - \frac{\eta g}{\sqrt{s} + \epsilon}$$
#
# This is the code that both engines run:

# %%
import inspect

print(inspect.getsource(OPTIMIZERS["rmsprop"].update))

# %%
hyperparameters = {
    "sgd": {},
    "rmsprop": {"beta": 0.9, "epsilon": 1e-6},
    "nadam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6},
}
rates = [0.0001, 0.001, 0.01, 0.1, 1.0]
for name, own in hyperparameters.items():
    scores = []
    for rate in rates:
        network = NeuralNetwork([784, 64, 10], activation="ReLU", weight_init="Xavier", seed=0)
        optimizer = OPTIMIZERS[name](learning_rate=rate, **own)
        history = network.fit(data, optimizer=optimizer, epochs=1, batch_size=64, seed=0)
        scores.append(100 * history[0].val_score)
    best = int(np.argmax(scores))
    every = ", ".join(f"{score:.1f}" for score in scores)
    print(f"{name:8} best at {rates[best]:g}: {scores[best]:.1f} % after one epoch (all rates: {every})")

# %% [markdown]
# Each optimizer has its own best learning rate, so at a shared one the comparison would show which optimizer that rate
# suits. With one seed and one epoch, small differences are chance.

# %%
show("question3")

# %% [markdown]
# ## The sweep
#
# `chainrule sweep sweeps/survey.yaml` and `chainrule sweep sweeps/fashion_mnist.yaml` trained the runs of the next
# three answers.

# %%
show("question4")

# %%
show("question5")

# %%
show("question6")

# %%
show("question7")

# %% [markdown]
# ## Two losses
#
# Cross-entropy is $-\log p_y$; squared error on the probabilities is $\frac{1}{2} \sum_k (p_k - y_k)^2$. The gradient
# of the last layer depends on the derivative with respect to $z$. For cross-entropy it is $p - y$. For squared
# error it is multiplied by the Jacobian of the softmax, $\mathrm{diag}(p) - p p^T$:
#
# $$\delta = p \odot \left((p - y) - \sum_j p_j (p_j - y_j)\right)$$
#
# The more confident a wrong prediction ($p_y \to 0$, the probability of one other class $\to 1$), the closer the first
# is to its maximum, and the closer the second to 0:

# %%
y = np.eye(3)[[0]]
for wrong in (0.0, 5.0, 10.0, 15.0):
    z = np.array([[0.0, 0.0, wrong]])
    p = np.exp(z) / np.exp(z).sum()
    cross_entropy = p - y
    squared_error = p * ((p - y) - (p * (p - y)).sum())
    largest = [np.abs(d).max() for d in (cross_entropy, squared_error)]
    print(f"p of the right class {p[0, 0]:.1e}: largest derivative {largest[0]:.3f} and {largest[1]:.1e}")

# %%
show("question8")

# %%
show("question9")

# %%
show("question10")

# %% [markdown]
# ## Summary

# %%
show("summary")
