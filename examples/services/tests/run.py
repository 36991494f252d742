"""Tests a running shop, and writes a JUnit report."""

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

CASES = [
    ("an empty basket is free", "/price", 200, {"price": 0}),
    ("two teas and a coffee", "/price?tea=2&coffee=1", 200, {"price": 13}),
    ("an unknown product", "/price?water=1", 400, None),
    ("an unknown page", "/prize", 404, None),
]


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--junit", type=Path)
    arguments = parser.parse_args()
    suite = ElementTree.Element("testsuite", name="shop", tests=str(len(CASES)))
    failures = 0
    for name, path, status, body in CASES:
        case = ElementTree.SubElement(suite, "testcase", name=name, classname="shop")
        answer = ask(arguments.url + path)
        if answer[0] != status or (body is not None and answer[1] != body):
            failures += 1
            ElementTree.SubElement(case, "failure", message=f"{path} answers {answer}")
        print("FAIL" if len(case) else "ok", name)
    suite.set("failures", str(failures))
    if arguments.junit:
        arguments.junit.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(suite).write(arguments.junit)
    return 1 if failures else 0


sys.exit(main())
