import harmont as hm


@hm.pipeline("ci")
def ci():
    compiled = hm.sh("python3 -W error -m compileall -q ledger tests", label="compile", cache=hm.auto())
    test = compiled.sh("python3 -m unittest discover -v", label="test", cache=hm.auto())
    tabs = compiled.sh("python3 -m tabnanny -v ledger tests", label="lint", cache=hm.auto())
    package = compiled.sh(
        "python3 -m zipapp . --output ledger.pyz --main ledger.__main__:main && test -s ledger.pyz",
        label="package",
        cache=hm.auto(),
    )
    run = compiled.sh(
        "python3 -m ledger < tests/entries.txt | diff tests/expected.txt -",
        label="run",
        shell="bash",
        cache=hm.auto(),
    )
    return [test, tabs, package, run]
