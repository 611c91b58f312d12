"""Optimizers: how a gradient becomes a step, sorted from simple to complex.

Each class is one rule. Its docstring gives the formula with w = `weight`, g = `gradient` (clipped, and with the L2 term
added, by the base class) and the class's own hyperparameters under their names. `update` is that formula: it returns
what is subtracted from w, and the new slots. Slots start at 0. What `slots`, `scalars`, `prepare` and `update` mean:
optimizer.py.

Adding one: docs/adding-an-optimizer.md.
"""

from __future__ import annotations

import numpy as np

from chainrule.core.fields import Float
from chainrule.nn.parameters import Array
from chainrule.optim.optimizer import OPTIMIZERS, Optimizer

__all__ = ["NAG", "OPTIMIZERS", "SGD", "AdaGrad", "Adam", "Eve", "Lion", "Momentum", "Nadam", "RAdam", "RMSprop"]

# Hyperparameters that several rules share are declared once, here.
# Rules whose steps grow with the gradient take longer ones by default than rules that divide by its size.
PLAIN_LEARNING_RATE = Float(0.01, "learning rate", flag="-lr", gt=0)
MOMENTUM = Float(0.9, "share of the velocity kept from step to step", flag="-m", ge=0, lt=1)
BETA1 = Float(0.9, "decay of the mean of gradients", flag="-beta1", ge=0, lt=1)
BETA2 = Float(0.999, "decay of the mean of squared gradients", flag="-beta2", ge=0, lt=1)
EPSILON = Float(0.00000001, "added to a root of mean squares before dividing by it", flag="-eps", ge=1e-30)


def correct_bias(t: int, beta1: float, beta2: float) -> tuple[float, float]:
    """1 - beta1**t and 1 - beta2**t, by which the two means are divided because they start at 0."""
    return 1 - beta1**t, 1 - beta2**t


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent: downhill, in proportion to the slope.

        w <- w - learning_rate * g

    Reference: Robbins and Monro, "A Stochastic Approximation Method" (1951).

    >>> w = {"w": np.array([1.0])}
    >>> SGD(learning_rate=0.5).step(w, {"w": np.array([0.5])})
    >>> w["w"]
    array([0.75])
    """

    learning_rate = PLAIN_LEARNING_RATE

    @staticmethod
    def update(gradient: Array, learning_rate: float) -> Array:
        """The step."""
        return learning_rate * gradient


@OPTIMIZERS.register("momentum")
class Momentum(Optimizer):
    """Gather speed: a velocity b sums up past gradients, so steps grow where gradients agree and cancel where not.

        b <- momentum * b + g
        w <- w - learning_rate * b

    The learning rate stays outside the velocity (as in PyTorch; Keras and scikit-learn put it inside, which differs
    once the learning rate changes). Reference: Polyak (1964).
    """

    learning_rate = PLAIN_LEARNING_RATE
    momentum = MOMENTUM
    slots = ("velocity",)

    @staticmethod
    def update(gradient: Array, velocity: Array, learning_rate: float, momentum: float) -> tuple[Array, Array]:
        """The step and the new velocity."""
        velocity = momentum * velocity + gradient
        return learning_rate * velocity, velocity


@OPTIMIZERS.register("nag", aliases=("nesterov",))
class NAG(Optimizer):
    """Nesterov's accelerated gradient: momentum whose gradient is taken where the velocity is about to lead.

        b <- momentum * b + g
        w <- w - learning_rate * (g + momentum * b)

    This is the re-parametrised form (PyTorch, scikit-learn, Keras): the stored w is the look-ahead point itself, so the
    gradient needs no second place to be taken at (docs/maths.md proves it).
    Reference: Nesterov (1983); Sutskever et al. (2013).
    """

    learning_rate = PLAIN_LEARNING_RATE
    momentum = MOMENTUM
    slots = ("velocity",)

    @staticmethod
    def update(gradient: Array, velocity: Array, learning_rate: float, momentum: float) -> tuple[Array, Array]:
        """The step and the new velocity."""
        velocity = momentum * velocity + gradient
        return learning_rate * (gradient + momentum * velocity), velocity


@OPTIMIZERS.register("adagrad")
class AdaGrad(Optimizer):
    """Divide each step by the root of the sum of all squared gradients so far: rare features keep long steps.

        s <- s + g**2
        w <- w - learning_rate * g / (sqrt(s) + epsilon)

    Reference: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning" (2011).
    """

    learning_rate = PLAIN_LEARNING_RATE
    epsilon = EPSILON
    slots = ("square",)

    @staticmethod
    def update(gradient: Array, square: Array, learning_rate: float, epsilon: float) -> tuple[Array, Array]:
        """The step and the new sum of squares."""
        square = square + gradient * gradient
        return learning_rate * gradient / (np.sqrt(square) + epsilon), square


@OPTIMIZERS.register("rmsprop")
class RMSprop(Optimizer):
    """Divide each step by a running root mean square of the gradient: steep directions get shorter steps.

        s <- beta * s + (1 - beta) * g**2
        w <- w - learning_rate * g / (sqrt(s) + epsilon)

    `epsilon` is outside the root (as in PyTorch; Keras puts it inside). s starts at 0 and is not corrected for that (as
    it is in Adam below), so the first step is against the sign of g and, unless |g| is near epsilon, of the length
    learning_rate / sqrt(1 - beta).
    Reference: Hinton, "Neural Networks for Machine Learning", lecture 6e (2012).
    """

    beta = Float(0.9, "decay of the mean of squared gradients", flag="-beta", ge=0, lt=1)
    epsilon = EPSILON
    slots = ("square",)

    @staticmethod
    def update(
        gradient: Array, square: Array, learning_rate: float, beta: float, epsilon: float
    ) -> tuple[Array, Array]:
        """The step and the new mean square."""
        square = beta * square + (1 - beta) * gradient * gradient
        return learning_rate * gradient / (np.sqrt(square) + epsilon), square


@OPTIMIZERS.register("adam")
class Adam(Optimizer):
    """Momentum and RMSprop together, each corrected for having started at 0.

        m <- beta1 * m + (1 - beta1) * g             mhat = m / (1 - beta1**t)
        v <- beta2 * v + (1 - beta2) * g**2          vhat = v / (1 - beta2**t)
        w <- w - learning_rate * mhat / (sqrt(vhat) + epsilon)

    Algorithm 1 of the paper, not the "epsilon hat" form of its section 2 that Keras and scikit-learn use.
    Reference: Kingma and Ba, arXiv 1412.6980 (2014).
    """

    beta1 = BETA1
    beta2 = BETA2
    epsilon = EPSILON
    slots = ("mean", "square")
    scalars = ("mean_correction", "square_correction")

    prepare = staticmethod(correct_bias)

    @staticmethod
    def update(
        gradient: Array, mean: Array, square: Array, learning_rate: float, beta1: float, beta2: float,
        epsilon: float, mean_correction: float, square_correction: float,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """The step, the new mean and the new mean square."""
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient * gradient
        step = learning_rate * (mean / mean_correction) / (np.sqrt(square / square_correction) + epsilon)
        return step, mean, square


@OPTIMIZERS.register("nadam")
class Nadam(Optimizer):
    """Adam with Nesterov's look-ahead: the newest gradient counts once more than in Adam's mean.

        m, v, mhat, vhat as in Adam
        w <- w - learning_rate * (beta1 * mhat + (1 - beta1) * g / (1 - beta1**t)) / (sqrt(vhat) + epsilon)

    The simple form, with one beta1 and one bias correction for all; PyTorch and Keras let beta1 grow on a schedule and
    correct the first part for the step to come, and differ from this.
    Reference: Dozat, "Incorporating Nesterov Momentum into Adam" (2016).
    """

    beta1 = BETA1
    beta2 = BETA2
    epsilon = EPSILON
    slots = ("mean", "square")
    scalars = ("mean_correction", "square_correction")

    prepare = staticmethod(correct_bias)

    @staticmethod
    def update(
        gradient: Array, mean: Array, square: Array, learning_rate: float, beta1: float, beta2: float,
        epsilon: float, mean_correction: float, square_correction: float,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """The step, the new mean and the new mean square."""
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient * gradient
        ahead = (beta1 * mean + (1 - beta1) * gradient) / mean_correction
        return learning_rate * ahead / (np.sqrt(square / square_correction) + epsilon), mean, square


@OPTIMIZERS.register("eve")
class Eve(Optimizer):
    """Adam whose step shrinks while the loss jumps about and grows while it changes little.

        d = |f - f_last| / (min(f, f_last) - loss_floor), clipped to [1/c, c], c = change_limit; c if divided by <= 0
        D <- beta3 * D + (1 - beta3) * d             (D = 1 in the first step)
        w <- w - (learning_rate / D) * mhat / (sqrt(vhat) + epsilon)

    with m, v, mhat, vhat as in Adam, f the batch's loss and f_last that of the step before.
    Reference: Hayashi, Koushik and Neubig, "Eve: A Gradient Based Optimization Method with Locally and Globally
    Adaptive Learning Rates", arXiv 1611.01505 (version 3, 2018).
    """

    beta1 = BETA1
    beta2 = BETA2
    beta3 = Float(0.999, "decay of the mean of relative loss changes", flag="-beta3", ge=0, lt=1)
    change_limit = Float(10.0, "upper limit of relative loss changes; the lower one is 1 / change_limit", ge=1)
    loss_floor = Float(0.0, "the lowest loss thought possible", ge=0)
    epsilon = EPSILON
    slots = ("mean", "square")
    scalars = ("mean_correction", "square_correction", "distance", "last_loss")

    @staticmethod
    def prepare(
        t: int, loss: float, last_loss: float, distance: float, beta1: float, beta2: float, beta3: float,
        change_limit: float, loss_floor: float,
    ) -> tuple[float, float, float, float]:  # fmt: skip
        """The bias corrections, D and the loss to compare the next one with."""
        if t == 1:
            distance = 1.0
        else:
            room = min(loss, last_loss) - loss_floor
            change = abs(loss - last_loss) / room if room > 0 else change_limit
            distance = beta3 * distance + (1 - beta3) * min(max(change, 1 / change_limit), change_limit)
        return 1 - beta1**t, 1 - beta2**t, distance, loss

    @staticmethod
    def update(
        gradient: Array, mean: Array, square: Array, learning_rate: float, beta1: float, beta2: float,
        epsilon: float, mean_correction: float, square_correction: float, distance: float,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """The step, the new mean and the new mean square."""
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient * gradient
        step = learning_rate / distance * (mean / mean_correction) / (np.sqrt(square / square_correction) + epsilon)
        return step, mean, square


@OPTIMIZERS.register("radam")
class RAdam(Optimizer):
    """Adam that starts as momentum, until there are enough squared gradients for their mean to be trusted.

        m, v, mhat as in Adam
        r_inf = 2 / (1 - beta2) - 1,  r = r_inf - 2 t beta2**t / (1 - beta2**t)
        w <- w - learning_rate * mhat * c * sqrt(1 - beta2**t) / (sqrt(v) + epsilon)    if r > 5, with
             c = sqrt((r - 4) (r - 2) r_inf / ((r_inf - 4) (r_inf - 2) r))
        w <- w - learning_rate * mhat                                                   else

    `epsilon` is added before the correction of v, as in PyTorch. Reference: Liu et al., arXiv 1908.03265 (2019).
    """

    beta1 = BETA1
    beta2 = BETA2
    epsilon = EPSILON
    slots = ("mean", "square")
    scalars = ("mean_correction", "rectification")

    @staticmethod
    def prepare(t: int, beta1: float, beta2: float) -> tuple[float, float]:
        """1 - beta1**t, and c sqrt(1 - beta2**t); 0 for the latter while r is 5 or less."""
        power = beta2**t
        r_inf = 2 / (1 - beta2) - 1
        r = r_inf - 2 * t * power / (1 - power)
        c = (r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r) if r > 5 else 0.0
        return 1 - beta1**t, (c * (1 - power)) ** 0.5

    @staticmethod
    def update(
        gradient: Array, mean: Array, square: Array, learning_rate: float, beta1: float, beta2: float,
        epsilon: float, mean_correction: float, rectification: float,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """The step, the new mean and the new mean square."""
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient * gradient
        step = learning_rate * (mean / mean_correction)
        return np.where(rectification > 0, step * (rectification / (np.sqrt(square) + epsilon)), step), mean, square


@OPTIMIZERS.register("lion")
class Lion(Optimizer):
    """Steps of equal length for every weight: only the sign of a mean of gradients counts.

        w <- w - learning_rate * sign(beta1 * m + (1 - beta1) * g)
        m <- beta2 * m + (1 - beta2) * g

    Its learning rate is about a tenth of Adam's, and its weight decay, which is usually decoupled, about ten times
    Adam's. Reference: Chen et al., arXiv 2302.06675 (2023).
    """

    learning_rate = Float(0.0001, "learning rate", flag="-lr", gt=0)
    beta1 = BETA1
    beta2 = Float(0.99, "decay of the mean of gradients that is kept", flag="-beta2", ge=0, lt=1)
    slots = ("mean",)

    @staticmethod
    def update(gradient: Array, mean: Array, learning_rate: float, beta1: float, beta2: float) -> tuple[Array, Array]:
        """The step and the new mean."""
        return learning_rate * np.sign(beta1 * mean + (1 - beta1) * gradient), beta2 * mean + (1 - beta2) * gradient
