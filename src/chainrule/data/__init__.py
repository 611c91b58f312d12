"""Datasets: where they come from, how they are verified, split and scaled."""

from chainrule.data import builtin as _builtin  # noqa: F401  (importing it registers the datasets)
from chainrule.data.dataset import DATASETS, Dataset, RawDataset, load_dataset, load_raw_dataset

__all__ = ["DATASETS", "Dataset", "RawDataset", "load_dataset", "load_raw_dataset"]
