//! An environment of a test's own, and what `hm` said in it, with what differs from run to run taken out.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A pipeline whose step `bad` fails until there is a file `wanted.txt`.
pub const FAILING: &str = r#"
import harmont as hm

@hm.pipeline("ci")
def ci():
    base = hm.sh("echo base > base.txt", key="base")
    bad = base.sh("echo left > left.txt; cat wanted.txt", key="bad")
    return [bad.sh("cat left.txt wanted.txt", key="after"), base.sh("cat base.txt", key="good")]
"#;

/// A home, a repository and a data directory in a temporary place that goes with it.
pub struct World {
    dir: tempfile::TempDir,
    toolchains: bool,
}

/// How a run ended, and what it cost.
pub struct Counted {
    /// What it said.
    pub said: Said,
    stats: serde_json::Value,
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
        Self {
            dir,
            toolchains: false,
        }
    }

    /// A repository with one pipeline file.
    pub fn with_pipeline(text: &str) -> Self {
        let world = Self::new();
        world.write(".hm/ci.py", text);
        world
    }

    /// A repository whose newest run of [`FAILING`] has failed.
    pub fn failed() -> Self {
        let world = Self::with_pipeline(FAILING);
        world.hm(&["run", "--keep-going"]).expect(1);
        world
    }

    /// The newest run's id.
    pub fn newest(&self) -> String {
        let text = self.hm(&["builds", "--json", "-n", "1"]).expect(0).stdout();
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        line["run_id"].as_str().expect("an id").to_owned()
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

    /// Lets `hm` see the home and the `PATH` of whoever runs the tests, for their compilers.
    pub fn with_toolchains(mut self) -> Self {
        self.toolchains = true;
        self
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

    /// Writes `p.json`, a plan of steps that need nothing of each other.
    pub fn write_plan(&self, steps: &[serde_json::Value]) {
        let nodes: Vec<serde_json::Value> = steps
            .iter()
            .map(|step| serde_json::json!({"step": step, "env": {}}))
            .collect();
        let graph =
            serde_json::json!({"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": []});
        let plan = serde_json::json!({"version": "0", "graph": graph});
        self.write("p.json", &plan.to_string());
    }

    /// Writes a shell script that can be run.
    pub fn script(&self, path: &Path, text: &str) {
        fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a script");
    }

    /// Logs the home's owner in to a registry, as Docker's client does: by base64 of `NAME:PASSWORD`.
    pub fn login(&self, registry: &str, auth: &str) {
        let docker = self.dir.path().join("home/.docker");
        fs::create_dir_all(&docker).expect("a directory");
        let text = serde_json::json!({"auths": {registry: {"auth": auth}}}).to_string();
        fs::write(docker.join("config.json"), text).expect("a file");
    }

    /// The program under test, where any user may start it.
    pub fn program(&self) -> PathBuf {
        let copy = self.dir.path().join("hm");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_hm"), &copy).expect("a copy of hm");
            fs::set_permissions(self.dir.path(), Permissions::from_mode(0o755)).expect("a directory for all");
        }
        copy
    }

    /// A plan of steps: key, command, and the step that it builds in.
    pub fn plan(steps: &[(&str, &str, Option<&str>)]) -> String {
        let nodes: Vec<_> = steps
            .iter()
            .map(|(key, cmd, _)| serde_json::json!({"step": {"key": key, "cmd": cmd}, "env": {}}))
            .collect();
        let place = |key: &str| steps.iter().position(|step| step.0 == key).expect("a parent");
        let edges: Vec<_> = (0..steps.len())
            .filter_map(|at| Some(serde_json::json!([place(steps.get(at)?.2?), at, "builds_in"])))
            .collect();
        let graph = serde_json::json!({"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": edges});
        serde_json::json!({"version": "0", "graph": graph}).to_string()
    }

    /// Every path of the repository, with its size and time.
    pub fn listing(&self) -> String {
        let mut find = Command::new("find");
        let output = find
            .arg(self.repo())
            .args(["-printf", "%p %s %T@ %m\\n"])
            .output()
            .expect("find");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs `hm` to its end and reads its counters; fails the test when the exit code is another.
    #[track_caller]
    pub fn counted(&self, args: &[&str], code: i32) -> Counted {
        let file = self.dir.path().join("stats.json");
        let said = self.say(self.command(args).env("HM_STATS", &file)).expect(code);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("no counters ({error}):\n{said}"));
        fs::remove_file(&file).expect("the counters");
        let stats = serde_json::from_str(&text).expect("JSON");
        Counted { said, stats }
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
        if self.toolchains {
            let real = ["HOME", "PATH", "CARGO_HOME", "RUSTUP_HOME"];
            command.envs(
                real.into_iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            );
            command.env("XDG_CONFIG_HOME", self.dir.path().join("home/.config"));
        }
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

impl Counted {
    /// A counter.
    pub fn of(&self, name: &str) -> u64 {
        self.stats[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no counter {name}: {}", self.stats))
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

    /// Whether this is the exit code.
    pub fn expected(&self, code: i32) -> bool {
        self.output.status.code() == Some(code)
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
