"""What can be wrong with a run, each as the builtin it refines."""


class NotARunError(ValueError):
    """Raised when a path is no run, or one that this version cannot read."""


# What h5py raises on damaged bytes, besides OSError: its checks are of many kinds.
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)


class NotInRunError(KeyError):
    """Raised when a run does not hold what was asked for."""

    def __str__(self) -> str:
        # KeyError would put the message in quotes.
        return str(self.args[0])


class RunExistsError(FileExistsError):
    """Raised when a new run would replace, or write beside, another one."""
