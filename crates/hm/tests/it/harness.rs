//! An environment of a test's own, and what `hm` said in it, with what differs from run to run taken out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home, a repository and a data directory in a temporary place that goes with it.
pub struct World {
    dir: tempfile::TempDir,
}

/// How `hm` ended.
pub struct Said {
    output: Output,
    place: String,
}

impl World {
    /// An empty repository.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hm-test-")
            .tempdir()
            .expect("a temporary directory");
        for below in ["home", "repo/.hm", "data"] {
            fs::create_dir_all(dir.path().join(below)).expect("a directory");
        }
        Self { dir }
    }

    /// A repository with one pipeline file.
    pub fn with_pipeline(text: &str) -> Self {
        let world = Self::new();
        world.write(".hm/ci.py", text);
        world
    }

    /// A copy of one of the examples.
    pub fn with_example(name: &str) -> Self {
        let world = Self::new();
        let example = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples")
            .join(name);
        let copied = Command::new("cp")
            .arg("-a")
            .arg(example.join("."))
            .arg(world.repo())
            .status()
            .expect("cp");
        assert!(copied.success(), "cannot copy the example {name}");
        world
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The temporary place itself.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// `hm` in the repository, with nothing of the test's own environment but what programs need.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hm"));
        command
            .args(args)
            .current_dir(self.repo())
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HM_DATA_DIR", self.data())
            .stdin(Stdio::null());
        command
    }

    /// Runs `hm` to its end.
    pub fn hm(&self, args: &[&str]) -> Said {
        self.say(&mut self.command(args))
    }

    /// Runs a prepared `hm` to its end.
    pub fn say(&self, command: &mut Command) -> Said {
        Said {
            output: command.output().expect("hm starts"),
            place: self.dir.path().display().to_string(),
        }
    }
}

impl Said {
    /// Standard output as it was.
    pub fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("UTF-8")
    }

    /// Standard error as it was.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The exit code.
    pub fn code(&self) -> i32 {
        self.output.status.code().expect("an exit code")
    }

    /// Fails the test, with everything that was said, when the exit code is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(
            self.output.status.code() == Some(code),
            "wanted exit code {code}\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exit = self
            .output
            .status
            .code()
            .map_or_else(|| "none".to_owned(), |code| code.to_string());
        let text = format!(
            "exit {exit}\n--- stdout\n{}--- stderr\n{}",
            self.stdout(),
            self.stderr()
        );
        f.write_str(&redact(&text, &self.place))
    }
}

/// Takes out of a text what differs from run to run.
fn redact(text: &str, place: &str) -> String {
    text.replace(place, "[TMP]")
}
