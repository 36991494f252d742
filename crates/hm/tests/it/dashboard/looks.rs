//! How every page looks: on a desktop and a phone, dark and light, and to those who do not see it.
//!
//! With `HM_SCREENSHOTS=docs` the pictures of the documentation are made on the way:
//!
//! ```sh
//! HM_SCREENSHOTS=docs cargo nextest run -p hm --test it dashboard::looks
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Dashboard;
use super::audit::{SIZES, audit};
use super::browser::Browser;
use crate::cloud::{Cloud, soon};
use crate::harness::World;

/// A shop's repository, with a commit of its own, whose tests fail.
fn shop() -> World {
    let world = World::new();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dashboard/shop/.");
    let repo = world.repo();
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]);
        command.args(args).current_dir(&repo).env("HOME", world.path());
        assert!(command.output().expect("git").status.success(), "git {args:?}");
    };
    let copied = Command::new("cp").arg("-a").arg(&files).arg(&repo).status();
    assert!(copied.expect("cp").success());
    git(&["init", "-q", "-b", "reserve-once"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "Reserve the last item for one order alone"]);
    world
}

/// Where pictures go, when somebody wants them.
fn pictures() -> Option<PathBuf> {
    let named = std::env::var_os("HM_SCREENSHOTS")?;
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(named))
}

fn picture(browser: &Browser, url: &str, name: &str) {
    let Some(directory) = pictures() else { return };
    for (scheme, (width, height), suffix) in [
        ("light", SIZES[0], ""),
        ("dark", SIZES[0], "-dark"),
        ("light", SIZES[1], "-phone"),
    ] {
        browser.prefer(scheme);
        browser.resize(width, height);
        browser.open(url);
        let file = directory.join(format!("{name}{suffix}.png"));
        std::fs::write(file, browser.picture()).expect("a picture");
    }
}

#[test]
fn every_page_is_legible_fits_a_phone_and_names_what_it_has() {
    let dashboard = Dashboard::before(Cloud::dev(shop()));
    let (cloud, browser, url) = (&dashboard.cloud, &dashboard.browser, &dashboard.cloud.url);
    // Nothing is there yet.
    audit(browser, url);
    dashboard.send("p", &[("a", "true", None)]);
    cloud
        .hm(&["run", "--backend", "cloud", "-k", "--no-watch"])
        .expect(0);
    let build = dashboard.build("dev", "shop", 1);
    browser.open(&build);
    for (job, state) in [
        ("deps", "passed"),
        ("lint", "passed"),
        ("unit", "failed"),
        ("browser", "running"),
    ] {
        browser.appears(&format!("[data-step={job}][data-state={state}]"));
    }
    soon("the log", || {
        browser
            .texts(".line")
            .iter()
            .any(|line| line.contains("1 failed"))
    });
    assert!(
        browser
            .text("#head")
            .contains("Reserve the last item for one order alone")
    );
    picture(browser, &build, "dashboard");
    for page in ["/", "/dev", "/dev/shop", "/dev/shop/builds/1", "/dev/p/builds/1"] {
        audit(browser, &format!("{url}{page}"));
    }
    audit(
        browser,
        &format!("{url}/cli?nonce=0123456789abcdef0123456789abcdef"),
    );
    browser.forget();
    audit(browser, &format!("{url}/login"));
    audit(browser, &format!("{url}/login?code=ABCDEFGHJKLMNPQR"));
}
