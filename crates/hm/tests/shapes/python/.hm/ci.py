import shutil

import harmont as hm

KNOWN = [f"python3.{minor}" for minor in range(9, 15)]


@hm.pipeline("ci", env={"PYTHONDONTWRITEBYTECODE": "1"})
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    # A version manager's shim says nothing about whether its Python is chosen.
    pythons = [name for name in KNOWN if "/shims/" not in (shutil.which(name) or "/shims/")] or ["python3"]
    tests = [
        hm.sh(f"{python} -W error -m unittest discover -v tests", label=f"test {python}", cache=hm.auto())
        for python in pythons
    ]
    docs = hm.sh(
        """
        python3 -m doctest README.md
        mkdir -p site
        cd site
        PYTHONPATH=.. python3 -m pydoc -w tally
        grep -q most_common tally.html
        """,
        label="docs",
        artifacts=["site/*.html"],
        cache=hm.auto(),
    )
    return [clean, *tests, docs]
