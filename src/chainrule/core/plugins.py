"""Plugins: Python files of the user that register parts."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

from chainrule.core.errors import ChainruleError, ConfigError

__all__ = ["load_plugin"]


def load_plugin(path: Path | str) -> None:
    """Execute a plugin file, once per process.

    Args:
        path: a Python file, for example one with a class under `@OPTIMIZERS.register("mine")`. It runs with all
            permissions of the user: load only files that you trust.

    Raises:
        ConfigError: the file is missing or raises; the message gives the line and the reason.
    """
    try:
        resolved = Path(path).resolve()
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # a symlink loop, a null byte
        raise ConfigError(f"The plugin {str(path)!r} is not a valid path: {error}.") from error
    name = f"chainrule_plugin_{resolved.stem}_{abs(hash(str(resolved))):x}"
    if name in sys.modules:
        return
    if not resolved.is_file() or resolved.suffix != ".py":
        raise ConfigError(f"The plugin {path} must be an existing Python file that ends in .py.")
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise ConfigError(f"The plugin {path} cannot be loaded as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    # Not only Exception: sys.exit() in a plugin would end the program silently, perhaps with status 0.
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(resolved)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
        reason = str(error) if isinstance(error, ChainruleError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"The plugin {path} failed{f' in line {line}' if line else ''}: {reason}") from error
