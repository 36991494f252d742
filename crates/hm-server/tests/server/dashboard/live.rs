//! A build's page, kept up to date.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::browser::Browser;
use crate::harness::{Client, Running, build, end, job, log, queued, start, started};

const LIVE: &str = "/acme/ci/builds/1/live";

type Heard = Vec<(String, String, Value)>;

async fn hear(browser: &Browser, query: &str, until: impl Fn(&str) -> bool) -> Heard {
    browser
        .hear(browser.request(Method::GET, &format!("{LIVE}{query}")), until)
        .await
}

/// The lines that a page would have: number and text.
fn lines(heard: &Heard) -> Vec<(u64, String)> {
    let html = heard
        .iter()
        .filter(|(name, ..)| name == "lines" || name == "tail");
    html.flat_map(|(.., data)| {
        let html = data["html"].as_str().unwrap().to_owned();
        let rows: Vec<_> = html
            .split("data-n=\"")
            .skip(1)
            .map(|row| {
                let text = row
                    .split("<span>")
                    .nth(1)
                    .unwrap()
                    .split("</span>")
                    .next()
                    .unwrap();
                (row.split('"').next().unwrap().parse().unwrap(), text.to_owned())
            })
            .collect();
        rows
    })
    .collect()
}

/// What the stream says of each step last.
fn states(heard: &Heard) -> BTreeMap<String, String> {
    let steps = heard.iter().filter(|(name, ..)| name == "step");
    steps
        .map(|(.., data)| {
            (
                data["job"].as_str().unwrap().to_owned(),
                data["state"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn names(heard: &Heard) -> Vec<&str> {
    heard.iter().map(|(name, ..)| name.as_str()).collect()
}

async fn begun(server: &Running) -> (Client, Value, Browser) {
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    (agent, lease, Browser::owner(server).await)
}

#[tokio::test]
async fn a_page_hears_what_it_does_not_know_yet() {
    let (_data, server) = started().await;
    let (agent, lease, browser) = begun(&server).await;
    let (first, second) = (job(&lease, "build"), job(&lease, "test"));
    agent
        .events(
            &lease,
            1,
            &[queued(&first, "build"), start(&first), log(&first, "<one>")],
        )
        .await
        .expect(200);
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(
        page.contains("data-seq=\"3\" data-attempt=\"1\" data-terminal=\"false\""),
        "{page}"
    );

    let listening = {
        let (browser, query) = (browser.clone(), format!("?after=3&open={first}"));
        tokio::spawn(async move { hear(&browser, &query, |_| false).await })
    };
    agent
        .events(&lease, 4, &[log(&second, "elsewhere"), log(&first, "two")])
        .await
        .expect(200);
    agent
        .events(&lease, 6, &[end(&first, 0), start(&second), end(&second, 3)])
        .await
        .expect(200);
    agent.complete(&lease, 8, "failed").await.expect(200);
    let heard = listening.await.unwrap();
    assert_eq!(lines(&heard), [(2, "two".to_owned())]);
    let expected = BTreeMap::from([
        (first.clone(), "passed".to_owned()),
        (second.clone(), "failed".to_owned()),
    ]);
    assert_eq!(states(&heard), expected);
    let (name, id, _) = heard.last().unwrap();
    assert_eq!((name.as_str(), id.as_str()), ("done", "9"));
    let (.., last) = heard.iter().rfind(|(name, ..)| name == "build").unwrap();
    assert_eq!(
        (&last["state"], &last["terminal"]),
        (&json!("failed"), &json!(true))
    );
    assert!(last["title"].as_str().unwrap().starts_with("✕ Failed"), "{last}");
    assert!(last["html"].as_str().unwrap().contains("id=\"retry\""), "{last}");

    // Whoever comes after the end hears that it is over, and the state that it may have missed.
    let heard = hear(&browser, "?after=9", |_| false).await;
    assert_eq!(names(&heard), ["build", "done"]);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_anywhere_goes_on_without_a_lost_or_doubled_line() {
    let (_data, server) = started().await;
    let (agent, lease, browser) = begun(&server).await;
    let (first, second) = (job(&lease, "build"), job(&lease, "test"));
    let mut events = vec![start(&first), start(&second)];
    for number in 1..=3000 {
        events.push(log(&first, &format!("{number}\u{1b}[3{}m", number % 8)));
        events.push(log(&second, "elsewhere"));
    }
    events.push(end(&first, 0));
    agent.events(&lease, 1, &events).await.expect(200);
    agent
        .complete(&lease, events.len() as u64, "passed")
        .await
        .expect(200);
    let open = format!("open={first}");
    let whole = lines(&hear(&browser, &format!("?after=0&{open}"), |_| false).await);
    assert_eq!(whole.len(), 3000);
    for after in [1, 2, 3, 4, 1023, 1024, 1025, 2047, 2048, 5000, 6002] {
        // A browser sends what it was told last, not what its address says.
        let request = browser.request(Method::GET, &format!("{LIVE}?after=0&{open}"));
        let heard = browser
            .hear(request.header("last-event-id", after.to_string()), |_| false)
            .await;
        // Records 3, 5, 7, ... are its lines.
        let known = usize::try_from(after - 1).unwrap() / 2;
        assert_eq!(lines(&heard), whole[known..], "after {after}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_is_far_behind_gets_the_end_and_is_told_which_lines_it_is() {
    let (_data, server) = started().await;
    let (agent, lease, browser) = begun(&server).await;
    let first = job(&lease, "build");
    agent.events(&lease, 1, &[start(&first)]).await.expect(200);
    let mut told = 1;
    for _ in 0..8 {
        let batch: Vec<_> = (0..5000)
            .map(|number| log(&first, &format!("{}", told + number)))
            .collect();
        agent.events(&lease, told + 1, &batch).await.expect(200);
        told += 5000;
    }
    let heard = hear(&browser, &format!("?after=1&open={first}"), |text| {
        text.contains("event: at")
    })
    .await;
    let (.., tail) = heard.iter().find(|(name, ..)| name == "tail").unwrap();
    assert_eq!((&tail["first"], &tail["last"]), (&json!(38_001), &json!(40_000)));
    assert_eq!(lines(&heard).len(), 2000);
    assert_eq!(heard.last().unwrap().1, "40001");
    // From there on it hears each.
    agent
        .events(&lease, told + 1, &[log(&first, "next"), end(&first, 0)])
        .await
        .expect(200);
    agent.complete(&lease, told + 2, "passed").await.expect(200);
    let request = browser
        .request(Method::GET, &format!("{LIVE}?open={first}"))
        .header("last-event-id", "40001");
    let heard = browser.hear(request, |_| false).await;
    assert_eq!(lines(&heard), [(40_001, "next".to_owned())]);
    server.stop().await;
}

#[tokio::test]
async fn a_new_attempt_clears_what_the_one_before_said() {
    let (_data, server) = started().await;
    let (agent, lost, browser) = begun(&server).await;
    let first = job(&lost, "build");
    agent
        .events(
            &lost,
            1,
            &[
                start(&first),
                log(&first, "once"),
                log(&first, "more"),
                end(&first, 1),
            ],
        )
        .await
        .expect(200);
    server
        .server
        .lose_agents(Utc::now() + TimeDelta::hours(1))
        .await
        .unwrap();
    let again = agent.lease().await;
    let events = [start(&first), log(&first, "twice")];
    agent.events(&again, 1, &events).await.expect(200);
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(page.contains("was lost") && page.contains("attempt 2"), "{page}");
    assert!(page.contains("twice") && !page.contains(">once<"), "{page}");
    agent.events(&again, 3, &[end(&first, 0)]).await.expect(200);
    agent.complete(&again, 3, "passed").await.expect(200);
    // From the middle of the first attempt, from its end, and from the note that tells of the loss.
    for (after, noted) in [(2, true), (4, true), (5, false)] {
        let heard = hear(&browser, &format!("?after={after}&open={first}"), |_| false).await;
        let names = names(&heard);
        assert_eq!(
            names.iter().filter(|name| **name == "attempt").count(),
            1,
            "{after}: {names:?}"
        );
        assert_eq!(names.contains(&"note"), noted, "{after}: {names:?}");
        let cleared = names.iter().position(|name| *name == "attempt").unwrap();
        assert_eq!(
            lines(&heard[cleared..].to_vec()),
            [(1, "twice".to_owned())],
            "{after}"
        );
        assert_eq!(states(&heard)[&first], "passed", "{after}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_hears_a_cancellation_that_no_log_tells_of() {
    let (_data, server) = started().await;
    let (_agent, _lease, browser) = begun(&server).await;
    let listening = {
        let browser = browser.clone();
        tokio::spawn(async move { hear(&browser, "?after=0", |text| text.contains("\"canceling\"")).await })
    };
    assert_eq!(browser.post("/acme/ci/builds/1/cancel", &[]).await.status, 303);
    assert!(names(&listening.await.unwrap()).contains(&"build"));
    server.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let (_data, server) = started().await;
    let (_agent, _lease, browser) = begun(&server).await;
    let listening = {
        let browser = browser.clone();
        tokio::spawn(async move { hear(&browser, "?after=0", |_| false).await })
    };
    tokio::task::yield_now().await;
    server.stop().await;
    // Either it had begun, or the server was gone before.
    let _ = listening.await;
}
