import harmont as hm

redis = hm.service(
    "redis",
    cmd="exec redis-server --port 6379 --save '' --appendonly no --dir /tmp",
    health=hm.health("redis-cli ping | grep PONG", interval=0.1, timeout=30),
)


@hm.pipeline("ci", env={"PYTHONDONTWRITEBYTECODE": "1"})
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    unit = hm.sh("python3 -m unittest -v test_protocol", label="unit", cache=hm.auto())
    live = unit.sh(
        "python3 -m unittest -v test_live",
        label="live",
        services=[redis],
        env={"REDIS": "redis:6379"},
        network="none",
        cache=hm.auto(),
    )
    return [clean, live]
