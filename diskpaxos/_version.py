"""The version of this package: the one place that says it."""

__version__ = "0.1.0"


def software_number() -> int:
    """The version as slot records carry it: major << 16 | minor << 8 | patch."""
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    return major << 16 | minor << 8 | patch


def software_text(number: int) -> str:
    """The inverse of :func:`software_number`; "" for 0."""
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}" if number else ""
