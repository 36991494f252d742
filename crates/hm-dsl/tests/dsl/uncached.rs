//! Plans that are made anew each time, and why.

use crate::repo::Repo;

fn reason(body: &str) -> Option<String> {
    let repo = Repo::new();
    repo.write("f.txt", "1");
    repo.pipeline(&format!("def ci():\n    {body}\n    return hm.sh('x')"));
    let first = repo.render().unwrap();
    let second = repo.render().unwrap();
    assert_eq!(first.uncacheable, second.uncacheable, "{body}");
    assert_eq!(second.python_started, second.uncacheable.is_some(), "{body}");
    second.uncacheable
}

#[test]
fn what_cannot_be_checked_is_not_kept() {
    for (body, said) in [
        ("import subprocess; subprocess.run(['true'])", "starts a process"),
        ("import os; os.system('true')", "starts a process"),
        ("import time; time.time()", "reads the clock"),
        ("import time; time.strftime('%Y')", "reads the clock"),
        ("import datetime; datetime.datetime.now()", "reads the clock"),
        ("from datetime import date; date.today()", "reads the clock"),
        ("import random; random.choice([1, 2])", "random numbers"),
        ("import random; random.random()", "random numbers"),
        ("import uuid; uuid.uuid4()", "random numbers"),
        ("import secrets; secrets.token_hex()", "random numbers"),
        ("import socket; socket.gethostname()", "network"),
        (
            "import threading; threading.Thread(target=print).start()",
            "thread",
        ),
        ("open('f.txt', 'a').close()", "writes"),
        ("import os; os.rename('f.txt', 'f.txt')", "changes files"),
        ("import os; os.mkdir('d'); os.rmdir('d')", "changes files"),
        ("import ctypes; ctypes.CDLL(None)", "ctypes"),
        ("import os; os.listdir(os.open('.', os.O_RDONLY))", "descriptor"),
    ] {
        let reason = reason(body);
        assert!(
            reason.as_ref().is_some_and(|reason| reason.contains(said)),
            "{body}: {reason:?}"
        );
    }
}

#[test]
fn what_harms_nothing_is_kept() {
    for body in [
        "import datetime; datetime.timedelta(days=1)",
        "import logging, tempfile, argparse, dataclasses, enum, typing, pathlib, urllib.parse, threading, random",
        "import time; time.sleep(0); time.monotonic()",
        "open('/dev/null', 'w').close()",
        "import os; os.path.realpath('f.txt'); os.path.getmtime('f.txt')",
        "import sys; print('x', file=sys.stderr)",
    ] {
        assert_eq!(reason(body), None, "{body}");
    }
}

#[test]
fn too_many_files_are_not_checked_one_by_one() {
    let repo = Repo::new();
    repo.pipeline(
        "def ci():\n    import os\n    [os.path.exists(f'f{n}') for n in range(6000)]\n    return hm.sh('x')",
    );
    let reason = repo.render().unwrap().uncacheable.unwrap();
    assert!(reason.contains("more than 5000"), "{reason}");
}

#[test]
fn a_flood_of_output_is_cut() {
    let repo = Repo::new();
    repo.pipeline("def ci():\n    [print('x' * 1000) for n in range(5000)]\n    return hm.sh('x')");
    let rendered = repo.render().unwrap();
    assert_eq!(rendered.printed.len(), 1024 * 1024);
    assert_eq!(repo.keys(&rendered), ["x"]);
}

#[test]
fn plans_beyond_all_measure_are_refused() {
    let repo = Repo::new();
    repo.pipeline("def ci():\n    return hm.sh('x' * (70 << 20))");
    let error = repo.render().unwrap_err().to_string();
    assert!(error.contains("over 64 MiB"), "{error}");
}
