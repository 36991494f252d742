//! `hm init`: a repository's first pipeline file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Where the file goes.
const FILE: &str = ".hm/ci.py";

/// A kind of repository: the file that it is known by, what to call it, and the lines of a pipeline's body.
struct Kind {
    marker: &'static str,
    name: &'static str,
    body: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        marker: "Cargo.toml",
        name: "a Rust crate",
        body: r#"    build = hm.sh("cargo build --all-targets", label="build", cache=hm.auto())
    return [
        build.sh("cargo test", label="test", cache=hm.auto()),
        build.sh("cargo clippy --all-targets -- -D warnings", label="clippy", cache=hm.auto()),
        build.sh("cargo fmt --all --check", label="fmt", cache=hm.auto()),
    ]
"#,
    },
    Kind {
        marker: "go.mod",
        name: "a Go module",
        body: r#"    caches = [hm.cache_dir("~/go/pkg/mod"), hm.cache_dir("~/.cache/go-build")]
    build = hm.sh("go build ./...", label="build", caches=caches, cache=hm.auto())
    return [
        build.sh("go test ./...", label="test", caches=caches, cache=hm.auto()),
        build.sh("go vet ./...", label="vet", caches=caches, cache=hm.auto()),
        build.sh('test -z "$(gofmt -l .)"', label="fmt", cache=hm.auto()),
    ]
"#,
    },
    Kind {
        marker: "package.json",
        name: "a JavaScript package",
        body: r#"    install = hm.sh(
        "if [ -e package-lock.json ]; then npm ci; else npm install; fi",
        label="install",
        caches=[hm.cache_dir("~/.npm")],
        cache=hm.on_change("package.json", "package-lock.json"),
    )
    return [
        install.sh("npm test", label="test", cache=hm.auto()),
        install.sh("npm run --if-present build", label="build", cache=hm.auto()),
    ]
"#,
    },
    Kind {
        marker: "pyproject.toml",
        name: "a Python project",
        body: r#"    install = hm.sh(
        """
        python3 -m venv /opt/venv
        /opt/venv/bin/pip install --quiet --editable . pytest
        """,
        label="install",
        caches=[hm.cache_dir("~/.cache/pip")],
        cache=hm.on_change("pyproject.toml"),
    )
    return [
        install.sh("/opt/venv/bin/pytest", label="test", cache=hm.auto()),
        install.sh("python3 -W error -m compileall -q .", label="compile", cache=hm.auto()),
    ]
"#,
    },
    Kind {
        marker: "Makefile",
        name: "a Makefile",
        body: r#"    build = hm.sh("make", label="build", cache=hm.auto())
    return [build.sh("make test", label="test", cache=hm.auto())]
"#,
    },
];

/// What a repository of no known kind gets.
const OTHER: &str = r#"    hello = hm.sh("echo 'This runs in a sandbox, in a copy of the repository.'", label="hello")
    return [hello.sh("ls", label="look")]
"#;

/// Writes a first pipeline that fits the repository.
///
/// # Errors
/// When there is a pipeline already, or the file cannot be written.
pub fn init(context: &Context) -> Result<u8> {
    let root = context.maybe_root().unwrap_or(&context.environment.cwd);
    if let Some(file) = hm_dsl::discover(root).map_err(Failure::Pipeline)?.first() {
        return Err(Failure::usage(
            format!("the repository has a pipeline already: {}", file.display()),
            ["`hm pipelines` lists it, `hm run` runs it"],
        ));
    }
    let kind = KINDS.iter().find(|kind| root.join(kind.marker).is_file());
    let path = root.join(FILE);
    write_new(&path, &text(kind))?;
    let fits = kind.map_or_else(String::new, |kind| format!(" for {}", kind.name));
    context.printer.note(&format!(
        "wrote {}{fits}: look at it, then `hm run`",
        path.display()
    ));
    Ok(exit::PASSED)
}

fn text(kind: Option<&Kind>) -> String {
    format!(
        "import harmont as hm\n\n\n# Each command stops at its first failing line. A step with hm.auto() does not run again until something that it can \
         see\n# has changed; one without a cache always runs.\n@hm.pipeline(\"ci\")\ndef ci():\n{}",
        kind.map_or(OTHER, |kind| kind.body)
    )
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Failure::io("cannot create", directory))?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::plain_usage(format!(
            "{} is there already, and `hm init` overwrites nothing",
            path.display()
        )),
        _ => Failure::io("cannot create", path)(error),
    })?;
    file.write_all(text.as_bytes())
        .map_err(Failure::io("cannot write", path))
}
