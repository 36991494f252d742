//! A server that goes away while somebody looks.

use super::Dashboard;
use crate::cloud::{Cloud, soon};
use crate::harness::World;

#[test]
fn a_page_finds_a_server_again_that_was_killed_and_no_line_is_lost() {
    let mut dashboard = Dashboard::before(Cloud::alone(World::new()));
    let agent = dashboard.cloud.agent("one");
    let counting = "for n in $(seq 60); do echo count-$n; sleep 0.1; done";
    dashboard.send("p", &[("a", counting, None)]);
    dashboard.browser.open(&dashboard.build("team", "p", 1));
    dashboard.mark();
    soon("the first lines", || dashboard.browser.count(".line") > 5);
    dashboard.cloud.server.take().expect("a server").kill();
    dashboard.cloud.serve(&["--lease", "2s"]);
    dashboard.browser.appears("#build[data-state=passed]");
    let counted: Vec<_> = (1..=60).map(|n| format!("count-{n}")).collect();
    assert_eq!(dashboard.browser.texts(".line > span"), counted);
    assert!(dashboard.is_marked(), "the page was loaded again");
    agent.end();
    // The browser tells of the connection that broke, and of nothing else.
    for complaint in dashboard.browser.complaints() {
        assert!(complaint.contains("ERR_"), "{complaint}");
    }
}
