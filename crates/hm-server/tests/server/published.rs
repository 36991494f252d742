//! What published clients need of the server: the crates `harmont-cloud` 0.1.3 and 0.2.0 themselves, and what they take for granted.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::harness::{Client, build, end, job, log, queued, start, started};

/// The program that speaks as published clients do, built once for all of them in a directory of its own.
async fn program() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published");
    // As this very test's executable is built: `target/debug/deps/server-…`.
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap().join("published");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(here.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .await
        .unwrap();
    assert!(
        built.status.success(),
        "the published clients are built from crates.io: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("debug/published")
}

/// What the program prints, a line at a time.
struct Printed(Lines<BufReader<ChildStdout>>);

impl Printed {
    async fn next(&mut self) -> String {
        let line = self.0.next_line().await.unwrap();
        line.expect("the program goes on; its own words are above")
    }

    async fn expect(&mut self, wanted: &[&str]) {
        for wanted in wanted {
            assert_eq!(self.next().await, *wanted);
        }
    }
}

async fn speaks(version: &str) {
    let program = program().await;
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let code = owner.post("/api/v0/auth/cli/code", &json!({})).await.expect(200);
    let nonce = "0123456789abcdef-published";
    owner
        .post("/api/v0/auth/cli/transfer", &json!({ "nonce": nonce }))
        .await
        .expect(204);
    let mut child = Command::new(program)
        .args([version, &format!("http://{}", server.address)])
        .args([
            owner.token.as_deref().unwrap(),
            code["code"].as_str().unwrap(),
            nonce,
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = Printed(BufReader::new(child.stdout.take().unwrap()).lines());
    printed
        .expect(&[
            "refused cli_code_invalid",
            "refused cli_code_invalid",
            "logged in true",
            "key made",
            "keys 1",
            "listed",
            "submitted 1",
        ])
        .await;

    let lease = agent.lease().await;
    let step = job(&lease, "say");
    let said = [queued(&step, "say"), start(&step), log(&step, "one")];
    agent.events(&lease, 1, &said).await.expect(200);
    let nanoseconds = 1_767_225_600_000_000_000_i64;
    let one = format!("live Stdout one Some({nanoseconds})");
    printed.expect(&[&one]).await;
    agent
        .events(&lease, 4, &[log(&step, "two"), end(&step, 0)])
        .await
        .expect(200);
    let two = one.replace("one", "two");
    printed.expect(&[&two, "live done"]).await;
    agent.complete(&lease, 5, "passed").await.expect(200);
    printed.expect(&["ended Passed"]).await;
    let afterwards = [&one, &two].map(|line| line.replace("live", "afterwards"));
    printed
        .expect(&[
            &afterwards[0],
            &afterwards[1],
            "afterwards done",
            "canceled Canceled",
        ])
        .await;
    assert!(child.wait().await.unwrap().success());
    server.stop().await;
}

#[tokio::test]
async fn published_client_0_1_3_logs_in_submits_follows_and_cancels() {
    speaks("0.1.3").await;
}

#[tokio::test]
async fn published_client_0_2_0_logs_in_submits_follows_and_cancels() {
    speaks("0.2.0").await;
}

#[tokio::test]
async fn version_1_has_the_resources_of_version_0() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    owner.build(&build()).await;
    for path in [
        "/user",
        "/organizations",
        "/organizations/acme/members",
        "/organizations/acme/pipelines/ci",
        "/organizations/acme/pipelines/ci/builds/1",
        "/user/api-tokens",
    ] {
        let old = owner.get(&format!("/api/v0{path}")).await.expect(200);
        assert_eq!(
            owner.get(&format!("/api/v1{path}")).await.expect(200),
            old,
            "{path}"
        );
    }
    let user = owner.get("/api/v1/user").await.expect(200);
    assert_eq!(user["id"], user["uuid"]);
    let members = owner.get("/api/v1/organizations/acme/members").await.expect(200);
    assert_eq!(members["data"][0]["user_id"], user["id"]);
    let limited = json!({"description": "x", "scopes": ["builds:read"]});
    owner
        .post("/api/v1/user/api-tokens", &limited)
        .await
        .refused(422, "scopes_unsupported");
    server
        .anonymous()
        .get("/api/v1/user")
        .await
        .refused(401, "invalid_token");
    owner.get("/api/v1/nothing").await.refused(404, "not_found");
    server.stop().await;
}

#[tokio::test]
async fn wrong_log_token_is_refused_beside_a_good_bearer() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    owner.build(&build()).await;
    let jobs = owner
        .get("/api/v0/organizations/acme/pipelines/ci/builds/1/jobs")
        .await
        .expect(200);
    let job = jobs["data"][0]["id"].as_str().unwrap();
    for version in ["v0", "v1"] {
        owner
            .get(&format!("/{version}/jobs/{job}/logs?token=wrong"))
            .await
            .refused(401, "log_stream_unauthorized");
    }
    server.stop().await;
}

/// Where a page leads to.
async fn leads_to(client: &Client, path: &str) -> String {
    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let url = client.request(Method::GET, path).build().unwrap().url().clone();
    let answer = browser.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 303, "{path}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn addresses_that_clients_and_people_write_lead_to_the_page() {
    let (_data, server) = started().await;
    let nobody = server.anonymous();
    for (path, page) in [
        ("/cli-login?port=1&nonce=a%2Fb", "/cli?nonce=a%2Fb"),
        ("/acme/pipelines/ci/builds/3", "/acme/ci/builds/3"),
        ("/acme/ci/builds", "/acme/ci"),
        ("/acme/ci/", "/acme/ci"),
        ("/acme/ci/builds/3/?step=a", "/acme/ci/builds/3?step=a"),
        // That is a page of its own, for a pipeline called `pipelines` too.
        ("/acme/pipelines", "/login?next=%2Facme%2Fpipelines"),
    ] {
        assert_eq!(leads_to(&nobody, path).await, page, "{path}");
    }
    assert_eq!(nobody.get("//evil.test/").await.status, 404);
    server.stop().await;
}
