//! Credentials out of every kind of file, and nothing of them in any message.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use hm_oci::{CredentialSource, Credentials};
use secrecy::ExposeSecret;

use super::{Logins, helper};
use crate::environment::Environment;

/// Somebody's home, with helpers in a directory of their `PATH`.
struct Home {
    dir: tempfile::TempDir,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for below in [".docker", "bin", "run/containers"] {
            fs::create_dir_all(dir.path().join(below)).expect("a directory");
        }
        Self {
            dir,
            warnings: Arc::default(),
        }
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.dir.path().join(path), text).expect("a file");
    }

    fn helper(&self, name: &str, script: &str) {
        let path = self
            .dir
            .path()
            .join("bin")
            .join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script");
    }

    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display())
    }

    fn logins(&self, more: &[(&str, &Path)]) -> Logins {
        let mut variables = vec![
            ("HOME".to_owned(), self.dir.path().display().to_string()),
            ("PATH".to_owned(), self.path()),
        ];
        variables.extend(
            more.iter()
                .map(|(name, path)| ((*name).to_owned(), path.display().to_string())),
        );
        let warnings = Arc::clone(&self.warnings);
        let warn = move |words: &str| warnings.lock().expect("a lock").push(words.to_owned());
        Logins::new(&Environment::of_variables(variables), warn)
    }

    fn found(&self, registry: &str) -> Option<(String, String)> {
        told(self.logins(&[]).credentials(registry)?)
    }

    fn warnings(&self) -> String {
        self.warnings.lock().expect("a lock").join("\n")
    }
}

fn told(credentials: Credentials) -> Option<(String, String)> {
    match credentials {
        Credentials::Basic { username, password } => Some((username, password.expose_secret().to_owned())),
        Credentials::Bearer(token) => Some(("bearer".into(), token.expose_secret().to_owned())),
    }
}

fn pair(name: &str, secret: &str) -> Option<(String, String)> {
    Some((name.to_owned(), secret.to_owned()))
}

fn auth(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn a_login_of_docker_is_found_by_every_name_of_its_registry() {
    let home = Home::new();
    let (hub, own) = (auth("me:pass:word"), auth("other:secret\0\0"));
    home.write(
        ".docker/config.json",
        &format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{hub}"}},
                 "localhost:5000": {{"auth": "{own}"}}, "empty.example.org": {{}},
                 "bearer.example.org": {{"registrytoken": "t1"}}, "quay.io/team": {{"auth": "{hub}"}}}}}}"#
        ),
    );
    assert_eq!(home.found("docker.io"), pair("me", "pass:word"));
    assert_eq!(home.found("localhost:5000"), pair("other", "secret"));
    assert_eq!(home.found("bearer.example.org"), pair("bearer", "t1"));
    for registry in ["empty.example.org", "localhost:5001", "quay.io"] {
        assert_eq!(home.found(registry), None, "{registry}");
    }
    assert_eq!(home.warnings(), "");
}

#[test]
fn what_a_variable_names_goes_before_docker_and_docker_before_podman() {
    let home = Home::new();
    let file = |name: &str, registry: &str| {
        format!(
            r#"{{"auths": {{"{registry}": {{"auth": "{}"}}, "all": {{"auth": "{}"}}}}}}"#,
            auth(&format!("{name}:s")),
            auth(&format!("{name}:s"))
        )
    };
    home.write(".docker/config.json", &file("docker", "a"));
    home.write("run/containers/auth.json", &file("podman", "b"));
    home.write("named.json", &file("named", "c"));
    let run = home.dir.path().join("run");
    let logins = home.logins(&[("XDG_RUNTIME_DIR", &run)]);
    let name = |logins: &Logins, registry: &str| told(logins.credentials(registry)?).map(|pair| pair.0);
    assert_eq!(name(&logins, "a").as_deref(), Some("docker"));
    assert_eq!(name(&logins, "b").as_deref(), Some("podman"));
    assert_eq!(name(&logins, "all").as_deref(), Some("docker"));
    let named = home.dir.path().join("named.json");
    let logins = home.logins(&[("XDG_RUNTIME_DIR", &run), ("REGISTRY_AUTH_FILE", &named)]);
    assert_eq!(name(&logins, "all").as_deref(), Some("named"));
}

#[test]
fn a_helper_is_asked_for_its_registry_and_the_store_for_all_others() {
    let home = Home::new();
    home.helper(
        "one",
        r#"read -r server; echo "{\"ServerURL\":\"$server\",\"Username\":\"one\",\"Secret\":\"of $server\"}""#,
    );
    home.helper(
        "all",
        r#"server=$(cat); case $server in *none*) echo 'credentials not found in native keychain'; exit 1;; esac
           echo "{\"Username\":\"<token>\",\"Secret\":\"of $server\"}""#,
    );
    let file = auth("file:s");
    home.write(
        ".docker/config.json",
        &format!(
            r#"{{"credHelpers": {{"one.example.org": "one"}}, "credsStore": "all",
                 "auths": {{"none.example.org": {{"auth": "{file}"}}}}}}"#
        ),
    );
    assert_eq!(home.found("one.example.org"), pair("one", "of one.example.org"));
    let hub = home.found("docker.io").expect("a token");
    assert_eq!(hub.1, "of https://index.docker.io/v1/");
    // What the store does not have may still be in the file.
    assert_eq!(home.found("none.example.org"), pair("file", "s"));
    assert_eq!(home.warnings(), "");
}

#[test]
fn a_helper_that_is_not_there_or_fails_is_named_without_what_it_says() {
    let home = Home::new();
    home.helper("bad", "echo 'the secret is hunter2'; echo hunter2 >&2; exit 3");
    home.helper("odd", "echo '{\"Secret\": \"hunter2\"}'");
    home.write(
        ".docker/config.json",
        r#"{"credHelpers": {"bad.org": "bad", "odd.org": "odd", "gone.org": "gone", "path.org": "../../x"}}"#,
    );
    for (registry, wanted) in [
        ("bad.org", "docker-credential-bad failed for bad.org"),
        ("odd.org", "docker-credential-odd answered something"),
        ("gone.org", "docker-credential-gone cannot be started"),
        ("path.org", "no name of a credential helper"),
    ] {
        assert_eq!(home.found(registry), None);
        let said = home.warnings();
        assert!(said.contains(wanted) && said.contains("config.json"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        home.warnings.lock().expect("a lock").clear();
    }
}

#[test]
fn a_helper_that_hangs_is_ended_with_all_that_it_has_started() {
    let home = Home::new();
    let pid = home.dir.path().join("pid");
    home.helper("slow", &format!("sleep 1000 & echo $! > {}; wait", pid.display()));
    let asked = helper::ask("slow", &home.path(), "a.org", Duration::from_secs(2));
    let said = asked.expect_err("nothing was said");
    assert!(
        said.contains("docker-credential-slow said nothing within 2 seconds"),
        "{said}"
    );
    let pid = fs::read_to_string(pid).expect("it ran");
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    // Killed, it stays until whoever inherits it looks at it.
    let gone = || {
        fs::read_to_string(&stat)
            .is_ok_and(|stat| !stat.contains(") Z "))
            .then_some(())
    };
    for _ in 0..500 {
        if gone().is_none() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the helper's child lives on");
}

#[test]
fn a_damaged_file_is_named_and_nothing_of_it_told() {
    let home = Home::new();
    home.write(
        ".docker/config.json",
        r#"{"auths": {"a.org": {"auth": ["hunter2"]}}}"#,
    );
    assert_eq!(home.found("a.org"), None);
    home.write(
        ".docker/config.json",
        r#"{"auths": {"a.org": {"auth": "hunter2"}}}"#,
    );
    assert_eq!(home.found("a.org"), None);
    let said = home.warnings();
    assert!(said.contains("config.json is not what Docker"), "{said}");
    assert!(
        said.contains("`auths` has for `a.org` an `auth` that is not base64"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}
