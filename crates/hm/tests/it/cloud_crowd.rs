//! A thousand watchers who wait, one build of a million lines, and a thousand who ask for it and do not read on: the
//! server stays small and serves them all.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use futures::stream;
use harmont_client::HarmontClient;
use harmont_client::models::{Build, NewBuild, NewPipeline};
use hm_exec::testing::{PlanWriter, StepWriter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::cloud::{Cloud, Service};
use crate::harness::World;

const WATCHERS: usize = 1_000;
/// The builds that those watch; nobody runs them.
const IDLE_BUILDS: usize = 10;
const LINES: u64 = 1_000_000;
/// What the server may use at most.
const MEMORY_KIB: u64 = 200 * 1024;
const ORG: &str = "team";
const PIPELINE: &str = "ci";

/// The limit of open files that shells and service managers usually give.
const USUAL_FILES: u64 = 1024;

/// Has what this process starts begin with so many open files at most.
fn limit_files(files: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(files),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("a limit below the largest");
}

/// A figure of a process's memory, in KiB.
fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .expect("a figure");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number")
}

async fn submit(client: &HarmontClient, plan: &PlanWriter) -> Build {
    let new = NewBuild {
        branch: "main".into(),
        commit: "none".into(),
        pipeline_ir: Some(plan.json()),
        ..NewBuild::default()
    };
    let nothing = None::<stream::Empty<_>>;
    client
        .submit_build(ORG, PIPELINE, &new, nothing)
        .await
        .expect("a build")
}

/// A request for a build's records by a log token.
async fn asking(client: &HarmontClient, build: &Build, version: &str) -> String {
    let token = client.log_token(ORG, PIPELINE, build.number).await;
    format!(
        "GET /hm/v1/builds/{}/events?token={} {version}\r\nhost: hm\r\n\r\n",
        build.id.expect("an id"),
        token.expect("a token").token.expose_secret()
    )
}

/// Asks, and reads no further than to where the stream begins.
fn open(address: &str, ask: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(ask.as_bytes()).expect("it listens");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).expect("it answers");
    assert!(line.ends_with(" 200 OK\r\n"), "{line}");
    stream
}

/// Reads a build's log from its beginning to its end: all lines are there, in order. Without a client's work, which would be
/// most of the test's in a debug build.
fn skim(address: &str, ask: &str) {
    let (mut seq, mut lines, mut last) = (0_u64, 0_u64, String::new());
    let mut begun = String::new();
    for line in open(address, ask).lines() {
        let line = line.expect("UTF-8");
        if let Some(id) = line.strip_prefix("id: ") {
            seq += 1;
            assert_eq!(id.parse(), Ok(seq));
        } else if let Some(data) = line.strip_prefix("data: ") {
            if let Some((_, text)) = data.split_once(r#""line":""#) {
                let (text, rest) = text.split_once('"').expect("its end");
                begun.push_str(text);
                // Where the machine is busy for long, a line may come in pieces.
                if !rest.contains(r#""partial":true"#) {
                    lines += 1;
                    assert_eq!(std::mem::take(&mut begun).parse(), Ok(lines));
                }
            }
            data.clone_into(&mut last);
        }
    }
    assert_eq!(lines, LINES);
    assert!(last.contains(r#""kind":"build_end""#), "{last}");
}

#[test]
fn a_million_lines_and_a_thousand_watchers_take_less_than_200_mb() {
    limit_files(USUAL_FILES);
    let cloud = Cloud::alone(World::new());
    limit_files(4 * USUAL_FILES);
    let login = fs::read_to_string(cloud.token_file()).expect("a token");
    let client = HarmontClient::with_base_url(login.trim(), &cloud.url);
    let runtime = Runtime::new().expect("a runtime");
    let server = cloud.server.as_ref().expect("a server").child.id();
    let address = cloud.url.trim_start_matches("http://");
    let agent = cloud.agent_by(&cloud.agent_token(), "agent", 1);
    runtime.block_on(async {
        let pipeline = NewPipeline {
            name: PIPELINE.into(),
            repository: "https://example.com/app.git".into(),
            default_branch: "main".into(),
            ..NewPipeline::default()
        };
        client.create_pipeline(ORG, &pipeline).await.expect("a pipeline");
        let nobodys = PlanWriter::of([StepWriter::new("idle", "true")]).with("labels", json!(["nobody"]));
        let mut waiting = Vec::new();
        for _ in 0..IDLE_BUILDS {
            let build = submit(&client, &nobodys).await;
            let ask = asking(&client, &build, "HTTP/1.1").await;
            waiting.extend((0..WATCHERS / IDLE_BUILDS).map(|_| open(address, &ask)));
        }
        let flood = PlanWriter::of([StepWriter::new("flood", format!("seq {LINES}"))]);
        let build = submit(&client, &flood).await;
        // A stream of this version is not cut into chunks.
        let whole = asking(&client, &build, "HTTP/1.0").await;
        skim(address, &whole);
        // These are sent what they ask for, and take none of it.
        let ask = asking(&client, &build, "HTTP/1.1").await;
        waiting.extend((0..WATCHERS).map(|_| open(address, &ask)));
        skim(address, &whole);
        for watcher in &waiting {
            watcher.get_ref().set_nonblocking(true).expect("a socket");
            let closed = watcher.get_ref().peek(&mut [0]);
            assert!(!matches!(closed, Ok(0)), "a watcher who waits is sent away");
        }
    });
    let most = memory(server, "VmHWM:");
    println!("{WATCHERS} watchers and {LINES} lines: the server used {most} KiB at most");
    assert!(most < MEMORY_KIB, "{most} KiB");
    agent.end();
    cloud.server.expect("a server").end();
}

#[test]
fn a_server_that_may_open_few_files_says_so() {
    let world = World::new();
    let hm = env!("CARGO_BIN_EXE_hm");
    let serve = format!("ulimit -n 512 && exec {hm} server --data there --listen 127.0.0.1:0");
    let mut command = Command::new("sh");
    let child = command
        .args(["-c", &serve])
        .current_dir(world.path())
        .env("HM_DATA_DIR", world.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut server = Service { child };
    let (output, errors) = (server.child.stdout.take(), server.child.stderr.take());
    let mut line = String::new();
    // Whatever it has to say at its start it has said before this.
    BufReader::new(output.expect("a pipe"))
        .read_line(&mut line)
        .expect("it speaks");
    server.end();
    let said = io::read_to_string(errors.expect("a pipe")).expect("UTF-8");
    assert!(said.contains("may have 512 files open"), "{said}");
}
