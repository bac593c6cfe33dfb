"""Start-up hook: what has to be in place before ``ryu-manager`` loads its first application.

* ``ryu.app.wsgi`` imports ``eventlet.wsgi.ALREADY_HANDLED``, which eventlet dropped in 0.30.3; the last release that
  has it imports on no Python from 3.10 on. So current eventlet is given that one name.
* Ryu logs before it loads the application that decides how its log looks. So our form is set with Ryu's log itself.

This runs from a ``.pth`` file at interpreter start. It imports neither ryu nor eventlet: it only waits for the two
modules to be imported.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _add_name(wsgi: Any) -> None:
    if not hasattr(wsgi, "ALREADY_HANDLED"):
        # Ryu only ever returns it from a handler that has taken over the socket (its WebSocket support).
        wsgi.ALREADY_HANDLED = object()


def _set_form(log: Any) -> None:
    starts = log.init_log

    def init_log() -> None:
        starts()
        from ryu_apps.log_start import set_form  # here: this module runs at the start of every interpreter

        set_form(log.CONF)

    log.init_log = init_log


_AFTER_IMPORT: dict[str, Callable[[Any], None]] = {"eventlet.wsgi": _add_name, "ryu.log": _set_form}


class _Loader(Loader):
    def __init__(self, loader: Loader, after: Callable[[Any], None]) -> None:
        self._loader = loader
        self._after = after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._after(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "eventlet":
            # Its advice to new projects is not for the operator of a Ryu controller, at every start.
            warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
            _quieten_eventlet()
        after = _AFTER_IMPORT.get(fullname)
        if after is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, after)
        return spec


def _quieten_eventlet() -> None:
    """It says at every start that it leaves some locks as they are: those of cached properties, which nobody awaits."""
    import logging  # here: this module runs at the start of every interpreter

    if logging.lastResort is not None:
        logging.lastResort.addFilter(lambda record: "RLock(s) were not greened" not in record.getMessage())


sys.meta_path.insert(0, _Finder())
