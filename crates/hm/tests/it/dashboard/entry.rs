//! Coming in, and letting a command line in.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::Dashboard;
use super::browser::Browser;
use crate::cloud::{Cloud, Service, soon};
use crate::harness::World;

#[test]
fn a_link_logs_in_once_and_a_token_does_too() {
    let cloud = Cloud::dev(World::new());
    let browser = Browser::start(cloud.world.path());
    let url = cloud.url.clone();
    browser.open(&format!("{url}/dev"));
    assert!(
        browser.url().starts_with(&format!("{url}/login")),
        "{}",
        browser.url()
    );
    let token = std::fs::read_to_string(cloud.token_file()).expect("a token");
    browser.fill("input[name=token]", token.trim());
    browser.press("\u{e007}");
    soon("the way on", || browser.url() == format!("{url}/dev"));
    assert!(!browser.page().contains(&token[8..]), "the token is shown");
    assert_eq!(browser.js("document.cookie"), "", "scripts can read the cookie");

    browser.click(".who summary");
    browser.click("form[action='/logout'] button");
    soon("the end", || browser.url().contains("/login"));
    browser.open(&format!("{url}/dev"));
    assert!(browser.url().contains("/login"), "{}", browser.url());

    let link = cloud
        .hm(&["cloud", "open", "--login", "--org", "dev"])
        .expect(0)
        .stdout();
    browser.open(link.trim());
    browser.click("main form button");
    soon("the way on", || browser.url() == format!("{url}/dev"));
    assert_eq!(browser.complaints(), [""; 0]);
    browser.forget();
    browser.open(link.trim());
    browser.click("main form button");
    soon("the refusal", || browser.text("main").contains("code"));
    assert!(browser.url().contains("/login"), "{}", browser.url());
}

#[test]
fn a_browser_lets_a_command_line_in() {
    let dashboard = Dashboard::dev();
    let (cloud, browser) = (&dashboard.cloud, &dashboard.browser);
    cloud.hm(&["cloud", "logout"]).expect(0);
    let mut command = cloud.world.command(&["cloud", "login", "--url", &cloud.url]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut login = Service { child };
    let mut page = String::new();
    let mut output = BufReader::new(login.child.stdout.take().expect("a pipe"));
    output.read_line(&mut page).expect("it speaks");
    let mut said = BufReader::new(login.child.stderr.take().expect("a pipe")).lines();
    let first = said.next().expect("a line").expect("UTF-8");

    browser.open(page.trim());
    let (_, nonce) = page.trim().split_once("nonce=").expect("a nonce");
    let code = harmont_client::login::check_code(nonce);
    assert!(first.contains(&code), "{first}");
    assert!(browser.text("main").contains(&code), "{}", browser.text("main"));
    browser.click("main form button");
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert_eq!(login.child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("logged in to")), "{rest:?}");
    let who = cloud.hm(&["cloud", "whoami"]).expect(0);
    assert!(who.stdout().contains("dev@localhost"), "{who}");
    dashboard.no_complaints();
}
