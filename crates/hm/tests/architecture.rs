//! The table of crates in CONTRIBUTING.md is what Cargo knows, and nothing inside a crate points in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::canonicalize(root).expect("the workspace")
}

/// Each of our crates, with those of ours that it depends on to be built.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(workspace())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let of_package = |package: &Value| {
        let all = package["dependencies"].as_array().expect("dependencies");
        let built = all.iter().filter(|dependency| dependency["kind"].is_null());
        built.map(name).filter(|name| ours.contains(name)).collect()
    };
    packages
        .iter()
        .map(|package| (name(package), of_package(package)))
        .collect()
}

/// The names in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn crates_depend_on_what_the_table_allows() {
    let text = fs::read_to_string(workspace().join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| crate |"))
        .skip(2);
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [name, _, uses] = cells[..] else {
            panic!("a row of three cells: {row}")
        };
        table.insert(name.trim().trim_matches('`').to_owned(), quoted(uses));
    }
    let known = dependencies();
    let everything: BTreeSet<String> = known.keys().filter(|name| *name != "hm").cloned().collect();
    table.insert("hm".to_owned(), everything);
    for (name, uses) in &known {
        let allowed = table.get(name).unwrap_or_else(|| panic!("no row for {name}"));
        let more: Vec<_> = uses.difference(allowed).collect();
        assert!(
            more.is_empty(),
            "{name} uses {more:?}, which its row does not have"
        );
    }
    let gone: Vec<_> = table.keys().filter(|name| !known.contains_key(*name)).collect();
    assert!(gone.is_empty(), "there is no crate {gone:?}");
    for (crate_name, must_not) in [
        ("hm-server", "hm-vm"),
        ("hm-render", "hm-vm"),
        ("hm-vm", "hm-pipeline-ir"),
        ("hm-exec", "hm-sandbox"),
        ("hm-exec", "hm-docker"),
    ] {
        assert!(
            !reachable(&known, crate_name).contains(must_not),
            "{crate_name} sees {must_not}"
        );
    }
}

fn reachable(edges: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(name) = next.pop() {
        for other in edges.get(&name).into_iter().flatten() {
            if seen.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    seen
}

/// A crate's modules by path, `a::b` for `src/a/b.rs` and for `src/a/b/mod.rs`, with their text up to their tests.
fn modules(src: &Path) -> BTreeMap<Vec<String>, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![(src.to_owned(), Vec::new())];
    while let Some((directory, path)) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let name = entry.file_name().into_string().expect("UTF-8");
            let mut module: Vec<String> = path.clone();
            if entry.path().is_dir() {
                module.push(name);
                directories.push((entry.path(), module));
                continue;
            }
            let Some(stem) = name.strip_suffix(".rs") else {
                continue;
            };
            if !["mod", "lib", "main"].contains(&stem) {
                module.push(stem.to_owned());
            }
            let text = fs::read_to_string(entry.path()).expect("a file");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code: Vec<&str> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.insert(module, code.join("\n"));
        }
    }
    found
}

/// The paths that begin with `crate` or `super` in a text; of a group in braces, each.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            let mut prefix = Vec::new();
            let mut rest = &text[at..];
            loop {
                let end = rest
                    .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .unwrap_or(rest.len());
                prefix.push(rest[..end].to_owned());
                match rest[end..].strip_prefix("::") {
                    Some(more) if more.starts_with('{') => {
                        let group = more[1..].split(';').next().unwrap_or_default();
                        let mut depth = 0;
                        let names = group.split(|letter: char| {
                            depth += i32::from(letter == '{') - i32::from(letter == '}');
                            letter == ',' && depth == 0
                        });
                        for name in names {
                            let first = name
                                .trim()
                                .split([':', '}', ' ', '\n'])
                                .next()
                                .unwrap_or_default();
                            let mut path = prefix.clone();
                            path.push(first.to_owned());
                            all.push(path);
                        }
                        break;
                    }
                    Some(more) => rest = more,
                    None => {
                        all.push(prefix);
                        break;
                    }
                }
            }
        }
    }
    all
}

/// The module that a path in `from` leads to.
fn resolve(modules: &BTreeMap<Vec<String>, String>, from: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut at: Vec<String> = if path[0] == "crate" {
        Vec::new()
    } else {
        from.to_vec()
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()?),
            name => {
                let mut next = at.clone();
                next.push(name.to_owned());
                if !modules.contains_key(&next) {
                    break;
                }
                at = next;
            }
        }
    }
    Some(at)
}

/// Whether a circle leads from a node back to it, as its nodes.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    edges.keys().find_map(|start| {
        let back = reachable(edges, start);
        back.contains(start).then(|| {
            back.into_iter()
                .filter(|name| reachable(edges, name).contains(start))
                .collect()
        })
    })
}

#[test]
fn files_and_folders_of_a_crate_point_one_way() {
    let mut circles = Vec::new();
    for name in dependencies().keys() {
        let modules = modules(&workspace().join("crates").join(name).join("src"));
        // In each folder: which of its files and folders uses which.
        let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (from, text) in &modules {
            for path in paths(text) {
                let Some(to) = resolve(&modules, from, &path) else {
                    continue;
                };
                let common = from
                    .iter()
                    .zip(&to)
                    .take_while(|(left, right)| left == right)
                    .count();
                if common == from.len() || common == to.len() {
                    // One holds the other.
                    continue;
                }
                let edges = folders.entry(from[..common].to_vec()).or_default();
                let uses = edges.entry(from[common].clone()).or_default();
                uses.insert(to[common].clone());
            }
        }
        for (folder, edges) in folders {
            if let Some(names) = circle(&edges) {
                circles.push(format!("{name}/{}: {}", folder.join("/"), names.join(", ")));
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
