import harmont as hm


@hm.pipeline("ci", env={"CARGO_TERM_COLOR": "never"})
def ci():
    build = hm.sh("cargo build --all-targets --locked --offline", label="build", cache=hm.auto())
    return [
        build.sh("cargo test --locked --offline", label="test", cache=hm.auto()),
        build.sh("cargo clippy --all-targets --locked --offline -- -D warnings", label="clippy", cache=hm.auto()),
        build.sh("cargo fmt --check", label="fmt", cache=hm.auto()),
    ]
