//! A server process that is killed at random moments, and what it acknowledged before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hm_server::store::{Builds, Database, Retention, SqliteStore};
use hm_server::{Rate, Server, ServerConfig};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{BUILDS, Client, build, job, log, sse, start};

const DATA: &str = "HM_TEST_DATA";
const ADDRESS: &str = "HM_TEST_ADDRESS";
const ROUNDS: u32 = 30;
const AGENTS: usize = 3;
/// How many batches a build tells, and how many lines each has.
const BATCHES: u64 = 4;
const LINES: u64 = 5;

/// The process that is killed: the test starts it, by its name.
#[tokio::test]
#[ignore = "it serves until it is killed, for the test below"]
async fn serve_until_killed() {
    let data = std::env::var(DATA).expect("the test below says where");
    let address = std::env::var(ADDRESS).expect("the test below says where");
    let listener = TcpListener::bind(&address).await.unwrap();
    let mut config = ServerConfig::new(data.clone().into(), format!("http://{address}"));
    let free = Rate::new(1_000_000, 1_000_000);
    (config.rates.token, config.rates.agent) = (free, free);
    (config.rates.address, config.rates.login) = (free, free);
    config.agents.lease = Duration::from_secs(3);
    config.agents.sweep = Duration::from_millis(50);
    config.agents.losses = 1000;
    config.keep.sweep = Duration::from_millis(20);
    // Sources go as soon as there are more than a few, so that the sweep is under way at each kill.
    config.keep.source_bytes = Some(2000);
    let server = Server::open(config).await.unwrap();
    let tokens = Path::new(&data).join("tokens");
    if !tokens.exists() {
        let owner = server.login("ada@example.com", "acme", None).await.unwrap();
        let agent = server.agent_token("acme", "test").await.unwrap();
        let text = format!("{} {}", owner.reveal(), agent.reveal());
        std::fs::write(tokens.with_extension("new"), text).unwrap();
        std::fs::rename(tokens.with_extension("new"), tokens).unwrap();
    }
    server.serve(listener, CancellationToken::new()).await.unwrap();
}

/// A server process. It is killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(data: &Path, address: SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "killed::serve_until_killed",
            "--ignored",
            "--nocapture",
        ]);
        command.env(DATA, data).env(ADDRESS, address.to_string());
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// The builds that were answered with 201: their ids by number.
    builds: BTreeMap<i64, String>,
    /// How many events of each build's attempt.
    events: BTreeMap<(String, i64), u64>,
    /// The builds that were completed.
    completed: Vec<String>,
}

/// Somebody who asks until there is an answer: servers come and go.
#[derive(Clone)]
struct Patient(Client);

impl Patient {
    /// The status and the body.
    async fn ask(&self, request: impl Fn(&Client) -> reqwest::RequestBuilder) -> (u16, Value) {
        loop {
            match self.try_ask(&request).await {
                Some((status, _, body)) => return (status, body),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Nothing when the connection broke.
    async fn try_ask(
        &self,
        request: impl Fn(&Client) -> reqwest::RequestBuilder,
    ) -> Option<(u16, reqwest::header::HeaderMap, Value)> {
        let response = request(&self.0).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some((
            status,
            headers,
            serde_json::from_str(&text).unwrap_or(Value::Null),
        ))
    }
}

/// Submits builds until it is told to stop. A submission that was not answered is another build's.
async fn submit(owner: Patient, known: Arc<Mutex<Acknowledged>>, stop: CancellationToken) {
    let mut body = build();
    body["source_b64"] = json!("AAAA".repeat(200));
    while !stop.is_cancelled() {
        let post = |client: &Client| client.request(Method::POST, BUILDS).json(&body);
        match owner.try_ask(post).await {
            None => tokio::time::sleep(Duration::from_millis(5)).await,
            Some((status, headers, answer)) => {
                assert_eq!(status, 201, "{answer}");
                let id = headers["x-hm-build-id"].to_str().unwrap().to_owned();
                let number = answer["number"].as_i64().unwrap();
                let before = known.lock().unwrap().builds.insert(number, id);
                assert_eq!(before, None, "number {number} was given twice");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn line(attempt: i64, number: u64) -> String {
    format!("line {number} of attempt {attempt}")
}

/// Runs builds until it is told to stop and none is left.
async fn run(agent: Patient, known: Arc<Mutex<Acknowledged>>, stop: CancellationToken) {
    let mut idle = 0;
    while !stop.is_cancelled() || idle < 100 {
        let ask = |client: &Client| {
            let body = json!({"agent": "one"});
            client.request(Method::POST, "/agent/v1/lease").json(&body)
        };
        let (status, lease) = agent.ask(ask).await;
        if status == 204 {
            // A lease whose answer was lost with the server comes back when it has run out.
            idle += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        assert_eq!(status, 200, "{lease}");
        idle = 0;
        tell(&agent, &known, &lease).await;
    }
}

async fn tell(agent: &Patient, known: &Mutex<Acknowledged>, lease: &Value) {
    let (id, attempt) = (
        lease["build_id"].as_str().unwrap().to_owned(),
        lease["attempt"].as_i64().unwrap(),
    );
    let step = job(lease, "build");
    let mut first = 1;
    for batch in 0..BATCHES {
        let mut events: Vec<Value> = (first..first + LINES)
            .map(|number| log(&step, &line(attempt, number)))
            .collect();
        if batch == 0 {
            events[0] = start(&step);
        }
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let path = format!("/agent/v1/builds/{id}/events?attempt={attempt}&first={first}");
        let send = |client: &Client| client.request(Method::POST, &path).body(lines.clone());
        let (status, answer) = agent.ask(send).await;
        if status == 409 && answer["error"]["code"] == "lease_lost" {
            return;
        }
        // What is missing would be what was acknowledged before.
        assert_eq!(status, 200, "{answer}");
        first += LINES;
        assert_eq!(answer["next"], first, "{answer}");
        let mut known = known.lock().unwrap();
        known.events.insert((id.clone(), attempt), first - 1);
    }
    let path = format!("/agent/v1/builds/{id}/complete");
    let body = json!({"attempt": attempt, "events": first - 1, "status": "passed"});
    let complete = |client: &Client| client.request(Method::POST, &path).json(&body);
    let (status, answer) = agent.ask(complete).await;
    if status == 409 && answer["error"]["code"] == "lease_lost" {
        return;
    }
    assert_eq!((status, &answer["state"]), (200, &json!("passed")));
    known.lock().unwrap().completed.push(id);
}

/// Every build of the list, by number.
async fn listed(owner: &Patient) -> BTreeMap<i64, Value> {
    let mut all = BTreeMap::new();
    let mut path = format!("{BUILDS}?limit=100");
    loop {
        let (status, page) = owner.ask(|client| client.request(Method::GET, &path)).await;
        assert_eq!(status, 200, "{page}");
        for build in page["data"].as_array().unwrap() {
            all.insert(build["number"].as_i64().unwrap(), build.clone());
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{BUILDS}?limit=100&cursor={cursor}"),
            None => return all,
        }
    }
}

async fn check_log(owner: &Patient, id: &str, known: &Acknowledged) {
    let answer = owner.0.get(&format!("/hm/v1/builds/{id}/events")).await;
    let records: Vec<Value> = sse(&answer.text)
        .iter()
        .map(|(.., data)| serde_json::from_str(data).unwrap())
        .collect();
    let mut attempts: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    let mut last = 0;
    for (number, record) in (1..).zip(&records) {
        assert_eq!(record["seq"].as_u64(), Some(number), "{id}: {record}");
        let attempt = record["attempt"].as_i64().unwrap();
        assert!(
            attempt >= last,
            "{id}: an old attempt's words after a new one's: {record}"
        );
        last = attempt;
        if let Some(line) = record["event"]["line"].as_str() {
            attempts.entry(attempt).or_default().push(line);
        }
    }
    let ends = records
        .iter()
        .filter(|record| record["event"]["kind"] == "build_end");
    assert_eq!(ends.count(), 1, "{id}: {records:?}");
    assert_eq!(records.last().unwrap()["event"]["kind"], "build_end", "{id}");
    for (attempt, lines) in &attempts {
        let expected: Vec<String> = (2..)
            .map(|number| line(*attempt, number))
            .take(lines.len())
            .collect();
        assert_eq!(lines, &expected, "{id}: once and in order");
    }
    for ((build, attempt), events) in &known.events {
        if build == id {
            // The first event is no line.
            let kept = attempts.get(attempt).map_or(0, Vec::len) as u64 + 1;
            assert!(
                kept >= *events,
                "{id}: {kept} of {events} events of attempt {attempt}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_keeps_what_it_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let mut process = Process::start(data.path(), address);
    let tokens = data.path().join("tokens");
    let text = loop {
        match std::fs::read_to_string(&tokens) {
            Ok(text) => break text,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (owner, agent) = text.split_once(' ').unwrap();
    let owner = Patient(Client::new(address, Some(owner.to_owned())));
    let agent = Patient(Client::new(address, Some(agent.to_owned())));
    let pipeline =
        json!({"name": "ci", "repository": "https://example.com/acme/app.git", "default_branch": "main"});
    let path = "/api/v0/organizations/acme/pipelines";
    let make = |client: &Client| client.request(Method::POST, path).json(&pipeline);
    assert_eq!(owner.ask(make).await.0, 201);

    let known = Arc::new(Mutex::new(Acknowledged::default()));
    let stop = CancellationToken::new();
    let mut working = tokio::task::JoinSet::new();
    working.spawn(submit(owner.clone(), Arc::clone(&known), stop.clone()));
    for _ in 0..AGENTS {
        working.spawn(run(agent.clone(), Arc::clone(&known), stop.clone()));
    }
    for round in 0..ROUNDS {
        let chance = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
        tokio::time::sleep(Duration::from_millis(chance)).await;
        // SIGKILL, and a new process in its place.
        drop(process);
        process = Process::start(data.path(), address);
        let acknowledged: Vec<i64> = known.lock().unwrap().builds.keys().copied().collect();
        let completed = known.lock().unwrap().completed.len();
        let listed = listed(&owner).await;
        for number in acknowledged {
            assert!(
                listed.contains_key(&number),
                "round {round}: build {number} is gone"
            );
        }
        let passed = listed.values().filter(|build| build["state"] == "passed").count();
        assert!(
            passed >= completed,
            "round {round}: {passed} of {completed} ends are there"
        );
    }
    stop.cancel();
    while let Some(done) = working.join_next().await {
        done.unwrap();
    }

    let known = Arc::into_inner(known).unwrap().into_inner().unwrap();
    let listed = listed(&owner).await;
    assert!(
        known.completed.len() > 10,
        "only {} builds ended",
        known.completed.len()
    );
    for build in listed.values() {
        assert_eq!(build["state"], "passed", "{build}");
    }
    for (number, id) in &known.builds {
        assert!(listed.contains_key(number));
        check_log(&owner, id, &known).await;
    }
    drop(process);

    // Store, queue and blobs agree.
    let database = Database::open(&data.path().join("hm.sqlite")).await.unwrap();
    let store = SqliteStore::new(database.clone());
    assert!(store.scheduled_builds(None, 10).await.unwrap().is_empty());
    assert!(store.unsealed_builds(10).await.unwrap().is_empty());
    let removals = store.removals(100).await.unwrap();
    let queue = hm_server::queue::SqliteQueue::new(database.clone());
    let end = chrono::DateTime::from_timestamp(1 << 33, 0).unwrap();
    let leased = hm_server::queue::Queue::expired(&queue, end, 10).await.unwrap();
    assert!(leased.is_empty(), "{leased:?}");
    let sources = std::fs::read_dir(data.path().join("blobs/sources")).unwrap();
    for source in sources {
        let name = source.unwrap().file_name().into_string().unwrap();
        let id = name.strip_suffix(".tar.gz").unwrap().parse().unwrap();
        let build = store
            .build_by_id(id)
            .await
            .unwrap()
            .expect("a source has its build");
        let kept = build.source_removed_at.is_none() || removals.iter().any(|(build, _)| *build == id);
        assert!(kept, "the source of {id} was said to be removed");
    }
    database.close().await;
}
