import harmont as hm


@hm.pipeline("shop")
def shop():
    deps = hm.sh("make deps", label="Dependencies", key="deps")
    build = deps.sh("make build", label="Build", key="build")
    lint = deps.sh("make lint", label="Lint", key="lint")
    unit = build.sh("make test", label="Unit tests", key="unit")
    browser = build.sh("make browser", label="Browser tests", key="browser")
    image = unit.sh("make image", label="Image", key="image")
    return [lint, browser, image.sh("make deploy", label="Deploy to staging", key="deploy")]
