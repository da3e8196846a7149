"""A view that cannot be: the export has no data for it, or a setting asks for what is not there."""


class ImpossibleViewError(ValueError):
    """Raised when an export lacks what a view shows; its text says what."""


class SettingError(ValueError):
    """Raised when a view cannot follow a setting: a layer, a cell, an epoch that it does not have.

    Args:
        setting: its name.
        text: what was asked for, and what there is.
    """

    def __init__(self, setting: str, text: str) -> None:
        super().__init__(text)
        self.setting = setting
