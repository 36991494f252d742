//! What authors are told when something is wrong.

use hm_dsl::DslError;

use crate::repo::Repo;

fn text(repo: &Repo) -> String {
    let text = repo.render().unwrap_err().to_string();
    for ours in ["hm_host", "boot.py", "harmont/", "importlib", "Traceback"] {
        assert!(!text.contains(ours), "{text}");
    }
    text
}

fn of(file: &str) -> String {
    let repo = Repo::new();
    repo.write(".hm/ci.py", file);
    text(&repo)
}

#[test]
fn an_exception_shows_the_authors_lines_alone() {
    let repo = Repo::new();
    repo.write(
        ".hm/_lib.py",
        "import harmont as hm\ndef build(n):\n    return hm.sh(n)\n",
    );
    repo.pipeline("def ci():\n    import _lib\n    return _lib.build(7)");
    let expected = concat!(
        "a pipeline file failed:\n",
        "  .hm/ci.py, line 5, in ci\n    return _lib.build(7)\n",
        "  .hm/_lib.py, line 3, in build\n    return hm.sh(n)\n",
        "TypeError: hm: cmd must be text, not int"
    );
    assert_eq!(text(&repo), expected);
    let Err(DslError::Author { file, line, .. }) = repo.render() else {
        panic!("it rendered")
    };
    assert_eq!((file.as_str(), line), (".hm/_lib.py", 3));
}

#[test]
fn a_syntax_error_points_at_the_place() {
    let expected =
        "a pipeline file failed:\n  .hm/ci.py, line 2\n    x = = 1\n        ^\nSyntaxError: invalid syntax";
    assert_eq!(of("import harmont as hm\nx = = 1\n"), expected);
}

#[test]
fn an_exception_in_the_standard_library_shows_who_called_it() {
    let text = of("import json\njson.loads('{')\n");
    assert!(
        text.starts_with(
            "a pipeline file failed:\n  .hm/ci.py, line 2\n    json.loads('{')\nJSONDecodeError: "
        ),
        "{text}"
    );
    assert!(!text.contains("decoder.py"), "{text}");
}

#[test]
fn a_missing_module_says_which_python_lacks_it() {
    let text = of("import harmont as hm\nimport no_such_module\n");
    assert!(
        text.contains(".hm/ci.py, line 2\n    import no_such_module\n"),
        "{text}"
    );
    assert!(text.contains("No module named 'no_such_module'\n  → /"), "{text}");
}

#[test]
fn a_pipeline_that_returns_nothing_is_named() {
    let text = of("import harmont as hm\n@hm.pipeline('deploy')\ndef ship():\n    hm.sh('x')\n");
    assert!(
        text.contains("pipeline 'deploy' (.hm/ci.py:2) returned nothing"),
        "{text}"
    );
    assert!(text.contains("→ return the last step"), "{text}");
    let text = of("import harmont as hm\n@hm.pipeline('ci')\ndef ci(): return 'x'\n");
    assert!(text.contains("returned a str"), "{text}");
    let text = of("import harmont as hm\n@hm.pipeline('ci')\ndef ci(): return []\n");
    assert!(text.contains("has no step"), "{text}");
}

#[test]
fn two_pipelines_of_one_slug_are_both_named() {
    let text =
        of("import harmont as hm\n@hm.pipeline('ci')\ndef a(): ...\n@hm.pipeline('ci')\ndef b(): ...\n");
    assert!(
        text.contains("this one (.hm/ci.py:4) and one (.hm/ci.py:2)"),
        "{text}"
    );
}

#[test]
fn leaving_early_is_no_way_to_end() {
    assert!(
        of("import sys\nsys.exit(3)\n")
            .contains(".hm/ci.py, line 2\n    sys.exit(3)\nsys.exit(3) was called")
    );
    let repo = Repo::new();
    repo.write(
        ".hm/ci.py",
        "import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos._exit(0)\n",
    );
    let Err(DslError::Died { status, stderr, .. }) = repo.render() else {
        panic!("it rendered")
    };
    assert_eq!(
        (status.as_str(), stderr.as_str()),
        ("exit status: 0", "last words")
    );
}

#[test]
fn endless_recursion_is_cut_short() {
    let text = of("def f(): return f()\nf()\n");
    assert!(
        text.contains("RecursionError") && text.lines().count() < 20,
        "{text}"
    );
}

#[test]
fn the_cause_of_an_exception_is_told() {
    let text =
        of("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('no number') from e\n");
    assert!(
        text.contains("ValueError: no number\n  while handling ZeroDivisionError: division by zero"),
        "{text}"
    );
}

#[test]
fn wrong_arguments_say_what_is_right() {
    for (expression, said) in [
        ("hm.sh('')", "cmd must not be empty"),
        ("hm.sh('x', cwd='')", "cwd must be a non-empty path"),
        ("hm.sh('x', cache='ttl')", "cache must be a policy"),
        ("hm.sh('x', env={'A': 1})", "write A='1'"),
        ("hm.sh('x', timeout='1.5h')", "write \"30s\", \"5m\" or \"1h30m\""),
        ("hm.timeout(0, hm.sh('x'))", "must be positive"),
        ("hm.sh('x', grace=-1)", "grace must be zero or more"),
        ("hm.timeout('5m', hm.wait())", "needs a step with a command"),
        ("hm.wait().sh('x')", "barrier"),
        ("hm.sh('x', network='off')", "\"none\" or \"outbound\""),
        ("hm.sh('x', limits={'ram': 1})", "limits are memory"),
        (
            "hm.sh('x', cache=hm.on_change('../x'))",
            "below the repository's root",
        ),
        ("hm.push()", "exactly one of branch or tag"),
        ("hm.pipeline(hm.sh('x'))", "takes one list of steps"),
        (
            "[hm.sh('x', key='k'), hm.sh('y', key='k')]",
            "two steps have the key 'k'",
        ),
        ("hm.sh('x', runner_args={'a': object()})", "not JSON serializable"),
        ("hm.sh('x').cmd.nope()", "no attribute 'nope'"),
        ("setattr(hm.sh('x'), 'cmd', 'y')", "a step never changes"),
    ] {
        let text = of(&format!(
            "import harmont as hm\n@hm.pipeline('ci')\ndef ci():\n    return {expression}\n"
        ));
        assert!(text.contains(said), "{expression}: {text}");
    }
}

#[test]
fn no_pipeline_file_and_no_pipeline_in_one() {
    let repo = Repo::new();
    assert!(text(&repo).contains("write .hm/ci.py"));
    repo.write("x.py", "");
    repo.write(".hm/notes.txt", "");
    std::fs::create_dir(repo.request.root.join(".harmont")).unwrap();
    let told = repo.render().unwrap_err().to_string();
    assert!(told.contains(".harmont/ is there"), "{told}");
    repo.write(".hm/ci.py", "import harmont as hm\nhm.sh('x')\n");
    let told = text(&repo);
    assert!(told.contains("ci.py registers a pipeline"), "{told}");
}

#[test]
fn what_was_printed_before_a_failure_is_shown() {
    let text = of("print('n is', 7)\n1 / 0\n");
    assert_eq!(
        text,
        "n is 7\na pipeline file failed:\n  .hm/ci.py, line 2\n    1 / 0\nZeroDivisionError: division by zero"
    );
}

#[test]
fn misspelt_argument_is_told_with_the_one_that_may_be_meant() {
    for (call, expected) in [
        ("hm.sh('x', artifact=['a'])", "did you mean 'artifacts'?"),
        ("hm.sh('x').sh('y', secret=['A'])", "did you mean 'secrets'?"),
        ("hm.service('db', images='x')", "did you mean 'image'?"),
        ("hm.limits(memmory='1GiB')", "did you mean 'memory'?"),
        ("hm.cache_dir('a', qqq=1)", "its arguments are "),
    ] {
        let text = of(&format!("import harmont as hm\n{call}\n"));
        assert!(text.contains(expected), "{text}");
    }
    let text = of("import harmont as hm\n@hm.pipeline('ci', trigger=[])\ndef ci(): return hm.sh('x')\n");
    assert!(text.contains("did you mean 'triggers'?"), "{text}");
    let text = of("def f(count): pass\nf(cont=1)\n");
    assert!(!text.contains("did you mean"), "{text}");
}
