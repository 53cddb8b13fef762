"""Whether the native part is there: asked before anything else is imported."""

from pathlib import Path

try:
    import diskpaxos._core  # noqa: F401
except ImportError as error:
    _HERE = Path(__file__).resolve().parent
    _SOURCES = _HERE.parent / "native" / "core.pyx"
    _ADVICE = (
        "build it (`pip install -e .`), or start Python in another directory, so that it finds the installed diskpaxos"
        if _SOURCES.exists()
        else "install diskpaxos again, for this Python"
    )
    raise ImportError(
        f"the native part is not built here: {_HERE} ({error}); {_ADVICE}", name="diskpaxos", path=str(_HERE)
    ) from None
