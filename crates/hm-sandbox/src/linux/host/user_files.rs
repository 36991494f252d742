//! The user's settings of registries, without what is secret in them: mirrors and certificates pass into a step,
//! tokens and passwords do not.

use std::path::{Path, PathBuf};

use super::places::SHOWN;

use super::addresses::is_secret;

/// What `.npmrc` may say to a step; `@scope:registry` beside these.
const NPM: &[&str] = &[
    "registry",
    "cafile",
    "strict-ssl",
    "https-proxy",
    "proxy",
    "noproxy",
];

/// What `pip.conf` may say to a step.
const PIP: &[&str] = &[
    "cert",
    "extra-index-url",
    "index-url",
    "no-index",
    "proxy",
    "timeout",
    "trusted-host",
];

/// Tables of cargo's settings that a step gets; of `registries` the addresses alone.
const CARGO: &[&str] = &["http", "net", "registries", "registry", "source"];

/// What `uv.toml` may say to a step.
const UV: &[&str] = &[
    "allow-insecure-host",
    "extra-index-url",
    "index",
    "index-url",
    "native-tls",
];

/// A larger file holds no settings.
const LARGEST: u64 = 1 << 20;

type Filter = fn(&str) -> String;

/// The files that there are, where a step finds them, with what it gets of them.
pub(super) fn settings(home: &Path, cargo_home: Option<&Path>) -> Vec<(PathBuf, String)> {
    let cargo_home = cargo_home.map_or_else(|| home.join(".cargo"), Path::to_owned);
    // What is shown as it is needs no copy.
    let is_shown = |path: &Path| {
        SHOWN
            .iter()
            .any(|name| path.starts_with(Path::new("/").join(name)))
    };
    let files: [(PathBuf, Filter); 6] = [
        (home.join(".npmrc"), npm),
        (home.join(".pip/pip.conf"), pip),
        (home.join(".config/pip/pip.conf"), pip),
        (cargo_home.join("config.toml"), cargo),
        (cargo_home.join("config"), cargo),
        (home.join(".config/uv/uv.toml"), uv),
    ];
    files
        .into_iter()
        .filter(|(path, _)| !is_shown(path))
        .filter_map(|(path, filter)| {
            let is_file = std::fs::metadata(&path)
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
            let text = is_file.then(|| std::fs::read_to_string(&path).ok()).flatten()?;
            let passes = filter(&text);
            (!passes.trim().is_empty()).then_some((path, passes))
        })
        .collect()
}

/// The identity of commits where nobody sets another one: git refuses to commit without.
pub(in crate::linux) const GIT_IDENTITY: &str = "[user]\n\tname = hm\n\temail = hm@localhost\n";

fn is_fit(value: &str) -> bool {
    !is_secret(value) && !value.contains("${")
}

fn npm(text: &str) -> String {
    lines(text, |line| {
        let (key, value) = line.split_once('=')?;
        let key = key.trim();
        let known = NPM.contains(&key) || (key.starts_with('@') && key.ends_with(":registry"));
        Some(known && is_fit(value))
    })
}

/// The lines that pass.
fn lines(text: &str, passes: impl Fn(&str) -> Option<bool>) -> String {
    let passing = text.lines().filter(|line| passes(line).unwrap_or(false));
    passing.fold(String::new(), |text, line| text + line + "\n")
}

/// A value may go on in lines that are indented.
fn pip(text: &str) -> String {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        let continues = line.starts_with([' ', '\t']);
        match entries.last_mut().filter(|_| continues) {
            Some(entry) => *entry = format!("{entry}{line}\n"),
            None => entries.push(format!("{line}\n")),
        }
    }
    let passes = |entry: &String| {
        entry.starts_with('[')
            || entry
                .split_once(['=', ':'])
                .is_some_and(|(key, value)| PIP.contains(&key.trim()) && is_fit(value))
    };
    entries.retain(passes);
    let only_sections = entries.iter().all(|entry| entry.starts_with('['));
    if only_sections {
        String::new()
    } else {
        entries.concat()
    }
}

fn cargo(text: &str) -> String {
    toml_settings(text, |path| {
        let secret = |key: &&str| {
            ["token", "credential", "password", "secret"]
                .iter()
                .any(|word| key.contains(word))
        };
        CARGO.contains(&path[0]) && !path.iter().any(secret)
    })
}

fn uv(text: &str) -> String {
    toml_settings(text, |path| UV.contains(&path[0]))
}

/// The settings of a TOML file that pass, by the keys that lead to them. One that does not parse says nothing.
fn toml_settings(text: &str, passes: impl Fn(&[&str]) -> bool) -> String {
    fn keep(value: toml::Value, path: &[&str], passes: &impl Fn(&[&str]) -> bool) -> Option<toml::Value> {
        if !path.is_empty() && !passes(path) {
            return None;
        }
        match value {
            toml::Value::Table(table) => {
                let entries = table.into_iter().filter_map(|(key, value)| {
                    let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                    let value = keep(value, &path, passes)?;
                    Some((key, value))
                });
                let table: toml::Table = entries.collect();
                (!table.is_empty()).then_some(toml::Value::Table(table))
            }
            toml::Value::Array(values) => {
                let values: Vec<_> = values
                    .into_iter()
                    .filter_map(|value| keep(value, path, passes))
                    .collect();
                (!values.is_empty()).then_some(toml::Value::Array(values))
            }
            toml::Value::String(text) => is_fit(&text).then_some(toml::Value::String(text)),
            other => Some(other),
        }
    }
    let Ok(table) = text.parse::<toml::Table>() else {
        return String::new();
    };
    let kept = keep(toml::Value::Table(table), &[], &passes);
    kept.and_then(|kept| toml::to_string(&kept).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npmrc_passes_registries_without_tokens() {
        let text = "registry=https://npm.example.org/\n@acme:registry = https://acme.example.org/\n\
                    //npm.example.org/:_authToken=npm_SECRET\n_auth=SECRET\ncafile=/etc/company.pem\n\
                    https-proxy=http://me:SECRET@proxy:3128\nregistry=https://${SECRET}.example.org/\n; text\n";
        assert_eq!(
            npm(text),
            "registry=https://npm.example.org/\n@acme:registry = https://acme.example.org/\n\
             cafile=/etc/company.pem\n"
        );
    }

    #[test]
    fn pip_conf_passes_mirrors_without_passwords() {
        let text = "[global]\nindex-url = https://pip.example.org/simple\nextra-index-url =\n    https://a.example.org\n\
                    \x20   https://me:SECRET@b.example.org\npassword = SECRET\n# SECRET\n[install]\ntrusted-host: a\n";
        assert_eq!(
            pip(text),
            "[global]\nindex-url = https://pip.example.org/simple\n[install]\ntrusted-host: a\n"
        );
        assert_eq!(pip("[global]\nindex-url = https://me:SECRET@example.org\n"), "");
    }

    #[test]
    fn cargo_settings_pass_mirrors_without_tokens() {
        let text = "[build]\nrustc-wrapper = \"sccache\"\n[env]\nKEY = \"SECRET\"\n[source.crates-io]\nreplace-with = \
                    \"m\"\n[source.m]\nregistry = \"sparse+https://cargo.example.org/\"\n[registries.acme]\nindex = \
                    \"https://a.example.org\"\ntoken = \"SECRET\"\n[registry]\ntoken = \"SECRET\"\n[http]\nproxy = \
                    \"http://me:SECRET@proxy\"\ncainfo = \"/etc/company.pem\"\n";
        let passed: toml::Table = cargo(text).parse().expect("TOML");
        let expected: toml::Table = "source.crates-io.replace-with = \"m\"\n\
            source.m.registry = \"sparse+https://cargo.example.org/\"\n\
            registries.acme.index = \"https://a.example.org\"\nhttp.cainfo = \"/etc/company.pem\"\n"
            .parse()
            .expect("TOML");
        assert_eq!(passed, expected);
        assert_eq!(cargo("no TOML ["), "");
    }

    #[test]
    fn uv_settings_pass_indexes_without_passwords() {
        let text = "native-tls = true\n[[index]]\nurl = \"https://me:SECRET@a.example.org\"\n[[index]]\nurl = \
                    \"https://b.example.org\"\n[pip]\nextra = \"x\"\n";
        let passed = uv(text);
        assert!(
            passed.contains("b.example.org") && passed.contains("native-tls"),
            "{passed}"
        );
        assert!(!passed.contains("SECRET") && !passed.contains("pip"), "{passed}");
    }

    #[test]
    fn settings_are_found_where_programs_look() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join(".npmrc"), "registry=https://npm.example.org/\n").expect("written");
        std::fs::create_dir(home.path().join(".cargo")).expect("made");
        std::fs::write(
            home.path().join(".cargo/config.toml"),
            "[registry]\ntoken = \"SECRET\"\n",
        )
        .expect("written");
        let found = settings(home.path(), None);
        assert_eq!(
            found,
            [(
                home.path().join(".npmrc"),
                "registry=https://npm.example.org/\n".to_owned()
            )]
        );
    }
}
