"""Every proxy and property name that scenes may use is ParaView's own."""

import json

import pytest
from tensorview_insitu.paraview_states.proxies import PROXIES


@pytest.fixture(scope="module")
def answers(pvpython, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    questions = {kind: (proxy.group, proxy.python) for kind, proxy in PROXIES.items()}
    (folder / "questions.json").write_text(json.dumps(questions | {"NoSuchProxy": ("sources", "")}))
    pvpython("inspect_proxies.py", folder / "questions.json", folder / "answers.json")
    return json.loads((folder / "answers.json").read_text())


@pytest.mark.parametrize("kind", PROXIES)
def test_paraview_knows_the_proxy_its_constructor_and_all_its_properties(kind, answers):
    held = answers[kind]["properties"]
    assert held is not None and answers[kind]["constructor"]
    assert set(PROXIES[kind].properties) | set(PROXIES[kind].inner) <= set(held)
    differing = {xml: held[xml] for xml, python in PROXIES[kind].properties.items() if held[xml] != python}
    assert differing == {}


def test_the_check_can_fail(answers):
    assert answers["NoSuchProxy"]["properties"] is None
