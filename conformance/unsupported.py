"""Where `unsupported` is documented to be found; it is the harness's."""

from harness.unsupported import Unsupported, unsupported

__all__ = ["Unsupported", "unsupported"]
