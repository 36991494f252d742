//! The spellings of the command line that was published before this one, for scripts that call it.

use std::ffi::OsString;

/// What `--logs` may be followed by.
const LOGS: [&str; 3] = ["failed", "all", "none"];

/// The command line with the published spellings turned into ours; what is none of them stays as it is.
///
/// | published | here |
/// |---|---|
/// | `hm version` | `hm --version` |
/// | `hm cloud run ...`, `hm run --cloud ...` | `hm run --backend cloud ...` |
/// | `hm run --logs ...` without a value | `hm run --logs=all ...` |
/// | `hm cloud build show -p PIPELINE -b NUMBER` | `hm cloud build show PIPELINE NUMBER` |
/// | `hm cloud job log JOB -p PIPELINE -b NUMBER` | `hm cloud job log JOB PIPELINE NUMBER` |
pub fn translate(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let word = |args: &[OsString], at: usize| -> String {
        args.get(at)
            .and_then(|arg| arg.to_str())
            .unwrap_or_default()
            .to_owned()
    };
    match (word(&args, 1).as_str(), word(&args, 2).as_str()) {
        ("version", "") => args[1] = "--version".into(),
        ("cloud", "run") => {
            args.remove(1);
            args.splice(2..2, ["--backend", "cloud"].map(Into::into));
        }
        ("cloud", kind @ ("build" | "job")) if args.len() > 4 => {
            let takes_step = kind == "job" && word(&args, 3) != "list";
            name_build(&mut args, takes_step);
        }
        _ => {}
    }
    if word(&args, 1) == "run" {
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        for at in (2..end).rev() {
            match word(&args, at).as_str() {
                "--cloud" => {
                    args.splice(at..=at, ["--backend", "cloud"].map(Into::into));
                }
                "--logs" if !LOGS.contains(&word(&args, at + 1).as_str()) => args[at] = "--logs=all".into(),
                _ => {}
            }
        }
    }
    args
}

/// Turns `-p PIPELINE` and `-b NUMBER` of `hm cloud build|job COMMAND` into arguments by their place.
fn name_build(args: &mut Vec<OsString>, takes_step: bool) {
    let pipeline = take(args, &["-p", "--pipeline"]);
    let number = take(args, &["-b", "--build"]);
    let Some(pipeline) = pipeline else {
        args.extend(number);
        return;
    };
    // The step comes first, and the number last.
    let words = |args: &[OsString]| args.iter().skip(4).filter(|arg| !starts_with_dash(arg)).count();
    if takes_step || words(args) == 0 {
        args.push(pipeline);
    } else {
        args.insert(4, pipeline);
    }
    args.extend(number);
}

/// Takes an option with its value out of a command line.
fn take(args: &mut Vec<OsString>, names: &[&str]) -> Option<OsString> {
    let at = args
        .iter()
        .position(|arg| names.iter().any(|name| arg == *name))
        .filter(|at| *at > 3 && at + 1 < args.len())?;
    let value = args.remove(at + 1);
    args.remove(at);
    Some(value)
}

fn starts_with_dash(arg: &OsString) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> String {
        let args = line.split(' ').map(Into::into);
        let words: Vec<String> = translate(args)
            .into_iter()
            .filter_map(|arg| arg.into_string().ok())
            .collect();
        words.join(" ")
    }

    #[test]
    fn published_spellings_become_ours() {
        for (published, ours) in [
            ("hm version", "hm --version"),
            ("hm cloud run ci -k", "hm run --backend cloud ci -k"),
            ("hm run --cloud ci", "hm run --backend cloud ci"),
            ("hm run --logs ci", "hm run --logs=all ci"),
            ("hm run ci --logs", "hm run ci --logs=all"),
            ("hm cloud build show -p ci -b 12", "hm cloud build show ci 12"),
            ("hm cloud build show -p ci 12", "hm cloud build show ci 12"),
            ("hm cloud build cancel 12 -p ci", "hm cloud build cancel ci 12"),
            (
                "hm cloud build list -p ci --json",
                "hm cloud build list --json ci",
            ),
            ("hm cloud job list -p ci -b 12", "hm cloud job list ci 12"),
            ("hm cloud job log -p ci -b 12 test", "hm cloud job log test ci 12"),
            (
                "hm cloud job log test --pipeline ci --build 12",
                "hm cloud job log test ci 12",
            ),
        ] {
            assert_eq!(translated(published), ours);
        }
    }

    #[test]
    fn own_spellings_stay() {
        for line in [
            "hm",
            "hm run --logs all ci",
            "hm run --logs none",
            "hm run -b topic ci",
            "hm shell test -- run --cloud",
            "hm cloud build show ci 12",
            "hm cloud job log test ci 12",
            "hm cloud build",
        ] {
            assert_eq!(translated(line), line);
        }
    }
}
