import harmont as hm


@hm.pipeline("ci")
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    configured = hm.sh("autoreconf --install\n./configure --silent", label="configure", cache=hm.auto())
    built = configured.sh("make -s\nmake -s check", label="check", cache=hm.auto())
    unchanged = built.sh(
        """
        git diff --exit-code
        git submodule status
        git submodule status | grep -q '^ '
        git status --porcelain
        test -z "$(git status --porcelain)"
        """,
        label="unchanged",
        git=True,
    )
    return [clean, unchanged]
