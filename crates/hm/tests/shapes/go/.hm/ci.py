import harmont as hm


@hm.pipeline("ci", env={"GOPROXY": "off", "GOFLAGS": "-mod=mod"})
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    go = {"caches": [hm.cache_dir("~/.cache/go-build")], "cache": hm.auto()}
    lint = hm.sh("test -z \"$(gofmt -l .)\"\ngo vet ./...", label="lint", **go)
    test = hm.sh("go test -v ./...", label="test", **go)
    return [clean, lint, test]
