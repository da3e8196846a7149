"""A view that this export has no data for."""


class ImpossibleViewError(ValueError):
    """Raised when an export lacks what a view shows; its text says what."""
