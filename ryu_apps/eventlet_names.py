"""Start-up hook: give current eventlet the one name that Ryu 4.34 still asks it for.

``ryu.app.wsgi`` imports ``eventlet.wsgi.ALREADY_HANDLED``, which eventlet dropped in 0.30.3; the last release
that has it imports on no Python from 3.10 on. ``ryu-manager`` loads that module before any application, so
this runs from a ``.pth`` file at interpreter start. It imports neither ryu nor eventlet: it only waits for
``eventlet.wsgi`` to be imported and adds the name then.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if not hasattr(module, "ALREADY_HANDLED"):
            # Ryu only ever returns it from a handler that has taken over the socket (its WebSocket support).
            module.ALREADY_HANDLED = object()  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "eventlet":
            # Its advice to new projects is not for the operator of a Ryu controller, at every start.
            warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
            _quieten_eventlet()
        if fullname != "eventlet.wsgi":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def _quieten_eventlet() -> None:
    """It says at every start that it leaves some locks as they are: those of cached properties, which nobody awaits."""
    import logging  # here: this module runs at the start of every interpreter

    if logging.lastResort is not None:
        logging.lastResort.addFilter(lambda record: "RLock(s) were not greened" not in record.getMessage())


sys.meta_path.insert(0, _Finder())
