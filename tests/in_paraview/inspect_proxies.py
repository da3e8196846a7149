"""Runs under pvpython: what ParaView says of proxies; inspect_proxies.py QUESTIONS.json ANSWERS.json."""

import json
import sys

import paraview.simple
from paraview import servermanager


def names_of(proxy):
    """Every property's XML name and what Python calls it."""
    found = {}
    properties = proxy.NewPropertyIterator()
    while not properties.IsAtEnd():
        found[properties.GetKey()] = paraview.make_name_valid(
            properties.GetPropertyLabel() or properties.GetKey()
        )
        properties.Next()
    return found


questions = json.load(open(sys.argv[1]))
answers = {}
for kind, (group, python) in questions.items():
    proxy = servermanager.ProxyManager().SMProxyManager.NewProxy(group, kind)
    answers[kind] = {
        "properties": names_of(proxy) if proxy else None,
        "constructor": hasattr(paraview.simple, python)
        if python and group in ("sources", "filters")
        else True,
    }
json.dump(answers, open(sys.argv[2], "w"))
