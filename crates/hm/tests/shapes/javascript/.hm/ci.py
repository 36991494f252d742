import harmont as hm


@hm.pipeline("ci")
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    lint = hm.sh("for file in lib/*.js test/*.js; do node --check \"$file\"; done", label="lint", cache=hm.auto())
    test = lint.sh("node --test test/", label="test", cache=hm.auto())
    package = lint.sh(
        """
        mkdir -p dist
        tar -czf dist/slug.tgz package.json lib
        mkdir -p /tmp/use/node_modules/slug
        tar -xzf dist/slug.tgz -C /tmp/use/node_modules/slug
        cd /tmp/use
        test "$(node --input-type=module -e "import slug from 'slug'; console.log(slug('A  b!'))")" = a-b
        """,
        label="package",
        artifacts=["dist/*.tgz"],
        cache=hm.auto(),
    )
    return [clean, test, package]
