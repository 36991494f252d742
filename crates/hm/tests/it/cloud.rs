//! A server, agents and `--backend cloud`, all through the real binary.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Said, World};

/// How long a busy machine may take for what happens soon.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process of `hm` that goes on until it is told to end.
pub struct Service {
    pub child: Child,
}

impl Service {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Ends it as a service is ended; it does so in good order.
    pub fn end(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }

    /// As a power cut ends it.
    pub fn kill(mut self) {
        self.signal("-KILL");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that fails must not leave what it has started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A repository, and a server beside it.
pub struct Cloud {
    // Ends before its directory goes.
    pub server: Option<Service>,
    pub world: World,
    pub url: String,
}

impl Cloud {
    /// Server and agent in one process, and logged in.
    pub fn dev(world: World) -> Self {
        let mut cloud = Self {
            world,
            url: "127.0.0.1:0".into(),
            server: None,
        };
        let file = cloud.token_file();
        let file = file.to_str().expect("UTF-8");
        cloud.serve(&["--dev", "--token-file", file]);
        cloud.log_in();
        cloud
    }

    /// A server without agents, whose agents are lost after two seconds of silence, and logged in.
    pub fn alone(world: World) -> Self {
        let mut cloud = Self {
            world,
            url: "127.0.0.1:0".into(),
            server: None,
        };
        let token = cloud.token(&["--email", "me@example.org", "--org", "team"]);
        fs::write(cloud.token_file(), token).expect("a file");
        cloud.serve(&["--lease", "2s"]);
        cloud.log_in();
        cloud
    }

    /// Starts a server, on the port that it had before.
    pub fn serve(&mut self, more: &[&str]) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let data = self.server_data();
        let mut args = vec![
            "server",
            "--listen",
            &address,
            "--data",
            data.to_str().expect("UTF-8"),
        ];
        args.extend(more);
        let mut child = self
            .world
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("hm starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("it speaks");
        self.server = Some(Service { child });
        self.url = line.trim().to_owned();
        assert!(self.url.starts_with("http://127.0.0.1:"), "{line}");
    }

    pub fn agent(&self, name: &str) -> Service {
        self.agent_by(&self.agent_token(), name, 1)
    }

    /// An agent with a token that is there already, which runs so many builds at once.
    pub fn agent_by(&self, token: &str, name: &str, builds: usize) -> Service {
        let builds = builds.to_string();
        let args = [
            "agent",
            "--server",
            &self.url,
            "--name",
            name,
            "--concurrency",
            &builds,
        ];
        let child = self
            .world
            .command(&args)
            .env("HM_AGENT_TOKEN", token)
            .env("HM_DATA_DIR", self.world.path().join(name))
            .stderr(Stdio::null())
            .spawn()
            .expect("hm starts");
        Service { child }
    }

    /// A token for agents.
    pub fn agent_token(&self) -> String {
        self.hm(&["cloud", "agent-token"])
            .expect(0)
            .stdout()
            .trim()
            .to_owned()
    }

    fn token(&self, args: &[&str]) -> String {
        let data = self.server_data();
        let mut all = vec!["server", "--data", data.to_str().expect("UTF-8"), "token"];
        all.extend(args);
        self.world.hm(&all).expect(0).stdout()
    }

    fn log_in(&self) {
        let file = self.token_file();
        let file = file.to_str().expect("UTF-8");
        let said = self
            .hm(&["cloud", "login", "--url", &self.url, "--token-file", file])
            .expect(0);
        assert!(said.stderr().contains("logged in to"), "{said}");
    }

    /// Where the server keeps its data.
    pub fn server_data(&self) -> PathBuf {
        self.world.path().join("server")
    }

    /// The file with the token of whoever is logged in.
    pub fn token_file(&self) -> PathBuf {
        self.world.path().join("token")
    }

    pub fn hm(&self, args: &[&str]) -> Said {
        self.world.hm(args)
    }

    /// `hm run --backend cloud`, begun.
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut all = vec!["run", "--backend", "cloud", "--format", "plain"];
        all.extend(args);
        let mut command = self.world.command(&all);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hm starts")
    }

    /// The state of the pipeline's newest build, and of its jobs.
    pub fn states(&self, pipeline: &str) -> (String, Vec<String>) {
        let text = self
            .hm(&["cloud", "build", "show", pipeline, "--json"])
            .expect(0)
            .stdout();
        let build: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let jobs = build["jobs"].as_array().expect("jobs").iter();
        let states = jobs.map(|job| job["state"].as_str().expect("a state").to_owned());
        (
            build["state"].as_str().expect("a state").to_owned(),
            states.collect(),
        )
    }
}

pub fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "{what} never happened");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a run said in plain format, without its header, its ids and its times; steps that ran side by side in order
/// of their names.
fn steps_said(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('['))
        .map(|line| {
            let words = line.split(' ').map(|word| {
                let is_time = word.contains(|c: char| c.is_ascii_digit())
                    && word.trim_matches(['(', ')', ',']).ends_with('s');
                if is_time { "TIME" } else { word }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_build_on_the_server_says_what_it_says_here() {
    let cloud = Cloud::dev(World::with_example("c"));
    // A cache of its own: the agent's is the one that `hm run` usually has.
    let other = cloud.world.path().join("other");
    let other = other.to_str().expect("UTF-8");
    let here = cloud
        .hm(&["run", "--format", "plain", "--data-dir", other])
        .expect(0);
    let there = cloud
        .hm(&["run", "--backend", "cloud", "--format", "plain"])
        .expect(0);
    assert!(!steps_said(&here.stdout()).is_empty(), "{here}");
    assert_eq!(
        steps_said(&here.stdout()),
        steps_said(&there.stdout()),
        "{here}{there}"
    );
    assert!(there.stderr().contains("made `ci`"), "{there}");

    let listed = cloud.hm(&["builds", "--json"]).expect(0).stdout();
    assert!(listed.contains("\"backend\":\"cloud\""), "{listed}");
    let logs = cloud.hm(&["logs", "--format", "plain"]).expect(0).stdout();
    assert_eq!(steps_said(&logs), steps_said(&there.stdout()));
    let shell = cloud.hm(&["shell", "test", "--", "true"]).expect(2);
    assert!(shell.stderr().contains("was a server's"), "{shell}");

    let log = cloud
        .hm(&["cloud", "job", "log", "build", "ci"])
        .expect(0)
        .stdout();
    assert!(!log.is_empty());
    for line in log.lines() {
        assert!(there.stdout().contains(line), "{line}");
    }
    let watched = cloud
        .hm(&["cloud", "build", "watch", "ci", "1", "--format", "plain"])
        .expect(0);
    assert_eq!(steps_said(&watched.stdout()), steps_said(&there.stdout()));
    cloud.server.expect("a server").end();
}

#[test]
fn a_token_is_kept_for_its_owner_and_never_shown() {
    let cloud = Cloud::dev(World::with_pipeline(
        "import harmont as hm\n\n@hm.pipeline(\"ci\")\ndef ci():\n    return hm.sh(\"exit 7\", key=\"bad\")\n",
    ));
    let token = fs::read_to_string(cloud.token_file()).expect("a token");
    let token = token.trim();
    let kept = cloud.world.path().join("home/.config/hm/credentials.toml");
    for file in [cloud.token_file(), kept.clone()] {
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let failed = cloud.hm(&["-v", "run", "--backend", "cloud"]).expect(1);
    let said = [
        failed,
        cloud.hm(&["cloud", "whoami"]).expect(0),
        cloud.hm(&["config", "show", "--origin"]).expect(0),
        cloud.hm(&["cloud", "org", "list"]).expect(0),
        cloud.hm(&["cloud", "build", "list"]).expect(0),
        cloud.hm(&["cloud", "build", "watch", "ci"]).expect(1),
        cloud.hm(&["-v", "cloud", "logout"]).expect(0),
    ];
    for said in &said {
        assert!(!format!("{said}").contains(&token[8..]), "the token is shown");
    }
    assert!(said[1].stdout().contains("dev@localhost"), "{}", said[1]);
    assert!(!fs::read_to_string(kept).expect("a file").contains(token));
    let refused = cloud.hm(&["run", "--backend", "cloud"]).expect(2);
    assert!(refused.stderr().contains("hm cloud login"), "{refused}");
    let mut ended = cloud.world.command(&["cloud", "whoami"]);
    ended.env("HM_API_TOKEN", token).env("HM_API_URL", &cloud.url);
    let ended = cloud.world.say(&mut ended).expect(2);
    assert!(ended.stderr().contains("the login has expired"), "{ended}");
}

#[test]
fn what_a_server_cannot_do_and_a_token_in_a_file_are_refused() {
    let cloud = Cloud::dev(World::new());
    cloud.world.write("p.json", &World::plan(&[("a", "true", None)]));
    for (flags, wrong) in [
        (&["--artifacts", "there"][..], "--artifacts"),
        (&["--cloud-pipeline", "none"], "no pipeline `none`"),
    ] {
        let args = [&["run", "--backend", "cloud", "--plan", "p.json"], flags].concat();
        let said = cloud.hm(&args).expect(2);
        assert!(said.stderr().contains(wrong), "{said}");
    }
    let said = cloud.hm(&["run", "--plan", "p.json", "--org", "team"]).expect(2);
    assert!(said.stderr().contains("--org is for"), "{said}");
    cloud
        .world
        .write(".hm/config.toml", "[cloud]\ntoken = \"hm_api_secret\"\n");
    let said = cloud.hm(&["run", "--plan", "p.json"]).expect(2);
    assert!(said.stderr().contains("`cloud.token` is refused"), "{said}");
    assert!(!said.stderr().contains("hm_api_secret"), "{said}");
    let project = format!("[cloud]\napi_url = \"{}\"\n", cloud.url);
    cloud.world.write(".hm/config.toml", &project);
    let mut command = cloud.world.command(&["cloud", "whoami"]);
    let said = cloud
        .world
        .say(command.env("HM_API_TOKEN", "hm_api_secret"))
        .expect(2);
    assert!(said.stderr().contains("would have HM_API_TOKEN sent"), "{said}");
}

#[test]
fn an_interrupt_cancels_on_the_server_and_what_nobody_watches_goes_on() {
    let cloud = Cloud::dev(World::new());
    cloud.world.write(
        "p.json",
        &World::plan(&[("a", "echo step-'runs'; sleep 1000", None)]),
    );
    let mut child = cloud.begin(&["--plan", "p.json"]);
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("step-runs") {
        line.clear();
        assert!(
            output.read_line(&mut line).expect("hm speaks") > 0,
            "the step never started"
        );
    }
    let running = Service { child };
    running.signal("-INT");
    let mut running = running;
    std::io::copy(&mut output, &mut std::io::sink()).expect("the rest");
    assert_eq!(running.child.wait().expect("hm ends").code(), Some(130));
    soon("the cancellation", || cloud.states("p").0 == "canceled");

    cloud
        .world
        .write("p.json", &World::plan(&[("a", "echo done", None)]));
    let said = cloud
        .hm(&["run", "--backend", "cloud", "--plan", "p.json", "--no-watch"])
        .expect(0);
    let watched = cloud
        .hm(&["cloud", "build", "watch", "p", "2", "--format", "plain"])
        .expect(0);
    assert!(watched.stdout().contains("done"), "{said}{watched}");
    let listed = cloud.hm(&["builds", "--json", "-n", "1"]).expect(0).stdout();
    assert!(listed.contains("\"submitted\""), "{listed}");
}

/// Reads on to the end: what the build said, and its exit code.
fn rest(mut child: Child) -> (String, Option<i32>) {
    let mut said = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::Read::read_to_string(&mut output, &mut said).expect("UTF-8");
    (said, child.wait().expect("hm ends").code())
}

#[test]
fn a_server_that_is_killed_in_mid_build_goes_on_and_no_line_is_lost() {
    let mut cloud = Cloud::alone(World::new());
    let counting = "for n in $(seq 40); do echo count-$n; sleep 0.1; done";
    cloud
        .world
        .write("p.json", &World::plan(&[("a", counting, None)]));
    let agent = cloud.agent("one");
    let child = cloud.begin(&["--plan", "p.json"]);
    soon("the step's start", || {
        let listed = cloud.hm(&["cloud", "build", "list", "--json"]).stdout();
        listed.contains("\"running\"")
    });
    cloud.server.take().expect("a server").kill();
    cloud.serve(&["--lease", "2s"]);
    let (said, code) = rest(child);
    assert_eq!(code, Some(0), "{said}");
    for n in 1..=40 {
        let line = format!("count-{n}");
        let times = said.lines().filter(|said| said.ends_with(&line)).count();
        assert_eq!(times, 1, "{line}:\n{said}");
    }
    assert_eq!(
        cloud.states("p"),
        ("passed".to_owned(), vec!["passed".to_owned()])
    );
    agent.end();
    cloud.server.take().expect("a server").end();
}

#[test]
fn a_build_whose_agent_is_killed_ends_once_on_another() {
    let mut cloud = Cloud::alone(World::new());
    let step = "echo step-'runs'; sleep 3; echo last";
    cloud.world.write("p.json", &World::plan(&[("a", step, None)]));
    let first = cloud.agent("first");
    let mut child = cloud.begin(&["--plan", "p.json"]);
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("step-runs") {
        line.clear();
        assert!(
            output.read_line(&mut line).expect("hm speaks") > 0,
            "the step never started"
        );
    }
    first.kill();
    let second = cloud.agent("second");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut output, &mut said).expect("UTF-8");
    assert_eq!(child.wait().expect("hm ends").code(), Some(0), "{said}");
    assert_eq!(
        said.lines().filter(|line| line.ends_with("last")).count(),
        1,
        "{said}"
    );
    assert_eq!(
        cloud.states("p"),
        ("passed".to_owned(), vec!["passed".to_owned()])
    );
    second.end();
    cloud.server.take().expect("a server").end();
}
