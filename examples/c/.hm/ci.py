import harmont as hm


@hm.pipeline("ci")
def ci():
    build = (
        hm.scratch()
        .sh("./configure", label="configure", cache=hm.on_change("configure"))
        .sh("make", label="build", cache=hm.auto())
    )
    return [
        build.sh("make check", label="test", cache=hm.auto()),
        build.sh("test \"$(./build/calc '6 * 7')\" = 42", label="smoke", cache=hm.auto()),
    ]
