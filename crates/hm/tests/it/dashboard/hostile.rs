//! Names that would like to be more than text.

use std::process::Command;

use serde_json::json;

use super::Dashboard;

/// What would run if it were taken for a part of the page.
const EVIL: &str = r#""'><img src=x onerror=alert(1)><script>alert(2)</script>"#;

/// The same, as a branch may be called.
const EVIL_BRANCH: &str = "<img/src=x/onerror=alert(1)>";

#[test]
fn what_people_name_is_text_on_every_page() {
    let dashboard = Dashboard::dev();
    let (browser, world) = (&dashboard.browser, &dashboard.cloud.world);
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Eve", "-c", "user.email=eve@example.org"]);
        command
            .args(args)
            .current_dir(world.repo())
            .env("HOME", world.path());
        assert!(command.output().expect("git").status.success(), "git {args:?}");
    };
    let step = |key: &str, cmd: &str| json!({"step": {"key": key, "label": format!("{key} {EVIL}"), "cmd": cmd}, "env": {}});
    let nodes = [
        step(
            "a",
            "printf '\\033]8;;javascript:alert(3)\\033\\\\link\\n'; exit 1",
        ),
        step("b", EVIL),
    ];
    let graph = json!({"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": [[0, 1, "builds_in"]]});
    world.write("p.json", &json!({"version": "0", "graph": graph}).to_string());
    git(&["init", "-q", "-b", EVIL_BRANCH]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", &format!("{EVIL}\n\n{EVIL}")]);
    dashboard
        .cloud
        .hm(&["run", "--backend", "cloud", "--plan", "p.json"])
        .expect(1);
    let url = &dashboard.cloud.url;
    let nonce = "%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E0123456789abcdef";
    let pages = [
        ("/".to_owned(), EVIL),
        ("/dev/p".to_owned(), EVIL_BRANCH),
        ("/dev/p/builds/1".to_owned(), EVIL),
        (format!("/cli?nonce={nonce}"), "code"),
        (format!("/login?code={nonce}&next={nonce}"), ""),
    ];
    for (page, named) in pages {
        browser.open(&format!("{url}{page}"));
        assert_eq!(browser.count("main img, main script, main iframe"), 0, "{page}");
        assert_eq!(browser.count("a[href^='javascript:'], [onerror]"), 0, "{page}");
        assert!(
            browser.text("main").contains(named),
            "{page}: {}",
            browser.text("main")
        );
        dashboard.no_complaints();
    }
    // Such a state there is not.
    browser.open(&format!("{url}/dev/p?state={nonce}"));
    assert_eq!(browser.count("main img, [onerror]"), 0);
    let complaints = browser.complaints();
    assert!(
        complaints.iter().all(|told| told.contains("404")),
        "{complaints:?}"
    );
    let policy = browser.script(&format!(
        "return fetch('{url}/').then((answer) => answer.headers.get('content-security-policy'));"
    ));
    let policy = policy.as_str().expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}
