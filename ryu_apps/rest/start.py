"""Sets the REST interface up: what the operator configured, or why it cannot be so."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

from ryu.lib import hub

from ryu_apps.events import EventLog
from ryu_apps.listening import CannotListen, tls_context
from ryu_apps.options import GROUP, REST_OPTIONS, STATE_VARIABLE
from ryu_apps.rest.access import LOOPBACK_NAMES, RequestRate, host_name, is_loopback, listening_refusal
from ryu_apps.rest.api import SERVICE, Application, Service
from ryu_apps.rest.application import Access, RestApplication
from ryu_apps.rest.changes import ChangeController
from ryu_apps.rest.inspection import RestController
from ryu_apps.rest.page import PageController
from ryu_apps.rest.server import Listener, serve
from ryu_apps.rest.stats import StatsController
from ryu_apps.rest.token_file import TokenUnusable, read_or_make_token

LOG = logging.getLogger("privacy_router")

BURST_SECONDS = 2  # of requests at the rate that is allowed on average
TOKEN_FILE = "rest-token"


def start_rest(conf: Any, router: RestApplication, app: Application, events: EventLog) -> Any:
    """Serves; returns the greenlet. Raises CannotListen; it must not where it would be unsafe."""
    conf.register_opts(REST_OPTIONS, group=GROUP)
    options = conf.privacy_router
    token_file = _token_file(options)
    token, missing = _token(token_file)
    has_tls = bool(options.rest_tls_cert)
    if has_tls != bool(options.rest_tls_key):
        raise CannotListen("REST over TLS takes rest_tls_cert and rest_tls_key: one is not given")
    refusal = listening_refusal(conf.wsapi_host, has_tls, bool(token))
    if refusal:
        raise CannotListen(f"{refusal} {missing}".rstrip())
    if missing:
        LOG.warning("nothing can be changed over REST: %s", missing)
    names = {*LOOPBACK_NAMES, host_name(conf.wsapi_host), *(name.lower() for name in options.rest_hosts)} - {""}
    rate = options.rest_requests_per_second
    router.access = Access(
        frozenset(names),
        token,
        token_for_reads=not is_loopback(conf.wsapi_host),
        rate=RequestRate(rate, max(1, round(rate * BURST_SECONDS))),
        token_missing=missing,
    )
    service = {SERVICE: Service(app, events)}
    for controller in (RestController, ChangeController, StatsController, PageController):
        router.register(controller, service)
    context = None
    if has_tls:
        context = tls_context(("rest_tls_cert", options.rest_tls_cert), ("rest_tls_key", options.rest_tls_key))
    listener = Listener(conf.wsapi_host, conf.wsapi_port, context)
    host = conf.wsapi_host if listener.family == socket.AF_INET else f"[{conf.wsapi_host.strip('[]')}]"
    url = f"{'https' if has_tls else 'http'}://{host}:{conf.wsapi_port}/"
    LOG.info("REST and its page on %s, %s", url, f"changes with the token in {token_file}" if token else "no changes")
    return hub.spawn(serve, listener, router, has_tls)


def _token_file(options: Any) -> Path:
    state = os.environ.get(STATE_VARIABLE) or options.state_dir
    return Path(options.rest_token_file or Path(state) / TOKEN_FILE)


def _token(file: Path) -> tuple[str, str]:
    """(token, why there is none): one of them is empty."""
    try:
        return read_or_make_token(file), ""
    except TokenUnusable as error:
        return "", str(error)
