"""A page to review suspicious labels in a browser, and the way back from its decisions to labels."""

from .decisions import apply_decisions
from .page import save_review

__all__ = ["apply_decisions", "save_review"]
