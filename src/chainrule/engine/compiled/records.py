"""The records by which a thread knows its part of a step. workspace.py fills them, step.py reads them.

All fields are int64: numbers, addresses of first elements, and strides, the distance in bytes between two rows.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LAYER", "THREAD"]

# One dense layer as one thread sees it. The inputs, z and delta of a thread are its rows of the batch (data parallel),
# or all rows and its columns (tensor parallel).
LAYER = np.dtype(
    [
        (name, np.int64)
        for name in (
            "fan_in",
            "fan_out",
            "weights",  # address of (fan_in, fan_out), contiguous
            "biases",  # address of (fan_out,)
            "offset",  # of the weights in the flat parameter array, in elements
            "bias_offset",
            "inputs",  # address of what the forward pass multiplies with the weights
            "inputs_stride",
            "z",  # address of this thread's z, contiguous; the activation writes a to the next layer's inputs
            "delta",  # address of this thread's rows of dL/dz
            "delta_stride",
            "transposed",  # address of a transpose of the weights, for the backward pass; 0 in the first layer
            "transposed_stride",
            "transposed_first",  # the row of the weights that is the transpose's first column
            "first_row",  # the rows of the weights that this thread updates, [first_row, last_row)
            "last_row",
            "block_rows",  # rows updated at a time, so that gradient, weights and slots stay in the first-level cache
            "gradient_inputs",  # address of the inputs of the whole batch, columns [first_row, last_row)
            "gradient_inputs_stride",
            "batch_delta",  # address of delta of the whole batch
            "first_bias",  # the biases that this thread updates, [first_bias, last_bias)
            "last_bias",
            "partials",  # tensor parallel: address of the partial sums of z, (blocks, rows, fan_out)
            "blocks",  # tensor parallel: number of blocks that the products cut fan_in into
            "first_block",  # tensor parallel: the blocks that this thread computes, [first_block, last_block)
            "last_block",
            "first_square",  # the layer's first row in the squares of all rows of weights
            # Batch normalization; all 0 in a layer without.
            "scales",  # address of (fan_out,)
            "scale_offset",
            "running_mean",  # addresses of (fan_out,): updated in each step, for predictions
            "running_variance",
            "mean",  # addresses of (fan_out,): of the batch
            "inverse",  # 1 / sqrt(variance + epsilon)
            "biases_slope",  # dL/dbias
            "scales_slope",  # dL/dscale
            "zhat",  # address of this thread's normalized z, laid out like z
            "first_column",  # the columns whose means this thread computes, [first_column, last_column)
            "last_column",
            "batch_z",  # address of these columns of z of the whole batch, and of zhat
            "batch_zhat",
            "z_stride",
        )
    ],
    align=True,
)

# What does not depend on a layer.
THREAD = np.dtype(
    [
        (name, np.int64)
        for name in (
            "threads",  # in the team
            "rows",  # samples of a step
            "first_sample",  # the samples of the step whose loss this thread computes, [first_sample, last_sample)
            "last_sample",
            "features",  # columns of the samples
            "first_gathered",  # the samples of the step that this thread gathers, and the columns of them
            "last_gathered",
            "first_column",
            "last_column",
            "barrier",  # address of the counter of arrivals; the word after it is set to 1 when a thread has failed
            "losses",  # address of the losses of the step's samples, (rows,) float64
            "scores",  # address of their scores, (rows,) float64
            "loss_constants",  # address of the hyperparameters of the loss
            "targets",  # address of this thread's targets: labels, int64, or numbers
            "target_words",  # words of 4 bytes that a sample's targets have
            "weights",  # address of this thread's weights of samples
            "all_weights",  # address of the weights of all samples; 0 if they are equal
            "gradient",  # address of the gradient of one block of rows
            "ones",  # address of (1, rows) ones
            "zeros",  # address of zeros, as many as the widest layer has neurons
            "indices",  # address of a buffer for nonzero indices; 0 if the samples hold few zeros
            "updates",  # calls of the update kernel in a step
            "slots",  # address of the addresses of the optimizer's slots
            "gradients",  # address of the whole gradient, laid out like the parameters; 0 unless its norm is needed
            "squares",  # address of the sum of squares of the gradients of each row of weights, float64
            "rows_of_weights",  # in all layers
            "others",  # address of the gradients that follow those of the weights
            "other_parameters",  # biases and scales, which follow the weights
            "shrink",  # index of the factor that scales the gradients down, among the constants of `update`
            "augmentation",  # address of the settings of the augmentation of images; 0 without
            "scratch",  # address of what `Augmenter.make_scratch` returns
            "seed",  # of dropout and augmentation
            "dropped",  # of 2**32 random values, how many leave a hidden unit out
            "inputs_dropped",  # the same of an input
        )
    ],
    align=True,
)
