"""The page in a real browser, of a running controller with a real switch. Needs root, and chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import CHROMIUM, Browser
from processes import wait_for
from switch_sandbox import Controller, Switch

pytestmark = [pytest.mark.soak, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]

ITEM = "anti-spoofing internal_200"
PATIENCE = 120.0
FIND = f"""
window.item = [...document.querySelectorAll("#flows details")]
    .find((each) => each.querySelector(".name").textContent === "{ITEM}");
window.item.querySelector("summary").click();
window.item.querySelector("summary").focus();
"""
KEPT = 'item.isConnected && item.open && document.activeElement === item.querySelector("summary")'


@pytest.fixture
def page(switch: Switch, controller: Controller) -> Iterator[Browser]:
    controller.start()
    controller.wait_until_confirmed(1)
    with Browser(controller.sandbox, controller.sandbox.directory / "browser") as browser:
        browser.open("http://127.0.0.1:8080/")
        wait_for(lambda: browser.evaluate('document.querySelectorAll("#flows details").length'), "the page", PATIENCE)
        yield browser


def test_what_is_open_goes_on_counting_and_keeps_its_focus(
    page: Browser, switch: Switch, controller: Controller
) -> None:
    page.evaluate(FIND)
    assert page.evaluate(KEPT)
    packet = "ffffffffffff" + "020000000001" + "0800" + "00" * 46  # what no mesh socket may send
    for _ in range(10):
        switch.ofctl("packet-out", "ovsbr0", f"in_port=internal_200 packet={packet} actions=table")
    switch.count_everything()
    text = 'item.querySelector("summary").textContent.replaceAll("\\u00a0", " ")'
    wait_for(lambda: "10 packets" in page.evaluate(text), "the sum", PATIENCE)
    cells = '[...item.querySelectorAll("td.number")].map((each) => each.textContent)'
    assert "10" in page.evaluate(cells) and page.evaluate(KEPT)

    # items that come and go beside it
    names = '[...document.querySelectorAll("#flows .name")].map((each) => each.textContent)'
    policy = controller.policy.read_text()
    controller.policy.write_text(policy.replace('"bucket_storage"', '"other_storage"'))
    wait_for(lambda: "function route other_storage" in page.evaluate(names), "the other function", PATIENCE)
    assert "function route bucket_storage" not in page.evaluate(names) and page.evaluate(KEPT)

    # what the filter has hidden is open when it is shown again
    typed = 'const box = document.getElementById("filter"); box.value = "{}"; box.dispatchEvent(new Event("input"))'
    page.evaluate(f"(() => {{ {typed.format('nothing has this')} }})()")
    assert page.evaluate('document.getElementById("flows").textContent') == "No entry fits."
    page.evaluate(f"(() => {{ {typed.format('')} }})()")
    is_open = '[...document.querySelectorAll("#flows details[open] .name")].map((each) => each.textContent)'
    assert page.evaluate(is_open) == [ITEM]


def test_it_says_what_changed_and_nothing_is_wrong_in_the_console(page: Browser) -> None:
    assert "entries changed" in page.evaluate('document.querySelector(".hop").textContent')
    assert page.errors == []
