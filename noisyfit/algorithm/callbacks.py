"""scikit-learn's callbacks where the installed version has them (1.9 and later), nothing where it has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CallbackSupportMixin", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # pragma: no cover - scikit-learn before 1.9

    class _NoCallbacks:
        """Stands in for a callback context that nobody listens to."""

        def subcontext(self, **kwargs: Any) -> _NoCallbacks:
            return self

        def call_on_fit_task_begin(self, **kwargs: Any) -> _NoCallbacks:
            return self

        def call_on_fit_task_end(self, **kwargs: Any) -> bool:
            return False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Offers the one method that `fit` uses."""

        def _init_callback_context(self, **kwargs: Any) -> _NoCallbacks:
            return _NoCallbacks()

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Give the method as it is."""
        return method
