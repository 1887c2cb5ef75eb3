"""From `MODULE:APP` to the App."""

from __future__ import annotations

import importlib
import sys

from tq.errors import BadRequest
from tq.worker.app import App

DEFAULT_ATTRIBUTE = "app"


def load_app(path: str) -> App:
    """Import MODULE and take APP from it (`app` when left out): an App, or a function that makes one.

    Raises BadRequest saying what is wrong with the path. What the module itself raises while it is imported goes
    through: its traceback is what its author needs.
    """
    module_name, _, attributes = path.partition(":")
    if not module_name:
        raise BadRequest(f"{path!r} is not MODULE:APP, for example mypackage.tasks:app")
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, something that it imports is not
        raise BadRequest(
            f"no module {error.name!r}; looked in {', '.join(p or '.' for p in sys.path[:5])}"
        ) from error
    for attribute in (attributes or DEFAULT_ATTRIBUTE).split("."):
        if not hasattr(found, attribute):
            raise BadRequest(f"{path!r}: {module_name} has no {attribute!r}")
        found = getattr(found, attribute)
    if callable(found) and not isinstance(found, App):
        found = found()
    if not isinstance(found, App):
        raise BadRequest(f"{path!r} is {type(found).__name__}, not a tq.App")
    return found
