//! A hundred builds, and each second one of server and agents is killed and started again: each build ends exactly
//! once, and whoever watches loses nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use futures::{StreamExt, stream};
use harmont_client::models::{Build, BuildState, JobState, NewBuild, NewPipeline};
use harmont_client::{BuildRecord, HarmontClient};
use hm_plugin_protocol::events::BuildEvent;
use hm_vm::testing::footprint::{Footprint, mounts_of};
use tokio::runtime::Runtime;

use crate::cloud::{Cloud, Service};
use crate::cloud_story::{self, plan};
use crate::harness::World;

const BUILDS: usize = 100;
const AGENTS: [&str; 3] = ["one", "two", "three"];
/// How many builds an agent runs at once.
const AT_ONCE: usize = 2;
/// Each build whose number this divides is watched from its first moment on.
const WATCHED: usize = 5;
const ORG: &str = "team";
const PIPELINE: &str = "ci";
/// After this long a build that has not ended hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Numbers that follow from a seed, so that a run can be played again.
struct Dice(u64);

impl Dice {
    /// From `HM_CHAOS_SEED`, else another one each time; a failed test tells which.
    fn new() -> Self {
        let given = std::env::var("HM_CHAOS_SEED").ok();
        let seed = given.map_or_else(
            || uuid::Uuid::new_v4().as_u64_pair().0,
            |seed| seed.parse().expect("HM_CHAOS_SEED is a number"),
        );
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What is killed, and what the agents had when they were.
struct Victims {
    cloud: Cloud,
    token: String,
    agents: Vec<Service>,
    footprints: Vec<Footprint>,
    kills: usize,
}

impl Victims {
    fn start_agent(&self, name: &str) -> Service {
        self.cloud.agent_by(&self.token, name, AT_ONCE)
    }

    fn serve(&mut self) {
        self.cloud.serve(&["--lease", "2s"]);
    }

    /// Kills one of all, and starts it again a moment later.
    fn kill_one(&mut self, dice: &mut Dice) {
        let victim = usize::try_from(dice.below(1 + AGENTS.len() as u64)).expect("a small number");
        let pause = Duration::from_millis(dice.below(500));
        self.kills += 1;
        match AGENTS.get(victim) {
            None => {
                self.cloud.server.take().expect("a server").kill();
                std::thread::sleep(pause);
                self.serve();
            }
            Some(name) => {
                let agent = self.agents.remove(victim);
                self.footprints.push(Footprint::below(agent.child.id()));
                agent.kill();
                std::thread::sleep(pause);
                let agent = self.start_agent(name);
                self.agents.insert(victim, agent);
            }
        }
    }

    /// Ends all, and fails the test where anything is left of what they ran.
    fn end(mut self) {
        let root = self.cloud.world.path().to_owned();
        for agent in &self.agents {
            self.footprints.push(Footprint::below(agent.child.id()));
        }
        for agent in self.agents.drain(..) {
            agent.end();
        }
        self.cloud.server.take().expect("a server").end();
        let began = Instant::now();
        let left = loop {
            let mut left: Vec<String> = self.footprints.iter().flat_map(Footprint::left).collect();
            left.extend(mounts_of(&root));
            left.extend(AGENTS.iter().flat_map(|name| directories(&root, name)));
            // The kernel ends what gives steps their network once the supervisor is gone; nobody waits for that.
            if left.is_empty() || began.elapsed() > Duration::from_secs(30) {
                break left;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        assert_eq!(left, [""; 0]);
    }
}

/// What an agent has left of its builds.
fn directories(root: &Path, agent: &str) -> Vec<String> {
    let data = root.join(agent);
    let places = ["sandbox/stage", "sandbox/live", "sandbox/trash"].map(|place| data.join(place));
    let places = places
        .into_iter()
        .chain([data.join("agents").join(agent).join("builds")]);
    let entries = places.flat_map(|place| fs::read_dir(place).into_iter().flatten());
    entries
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect()
}

/// Submits a build. Where the answer is lost, nobody knows whether the build is there: it is looked for.
async fn submit(client: HarmontClient, source: Arc<String>, number: usize) -> Build {
    let new = NewBuild {
        branch: "main".into(),
        commit: "none".into(),
        message: Some(format!("build {number}")),
        pipeline_ir: Some(plan().json()),
        ..NewBuild::default()
    };
    loop {
        let archive = stream::iter([Ok(Bytes::from(source.as_bytes().to_vec()))]);
        match client.submit_build(ORG, PIPELINE, &new, Some(archive)).await {
            Ok(build) => return build,
            Err(error) => assert!(error.is_transient(), "build {number}: {error}"),
        }
        let there = client
            .builds(ORG, PIPELINE, Some(100), None)
            .await
            .expect("a list");
        if let Some(build) = there.data.iter().find(|build| build.message == new.message) {
            return client.build(ORG, PIPELINE, build.number).await.expect("a build");
        }
    }
}

/// A watcher of all events, from a build's first moment to its end.
async fn watch(client: HarmontClient, build: Build) -> (i64, Vec<BuildEvent>) {
    let number = build.number;
    let handle = hm_exec::cloud::follow(client, ORG, build, None).expect("it streams events");
    let (events, control) = handle.into_parts();
    let events = events.collect().await;
    control.wait().await.expect("no infrastructure failure");
    (number, events)
}

/// A watcher of all records.
async fn listen(client: HarmontClient, build: Build) -> (i64, Vec<BuildRecord>) {
    let records = client.build_records(build.id.expect("an id"), 0);
    let records = records.map(|record| record.expect("the stream goes on"));
    (build.number, records.collect().await)
}

/// All builds, once they have ended.
async fn ended(client: &HarmontClient) -> Vec<Build> {
    loop {
        let (mut builds, mut cursor) = (Vec::new(), None);
        loop {
            let page = client.builds(ORG, PIPELINE, Some(100), cursor.as_deref()).await;
            let page = page.expect("a list");
            builds.extend(page.data);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        if builds.iter().all(|build| build.state.is_final()) {
            return builds;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What came of a hundred builds.
struct Outcome {
    submitted: Vec<Build>,
    ended: Vec<Build>,
    watched: Vec<(i64, Vec<BuildEvent>)>,
    heard: Vec<(i64, Vec<BuildRecord>)>,
}

async fn build_all(client: HarmontClient, source: Arc<String>) -> Outcome {
    let (mut submitted, mut watching, mut listening) = (Vec::new(), Vec::new(), Vec::new());
    let mut submitting = stream::iter(0..BUILDS)
        .map(|number| submit(client.clone(), Arc::clone(&source), number))
        .buffered(4);
    while let Some(build) = submitting.next().await {
        if submitted.len().is_multiple_of(WATCHED) {
            watching.push(tokio::spawn(watch(client.clone(), build.clone())));
            listening.push(tokio::spawn(listen(client.clone(), build.clone())));
        }
        submitted.push(build);
    }
    let ended = ended(&client).await;
    let (mut watched, mut heard) = (Vec::new(), Vec::new());
    for (watcher, listener) in watching.into_iter().zip(listening) {
        watched.push(watcher.await.expect("no panic"));
        heard.push(listener.await.expect("no panic"));
    }
    Outcome {
        submitted,
        ended,
        watched,
        heard,
    }
}

/// A source archive as it is sent.
fn source(world: &World) -> String {
    world.write("source.txt", "the source\n");
    let repo = world.repo();
    let packed = Command::new("tar")
        .args(["-cz", "source.txt"])
        .current_dir(repo)
        .output();
    base64::engine::general_purpose::STANDARD.encode(packed.expect("tar").stdout)
}

#[test]
fn a_hundred_builds_with_a_kill_each_second_end_exactly_once() {
    let mut dice = Dice::new();
    println!("HM_CHAOS_SEED={}", dice.0);
    let cloud = Cloud::alone(World::new());
    let login = fs::read_to_string(cloud.token_file()).expect("a token");
    let client = HarmontClient::with_base_url(login.trim(), &cloud.url);
    let source = Arc::new(source(&cloud.world));
    let mut victims = Victims {
        token: cloud.agent_token(),
        cloud,
        agents: Vec::new(),
        footprints: Vec::new(),
        kills: 0,
    };
    victims.agents = AGENTS.map(|name| victims.start_agent(name)).into();
    let runtime = Runtime::new().expect("a runtime");
    let pipeline = NewPipeline {
        name: PIPELINE.into(),
        repository: "https://example.com/app.git".into(),
        default_branch: "main".into(),
        ..NewPipeline::default()
    };
    runtime
        .block_on(client.create_pipeline(ORG, &pipeline))
        .expect("a pipeline");

    let building = runtime.spawn(build_all(client.clone(), source));
    let began = Instant::now();
    while !building.is_finished() {
        std::thread::sleep(Duration::from_secs(1));
        victims.kill_one(&mut dice);
        assert!(
            began.elapsed() < PATIENCE,
            "{}",
            runtime.block_on(unended(&client))
        );
    }
    let outcome = runtime.block_on(building).expect("no panic");
    let took = began.elapsed();

    let numbers: HashMap<i64, &Build> = outcome.ended.iter().map(|build| (build.number, build)).collect();
    assert_eq!(numbers.len(), BUILDS, "every build is there once");
    let mut lost = 0;
    let mut attempts = 0;
    for submitted in &outcome.submitted {
        let build = numbers[&submitted.number];
        let passed = build.state == BuildState::Passed;
        if !passed {
            assert_eq!(build.error_code.as_deref(), Some("agent_lost"), "{build:?}");
            lost += 1;
        }
        let id = submitted.id.expect("an id");
        let records = cloud_story::stored(&victims.cloud.server_data(), id);
        let steps = cloud_story::check(&records, passed).unwrap_or_else(|broken| {
            panic!(
                "build {}: {broken}\n{}",
                build.number,
                cloud_story::show(&records)
            )
        });
        attempts += records.last().map_or(0, |record| record.attempt);
        let jobs = runtime
            .block_on(client.jobs(ORG, PIPELINE, build.number))
            .expect("the jobs");
        assert_eq!(jobs.len(), steps.len());
        for job in jobs {
            let key = job.step_key.expect("a key");
            let told = match steps[&key] {
                Some(0) => JobState::Passed,
                Some(_) => JobState::Failed,
                None => JobState::Skipped,
            };
            assert_eq!(job.state, told, "build {}, job {key}", build.number);
        }
        let heard = outcome.heard.iter().find(|(number, _)| *number == build.number);
        if let Some((_, heard)) = heard {
            assert_eq!(heard, &records, "build {}: the watcher heard all", build.number);
        }
    }
    for (number, events) in &outcome.watched {
        let passed = numbers[number].state == BuildState::Passed;
        cloud_story::check_told(events, passed).unwrap_or_else(|broken| {
            panic!("build {number}, as it was watched: {broken}\n{events:#?}");
        });
    }
    println!(
        "{} kills in {took:?}; {attempts} attempts at {BUILDS} builds; {lost} lost too many agents",
        victims.kills
    );
    victims.end();
}

/// The builds that have not ended, in words.
async fn unended(client: &HarmontClient) -> String {
    let builds = client
        .builds(ORG, PIPELINE, Some(100), None)
        .await
        .expect("a list");
    let open = builds.data.iter().filter(|build| !build.state.is_final());
    let open: Vec<_> = open.map(|build| (build.number, build.state)).collect();
    format!("builds that do not end: {open:?}")
}
