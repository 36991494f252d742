import harmont as hm

FEATURES = {"plain": "", "shout": "--features shout"}
PROFILES = {"dev": "", "release": "--release"}


@hm.pipeline("ci", env={"CARGO_TERM_COLOR": "never", "CARGO_NET_OFFLINE": "true"})
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    lint = hm.sh("cargo fmt --check\ncargo clippy --locked --all-features -- -D warnings", label="lint", cache=hm.auto())
    matrix = [
        hm.sh(
            f"""
            cargo build --locked {features} {profile}
            cargo test --locked {features} {profile}
            """,
            label=f"test {name} {kind}",
            cache=hm.auto(),
        )
        for name, features in FEATURES.items()
        for kind, profile in PROFILES.items()
    ]
    return [clean, lint, *matrix]
