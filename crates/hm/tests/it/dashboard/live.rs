//! Builds that change while somebody looks.

use super::Dashboard;
use crate::cloud::soon;

/// Says what a terminal and what a browser would make something of, and goes on for a while.
const TALKING: &str = r#"printf '\033[31mred\033[0m plain\n'
echo '<img src=x onerror="document.title=1"><script>document.title=2</script>'
for n in $(seq 20); do echo tick-$n; sleep 0.15; done"#;

#[test]
fn a_build_changes_on_its_page_as_it_goes_on() {
    let dashboard = Dashboard::dev();
    let browser = &dashboard.browser;
    dashboard.send(
        "p",
        &[
            ("base", TALKING, None),
            ("good", "echo fine", Some("base")),
            ("bad", "sleep 1; echo no >&2; exit 3", Some("base")),
            ("after", "true", Some("bad")),
        ],
    );
    dashboard.log_in(&["p", "1"]);
    assert_eq!(browser.url(), dashboard.build("dev", "p", 1));
    dashboard.mark();
    browser.appears("[data-step=base][data-state=running]");
    browser.appears("#step-base .line");
    let lines = || browser.texts("#step-base .line > span");
    let early = lines().len();
    assert!(early < 22, "all lines were there from the start");
    soon("the last line", || lines().iter().any(|line| line == "tick-20"));
    let said = lines();
    let ticks: Vec<_> = (1..=20).map(|n| format!("tick-{n}")).collect();
    assert_eq!(said[2..], ticks);
    assert_eq!(said[0], "red plain");
    assert!(said[1].starts_with("<img src=x onerror="), "{}", said[1]);
    assert_eq!(browser.count("#step-base .line img, #step-base .line script"), 0);
    let colours = browser.js(
        "['.line > span > *', '.line > span'].map(css => getComputedStyle(document.querySelector('#step-base ' + css)).color)",
    );
    assert_ne!(colours[0], colours[1], "the colour of the terminal is lost");

    for (job, state) in [
        ("base", "passed"),
        ("good", "passed"),
        ("bad", "failed"),
        ("after", "skipped"),
    ] {
        browser.appears(&format!("[data-step={job}][data-state={state}]"));
    }
    browser.appears("#build[data-state=failed]");
    assert!(
        browser
            .js("document.title")
            .as_str()
            .is_some_and(|title| title.contains("Failed"))
    );
    assert!(dashboard.is_marked(), "the page was loaded again");
    // What was told as it came is what is told to who comes later.
    browser.open(&format!("{}?step=base", dashboard.build("dev", "p", 1)));
    browser.appears("#step-base .line");
    assert_eq!(lines(), said);
    dashboard.no_complaints();
}

#[test]
fn the_list_changes_as_builds_do() {
    let dashboard = Dashboard::dev();
    let browser = &dashboard.browser;
    browser.open(&dashboard.cloud.url);
    dashboard.mark();
    dashboard.send("slow", &[("a", "sleep 1000", None)]);
    browser.appears("[data-build='/dev/slow/builds/1'][data-state=running]");
    dashboard.send("next", &[("a", "exit 1", None)]);
    browser.appears("[data-build='/dev/next/builds/1'][data-state=scheduled]");
    dashboard
        .cloud
        .hm(&["cloud", "build", "cancel", "slow", "1"])
        .expect(0);
    browser.appears("[data-build='/dev/slow/builds/1'][data-state=canceled]");
    browser.appears("[data-build='/dev/next/builds/1'][data-state=failed]");
    assert_eq!(browser.count("[data-build]"), 2);
    assert!(dashboard.is_marked(), "the page was loaded again");
    dashboard.no_complaints();
}
