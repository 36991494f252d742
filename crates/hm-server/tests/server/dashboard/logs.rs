//! Steps' logs: their end, any piece of them, and the whole.

use reqwest::Method;
use serde_json::{Value, json};

use super::browser::Browser;
use crate::harness::{Client, Running, build, end, job, log, start, started};

/// The numbers and texts of lines.
fn lines(html: &str) -> Vec<(u64, String)> {
    let rows = html.split("data-n=\"").skip(1);
    rows.map(|row| {
        let number = row.split('"').next().unwrap().parse().unwrap();
        let text = row
            .split("<span>")
            .nth(1)
            .unwrap()
            .split("</span></div>")
            .next()
            .unwrap();
        (number, text.to_owned())
    })
    .collect()
}

/// What a page says about its window: first, last and total.
fn window(html: &str) -> [u64; 3] {
    ["first", "last", "total"].map(|name| {
        let rest = html.split(&format!("data-{name}=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    })
}

/// A build of which one step said so many lines, among those of another.
async fn noisy(server: &Running, count: u64) -> (String, Client, Value) {
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    owner.build(&build()).await;
    let lease = agent.lease().await;
    let (step, other) = (job(&lease, "build"), job(&lease, "test"));
    agent
        .events(&lease, 1, &[start(&step), start(&other)])
        .await
        .expect(200);
    let mut told = 2;
    for from in (1..=count).step_by(4000) {
        let batch: Vec<Value> = (from..=count.min(from + 3999))
            .flat_map(|number| {
                let line = log(&step, &format!("line {number} \u{1b}[3{}mcoloured", number % 8));
                // Long stretches of the log are the other step's alone.
                let foreign = if number % 3000 == 0 { 2500 } else { 0 };
                std::iter::once(line).chain((0..foreign).map(|_| log(&other, "other")))
            })
            .collect();
        agent.events(&lease, told + 1, &batch).await.expect(200);
        told += batch.len() as u64;
    }
    agent.events(&lease, told + 1, &[end(&step, 1)]).await.expect(200);
    (step, agent, json!({"lease": lease, "told": told + 1}))
}

#[tokio::test]
async fn a_page_holds_the_end_of_a_long_log_and_the_rest_is_one_link_away() {
    let (_data, server) = started().await;
    let (step, ..) = noisy(&server, 30_000).await;
    let browser = Browser::owner(&server).await;
    let page = browser.page("/acme/ci/builds/1").await;
    assert!(page.len() < 600_000, "{}", page.len());
    assert_eq!(window(&page), [28_001, 30_000, 30_000]);
    assert!(page.contains(">28000 earlier lines</a>") && !page.contains("later lines"));
    let seen = lines(&page);
    assert_eq!(seen.first().unwrap().0, 28_001);
    // The colour of the line before goes on.
    assert_eq!(
        seen[0].1,
        "<span class=\"f0\">line 28001 </span><span class=\"f1\">coloured</span>"
    );
    assert_eq!(seen.len(), 2000);

    // Every line is found once by going back, piece by piece.
    let path = format!("/acme/ci/builds/1/jobs/{step}/lines");
    let (mut before, mut all) = (28_001, seen);
    while before > 1 {
        let piece = browser.page(&format!("{path}?before={before}")).await;
        let [first, last, total] = window(&piece);
        assert_eq!((last, total), (before - 1, 30_000));
        let mut earlier = lines(&piece);
        assert_eq!(earlier.len() as u64, last - first + 1);
        earlier.extend(all);
        (all, before) = (earlier, first);
    }
    assert_eq!(all.len(), 30_000);
    for (number, (said, text)) in (1..).zip(&all) {
        let (pen, ink) = ((number + 7) % 8, number % 8);
        let before = format!("line {number} ");
        let before = if number == 1 {
            before
        } else {
            format!("<span class=\"f{pen}\">{before}</span>")
        };
        assert_eq!(
            (*said, text.as_str()),
            (
                number,
                format!("{before}<span class=\"f{ink}\">coloured</span>").as_str()
            )
        );
    }

    // A piece from any line on, as a link to a line asks for it.
    for from in [1, 1023, 1024, 1025, 2999, 3000, 3001, 29_999, 30_000] {
        let piece = browser.page(&format!("{path}?from={from}")).await;
        let seen = lines(&piece);
        let last = (from + 1999).min(30_000);
        assert_eq!(window(&piece), [from, last, 30_000]);
        assert_eq!(seen, all[from as usize - 1..last as usize]);
    }
    for beyond in [
        "?from=30001",
        "?from=18446744073709551615",
        "?before=1",
        "?before=0",
    ] {
        assert_eq!(lines(&browser.page(&format!("{path}{beyond}")).await), []);
    }
    let page = browser.page("/acme/ci/builds/1?step=build&from=5").await;
    assert!(
        page.contains("27996 later lines") && page.contains(">4 earlier lines"),
        "{}",
        &page[..2000]
    );

    let whole = browser
        .get(&format!("/acme/ci/builds/1/jobs/{step}/log"))
        .await
        .text;
    assert!((1..=30_000).eq(whole.lines().map(|line| {
        line.strip_prefix("line ")
            .and_then(|line| line.strip_suffix(" coloured"))
            .unwrap()
            .parse::<u64>()
            .unwrap()
    })));
    server.stop().await;
}

#[tokio::test]
async fn long_lines_make_a_page_of_fewer() {
    let (_data, server) = started().await;
    let (step, agent, ongoing) = noisy(&server, 1).await;
    let lease = &ongoing["lease"];
    let long = "<".repeat(60_000);
    let events: Vec<_> = (0..20).map(|_| log(&step, &long)).collect();
    agent
        .events(lease, ongoing["told"].as_u64().unwrap() + 1, &events)
        .await
        .expect(200);
    let browser = Browser::owner(&server).await;
    let page = browser.page("/acme/ci/builds/1").await;
    assert_eq!(window(&page), [20, 21, 21], "two lines of 240 kB fit");
    let first = browser
        .page(&format!("/acme/ci/builds/1/jobs/{step}/lines?from=1"))
        .await;
    assert_eq!(window(&first), [1, 3, 21]);
    server.stop().await;
}

#[tokio::test]
async fn pieces_of_a_line_are_told_from_lines() {
    let (_data, server) = started().await;
    let (step, agent, ongoing) = noisy(&server, 1).await;
    let piece = |text: &str, partial: bool| {
        let mut piece = log(&step, text);
        piece["partial"] = json!(partial);
        piece
    };
    let events = [piece("begins ", true), piece("ends", false)];
    agent
        .events(&ongoing["lease"], ongoing["told"].as_u64().unwrap() + 1, &events)
        .await
        .expect(200);
    let browser = Browser::owner(&server).await;
    assert_eq!(
        browser
            .page("/acme/ci/builds/1")
            .await
            .matches("class=\"line goes-on\"")
            .count(),
        1
    );
    let request = browser.request(Method::GET, &format!("/acme/ci/builds/1/jobs/{step}/log"));
    assert_eq!(browser.send(request).await.text, "line 1 coloured\nbegins ends\n");
    server.stop().await;
}
