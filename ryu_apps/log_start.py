"""Ryu's log in our form, from its first line on."""

from __future__ import annotations

import logging
from typing import Any

from ryu_apps.log_format import format_handlers
from ryu_apps.options import GROUP, LOG_OPTIONS

_APPLICATION = "privacy_router"  # as a module's or a file's name


def set_form(conf: Any) -> None:
    """For a ``ryu-manager`` that was told to run our application, once its log has been set up."""
    if any(_APPLICATION in name for name in (*conf.app_lists, *conf.app)):
        conf.register_opts(LOG_OPTIONS, group=GROUP)
        format_handlers(logging.getLogger().handlers, conf.privacy_router.log_format)
