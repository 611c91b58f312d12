"""The arrays that the threads of a step work on, and the records that describe each thread's part of them.

A `Plan` is made once for a network, a number of rows and a number of threads, and says how the threads share the work.
No number that they compute depends on it.

Data parallel: each thread goes forward and backward with its part of the batch; then each computes the gradients of its
part of the weights over the whole batch. The threads meet at least twice a step, but each reads all weights, most of
which others have just changed, so they travel from core to core.

Tensor parallel: each thread keeps the same neurons of every layer: their part of z, a and delta, and the weights that
lead out of them. Weights never travel; partial sums do, and the threads meet twice a layer. That is better for small
batches, as long as each layer's product has a block for every thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chainrule.engine.compiled.products import index_buffer_size, split_blocks
from chainrule.engine.compiled.records import LAYER, THREAD
from chainrule.engine.compiled.step import LARGE
from chainrule.nn.parameters import Array, ParameterDict, aligned_zeros

__all__ = ["Plan", "plan_evaluation", "plan_training", "spaced_zeros"]

# Weights whose gradient is computed before they are updated: sized so that they, the gradient and the optimizer's slots
# stay in the first-level cache.
_BLOCK = 8192
# Larger blocks where the deltas of a batch do not fit into the second-level cache and are read again for every block.
_LARGE_BLOCK = 32768
# Rows of a block are a multiple of this, so that whole vector blocks are transposed.
_BLOCK_ROWS = 16
_CACHE_LINE = 64
# Rows up to which tensor parallelism pays: the partial sums that travel are fewer than the weights that would.
_FEW_ROWS = 64


@dataclass
class Plan:
    """How a team of threads shares a step.

    Attributes:
        threads: for each thread its record, (1,) THREAD.
        layers: for each thread its records of the layers, (depth,) LAYER.
        rows: samples of a step.
        tensor_parallel: whether the threads share neurons instead of samples.
        barrier: the counter of arrivals, and whether a thread failed.
        transposes: pairs of weights and their transpose, which must be equal when steps start; the steps keep them so.
    """

    threads: list[NDArray[np.void]]
    layers: list[NDArray[np.void]]
    rows: int
    tensor_parallel: bool
    barrier: NDArray[np.int64]
    transposes: list[tuple[Array, Array]]
    # The records hold addresses, which do not keep their arrays alive.
    arrays: list[Any] = field(repr=False)


def plan_training(
    parameters: ParameterDict, slots: Sequence[Array], rows: int, threads: int, *, sparse: bool, keep_gradients: bool
) -> Plan:
    """Plan a training step.

    Args:
        parameters: read and updated.
        slots: the optimizer's slots, each as flat as the parameters.
        rows: samples of a step.
        threads: in the team.
        sparse: whether the samples hold many zeros. It only matters to the time.
        keep_gradients: whether all gradients are computed before the first update, which needs their norm.
    """
    planner = _Planner(parameters, slots, rows, threads, sparse=sparse, training=True, keep_gradients=keep_gradients)
    tensor_parallel = _use_tensor_parallel(parameters, rows, threads)
    return planner.plan_tensor_parallel() if tensor_parallel else planner.plan_data_parallel()


def plan_evaluation(parameters: ParameterDict, rows: int, threads: int, *, sparse: bool) -> Plan:
    """Plan the forward pass of `rows` samples at a time."""
    return _Planner(parameters, (), rows, threads, sparse=sparse, training=False).plan_data_parallel()


def spaced_zeros(rows: int, columns: int, dtype: DTypeLike) -> Array:
    """Zeros whose row stride is no multiple of 1 KiB: such rows would compete for a few lines of the cache."""
    line = _CACHE_LINE // np.dtype(dtype).itemsize
    gap = line if columns * np.dtype(dtype).itemsize % 1024 == 0 else 0
    return aligned_zeros((rows, columns + gap), dtype)[:, :columns]


def _use_tensor_parallel(parameters: ParameterDict, rows: int, threads: int) -> bool:
    """Whether sharing neurons is faster than sharing samples."""
    enough = all(len(split_blocks(size)) >= threads for size in parameters.sizes[:-1])
    return threads > 1 and rows <= _FEW_ROWS and enough


def _share(length: int, thread: int, threads: int) -> slice:
    """The part of `length` that belongs to a thread."""
    return slice(length * thread // threads, length * (thread + 1) // threads)


class _Normalization:
    """The arrays of one layer's batch normalization.

    Attributes:
        arrays: by the name of the field that holds their address, (h,) each.
        z: of the whole batch, (rows, h), which the threads share if they share the samples.
        zhat: the same normalized.
    """

    def __init__(self, scales: Array, mean: Array, variance: Array, rows: int) -> None:
        self.arrays = {"scales": scales, "running_mean": mean, "running_variance": variance}
        for name in ("mean", "inverse", "biases_slope", "scales_slope"):
            self.arrays[name] = aligned_zeros(scales.size, scales.dtype)
        self.z, self.zhat = (aligned_zeros((rows, scales.size), scales.dtype) for _ in range(2))


class _Planner:
    """Allocates the shared arrays and fills the records, for either way of sharing."""

    def __init__(
        self,
        parameters: ParameterDict,
        slots: Sequence[Array],
        rows: int,
        threads: int,
        *,
        sparse: bool,
        training: bool,
        keep_gradients: bool = False,
    ) -> None:
        self._sizes, self._dtype = parameters.sizes, parameters.flat.dtype
        self._flat, self._rows, self._threads, self._training = parameters.flat, rows, threads, training
        layers = parameters.by_layer()
        self._matrices = [(layer["weights"], layer["biases"]) for layer in layers]
        self._normalizations = [
            _Normalization(layer["scales"], buffers["mean"], buffers["variance"], rows) if buffers else None
            for layer, buffers in zip(layers, parameters.buffers_by_layer(), strict=True)
        ]
        self._arrays: list[Any] = [parameters, slots]
        self._transposes: list[tuple[Array, Array]] = []
        self._barrier = np.zeros(_CACHE_LINE // 8, np.int64)
        hidden = [spaced_zeros(rows, size, self._dtype) for size in self._sizes[1:-1]]
        self._delta = [*hidden, aligned_zeros((rows, self._sizes[-1]), self._dtype)]
        self._logits = aligned_zeros((rows, self._sizes[-1]), self._dtype)
        self._losses, self._scores = np.zeros(rows), np.zeros(rows)
        self._ones, self._zeros = np.ones((1, rows), self._dtype), aligned_zeros(max(self._sizes), self._dtype)
        n_rows, n_gradients = (sum(self._sizes[:-1]), self._flat.size) if keep_gradients else (0, 0)
        self._squares, self._gradients = np.zeros(n_rows), aligned_zeros(n_gradients, self._dtype)
        self._n_others = parameters.flat_biases.size
        self._slots = np.array([slot.ctypes.data for slot in slots] or [0], np.int64)
        large = max(delta.nbytes for delta in self._delta) > LARGE
        self._block = _LARGE_BLOCK if large else _BLOCK
        # A product lists nonzero indices for each tile of its left operand's rows: rows of the batch, or of a block.
        block_rows = max(1, self._block // self._sizes[1] // _BLOCK_ROWS) * _BLOCK_ROWS
        self._index_size = index_buffer_size(max(rows, block_rows), str(self._dtype)) if sparse else 0

    def plan_data_parallel(self) -> Plan:
        """Each thread has its rows of the batch."""
        inputs = [aligned_zeros((self._rows, size), self._dtype) for size in self._sizes[:-1]]
        transposed: list[Array | None] = [None]
        for weights, _ in self._matrices[1:]:
            transposed.append(self._add_transpose(weights) if self._training else None)
        threads, layers = [], []
        for number in range(self._threads):
            own = _share(self._rows, number, self._threads)
            records = self._describe_layers(number)
            for layer, (record, (weights, biases)) in enumerate(zip(records, self._matrices, strict=True)):
                last = layer == len(self._matrices) - 1
                rows = _share(len(weights), number, self._threads)
                normalization = self._normalizations[layer]
                z = self._logits[own] if last else self._allocate(own.stop - own.start, biases.size)
                if normalization:
                    z = normalization.z[own]
                    columns = _share(biases.size, number, self._threads)
                    self._describe_normalization(
                        record, normalization, columns, normalization.zhat[own], normalization.z, normalization.zhat
                    )
                self._point(record, "inputs", inputs[layer][own])
                self._point(record, "delta", self._delta[layer][own])
                self._point(record, "gradient_inputs", inputs[layer][:, rows])
                record["z"] = z.ctypes.data
                record["first_row"], record["last_row"] = rows.start, rows.stop
                transpose = transposed[layer]
                if transpose is not None:
                    # The backward pass multiplies with the whole transpose, the update writes this thread's columns.
                    self._point(record, "transposed", transpose)
            layers.append(records)
            threads.append(self._describe_thread(number, records, own, slice(0, self._sizes[0])))
        return self._finish(threads, layers, inputs, tensor_parallel=False)

    def plan_tensor_parallel(self) -> Plan:
        """Each thread has its columns of every layer's inputs, for all rows of the batch."""
        sizes, rows = self._sizes, self._rows
        # The partial sums of two layers in turn: a thread that is a layer ahead must not overwrite what another reads.
        largest = max(len(split_blocks(fan_in)) * rows * fan_out for fan_in, fan_out in itertools.pairwise(sizes))
        partials = [aligned_zeros(largest, self._dtype) for _ in range(2)]
        threads, layers = [], []
        for number in range(self._threads):
            kept = []
            for size in sizes[:-1]:
                blocks = split_blocks(size)
                own = _share(len(blocks), number, self._threads)
                kept.append((own, slice(blocks[own.start].start, blocks[own.stop - 1].stop)))
            inputs = [self._allocate(rows, neurons.stop - neurons.start) for _, neurons in kept]
            samples = _share(rows, number, self._threads)
            records = self._describe_layers(number)
            for layer, (record, (weights, _)) in enumerate(zip(records, self._matrices, strict=True)):
                own, neurons = kept[layer]
                last = layer == len(self._matrices) - 1
                normalization = self._normalizations[layer]
                z = self._logits[samples] if last else self._allocate(*inputs[layer + 1].shape)
                if normalization:
                    zhat, columns = self._allocate(*z.shape), kept[layer + 1][1]
                    self._describe_normalization(record, normalization, columns, zhat, z, zhat)
                self._point(record, "inputs", inputs[layer])
                self._point(record, "gradient_inputs", inputs[layer])
                self._point(record, "delta", self._delta[layer])
                record["z"] = z.ctypes.data
                record["first_row"], record["last_row"] = neurons.start, neurons.stop
                record["partials"], record["blocks"] = partials[layer % 2].ctypes.data, len(split_blocks(len(weights)))
                record["first_block"], record["last_block"] = own.start, own.stop
                if layer:
                    self._point(record, "transposed", self._add_transpose(weights[neurons]))
                    record["transposed_first"] = neurons.start
            layers.append(records)
            threads.append(self._describe_thread(number, records, slice(0, rows), kept[0][1]))
            threads[-1]["first_sample"], threads[-1]["last_sample"] = samples.start, samples.stop
        return self._finish(threads, layers, partials, tensor_parallel=True)

    def _describe_layers(self, thread: int) -> NDArray[np.void]:
        """Records of the layers with what both ways of sharing have in common."""
        records, first_square = np.zeros(len(self._matrices), LAYER), 0
        for record, delta, (weights, biases) in zip(records, self._delta, self._matrices, strict=True):
            record["fan_in"], record["fan_out"] = weights.shape
            record["weights"], record["biases"] = weights.ctypes.data, biases.ctypes.data
            record["offset"] = (weights.ctypes.data - self._flat.ctypes.data) // weights.itemsize
            record["bias_offset"] = (biases.ctypes.data - self._flat.ctypes.data) // biases.itemsize
            record["block_rows"] = max(1, self._block // biases.size // _BLOCK_ROWS) * _BLOCK_ROWS
            record["batch_delta"] = delta.ctypes.data
            record["first_square"], first_square = first_square, first_square + len(weights)
            own = _share(biases.size, thread, self._threads)
            record["first_bias"], record["last_bias"] = own.start, own.stop
        return records

    def _describe_normalization(
        self, record: Any, normalization: _Normalization, columns: slice, zhat: Array, batch_z: Array, batch_zhat: Array
    ) -> None:
        """Fill the fields of a normalized layer.

        Args:
            record: of the layer.
            normalization: its arrays.
            columns: those whose means the thread computes.
            zhat: the thread's part.
            batch_z: z of the whole batch: of all columns, or of these.
            batch_zhat: zhat likewise.
        """
        for name, array in normalization.arrays.items():
            record[name] = array.ctypes.data
        scales = normalization.arrays["scales"]
        record["scale_offset"] = (scales.ctypes.data - self._flat.ctypes.data) // scales.itemsize
        record["first_column"], record["last_column"] = columns.start, columns.stop
        record["zhat"], record["z_stride"] = zhat.ctypes.data, batch_z.strides[0]
        first = columns.start * scales.itemsize if batch_z.shape[1] == scales.size else 0
        record["batch_z"], record["batch_zhat"] = batch_z.ctypes.data + first, batch_zhat.ctypes.data + first

    def _describe_thread(
        self, number: int, layers: NDArray[np.void], gathered: slice, columns: slice
    ) -> NDArray[np.void]:
        """The record of a thread that gathers these samples of a step, and these columns of them."""
        thread = np.zeros(1, THREAD)
        record = thread[0]
        record["threads"], record["rows"], record["features"] = self._threads, self._rows, self._sizes[0]
        record["first_sample"], record["last_sample"] = gathered.start, gathered.stop
        record["first_gathered"], record["last_gathered"] = gathered.start, gathered.stop
        record["first_column"], record["last_column"] = columns.start, columns.stop
        record["barrier"] = self._barrier.ctypes.data
        record["losses"], record["scores"] = self._losses.ctypes.data, self._scores.ctypes.data
        # A label has 8 bytes, as any target of a float64 network.
        record["targets"] = self._keep(np.zeros((self._rows, self._sizes[-1]), np.int64)).ctypes.data
        record["weights"] = self._allocate(1, self._rows).ctypes.data
        gradient = aligned_zeros(max(self._block, _BLOCK_ROWS * max(self._sizes)), self._dtype)
        record["gradient"] = self._keep(gradient).ctypes.data
        record["ones"], record["zeros"] = self._ones.ctypes.data, self._zeros.ctypes.data
        record["slots"] = self._slots.ctypes.data
        if self._gradients.size:
            record["gradients"], record["squares"] = self._gradients.ctypes.data, self._squares.ctypes.data
            record["others"] = self._gradients[self._flat.size - self._n_others :].ctypes.data
            record["rows_of_weights"], record["other_parameters"] = self._squares.size, self._n_others
        if self._index_size:
            record["indices"] = self._keep(np.zeros(self._index_size, np.int32)).ctypes.data
        blocks = -(-(layers["last_row"] - layers["first_row"]) // layers["block_rows"])
        record["updates"] = blocks.sum() + np.count_nonzero(layers["last_bias"] > layers["first_bias"])
        return thread

    def _finish(
        self,
        threads: list[NDArray[np.void]],
        layers: list[NDArray[np.void]],
        arrays: list[Array],
        *,
        tensor_parallel: bool,
    ) -> Plan:
        shared = [
            self._delta,
            self._logits,
            self._losses,
            self._scores,
            self._ones,
            self._zeros,
            self._slots,
            self._normalizations,
        ]
        self._arrays += [*shared, self._squares, self._gradients, *arrays]
        return Plan(threads, layers, self._rows, tensor_parallel, self._barrier, self._transposes, self._arrays)

    def _allocate(self, rows: int, columns: int) -> Array:
        """An array of one thread's own."""
        array: Array = self._keep(aligned_zeros((rows, columns), self._dtype))
        return array

    def _add_transpose(self, weights: Array) -> Array:
        """An array for the transpose of some weights, (h, n) for (n, h)."""
        transpose = spaced_zeros(weights.shape[1], weights.shape[0], weights.dtype)
        self._transposes.append((weights, transpose))
        return transpose

    def _keep(self, array: Any) -> Any:
        self._arrays.append(array)
        return array

    @staticmethod
    def _point(record: Any, name: str, array: Array) -> None:
        """Store an array's address and its row stride."""
        record[name], record[f"{name}_stride"] = array.ctypes.data, array.strides[0]
