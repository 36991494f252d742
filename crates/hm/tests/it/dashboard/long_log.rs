//! A log that is longer than a page can be.

use super::Dashboard;
use crate::cloud::soon;

/// How many lines the step says.
const LINES: usize = 100_000;

/// What a page may hold: enough to read, and nothing that makes it slow.
const NODES: u64 = 20_000;

#[test]
fn a_log_of_a_hundred_thousand_lines_leaves_the_page_usable() {
    let dashboard = Dashboard::dev();
    let browser = &dashboard.browser;
    dashboard.send("p", &[("a", &format!("seq {LINES}"), None)]);
    browser.open(&dashboard.build("dev", "p", 1));
    // However long that takes.
    dashboard
        .cloud
        .hm(&["cloud", "build", "watch", "p", "1", "--logs", "none"])
        .expect(0);
    browser.appears("#build[data-state=passed]");
    let last = || browser.texts(".line > span").pop();
    soon("the last line", || last() == Some(LINES.to_string()));
    let nodes = browser.count("*");
    assert!(nodes < NODES, "{nodes} elements");
    let first = || {
        browser
            .js("Number(document.querySelector('.line > span').textContent)")
            .as_u64()
    };
    let before = first().expect("a number");
    assert!(before > 1, "all lines are on the page");
    browser.click("#step-a .earlier");
    soon("earlier lines", || first().is_some_and(|first| first < before));
    assert!(browser.count("*") < NODES);

    let whole = browser.script(
        "const link = document.querySelector('#step-a a[href$=\"/log\"]').href; \
         return fetch(link).then((answer) => answer.text());",
    );
    let whole = whole.as_str().expect("a text");
    assert_eq!(whole.lines().count(), LINES);
    assert!(
        (1..)
            .zip(whole.lines())
            .all(|(n, line): (usize, _)| line == n.to_string())
    );
    dashboard.no_complaints();
}
