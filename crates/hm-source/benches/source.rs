//! Freezing a worktree beside `git status` of it: the first time, unchanged, and with one changed file.
//!
//! `cargo bench -p hm-source --bench source [-- FILES]`; 100,000 files unless said otherwise.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has nothing to say"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hm_source::{Source, SourceOptions, SourceStore};

fn git(worktree: &Path, arguments: &[&str]) -> Duration {
    let start = Instant::now();
    let status = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "gc.auto=0",
        ])
        .args(arguments)
        .current_dir(worktree)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, ours: Duration, git: Duration, source: &Source) {
    println!(
        "{what:<28} {:>10.2} ms   git status {:>8.2} ms   ratio {:>6.2}   brought in {}",
        ours.as_secs_f64() * 1e3,
        git.as_secs_f64() * 1e3,
        ours.as_secs_f64() / git.as_secs_f64(),
        source.brought_in()
    );
}

fn measure(files: usize, rounds: usize) {
    let directory = tempfile::tempdir().unwrap();
    let worktree = directory.path().join("worktree");
    for number in 0..files {
        let parent = worktree.join(format!("d{}/e{}", number / 1000, number / 20 % 50));
        if number % 20 == 0 {
            fs::create_dir_all(&parent).unwrap();
        }
        fs::write(
            parent.join(format!("file{number}.txt")),
            format!("content of {number}\n"),
        )
        .unwrap();
    }
    fs::write(
        worktree.join(".gitignore"),
        "target/\nnode_modules/\n*.o\n*.pyc\n__pycache__/\n/build\n",
    )
    .unwrap();
    git(&worktree, &["init", "-q"]);
    git(&worktree, &["add", "."]);
    git(&worktree, &["commit", "-q", "-m", "x"]);
    git(&worktree, &["status"]);
    let store = SourceStore::new(directory.path().join("sources"));
    let freeze = || {
        let start = Instant::now();
        let source = store.freeze(&worktree, &SourceOptions::default()).unwrap();
        (start.elapsed(), source)
    };
    println!("{files} files");
    let (first, source) = freeze();
    let git_first = git(&worktree, &["status"]);
    row("  first", first, git_first, &source);
    drop(freeze());
    let (mut ours, mut theirs, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = source;
    for _ in 0..rounds {
        let (time, source) = freeze();
        ours.push(time);
        let start = Instant::now();
        assert_eq!(source.digest().len(), 64);
        digests.push(start.elapsed());
        theirs.push(git(&worktree, &["status"]));
        last = source;
    }
    row("  unchanged", median(ours), median(theirs), &last);
    println!(
        "  digest of the tree           {:>10.2} ms",
        median(digests).as_secs_f64() * 1e3
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        fs::write(worktree.join("d0/e0/file7.txt"), format!("round {round}")).unwrap();
        let (time, source) = freeze();
        ours.push(time);
        theirs.push(git(&worktree, &["status"]));
        last = source;
    }
    row("  one file changed", median(ours), median(theirs), &last);
}

fn main() {
    let asked = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    match asked {
        Some(files) => measure(files, 15),
        None => {
            measure(20, 51);
            measure(2_000, 25);
            measure(100_000, 11);
        }
    }
}
