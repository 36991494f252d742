//! Chromium without a screen, driven over WebDriver.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, LoggingPrefsLogLevel, TypingData};
use tokio::runtime::Runtime;

use crate::cloud::soon;

/// What Chromium is started with: no screen, no sandbox where root runs the tests, and nothing asked of the network.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--disable-features=OptimizationHints,MediaRouter",
];

/// How long closing may take before it is killed.
const CLOSING: Duration = Duration::from_secs(5);

/// A browser, and the program that drives it.
pub struct Browser {
    runtime: Runtime,
    driver: Option<WebDriver>,
    chromedriver: Child,
    place: String,
}

impl Browser {
    /// Starts one whose profile, home and temporary files are in a directory of its own there.
    pub fn start(beside: &Path) -> Self {
        let place = beside.join("browser");
        std::fs::create_dir(&place).expect("a directory");
        let mut chromedriver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=WARNING"])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &place)
            .env("TMPDIR", &place)
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver starts; Debian's package chromium-driver has it, and chromium the browser");
        let port = port_told(&mut chromedriver);
        let runtime = Runtime::new().expect("a runtime");
        let mut browser = Self {
            runtime,
            driver: None,
            chromedriver,
            place: place.display().to_string(),
        };
        let mut wanted = ChromeCapabilities::new();
        for flag in FLAGS {
            wanted.add_arg(flag).expect("a flag");
        }
        let profile = format!("--user-data-dir={}", place.join("profile").display());
        wanted.add_arg(&profile).expect("a flag");
        wanted.set_binary("/usr/bin/chromium").expect("a path");
        wanted
            .set_browser_log_level(LoggingPrefsLogLevel::All)
            .expect("a level");
        let url = format!("http://127.0.0.1:{port}");
        let driver = browser.runtime.block_on(WebDriver::new(url, wanted));
        browser.driver = Some(driver.expect("chromium starts; Debian's package chromium has it"));
        browser.resize(1280, 900);
        browser
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().expect("a session")
    }

    fn wait<T>(&self, what: impl Future<Output = WebDriverResult<T>>) -> T {
        self.runtime.block_on(what).expect("the browser answers")
    }

    /// Goes to a page.
    pub fn open(&self, url: &str) {
        self.wait(self.driver().goto(url));
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.wait(self.driver().current_url()).to_string()
    }

    /// What the page's own language makes of an expression.
    pub fn js(&self, expression: &str) -> Value {
        self.script(&format!("return ({expression});"))
    }

    /// What a function's body returns, run in the page.
    pub fn script(&self, body: &str) -> Value {
        let answer = self.wait(self.driver().execute(body, Vec::<Value>::new()));
        answer.json().clone()
    }

    /// The page as it is told to those who do not see it.
    pub fn accessibility(&self) -> Value {
        self.cdp("Accessibility.getFullAXTree", json!({}))
    }

    /// The text of the first element that is there.
    pub fn text(&self, css: &str) -> String {
        let quoted = json!(css);
        match self.js(&format!("document.querySelector({quoted})?.innerText")) {
            Value::String(text) => text,
            _ => panic!("no {css} at {}:\n{}", self.url(), self.page()),
        }
    }

    /// The texts of all elements of this kind.
    pub fn texts(&self, css: &str) -> Vec<String> {
        let quoted = json!(css);
        let found = self.js(&format!(
            "Array.from(document.querySelectorAll({quoted}), element => element.textContent)"
        ));
        serde_json::from_value(found).expect("texts")
    }

    /// How many elements of this kind there are.
    pub fn count(&self, css: &str) -> u64 {
        let quoted = json!(css);
        let found = self.js(&format!("document.querySelectorAll({quoted}).length"));
        found.as_u64().expect("a number")
    }

    /// Waits until there is one.
    #[track_caller]
    pub fn appears(&self, css: &str) {
        soon(&format!("{css} at {}", self.url()), || self.count(css) > 0);
    }

    /// Clicks as a mouse does.
    pub fn click(&self, css: &str) {
        self.appears(css);
        let element = self.wait(self.driver().find(By::Css(css)));
        self.wait(element.click());
    }

    /// Types into a field.
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.wait(self.driver().find(By::Css(css)));
        self.wait(element.send_keys(text));
    }

    /// Presses a key wherever the focus is.
    pub fn press(&self, keys: impl Into<TypingData>) {
        let keys: TypingData = keys.into();
        self.wait(self.driver().action_chain().send_keys(keys).perform());
    }

    /// Answers what the page asks.
    pub fn say_yes(&self) {
        self.wait(self.driver().accept_alert());
    }

    /// The page as it is now, for who reads of a failure.
    pub fn page(&self) -> String {
        self.wait(self.driver().source())
    }

    /// Makes the page this large, whatever the window's least size.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.cdp("Emulation.setDeviceMetricsOverride", size);
    }

    /// Has the reader prefer `dark` or `light`.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.cdp("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Has pages do without their scripts, as where those are blocked.
    pub fn without_scripts(&self) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    }

    fn cdp(&self, method: &str, params: Value) -> Value {
        self.wait(self.driver().cdp().send_raw(method, params))
    }

    /// Forgets every login.
    pub fn forget(&self) {
        self.cdp("Network.clearBrowserCookies", json!({}));
    }

    /// A picture of what is seen.
    pub fn picture(&self) -> Vec<u8> {
        self.wait(self.driver().screenshot_as_png())
    }

    /// What the browser has complained of since it was asked last: errors, and what the page's policy has stopped.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.wait(self.driver().browser_log());
        // What it would recommend is none.
        let grave = entries
            .into_iter()
            .filter(|entry| matches!(&*entry.level, "SEVERE" | "WARNING"));
        grave.map(|entry| entry.message).collect()
    }
}

/// The port that it has taken.
fn port_told(chromedriver: &mut Child) -> u16 {
    let said = BufReader::new(chromedriver.stdout.take().expect("a pipe"));
    let port = said.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.rsplit_once("successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    port.expect("chromedriver tells its port")
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let quit = self
                .runtime
                .block_on(async { tokio::time::timeout(CLOSING, driver.quit()).await });
            drop(quit);
        }
        // A test that fails must not leave what it has started, nor what that has.
        let _ = self.chromedriver.kill();
        let _ = self.chromedriver.wait();
        // What still ends would write into a directory that is being removed.
        let began = Instant::now();
        while began.elapsed() < CLOSING {
            let left = started_in(&self.place);
            for process in &left {
                let _ = rustix::process::kill_process(*process, rustix::process::Signal::KILL);
            }
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The processes with this directory of ours on their command line.
fn started_in(place: &str) -> Vec<rustix::process::Pid> {
    let all = std::fs::read_dir("/proc").expect("the processes");
    all.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let ours = String::from_utf8_lossy(&line).contains(place);
        rustix::process::Pid::from_raw(pid).filter(|_| ours)
    })
    .collect()
}
