"""Where the ranges of a country come from, in which order, and what is kept of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from https_server import HttpsServer, status

from host_agent.countries import store
from host_agent.countries.gather import RETRY_SECONDS, gather, recall
from host_agent.countries.values import Country, Key, Settings, settings
from policies.country_codes import COUNTRY_CODES, country_code
from policies.host_model import Ipsets

NOW = 1_800_000_000.0
DAY = 86400.0
GEOIP = b"""# header
3221225984,3221226239,RU
3325256704,3325256704,NL
3405803776,3405804031,??
3405803776,3405804031,NL
"""
GEOIP6 = b"# header\n2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,RU\n"


class Place:
    """A machine's zones, package and state, and a server for zones."""

    def __init__(self, directory: Path, server: HttpsServer) -> None:
        self.zones, self.package, self.state = (directory / name for name in ("zones", "tor", "state"))
        self.zones.mkdir()
        self.server = server
        server.answers, server.asked = {}, []
        offline = Settings(self.zones, {}, 7 * DAY, self.package, server.authority)
        self.offline = offline
        templates = {"ipv4": (server.url + "/{cc}.zone",), "ipv6": (server.url + "/6/{cc}.zone",)}
        self.online = replace(offline, templates=templates)

    def install_package(self, time: float = NOW - 30 * DAY) -> None:
        self.package.mkdir()
        for name, data in (("geoip", GEOIP), ("geoip6", GEOIP6)):
            self.write(self.package / name, data, time)

    def write(self, path: Path, data: bytes, time: float = NOW - DAY) -> None:
        path.write_bytes(data)
        os.utime(path, (time, time))

    def zone(self, name: str, text: str, time: float = NOW - DAY) -> None:
        self.write(self.zones / name, text.encode(), time)

    def serve(self, text: str, code: int = 200) -> None:
        self.server.answers = {"/ru.zone": status(code, text.encode())}

    def ru(self, settings: Settings, now: float = NOW) -> Country:
        return gather(["ru"], settings, self.state, now)["ru", "ipv4"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    server = HttpsServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def place(tmp_path: Path, server: HttpsServer) -> Place:
    return Place(tmp_path, server)


def texts(country: Country) -> list[str]:
    assert country.prefixes is not None
    return list(country.prefixes)


def test_every_country_code_in_any_case_and_nothing_else() -> None:
    assert len(COUNTRY_CODES) == 249
    assert [country_code(code) for code in ("nl", "HU", "Sg", "lt", "US")] == ["nl", "hu", "sg", "lt", "us"]
    for text in ("uk", "xx", "eu", "", "r", "rus", "r\n", "../", "ru_ext"):
        with pytest.raises(ValueError, match="no country code of ISO 3166-1"):
            country_code(text)
    with pytest.raises(ValueError):
        gather(["../etc"], Settings(Path("/nowhere"), {}), Path("/nowhere"), NOW)


def test_the_operators_file_comes_first(place: Place) -> None:
    place.install_package()
    place.serve("198.51.100.0/24\n")
    place.zone("ru.zone", "192.0.2.0/25\n192.0.2.128/25\n")
    place.zone("ru.zone6", "2001:db8:1::/48\n")
    found = gather(["RU"], place.online, place.state, NOW)
    assert {key: texts(country) for key, country in found.items()} == {
        ("ru", "ipv4"): ["192.0.2.0/24"],
        ("ru", "ipv6"): ["2001:db8:1::/48"],
    }
    assert found["ru", "ipv4"].source == str(place.zones / "ru.zone")
    assert (found["ru", "ipv4"].age_seconds, found["ru", "ipv4"].problem) == (DAY, None)
    assert place.server.asked == []


def test_the_order_without_an_operators_file(place: Place) -> None:
    place.install_package()
    assert texts(place.ru(place.offline)) == ["192.0.2.0/24"], "the package, when nothing is to be downloaded"
    place.serve("198.51.100.0/24\n")
    fetched = place.ru(place.online)
    assert (texts(fetched), fetched.age_seconds) == (["198.51.100.0/24"], 0.0)
    assert (fetched.source, fetched.problem) == (place.server.url + "/ru.zone", None)
    place.serve("203.0.113.0/24\n")
    assert texts(place.ru(place.online, NOW + 6 * DAY)) == ["198.51.100.0/24"], "the copy while it is fresh"
    assert texts(place.ru(place.online, NOW + 8 * DAY)) == ["203.0.113.0/24"]
    assert texts(place.ru(place.offline, NOW + 8 * DAY)) == ["192.0.2.0/24"], "no address, no copy of it"


def test_an_operators_file_that_became_bad_keeps_what_it_said_before(place: Place) -> None:
    place.zone("ru.zone", "192.0.2.0/24\n", NOW - 3 * DAY)
    assert texts(place.ru(place.offline)) == ["192.0.2.0/24"]
    place.zone("ru.zone", "<html>\n")
    kept = place.ru(place.offline)
    assert texts(kept) == ["192.0.2.0/24"] and kept.age_seconds == 3 * DAY
    assert kept.problem == (
        f"{place.zones}/ru.zone: line 1: '<html>': a page of HTML, not a list of prefixes; "
        f"in use: {place.zones}/ru.zone, 3 days old"
    )
    place.zone("ru.zone", "198.51.100.0/24\n")
    assert texts(place.ru(place.offline)) == ["198.51.100.0/24"]
    (place.zones / "ru.zone").unlink()
    assert place.ru(place.offline).prefixes is None, "a file that was taken away says nothing"


def test_a_bad_operators_file_with_nothing_before_gives_way_and_is_told(place: Place) -> None:
    place.install_package()
    place.zone("ru.zone", "192.0.2.1/24\n")
    found = place.ru(place.offline)
    assert found.source == str(place.package / "geoip")
    assert found.problem is not None and "line 1: '192.0.2.1/24' has bits set" in found.problem


@pytest.mark.parametrize("kind", ["directory", "pipe", "large"])
def test_what_is_no_file_or_too_large_is_refused(place: Place, kind: str) -> None:
    path = place.zones / "ru.zone"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 10_000_000_000)
    found = place.ru(place.offline)
    reason = {"directory": "Is a directory", "pipe": "not a regular file", "large": "larger than 16 MiB"}[kind]
    assert found.prefixes is None and found.problem is not None and f"{path}: {reason}" in found.problem


def test_extended_lists_are_the_operators_alone(place: Place) -> None:
    place.install_package()
    place.serve("198.51.100.0/24\n")
    assert set(gather(["ru"], place.offline, place.state, NOW)) == {("ru", "ipv4"), ("ru", "ipv6")}
    place.zone("ru_ext.zone", "203.0.113.0/24\n")
    beside = gather(["ru"], place.offline, place.state, NOW)
    assert set(beside) == {("ru", "ipv4"), ("ru", "ipv6"), ("ru_ext", "ipv4")}
    assert texts(beside["ru_ext", "ipv4"]) == ["203.0.113.0/24"] and texts(beside["ru", "ipv4"]) == ["192.0.2.0/24"]
    asked = gather(["RU_ext"], place.online, place.state, NOW)
    assert set(asked) == {("ru_ext", "ipv4"), ("ru_ext", "ipv6")} and place.server.asked == []
    missing = asked["ru_ext", "ipv6"]
    assert missing.prefixes is None
    assert (missing.problem or "").startswith(f"{place.zones}/ru_ext.zone6: there is no such file")


def test_a_failing_download_keeps_the_last_good_one_and_says_so(place: Place) -> None:
    place.serve("198.51.100.0/24\n")
    place.ru(place.online)
    place.serve("<html>", 503)
    place.install_package(NOW - 30 * DAY)
    kept = place.ru(place.online, NOW + 10 * DAY)
    assert texts(kept) == ["198.51.100.0/24"] and kept.age_seconds == 10 * DAY
    address = place.server.url + "/ru.zone"
    assert kept.problem == f"{address}: 503 Said so; in use: {address}, 10 days old"


def test_of_an_old_download_and_the_package_the_younger_is_used(place: Place) -> None:
    place.serve("198.51.100.0/24\n")
    place.ru(place.online)
    place.serve("", 503)
    place.install_package(NOW + DAY)
    found = place.ru(place.online, NOW + 10 * DAY)
    assert texts(found) == ["192.0.2.0/24"]
    assert found.problem == f"{place.server.url}/ru.zone: 503 Said so; in use: {place.package}/geoip, 9 days old"


def test_after_a_failure_the_server_is_left_alone_for_a_while(place: Place) -> None:
    first = place.ru(place.online)
    assert place.server.asked.count("/ru.zone") == 1 and first.prefixes is None
    again = place.ru(place.online, NOW + RETRY_SECONDS - 1)
    assert place.server.asked.count("/ru.zone") == 1 and again.problem == first.problem
    place.serve("198.51.100.0/24\n")
    assert texts(place.ru(place.online, NOW + RETRY_SECONDS)) == ["198.51.100.0/24"]


def test_another_address_is_tried_at_once_and_after_the_first(place: Place) -> None:
    place.ru(place.online)
    place.server.answers = {"/other/ru": status(200, b"198.51.100.0/24\n")}
    other = replace(
        place.online, templates={"ipv4": (place.server.url + "/{cc}.zone", place.server.url + "/other/{cc}")}
    )
    assert texts(place.ru(replace(other, templates={"ipv4": other.templates["ipv4"][1:]}))) == ["198.51.100.0/24"]
    assert texts(place.ru(other, NOW + 30 * DAY)) == ["198.51.100.0/24"]


def test_one_country_that_cannot_be_had_does_not_stop_the_others(place: Place) -> None:
    place.install_package()
    found = gather(["ru", "de"], place.online, place.state, NOW)
    assert texts(found["ru", "ipv4"]) == ["192.0.2.0/24"]
    assert texts(found["de", "ipv4"]) == [], "the package has all countries: none is none"
    bare = gather(["ru", "de"], replace(place.offline, package=place.zones), place.state, NOW + 1)
    assert {country.prefixes for country in bare.values()} == {None}
    advice = bare["de", "ipv6"].problem or ""
    assert "no source has addresses of de for ipv6" in advice and "apt install tor-geoipdb" in advice


def test_the_package_in_both_families(place: Place) -> None:
    place.install_package()
    found = gather(["ru", "nl"], place.offline, place.state, NOW)
    assert {key: texts(country) for key, country in found.items()} == {
        ("nl", "ipv4"): ["198.51.100.0/32", "203.0.113.0/24"],
        ("nl", "ipv6"): [],
        ("ru", "ipv4"): ["192.0.2.0/24"],
        ("ru", "ipv6"): ["2001:db8::/32"],
    }
    assert {country.problem for country in found.values()} == {None}
    place.write(place.package / "geoip", b"3221225984,x,RU\n")
    (place.state / "countries" / "ru.ipv4.package").unlink()
    broken = place.ru(place.offline)
    assert broken.prefixes is None and "reinstall the package tor-geoipdb" in (broken.problem or "")


def contents(directory: Path) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_nothing_is_read_anew_that_did_not_change(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.install_package()
    place.zone("nl.zone", "192.0.2.0/24\n")
    first = gather(["ru", "nl"], place.offline, place.state, NOW)
    kept = contents(place.state)
    monkeypatch.setattr("host_agent.countries.local._read", None)  # whoever reads a source now falls over
    assert gather(["ru", "nl"], place.offline, place.state, NOW) == first
    assert contents(place.state) == kept
    assert {path.stat().st_mode & 0o777 for path in place.state.rglob("*.*")} == {0o600}


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-1], lambda data: data[:-1] + b"\x01", lambda data: b"", lambda data: b"[]\n"]
)
def test_a_damaged_copy_counts_as_none(place: Place, harm: object) -> None:
    place.install_package()
    place.ru(place.offline)
    path = store.copy_path(place.state, ("ru", "ipv4"), "package")
    path.write_bytes(harm(path.read_bytes()))  # type: ignore[operator]
    assert store.load(path, ("ru", "ipv4")) is None
    assert texts(place.ru(place.offline)) == ["192.0.2.0/24"]
    assert store.load(path, ("ru", "ipv4")) is not None


def test_whoever_only_looks_downloads_and_writes_nothing(place: Place) -> None:
    place.install_package()
    place.serve("198.51.100.0/24\n")
    seen = recall(["ru"], place.online, place.state, NOW)
    assert texts(seen["ru", "ipv4"]) == ["192.0.2.0/24"] and seen["ru", "ipv4"].problem is None
    assert not place.state.exists() and place.server.asked == []
    gather(["ru"], place.online, place.state, NOW)
    assert texts(recall(["ru"], place.online, place.state, NOW)["ru", "ipv4"]) == ["198.51.100.0/24"]
    old = recall(["ru"], replace(place.online, package=place.zones), place.state, NOW + 90 * DAY)["ru", "ipv4"]
    assert texts(old) == ["198.51.100.0/24"] and old.age_seconds == 90 * DAY, "better than nothing, as after a boot"


def test_what_cannot_be_kept_is_used_all_the_same(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "keep", full)
    place.zone("ru.zone", "192.0.2.0/24\n")
    found = place.ru(place.offline)
    assert texts(found) == ["192.0.2.0/24"]
    assert "no copy could be kept: No space left on device" in (found.problem or "")


def test_settings_are_the_documents(tmp_path: Path) -> None:
    ours = settings(Ipsets(str(tmp_path), ("https://a.example/{cc}",), (), 12))
    assert ours.zones_dir == tmp_path and ours.fresh_seconds == 12 * 3600
    assert ours.templates == {"ipv4": ("https://a.example/{cc}",), "ipv6": ()}


def test_a_clock_that_was_set_back_does_not_make_ages_negative(place: Place) -> None:
    place.serve("198.51.100.0/24\n")
    place.ru(place.online)
    key: Key = ("ru", "ipv4")
    assert gather(["ru"], place.online, place.state, 0.0)[key].age_seconds == 0.0
