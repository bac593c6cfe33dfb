"""REST /v1, reading: what is wanted, what the switches hold, and what happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from itertools import islice
from typing import Any

from ryu.app.wsgi import Response, route

from policies.addresses import chain_hops
from policies.match import MatchError
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.packets.simulate import Packet
from ryu_apps.rest import stream as rest_stream
from ryu_apps.rest.api import Api, expect_type, json_body, number, parameters, rates_of
from ryu_apps.rest.problem import JSON, HttpProblem, json_response
from ryu_apps.rest.readings import Seen
from ryu_apps.rest.view import PORTION, Filter, Json, policy_view, switch_view
from ryu_apps.rest.view_chain import chain_view, entries_of, function_of, functions_view
from ryu_apps.rest.view_examples import example_packets
from ryu_apps.rest.view_trace import desired_trace, trace_on_switch
from ryu_apps.switches.session import Session
from ryu_apps.turns import give_way

STATES = ("installed", "dropping", "missing", "altered", "surplus", "waiting")
_LARGEST = 2**53  # of a whole number that every JSON reader keeps
_LONGEST_AGE = 60.0


class RestController(Api):
    @route("status", "/v1/status", methods=["GET"])  # type: ignore[untyped-decorator]
    def status(self, request: Any) -> Response:
        given = parameters(request, "max_age")
        switches = list(self._switches(given, Filter(limit=0)))
        for switch in switches:
            del switch["entries"]
        return json_response({**self._policy(), "switches": switches})

    @route("flows", "/v1/flows", methods=["GET"])  # type: ignore[untyped-decorator]
    def flows(self, request: Any) -> Response:
        given = parameters(request, "switch", "table", "item", "state", "limit", "max_age")
        if given.get("state", STATES[0]) not in STATES:
            raise HttpProblem(400, f"state: one of {', '.join(STATES)} was expected")
        chosen = Filter(
            number(given, "table", 254), given.get("item"), given.get("state"), number(given, "limit", _LARGEST)
        )
        switches = ", ".join(map(_switch_text, self._switches(given, chosen)))
        text = f'{json.dumps(self._policy(), ensure_ascii=False)[:-1]}, "switches": [{switches}]}}\n'
        return Response(content_type=JSON, charset="UTF-8", text=text)

    @route("chain", "/v1/chain", methods=["GET"])  # type: ignore[untyped-decorator]
    def chain(self, request: Any) -> Response:
        given = parameters(request, "max_age")
        ours = [(session, seen) for session, seen in self._seen(given) if session.account.ours]
        # With several nodes: that of the node which has the chain.
        with_chain = (each for each in ours if chain_hops(self.service.policy_for(each[0]).policy))
        session, seen = next(with_chain, ours[0] if ours else (None, None))
        return json_response(
            chain_view(
                session.account if session else None,
                self.service.policy_for(session) if session else self.service.app.policy_file.current,
                seen.reading.ports if seen else {},
                seen.reading.installed if seen else (),
                rates=rates_of(seen),
                now=seen.reading.time if seen else 0.0,
                pause=give_way,
            )
        )

    @route("functions", "/v1/functions", methods=["GET"])  # type: ignore[untyped-decorator]
    def functions(self, request: Any) -> Response:
        given = parameters(request, "limit", "max_age")
        policy = self.service.app.policy_file.current.policy
        names = dict.fromkeys(route.function for route in policy.openflow.function_routing)
        shown = set(islice(names, number(given, "limit", _LARGEST)))
        start = json.dumps({**self._policy(), "total": len(names)}, ensure_ascii=False)[:-1]
        text = f'{start}, "functions": [{_listed(self._functions(given, shown))}]}}\n'
        return Response(content_type=JSON, charset="UTF-8", text=text)

    @route("functions", "/v1/functions/{name}", methods=["GET"])  # type: ignore[untyped-decorator]
    def function(self, request: Any, name: str) -> Response:
        found = next(self._functions(parameters(request, "max_age"), {name}), None)
        if found is None:
            raise HttpProblem(404, f"the policy has no function {name[:64]}")
        return json_response(found, headers={"ETag": f'"{self.service.app.policy_file.current.revision}"'})

    @route("events", "/v1/events", methods=["GET"])  # type: ignore[untyped-decorator]
    def events(self, request: Any) -> Response:
        given = parameters(request, "since")
        since = number(given, "since", _LARGEST)
        if rest_stream.EVENT_STREAM in request.headers.get("Accept", ""):
            return rest_stream.stream(self.service, request, since)
        log = self.service.events
        return json_response({"last": log.last, "events": [rest_stream.event_view(e) for e in log.since(since or 0)]})

    @route("trace", "/v1/trace", methods=["GET"])  # type: ignore[untyped-decorator]
    def examples(self, request: Any) -> Response:
        parameters(request)
        return json_response({"examples": example_packets(self.service.app.policy_file.current)})

    @route("trace", "/v1/trace", methods=["POST"])  # type: ignore[untyped-decorator]
    def trace(self, request: Any) -> Response:
        parameters(request)
        packet = _packet(request)
        installed = [
            {
                "dpid": session.account.dpid,
                "name": session.account.name,
                **self._traced(
                    partial(trace_on_switch, packet, self.service.policy_for(session).entries, seen.reading)
                ),
            }
            for session, seen in self.service.seen(0)
            if seen is not None and session.account.ours and session.connection is not None
        ]
        entries = self.service.app.policy_file.current.entries
        desired = installed[0]["desired"] if installed else self._traced(partial(desired_trace, packet, entries))
        return json_response({"desired": desired, "installed": installed})

    def _traced(self, trace: Callable[[], Json]) -> Json:
        """Of 100,000 functions that takes seconds, in which others have their turns. Raises HttpProblem."""
        try:
            return self.service.app.changes.aside(trace)
        except MatchError as error:
            raise HttpProblem(422, f"no packet: {error}") from None

    def _policy(self) -> Json:
        policy_file = self.service.app.policy_file
        return {"policy": policy_view(policy_file.current, policy_file.problems)}

    def _functions(self, given: Mapping[str, str], names: Set[str]) -> Iterator[Json]:
        """The functions with these names, in the order of the document."""

        def is_theirs(flow: FlowEntry) -> bool:
            return function_of(flow.item) in names

        shown: list[Json] = []
        for session, seen in self._seen(given):
            if seen is not None and session.account.ours:
                compiled, reading = self.service.policy_for(session), seen.reading
                held = entries_of(compiled, is_theirs, reading.ports, reading.installed, pause=give_way)
                shown += [entry for _, entry in held]
        return functions_view(self.service.app.policy_file.current, names, shown, give_way)

    def _seen(self, given: Mapping[str, str]) -> list[tuple[Session, Seen | None]]:
        try:
            max_age = float(given.get("max_age", 0))
        except ValueError:
            max_age = -1
        if not 0 <= max_age <= _LONGEST_AGE:
            raise HttpProblem(400, f"max_age: seconds from 0 to {_LONGEST_AGE:.0f} were expected")
        return self.service.seen(max_age)

    def _switches(self, given: Mapping[str, str], chosen: Filter) -> Iterator[Json]:
        """Every switch, or the one that is asked for."""
        wanted = self.service.session(given["switch"]) if "switch" in given else None
        for session, seen in self._seen(given):
            if wanted in (None, session):
                compiled = self.service.policy_for(session)
                ports, installed = (seen.reading.ports, seen.reading.installed) if seen else ({}, None)
                shown = switch_view(
                    session.account, compiled, ports, installed, rates=rates_of(seen), chosen=chosen, pause=give_way
                )
                yield {
                    **shown,
                    "read_at": seen.reading.time if seen else None,
                    "answers": bool(seen and seen.is_current and session.connection),
                }


def _switch_text(switch: Json) -> str:
    """A switch as JSON."""
    entries = _listed(switch.pop("entries"))
    return f'{json.dumps(switch, ensure_ascii=False)[:-1]}, "entries": [{entries}]}}'


def _listed(values: Iterable[Json]) -> str:
    """The inside of a JSON list; others get their turn between portions of it."""
    rest, portions = iter(values), []
    while portion := list(islice(rest, PORTION)):
        portions.append(json.dumps(portion, ensure_ascii=False)[1:-1])
        give_way()
    return ", ".join(portions)


def _packet(request: Any) -> Packet | str:
    """The packet in ``{"packet": ...}``. Raises HttpProblem."""
    expect_type(request, (JSON,))
    given = json_body(request.body)
    packet = given.get("packet") if isinstance(given, dict) and set(given) == {"packet"} else None
    if isinstance(packet, dict) and all(isinstance(value, str | int) for value in packet.values()):
        return {name: value for name, value in packet.items() if not isinstance(value, bool)}
    if not isinstance(packet, str):
        raise HttpProblem(422, '{"packet": ...} with ovs-ofctl text or a mapping of fields was expected')
    return packet
