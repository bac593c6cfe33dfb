"""What the agent says, as people read it and type it."""

from __future__ import annotations

from io import StringIO

import pytest

from host_agent.options import as_typed, common
from host_agent.output import Output
from host_agent.words import wrapped


@pytest.mark.parametrize("width", [20, 40, 80, 1000])
def test_long_lists_are_broken_between_their_items(width: int) -> None:
    text = f"node: put in place {', '.join(f'chain {number}' for number in range(20))}"
    lines = wrapped(text, width, 4).splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= max(width, 27) for line in lines) and all(line.startswith("    ") for line in lines[1:])
    assert wrapped(text, None, 4) == text


@pytest.mark.parametrize("width", [30, 40, 80, 120, 1000])
def test_what_is_no_list_is_broken_between_words(width: int) -> None:
    text = (
        "degraded: ranges of ru, by: " + "no source has them and " * 8 + "/var/lib/privacy-router/countries/ru.txt, us"
    )
    lines = wrapped(text, width, 4).splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= max(width, 48) for line in lines) and all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize(
    ("advice", "typed"),
    [
        ("not in sync: privacy-agent apply puts this right", "privacy-agent apply --policy /p --state-dir '/a b'"),
        ("unless you run: privacy-agent confirm", "privacy-agent confirm --state-dir '/a b'"),
        ("privacy-agent stop; then", "privacy-agent stop --policy /p --state-dir '/a b';"),
        ("privacyctl trace /p 'in_port=a'", "privacyctl trace /p"),
    ],
)
def test_a_command_that_is_advised_is_about_the_same_machine(advice: str, typed: str) -> None:
    given = common("plan").parse_args(["--policy", "/p", "--state-dir", "/a b"])
    assert typed in as_typed(advice, given)
    assert as_typed(advice, common("plan").parse_args([])) == advice


def test_what_names_the_program_is_no_advice() -> None:
    given = common("plan").parse_args(["--state-dir", "/s"])
    for words in (
        "privacy-agent run was ended",
        "another run of privacy-agent holds /s/lock",
        "privacy-agent applying",
    ):
        assert as_typed(words, given) == words


def test_the_way_through_the_switch_is_that_of_this_node() -> None:
    given = common("explain").parse_args(["--topology", "/t", "--node", "left"])
    assert as_typed("privacyctl trace /p", given) == "privacyctl trace --topology /t --node left /p"


@pytest.mark.parametrize("width", [52, 60, 68, 76])
def test_lines_fit_the_terminal_they_go_to(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", str(width))
    output = Output(common("plan").parse_args(["--state-dir", "/srv/state"]))
    text = "unconfirmed: /etc/p.json was applied and waits: run privacy-agent confirm, or wait for the former state"
    lines = output.text(text, stream=Terminal()).splitlines()
    assert len(lines) > 1 and all(len(line) <= width for line in lines)
    command = "privacy-agent confirm --state-dir /srv/state"
    assert [command in line for line in lines].count(True) == 1, "it can be copied"
    assert output.text(text, stream=StringIO()) == text.replace("privacy-agent confirm", command)
