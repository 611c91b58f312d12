"""Datasets: where they come from, how they are verified, split and scaled."""

from chainrule.data import builtin as _builtin  # noqa: F401  (importing it registers the datasets)
from chainrule.data.dataset import DATASETS, Dataset, Samples, load_dataset, read_samples

__all__ = ["DATASETS", "Dataset", "Samples", "load_dataset", "read_samples"]
