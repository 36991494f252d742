//! Where the repository is, and what git knows about it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use hm_exec::SourceMeta;

use crate::env_vars;
use crate::environment::Environment;

/// How many characters of a commit's message are told.
const LONGEST_MESSAGE: usize = 4096;

/// The nearest directory at or above `start` that holds `.hm` or `.git`.
#[must_use]
pub fn find_root(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|dir| dir.join(".hm").is_dir() || dir.join(".git").exists())
        .map(Path::to_path_buf)
}

/// Whether the repository has pipelines that need Python.
#[must_use]
pub fn has_python_pipeline(root: &Path) -> bool {
    hm_dsl::discover(root).is_ok_and(|files| !files.is_empty())
}

/// Branch, commit and remote, read from git's own files: starting `git` would cost more than a cached run.
#[must_use]
pub fn source_meta(root: &Path) -> SourceMeta {
    let Some((git_dir, common)) = git_dirs(root) else {
        return SourceMeta::default();
    };
    let head = read_line(&git_dir.join("HEAD")).unwrap_or_default();
    let (branch, commit) = match head.strip_prefix("ref: ") {
        Some(name) => {
            let branch = name.strip_prefix("refs/heads/").unwrap_or(name).to_owned();
            (Some(branch), resolve(&git_dir, &common, name))
        }
        None => (None, Some(head).filter(|hash| is_hash(hash))),
    };
    SourceMeta {
        branch,
        message: None,
        repo_name: remote(&common.join("config")),
        tag: commit.as_deref().and_then(|commit| tag(root, &common, commit)),
        commit,
    }
}

/// The last tag by name of those that name `commit`. Where tags are objects of their own, which only git reads, git is asked.
fn tag(root: &Path, common: &Path, commit: &str) -> Option<String> {
    let mut found = packed_tag(&common.join("packed-refs"), commit);
    let tags = common.join("refs/tags");
    let mut unread = false;
    let mut directories = vec![tags.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(path);
            } else if read_line(&path).as_deref() == Some(commit) {
                let name = path.strip_prefix(&tags).ok().and_then(Path::to_str);
                found = found.max(name.map(str::to_owned));
            } else {
                unread = true;
            }
        }
    }
    if unread {
        let asked = std::process::Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["tag", "--points-at", commit])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let names = asked.ok().filter(|asked| asked.status.success())?.stdout;
        let names = String::from_utf8(names).ok()?;
        found = found.max(names.lines().max().map(str::to_owned));
    }
    found
}

/// The last tag by name in a file of packed references that names `commit`, by itself or, in the line after it, through a
/// tag that is an object.
fn packed_tag(path: &Path, commit: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut last = None;
    let mut found = None;
    for line in text.lines() {
        let hash = match (line.strip_prefix('^'), line.split_once(' ')) {
            (Some(peeled), _) => peeled,
            (None, Some((hash, name))) => {
                last = name.strip_prefix("refs/tags/");
                hash
            }
            (None, None) => continue,
        };
        if hash == commit {
            found = found.max(last);
        }
    }
    found.map(str::to_owned)
}

/// A commit's message, where `git` is there to tell it. The build of a server is worth starting it, to be known by.
pub async fn commit_message(root: &Path, commit: &str) -> Option<String> {
    // The object itself: `git log` would run programs that the repository's configuration names.
    let told = tokio::process::Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["cat-file", "commit", commit])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let told = told.await.ok().filter(|told| told.status.success())?;
    let text = String::from_utf8_lossy(&told.stdout);
    let (_, message) = text.split_once("\n\n")?;
    let message: String = message.trim().chars().take(LONGEST_MESSAGE).collect();
    Some(message).filter(|message| !message.is_empty())
}

/// The file of patterns that git ignores in every repository of this user.
#[must_use]
pub fn global_excludes(environment: &Environment) -> Option<PathBuf> {
    let home = environment.home()?;
    let xdg = environment
        .get(env_vars::XDG_CONFIG_HOME)
        .map_or_else(|| home.join(".config"), PathBuf::from);
    let system = PathBuf::from("/etc/gitconfig");
    let configured = [home.join(".gitconfig"), xdg.join("git/config"), system]
        .into_iter()
        .find_map(|config| {
            let value = setting(&config, |section| section == "[core]", "excludesfile")?;
            let value = value.trim_matches('"');
            Some(
                value
                    .strip_prefix("~/")
                    .map_or_else(|| PathBuf::from(value), |rest| home.join(rest)),
            )
        });
    Some(configured.unwrap_or_else(|| xdg.join("git/ignore"))).filter(|file| file.is_file())
}

fn git_dirs(root: &Path) -> Option<(PathBuf, PathBuf)> {
    let dot_git = root
        .ancestors()
        .map(|dir| dir.join(".git"))
        .find(|path| path.exists())?;
    let git_dir = if dot_git.is_dir() {
        dot_git
    } else {
        let target = read_line(&dot_git)?.strip_prefix("gitdir: ")?.to_owned();
        dot_git.parent()?.join(target)
    };
    let common = match read_line(&git_dir.join("commondir")) {
        Some(relative) => git_dir.join(relative),
        None => git_dir.clone(),
    };
    Some((git_dir, common))
}

fn resolve(git_dir: &Path, common: &Path, name: &str) -> Option<String> {
    let loose = [git_dir, common]
        .into_iter()
        .find_map(|dir| read_line(&dir.join(name)));
    loose
        .or_else(|| packed(&common.join("packed-refs"), name))
        .filter(|hash| is_hash(hash))
}

fn packed(path: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, found)| *found == name)
        .map(|(hash, _)| hash.to_owned())
}

/// `owner/repo` of the remote `origin`, or of the first one.
fn remote(config: &Path) -> Option<String> {
    let url = setting(config, |section| section == "[remote \"origin\"]", "url")
        .or_else(|| setting(config, |section| section.starts_with("[remote "), "url"))?;
    repo_name(&url)
}

/// The first value of that name in a section of one of git's configuration files.
fn setting(config: &Path, section: impl Fn(&str) -> bool, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(config).ok()?;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = section(&line.to_ascii_lowercase());
        } else if let Some((key, value)) = line.split_once('=')
            && inside
            && key.trim().eq_ignore_ascii_case(name)
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

fn repo_name(url: &str) -> Option<String> {
    let url = url.trim_end_matches('/').trim_end_matches(".git");
    let mut parts = url.rsplit(['/', ':']);
    let (repo, owner) = (parts.next()?, parts.next()?);
    (!repo.is_empty() && !owner.is_empty()).then(|| format!("{owner}/{repo}"))
}

fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

fn is_hash(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::repo_name;

    #[test]
    fn a_remote_names_owner_and_repository() {
        for url in [
            "git@github.com:o/r.git",
            "https://github.com/o/r",
            "ssh://git@host:22/o/r.git/",
            "/srv/o/r",
        ] {
            assert_eq!(repo_name(url).as_deref(), Some("o/r"), "{url}");
        }
        assert_eq!(repo_name("r"), None);
    }
}
