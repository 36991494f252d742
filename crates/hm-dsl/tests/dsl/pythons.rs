//! Which Python runs the files, and what becomes of one that cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hm_dsl::DslError;

use crate::repo::Repo;

fn script(repo: &Repo, name: &str, text: &str) -> String {
    let file = repo.outside(name).join("python3");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file.parent().unwrap().to_str().unwrap().to_owned()
}

fn simple() -> Repo {
    let repo = Repo::new();
    repo.pipeline("def ci():\n    return hm.sh('x')");
    repo
}

#[test]
fn no_python_says_what_to_install() {
    let mut repo = simple();
    repo.request.env.insert(
        "PATH".to_owned(),
        repo.outside("empty").to_str().unwrap().to_owned(),
    );
    let error = repo.render().unwrap_err();
    assert!(matches!(error, DslError::NoPython));
    assert!(error.to_string().contains("apt-get install python3"));
}

#[test]
fn an_old_python_is_passed_over_and_named_when_there_is_no_other() {
    let mut repo = simple();
    let old = script(&repo, "old", "#!/bin/sh\nprintf '{\"too_old\":\"3.6.9\"}'\n");
    let path = repo.request.env["PATH"].clone();
    repo.request
        .env
        .insert("PATH".to_owned(), format!("{old}:{path}"));
    assert!(repo.render().unwrap().python_started);
    repo.request.env.insert("PATH".to_owned(), old.clone());
    let error = repo.render().unwrap_err().to_string();
    assert!(error.contains(&format!("{old}/python3 (3.6.9)")), "{error}");
}

#[test]
fn a_shim_comes_after_a_real_python() {
    let mut repo = simple();
    let shims = script(&repo, "shims", "#!/bin/sh\nexit 9\n");
    let path = repo.request.env["PATH"].clone();
    repo.request
        .env
        .insert("PATH".to_owned(), format!("{shims}:{path}"));
    assert!(repo.render().unwrap().python_started);
}

#[test]
fn nonsense_from_python_is_an_error() {
    let mut repo = simple();
    let dir = script(&repo, "odd", "#!/bin/sh\necho not json\n");
    repo.request.python = Some(format!("{dir}/python3").into());
    assert!(matches!(repo.render(), Err(DslError::Answer { .. })));
    let dir = script(&repo, "mute", "#!/bin/sh\necho oops >&2\nexit 4\n");
    repo.request.python = Some(format!("{dir}/python3").into());
    let error = repo.render().unwrap_err().to_string();
    assert!(
        error.contains("exit status: 4") && error.contains("oops"),
        "{error}"
    );
}

#[test]
fn another_python_is_asked_anew() {
    let mut repo = simple();
    assert!(!repo.render().unwrap().from_cache);
    assert!(repo.render().unwrap().from_cache);
    repo.request.python = Some("/usr/bin/env".into());
    assert!(repo.render().is_err());
}

#[test]
fn an_installed_package_is_found_and_watched() {
    let mut repo = simple();
    let venv = repo.outside("venv");
    let python = "exec python3 -m venv --without-pip \"$0\"";
    let made = Command::new("sh")
        .args(["-c", python])
        .arg(&venv)
        .status()
        .unwrap();
    assert!(made.success());
    let lib = fs::read_dir(venv.join("lib"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let module = lib.join("site-packages/installed_words.py");
    fs::write(&module, "CMD = 'one'\n").unwrap();
    repo.pipeline("def ci():\n    from installed_words import CMD\n    return hm.sh(CMD)");
    repo.request.python = Some(venv.join("bin/python3"));
    let first = repo.render().unwrap();
    assert_eq!(
        (repo.keys(&first), first.uncacheable),
        (vec!["one".to_owned()], None)
    );
    assert!(repo.render().unwrap().from_cache);
    fs::write(&module, "CMD = 'three'\n").unwrap();
    assert_eq!(repo.keys(&repo.render().unwrap()), ["three"]);
}
