import harmont as hm

# A real pipeline would say image="postgres:17"; without an image a service starts from the same root as a step.
shop = hm.service(
    "shop",
    cmd="exec python3 -m shop --port 8080",
    health=hm.health("python3 -m shop --check http://localhost:8080/health", interval=0.2, timeout=20),
    scope="chain",
)


@hm.pipeline("ci")
def ci():
    check = hm.sh("python3 -W error -m compileall -q shop tests", label="compile", services=[shop])
    test = check.sh(
        "python3 -m tests.run http://shop:8080 --junit report/junit.xml",
        label="test",
        artifacts=["report/**"],
        limits=hm.limits(memory="512MiB"),
    )
    return [test]
