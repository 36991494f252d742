//! What the pages show.

use serde_json::{Value, json};

use super::browser::Browser;
use crate::harness::{BUILDS, build, end, job, log, plan, queued, start, started};

const HOSTILE: &str = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>";

/// Whether nothing of [`HOSTILE`] became markup.
fn is_escaped(page: &str) -> bool {
    !page.contains("<script>alert")
        && !page.contains("<img")
        && (page.contains("script&#62;alert") || page.contains("script&gt;alert"))
}

#[tokio::test]
async fn what_people_write_is_text() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    let org = json!({"name": format!("Evil {HOSTILE}")});
    let org = owner.post("/api/v0/organizations", &org).await.expect(201)["slug"]
        .as_str()
        .unwrap()
        .to_owned();
    let pipeline = json!({"name": format!("ci {HOSTILE}"), "repository": HOSTILE, "default_branch": "main", "description": HOSTILE});
    let path = format!("/api/v0/organizations/{org}/pipelines");
    let evil = owner.post(&path, &pipeline).await.expect(201)["slug"]
        .as_str()
        .unwrap()
        .to_owned();
    owner.pipeline().await;
    let mut hostile: Value = serde_json::from_str(&plan()).unwrap();
    hostile["graph"]["nodes"][1]["step"]["key"] = json!(HOSTILE);
    let step = &mut hostile["graph"]["nodes"][0]["step"];
    (step["label"], step["cmd"]) = (json!(HOSTILE), json!(HOSTILE));
    let body = json!({"branch": HOSTILE, "commit": HOSTILE, "source": HOSTILE,
        "message": format!("{HOSTILE}\n{HOSTILE}"), "pipeline_ir": hostile.to_string()});
    owner.build(&body).await;
    owner
        .post(&format!("{path}/{evil}/builds"), &body)
        .await
        .expect(201);
    let lease = agent.lease().await;
    let (step, other) = (job(&lease, "build"), job(&lease, HOSTILE));
    let events = [
        start(&step),
        log(&other, "its key is hostile"),
        log(&step, HOSTILE),
        log(&step, &format!("\u{1b}[31m{HOSTILE}\u{1b}[0m\r{HOSTILE}")),
        json!({"kind": "step_log", "step_id": step, "service": HOSTILE, "stream": "stderr", "line": HOSTILE, "ts": "2026-01-01T00:00:00Z"}),
        json!({"kind": "step_end", "step_id": step, "exit_code": 1, "duration_ms": 5, "message": HOSTILE,
            "artifacts": [{"path": HOSTILE, "bytes": 5, "digest": "d",
                "tests": {"total": 1, "failed": 1, "skipped": 0, "failures": [HOSTILE]}}]}),
    ];
    agent.events(&lease, 1, &events).await.expect(200);
    let path = format!(
        "/agent/v1/builds/{}/complete",
        lease["build_id"].as_str().unwrap()
    );
    let ending = json!({"attempt": 1, "events": 6, "status": "failed", "error": HOSTILE});
    agent.post(&path, &ending).await.expect(200);
    let browser = Browser::owner(&server).await;
    let build = browser.page("/acme/ci/builds/1").await;
    assert!(build.matches("alert(").count() > 20, "{build}");
    for page in [
        browser.page("/").await,
        browser.page(&format!("/{org}")).await,
        browser.page(&format!("/{org}/{evil}")).await,
        build,
        browser
            .page(&format!("/acme/ci/builds/1/jobs/{other}/lines"))
            .await,
        browser
            .page(&format!("/acme/ci/builds/1/jobs/{step}/lines"))
            .await,
    ] {
        assert!(is_escaped(&page), "{page}");
    }
    let live = browser
        .hear(
            browser.request(
                reqwest::Method::GET,
                &format!("/acme/ci/builds/1/live?open={step}"),
            ),
            |_| false,
        )
        .await;
    let html: String = live
        .iter()
        .map(|(.., data)| {
            data["html"].as_str().unwrap_or_default().to_owned() + data["facts"].as_str().unwrap_or_default()
        })
        .collect();
    assert!(is_escaped(&html), "{html}");
    let whole = browser.get(&format!("/acme/ci/builds/1/jobs/{step}/log")).await;
    assert_eq!(whole.headers["content-type"], "text/plain; charset=utf-8");
    assert!(whole.text.contains(HOSTILE));
    server.stop().await;
}

#[tokio::test]
async fn a_build_shows_its_steps_with_the_failed_one_open() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let browser = Browser::owner(&server).await;
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(
        page.contains(r#"id="build-state" data-state="scheduled""#),
        "{page}"
    );
    assert!(page.contains("id=\"cancel\"") && !page.contains("id=\"retry\""));

    let lease = agent.lease().await;
    let (first, second) = (job(&lease, "build"), job(&lease, "test"));
    let events = [
        queued(&first, "build"),
        queued(&second, "test"),
        json!({"kind": "step_cache_hit", "step_id": first, "key": "k", "tag": "t"}),
        json!({"kind": "step_start", "step_id": second, "runner": "vm", "image": "debian:13", "cache_miss": "src/lib.rs has changed"}),
        log(&second, "\u{1b}[1;32mok\u{1b}[0m"),
        json!({"kind": "step_log", "step_id": second, "stream": "stderr", "line": "oh no", "ts": "2026-01-01T00:00:00Z"}),
        json!({"kind": "step_start", "step_id": second, "runner": "vm", "attempt": 2, "previous_exit_code": 7}),
        json!({"kind": "step_log", "step_id": second, "service": "db", "stream": "stdout", "line": "ready", "ts": "2026-01-01T00:00:00Z"}),
        json!({"kind": "a_kind_of_tomorrow", "step_id": second}),
        json!({"kind": "step_end", "step_id": second, "exit_code": 7, "duration_ms": 65_000, "message": "out of memory",
        "artifacts": [
            {"path": "out/app", "bytes": 2048, "digest": "d"},
            {"path": "junit.xml", "bytes": 5, "digest": "d",
                "tests": {"total": 12, "failed": 1, "skipped": 2, "failures": ["adds"]}},
        ]}),
    ];
    agent.events(&lease, 1, &events).await.expect(200);
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(
        page.contains(r#"id="build-state" data-state="failing""#),
        "{page}"
    );
    agent.complete(&lease, 10, "failed").await.expect(200);

    let page = browser.page("/acme/ci/builds/1").await;
    for part in [
        "<title>✕ Failed · ci #1",
        r#"id="build-state" data-state="failed""#,
        r#"<details class="step" id="step-build" data-step="build""#,
        r#"data-state="failed" data-bad open>"#,
        "Cached",
        "src/lib.rs has changed",
        "debian:13",
        "out of memory",
        "out/app (2 KiB)",
        "9 passed, 1 failed, 2 skipped",
        "<li>adds</li>",
        "1 min 5 s",
        "exit 7",
        r##"<div class="line" id="step-test-L1" data-n="1"><a href="#step-test-L1">1</a><span><span class="f2 bo">ok</span></span></div>"##,
        r#"<div class="line err" id="step-test-L2""#,
        "Exit code 7; attempt 2 begins.",
        r#"<b class="service">db</b> ready"#,
        "id=\"retry\"",
        r#"data-terminal="true""#,
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("id=\"cancel\""));
    // A state is told by a sign and a word too, in the picture as in the list.
    assert!(
        page.contains(r#"aria-label="make test: Failed""#) && page.contains(r#"aria-label="Build: Cached""#),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_member_cancels_and_retries_without_a_script() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    owner.build(&build()).await;
    let browser = Browser::owner(&server).await;
    let answer = browser.post("/acme/ci/builds/1/cancel", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &"/acme/ci/builds/1".parse().unwrap())
    );
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(page.contains(r#"id="build-state" data-state="canceled""#));
    assert_eq!(page.matches(r#"data-state="canceled""#).count(), 8, "{page}");
    let answer = browser.post("/acme/ci/builds/1/retry", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &"/acme/ci/builds/2".parse().unwrap())
    );
    assert!(browser.page("/acme/ci/builds/2").await.contains("by retry"));
    for path in [
        "/acme/ci/builds/3",
        "/acme/ci/builds/x",
        "/acme/none/builds/1",
        "/acme/ci/builds/99999999999999999999",
    ] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    assert_eq!(browser.post("/acme/ci/builds/3/cancel", &[]).await.status, 404);
    server.stop().await;
}

/// The builds on a page.
fn listed(page: &str) -> Vec<i64> {
    let rows = page.split("data-build=\"").skip(1);
    rows.map(|row| {
        row.split('"')
            .next()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    })
    .collect()
}

#[tokio::test]
async fn lists_are_paged_filtered_and_one_persons() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    for _ in 0..35 {
        owner.build(&build()).await;
    }
    for status in ["passed", "failed"] {
        let lease = agent.lease().await;
        agent.complete(&lease, 0, status).await.expect(200);
    }
    let browser = Browser::owner(&server).await;
    for path in ["/", "/acme/ci"] {
        let page = browser.page(path).await;
        assert_eq!(listed(&page), (6..=35).rev().collect::<Vec<_>>());
        assert!(page.contains(r#"id="list" data-live="true""#));
        let older = page
            .split(r#"rel="next" href=""#)
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let page = browser.page(&older.replace("&#38;", "&")).await;
        assert_eq!(listed(&page), (1..=5).rev().collect::<Vec<_>>());
        assert!(
            !page.contains("rel=\"next\"") && page.contains(&format!("href=\"{path}\">Newest")),
            "{page}"
        );
        assert_eq!(listed(&browser.page(&format!("{path}?state=passed")).await), [1]);
        assert_eq!(listed(&browser.page(&format!("{path}?state=failed")).await), [2]);
        assert_eq!(
            listed(&browser.page(&format!("{path}?state=live")).await).len(),
            30
        );
        assert!(
            browser
                .page(&format!("{path}?state=canceled"))
                .await
                .contains("No build is like that")
        );
        for bad in ["?state=nonsense", "?before=1", "?before=%27"] {
            assert_eq!(browser.get(&format!("{path}{bad}")).await.status, 404);
        }
    }
    let page = browser.page("/acme").await;
    assert_eq!(page.matches("class=\"dot\"").count(), 8, "{page}");
    let stranger = server.login("eve@example.com", "evil").await.token.unwrap();
    let stranger = Browser::logged_in(&server, &stranger).await;
    assert!(stranger.page("/").await.contains("No build yet"));
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let (_data, server) = started().await;
    server.owner().await.pipeline().await;
    let browser = Browser::owner(&server).await;
    let answer = browser.get("/acme/ci").await;
    let tag = answer.headers["etag"].clone();
    let again = browser
        .request(reqwest::Method::GET, "/acme/ci")
        .header("if-none-match", tag);
    let again = browser.send(again).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_steps_have_a_page() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    for step in 0..1000 {
        nodes.push(json!({"step": {"key": format!("s{step}"), "cmd": "true"}, "env": {}}));
        if step >= 10 {
            edges.push(json!([step - 10, step, "depends_on"]));
        }
    }
    let plan = json!({"version": "0", "graph": {"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": edges}});
    let mut body = build();
    body["pipeline_ir"] = json!(plan.to_string());
    owner.build(&body).await;
    let page = Browser::owner(&server).await.page("/acme/ci/builds/1").await;
    assert_eq!(page.matches("data-node=").count(), 40);
    assert_eq!(page.matches("class=\"edge\"").count(), 30);
    assert!(
        page.contains("960 of the plan&#39;s steps are not in the picture")
            || page.contains("960 of the plan's steps")
    );
    assert_eq!(page.matches("<details class=\"step\"").count(), 1000);
    assert!(page.len() < 3 << 20, "{}", page.len());
    server.stop().await;
}

#[tokio::test]
async fn large_build_folds_what_passed_and_shows_the_failed_step_first() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let nodes: Vec<Value> = (0..60)
        .map(|step| json!({"step": {"key": format!("s{step}"), "cmd": "true"}, "env": {}}))
        .collect();
    let plan = json!({"version": "0", "graph": {"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": []}});
    let mut body = build();
    body["pipeline_ir"] = json!(plan.to_string());
    body["message"] = json!(format!("\u{202e}{}", "long ".repeat(100)));
    owner.build(&body).await;
    let lease = agent.lease().await;
    let mut events = Vec::new();
    for step in 0..60 {
        let id = job(&lease, &format!("s{step}"));
        events.extend([start(&id), end(&id, i32::from(step == 57))]);
    }
    agent.events(&lease, 1, &events).await.expect(200);
    agent.complete(&lease, 120, "failed").await.expect(200);
    let page = Browser::owner(&server).await.page("/acme/ci/builds/1").await;
    assert!(page.contains("59 steps passed</summary>"), "{page}");
    let first = page.find("<details class=\"step\"").unwrap();
    assert!(
        page[first..].starts_with("<details class=\"step\" id=\"step-s57\""),
        "{page}"
    );
    assert!(page.contains("href=\"#step-s57\" data-node="), "{page}");
    assert_eq!(page.matches("data-node=").count(), 40);
    assert!(!page.contains('\u{202e}') && page.contains("‹U+202E›"), "{page}");
    assert!(page.contains("…</p>"), "{page}");
    server.stop().await;
}

#[tokio::test]
async fn a_refused_plan_is_said_on_the_page() {
    let (_data, server) = started().await;
    let owner = server.owner().await;
    owner.pipeline().await;
    let mut body = build();
    body["pipeline_ir"] = json!("{}");
    owner.post(BUILDS, &body).await.refused(422, "plan_rejected");
    let page = Browser::owner(&server).await.page("/acme/ci/builds/1").await;
    assert!(
        page.contains("id=\"build-error\"") && page.contains("This build has no steps"),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_step_that_ends_well_is_closed() {
    let (_data, server) = started().await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let first = job(&lease, "build");
    agent
        .events(&lease, 1, &[start(&first), log(&first, "hello"), end(&first, 0)])
        .await
        .expect(200);
    let browser = Browser::owner(&server).await;
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(
        !page.contains("hello")
            && page.contains("href=\"/acme/ci/builds/1?step=build#step-build\">Show the log"),
        "{page}"
    );
    assert!(
        browser
            .page("/acme/ci/builds/1?step=build")
            .await
            .contains("hello")
    );
    server.stop().await;
}
