"""What the handlers of the REST interface share: what they may ask of the program, and how they read a request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ryu.app.wsgi import ControllerBase

from ryu_apps.events import EventLog
from ryu_apps.policy.changes import PolicyChanges
from ryu_apps.policy.file import CompiledPolicy, PolicyFile
from ryu_apps.rest.metrics import Metrics
from ryu_apps.rest.problem import HttpProblem
from ryu_apps.rest.readings import Readings, Seen
from ryu_apps.rest.view import Rates, no_rates
from ryu_apps.switches.session import Session

SERVICE = "service"  # the key under which a handler finds the service
BOOLEANS = {"true": True, "false": False}


class Application(Protocol):
    """The controller, as far as the REST interface needs it."""

    changes: PolicyChanges
    waiters: dict[int, Any]

    @property
    def policy_file(self) -> PolicyFile: ...

    @property
    def sessions(self) -> Iterable[Session]: ...


class Service:
    """One for all requests."""

    def __init__(self, app: Application, events: EventLog) -> None:
        self.app = app
        self.events = events
        self.readings = Readings()
        self.metrics = Metrics(self)
        self.streams = 0  # of events, open now
        events.observe(self.metrics.observe)

    def seen(self, max_age: float) -> list[tuple[Session, Seen | None]]:
        """Every switch, by datapath id, with its reading."""
        sessions = list(self.app.sessions)
        readings = self.readings.read(sessions, max_age)
        return [(session, readings[session.account.dpid]) for session in sessions]

    @property
    def problems(self) -> tuple[str, ...]:
        """Those of a newer version of the policy file, which was refused."""
        return self.app.policy_file.problems

    def policy_for(self, session: Session) -> CompiledPolicy:
        """What the policy in force means for a switch."""
        return self.app.policy_file.current.for_switch(session.account.dpid, session.account.name)

    def session(self, name: str) -> Session:
        """The session of a switch by its datapath id, decimal or hexadecimal, or its name. Raises HttpProblem."""
        for session in self.app.sessions:
            if name == session.account.name or _number(name) == session.account.dpid:
                return session
        raise HttpProblem(404, f"no switch {name[:64]} is known")


class Api(ControllerBase):  # type: ignore[misc]
    """Handlers of requests. Ryu makes an instance for each request."""

    def __init__(self, req: Any, link: Any, data: Any, **config: Any) -> None:
        super().__init__(req, link, data, **config)
        self.service: Service = data[SERVICE]


def rates_of(seen: Seen | None) -> Rates:
    return seen.rate if seen else no_rates


def parameters(request: Any, *known: str) -> Mapping[str, str]:
    """The query's parameters. An unknown one is refused: ``?dryrun=true`` must not make the change.

    Raises HttpProblem.
    """
    try:
        pairs = list(request.GET.items())
    except UnicodeDecodeError:
        raise HttpProblem(400, "the query is not UTF-8") from None
    given = dict(pairs)
    unknown = sorted(set(given) - set(known))
    if unknown:
        words = f"it knows {', '.join(known)}" if known else "it knows none"
        raise HttpProblem(400, f"unknown parameter {unknown[0][:64]}: {words}")
    if len(given) < len(pairs):
        raise HttpProblem(400, "a parameter is given twice")
    return given


def number(given: Mapping[str, str], name: str, largest: int) -> int | None:
    """A parameter that is a whole number from 0 to ``largest``. Raises HttpProblem."""
    if name not in given:
        return None
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= largest):
        raise HttpProblem(400, f"{name}: a whole number from 0 to {largest} was expected")
    return int(text)


def boolean(given: Mapping[str, str], name: str) -> bool:
    """Raises HttpProblem."""
    text = given.get(name, "false")
    if text not in BOOLEANS:
        raise HttpProblem(400, f"{name}: true or false was expected")
    return BOOLEANS[text]


def expect_type(request: Any, types: tuple[str, ...]) -> None:
    if request.content_type not in types:
        given = (request.content_type or "nothing")[:64]
        raise HttpProblem(415, f"Content-Type {' or '.join(types)} was expected, not {given}")


def utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise HttpProblem(400, "the body is not UTF-8") from None


def json_body(body: bytes) -> Any:
    """Raises HttpProblem."""
    try:
        return json.loads(utf8(body))
    except (ValueError, RecursionError):
        raise HttpProblem(400, "the body is not JSON") from None


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
