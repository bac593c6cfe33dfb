"""The prefixes of countries, each from the first source that has them.

The order: the operator's file; a downloaded copy that is fresh; a download; and if that fails, what is younger of the
last download and the package's file. A source that fails never takes away what it said before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from host_agent.countries import download, local, store
from host_agent.countries.store import Copy, Failure
from host_agent.countries.values import EXTENDED, Country, Key, Settings, SourceFailed
from host_agent.state import FAMILIES
from policies.country_codes import country_code
from policies.words import counted

RETRY_SECONDS = 900.0  # so long after a failed download no other is tried
PATIENCE = 60.0  # seconds for all downloads together
CONNECTIONS = 8
OPERATOR, HTTPS, PACKAGE = "operator", "https", "package"  # origins; endings of copies' names


@dataclass
class Search:
    """What was found for one key so far."""

    copy: Copy | None = None
    problems: list[str] = field(default_factory=list)


def gather(codes: Iterable[str], settings: Settings, state_dir: Path, now: float) -> Mapping[Key, Country]:
    """The prefixes of each country for both families; keeps copies, and downloads what is not fresh any more.

    A key with the ending "_ext" is answered from the operator's file alone; beside a plain code there is one if there
    is such a file. ``now`` is in seconds since the epoch. Raises ValueError for what is no country code. Never fails
    otherwise: what cannot be had has no prefixes, and a problem.
    """
    return _gather(codes, settings, state_dir, now, store.keep, _downloads)


def recall(codes: Iterable[str], settings: Settings, state_dir: Path, now: float) -> Mapping[Key, Country]:
    """As ``gather``, from what is on this machine: downloads nothing and writes nothing."""
    return _gather(codes, settings, state_dir, now, store.keep_nothing, _no_downloads)


Download = Callable[[list[Key], Settings, float], Mapping[Key, Copy | str]]  # a text: why it failed


def _gather(
    codes: Iterable[str], settings: Settings, state_dir: Path, now: float, keep: store.Keep, fetch: Download
) -> Mapping[Key, Country]:
    searches = {key: Search() for key in _keys(codes, settings)}
    for key, search in searches.items():
        _ask_operator(key, search, settings, state_dir, keep)
    plain = {key: search for key, search in searches.items() if not key[0].endswith(EXTENDED)}
    stale = _ask_https(_open(plain), settings, state_dir, now, keep, fetch)
    _ask_package(_open(plain), settings, state_dir, keep, stale)
    for key, search in searches.items():
        if search.copy is None:
            search.copy = stale.get(key)
    return {key: _country(key, search, now) for key, search in searches.items()}


def _open(searches: Mapping[Key, Search]) -> dict[Key, Search]:
    return {key: search for key, search in searches.items() if search.copy is None}


def _keys(codes: Iterable[str], settings: Settings) -> list[Key]:
    keys: set[Key] = set()
    for text in codes:
        word = text.lower()
        plain = country_code(word.removesuffix(EXTENDED))
        for family in FAMILIES:
            keys.add((word, family))
            extended = local.zone_path(settings.zones_dir, plain + EXTENDED, family)
            if extended.exists():
                keys.add((plain + EXTENDED, family))
    return sorted(keys)


def _ask_operator(key: Key, search: Search, settings: Settings, state_dir: Path, keep: store.Keep) -> None:
    code, family = key
    path = local.zone_path(settings.zones_dir, code, family)
    cached = store.copy_path(state_dir, key, OPERATOR)
    earlier = store.load(cached, key)
    if earlier and earlier.source != str(path):
        earlier = None
    try:
        mark = local.stamp(path)
        if mark is None:
            if code.endswith(EXTENDED):
                search.problems.append(f"{path}: there is no such file")
            return
        if earlier and earlier.stamp == mark:
            search.copy = earlier
            return
        search.copy = local.zone(path, family, mark)
        _keep(cached, search, keep)
    except SourceFailed as failure:
        search.copy = earlier
        search.problems.append(str(failure))


def _ask_https(
    searches: Mapping[Key, Search],
    settings: Settings,
    state_dir: Path,
    now: float,
    keep: store.Keep,
    fetch: Download,
) -> dict[Key, Copy]:
    """Fill in fresh copies; returns those that are not."""
    stale: dict[Key, Copy] = {}
    due: list[Key] = []
    for key, search in searches.items():
        addresses = _addresses(key, settings)
        copy = store.load(store.copy_path(state_dir, key, HTTPS), key)
        if copy is None or copy.source not in addresses:
            copy = None
        elif now - copy.time < settings.fresh_seconds:
            search.copy = copy
            continue
        else:
            stale[key] = copy
        failure = store.load_failure(store.failure_path(state_dir, key))
        if failure and 0 <= now - failure.time < RETRY_SECONDS and any(word in failure.reason for word in addresses):
            search.problems.append(failure.reason)
        elif addresses:
            due.append(key)
    for key, answer in fetch(due, settings, now).items():
        search = searches[key]
        if isinstance(answer, Copy):
            search.copy = answer
            _keep(store.copy_path(state_dir, key, HTTPS), search, keep)
        else:
            search.problems.append(answer)
            _write(store.failure_path(state_dir, key), store.encode_failure(Failure(now, answer)), search, keep)
    return stale


def _ask_package(
    searches: Mapping[Key, Search],
    settings: Settings,
    state_dir: Path,
    keep: store.Keep,
    stale: Mapping[Key, Copy],
) -> None:
    for family in FAMILIES:
        path = local.package_path(settings.package, family)
        keys = [key for key in searches if key[1] == family]
        try:
            mark = local.stamp(path) if keys else None
            if mark is None:
                continue
            copies = {key: store.load(store.copy_path(state_dir, key, PACKAGE), key) for key in keys}
            missing = [
                key for key in keys if (copy := copies[key]) is None or (copy.source, copy.stamp) != (str(path), mark)
            ]
            read = local.package(path, family, [code for code, _ in missing], mark) if missing else {}
        except SourceFailed as failure:
            for key in keys:
                searches[key].problems.append(str(failure))
            continue
        for key in keys:
            found = read.get(key[0]) or copies[key]
            if found and (key not in stale or stale[key].time <= found.time):
                searches[key].copy = found
                if key in missing:
                    _keep(store.copy_path(state_dir, key, PACKAGE), searches[key], keep)


def _keep(path: Path, search: Search, keep: store.Keep) -> None:
    assert search.copy is not None
    _write(path, store.encode(search.copy), search, keep)


def _write(path: Path, content: bytes, search: Search, keep: store.Keep) -> None:
    """What cannot be kept, as on a full disk, is used all the same."""
    try:
        keep(path, content)
    except OSError as error:
        search.problems.append(f"{path}: no copy could be kept: {error.strerror}")


def _addresses(key: Key, settings: Settings) -> list[str]:
    return [template.replace("{cc}", key[0]) for template in settings.templates.get(key[1], ())]


def _downloads(due: list[Key], settings: Settings, now: float) -> Mapping[Key, Copy | str]:
    if not due:
        return {}
    deadline = time.monotonic() + PATIENCE

    def one(key: Key) -> Copy | str:
        reasons = []
        for address in _addresses(key, settings):
            seconds = min(download.SECONDS, deadline - time.monotonic())
            if seconds <= 0:
                reasons.append(f"{address}: not tried, other downloads took too long")
                continue
            try:
                return download.zone(address, key[1], settings.authorities, now, seconds)
            except SourceFailed as failure:
                reasons.append(str(failure))
        return "; ".join(reasons)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return dict(zip(due, pool.map(one, due), strict=True))


def _no_downloads(due: list[Key], settings: Settings, now: float) -> Mapping[Key, Copy | str]:
    return {}


def _country(key: Key, search: Search, now: float) -> Country:
    copy, problems = search.copy, search.problems
    if copy is None:
        advice = f"no source has addresses of {key[0]} for {key[1]}; write a file into the zones directory"
        if not key[0].endswith(EXTENDED):
            advice += ", set an address in advanced.ipsets, or apt install tor-geoipdb"
        return Country(None, "", None, "; ".join([*problems, advice]))
    age = max(0.0, now - copy.time)
    if problems:
        problems = [*problems, f"in use: {copy.source}, {_span(age)} old"]
    return Country(copy.prefixes, copy.source, age, "; ".join(problems) or None)


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return counted(round(seconds), "second")
