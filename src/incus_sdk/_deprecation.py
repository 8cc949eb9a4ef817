"""The warning for a name that a later version removes."""

from __future__ import annotations

import warnings


def warn_deprecated(name: str, replacement: str, removed_in: str) -> None:
    """Warn about ``name`` at the line that used it: the call of the function that calls this one."""
    message = f"{name} is deprecated and will be removed in {removed_in}: use {replacement}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
