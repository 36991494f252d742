//! Buttons and keys, and what there is without scripts.

use super::Dashboard;
use crate::cloud::soon;

#[test]
fn a_build_is_canceled_and_retried_by_buttons_and_by_keys() {
    let dashboard = Dashboard::dev();
    let browser = &dashboard.browser;
    dashboard.send("p", &[("a", "echo step-runs; sleep 1000", None)]);
    browser.open(&dashboard.build("dev", "p", 1));
    browser.appears(".line");
    browser.click("form[action$='/cancel'] button");
    browser.appears("#build[data-state=canceled]");
    browser.click("form[action$='/retry'] button");
    soon("the new build", || {
        browser.url() == dashboard.build("dev", "p", 2)
    });
    browser.appears(".line");
    browser.press("c");
    browser.say_yes();
    browser.appears("#build[data-state=canceled]");
    browser.press("r");
    soon("the new build", || {
        browser.url() == dashboard.build("dev", "p", 3)
    });
    browser.appears("#build[data-state=running]");
    browser.press("c");
    browser.say_yes();
    browser.appears("#build[data-state=canceled]");
    assert_eq!(dashboard.cloud.states("p").0, "canceled");
    dashboard.no_complaints();
}

#[test]
fn pages_do_without_their_scripts() {
    let dashboard = Dashboard::dev();
    let browser = &dashboard.browser;
    dashboard.send("p", &[("a", "echo said; sleep 1000", None)]);
    browser.open(&dashboard.build("dev", "p", 1));
    browser.appears(".line");
    browser.without_scripts();
    browser.open(&dashboard.cloud.url);
    browser.click("[data-build='/dev/p/builds/1'] .open");
    soon("the build", || browser.url() == dashboard.build("dev", "p", 1));
    assert_eq!(browser.texts(".line > span"), ["said"]);
    browser.click("form[action$='/cancel'] button");
    soon("the end", || {
        browser.open(&dashboard.build("dev", "p", 1));
        browser.count("#build[data-state=canceled]") == 1
    });
    browser.click("form[action$='/retry'] button");
    soon("the new build", || {
        browser.url() == dashboard.build("dev", "p", 2)
    });
    dashboard.no_complaints();
}

#[test]
fn keys_lead_through_the_list_and_back() {
    let dashboard = Dashboard::dev();
    let browser = &dashboard.browser;
    for pipeline in ["one", "two"] {
        dashboard.send(pipeline, &[("a", "echo said", None), ("b", "exit 1", Some("a"))]);
    }
    browser.open(&dashboard.cloud.url);
    browser.appears("[data-build='/dev/two/builds/1'][data-state=failed]");
    // The newest is on top.
    browser.press("j");
    browser.press("j");
    browser.press("k");
    browser.press("j");
    browser.press("\u{e007}");
    soon("the older build", || {
        browser.url() == dashboard.build("dev", "one", 1)
    });
    browser.press("?");
    browser.appears("dialog[open]");
    browser.press("\u{e00c}");
    soon("the end of help", || browser.count("dialog[open]") == 0);
    // Each step is a row; the second one is the failed one, which is open.
    browser.press("jj");
    let opened = || browser.count("#step-b[open]") == 1;
    assert!(opened());
    browser.press("o");
    soon("the step closes", || !opened());
    let background = || browser.js("getComputedStyle(document.body).backgroundColor");
    let before = background();
    browser.press("t");
    let after = background();
    assert_ne!(before, after, "the theme");
    browser.open(&dashboard.cloud.url);
    assert_eq!(background(), after, "the choice is forgotten");
    dashboard.no_complaints();
}
