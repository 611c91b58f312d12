"""The cache folder: downloads and machine code."""

from __future__ import annotations

import os
from pathlib import Path

from chainrule.core.errors import ConfigError

__all__ = ["cache_folder"]


def cache_folder(purpose: str) -> Path:
    """`<cache>/<purpose>`, where <cache> is CHAINRULE_CACHE_DIR or the user's cache folder. It may not exist.

    Raises:
        ConfigError: CHAINRULE_CACHE_DIR starts with `~` and an unknown user name.
    """
    if environment := os.environ.get("CHAINRULE_CACHE_DIR"):
        try:
            return Path(environment).expanduser() / purpose
        except RuntimeError as error:
            raise ConfigError(
                f"CHAINRULE_CACHE_DIR {environment} is in no known home folder: there is no such user. "
                "Set it to a path without `~`."
            ) from error
    import platformdirs

    return Path(platformdirs.user_cache_dir("chainrule")) / purpose
