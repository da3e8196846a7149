"""Runs under pvpython: inspect_allowed.py KINDS.json FOUND.json. Of proxies: their class, their files."""

import json
import sys

import paraview.simple
from paraview import servermanager

paraview.simple.Connect()
manager = servermanager.ProxyManager().SMProxyManager


def steps(iterator, one):
    """What an iterator of ParaView's gives."""
    iterator.Begin()
    while not iterator.IsAtEnd():
        yield one(iterator)
        iterator.Next()


def files(proxy):
    """The properties that name a file."""
    for name, found in steps(proxy.NewPropertyIterator(), lambda i: (i.GetKey(), i.GetProperty())):
        domains = steps(found.NewDomainIterator(), lambda i: i.GetDomain())
        if any(domain.IsA("vtkSMFileListDomain") for domain in domains):
            yield name


answer = []
with open(sys.argv[-2]) as file:
    for group, kind in json.load(file):
        if manager.HasDefinition(group, kind):
            proxy = manager.GetPrototypeProxy(group, kind)
            answer.append([group, kind, proxy.GetVTKClassName() or "", sorted(set(files(proxy)))])
with open(sys.argv[-1], "w") as file:
    json.dump(answer, file)
