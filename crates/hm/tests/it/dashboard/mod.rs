//! The dashboard as people see it: a server, its builds, and Chromium.

mod audit;
mod browser;
mod controls;
mod entry;
mod hostile;
mod live;
mod long_log;
mod looks;
mod reconnect;

use browser::Browser;
use serde_json::json;

use crate::cloud::{Cloud, soon};
use crate::harness::World;

/// A server, and a browser before it.
struct Dashboard {
    // Ends before its directory goes.
    browser: Browser,
    cloud: Cloud,
}

impl Dashboard {
    /// Server and agent in one process, and a browser that is logged in.
    fn dev() -> Self {
        Self::before(Cloud::dev(World::new()))
    }

    /// A browser that is logged in to a server.
    fn before(cloud: Cloud) -> Self {
        let browser = Browser::start(cloud.world.path());
        let dashboard = Self { cloud, browser };
        dashboard.log_in(&[]);
        dashboard
    }

    /// Logs in by the link of `hm cloud open --login`, which leads on to a page.
    fn log_in(&self, page: &[&str]) {
        let open = [&["cloud", "open", "--login"], page].concat();
        let link = self.cloud.hm(&open).expect(0).stdout();
        self.browser.open(link.trim());
        self.browser.click("main form button");
        soon("the login", || !self.browser.url().contains("/login"));
    }

    /// Sends a build of these steps, and goes on; the first is number 1 of the pipeline, which has the plan's name.
    fn send(&self, pipeline: &str, steps: &[(&str, &str, Option<&str>)]) {
        let plan = format!("{pipeline}.json");
        self.cloud.world.write(&plan, &World::plan(steps));
        self.cloud
            .hm(&["run", "--backend", "cloud", "--plan", &plan, "--no-watch"])
            .expect(0);
    }

    /// Where a build is.
    fn build(&self, org: &str, pipeline: &str, number: i64) -> String {
        format!("{}/{org}/{pipeline}/builds/{number}", self.cloud.url)
    }

    /// Puts a mark on the page that is open, which a reload would take away.
    fn mark(&self) {
        self.browser.js("window.untouched = true");
    }

    /// Whether the page has been the same since then.
    fn is_marked(&self) -> bool {
        self.browser.js("window.untouched === true") == json!(true)
    }

    /// Fails the test where the browser has complained.
    #[track_caller]
    fn no_complaints(&self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
