"""The papers, a folder each. `polarity_lib.registry` says what a folder may hold and how it is found."""

from polarity_lib.registry import Paper

__all__ = ["Paper"]
