//! When a kept plan is good, and when it is not.

use std::fs::{self, File};
use std::time::SystemTime;

use crate::repo::Repo;

/// Runs the files once, after which the plan is kept.
fn warm(repo: &Repo) {
    let rendered = repo.render().unwrap();
    assert!(rendered.python_started);
    assert_eq!(rendered.uncacheable, None);
    assert_kept(repo);
}

fn assert_kept(repo: &Repo) {
    let rendered = repo.render().unwrap();
    assert!(rendered.from_cache && !rendered.python_started);
}

fn assert_made_again(repo: &Repo) {
    let rendered = repo.render().unwrap();
    assert!(!rendered.from_cache && rendered.python_started);
    assert_eq!(rendered.uncacheable, None);
}

fn with(function: &str) -> Repo {
    let repo = Repo::new();
    repo.pipeline(function);
    repo
}

#[test]
fn an_edit_of_the_file_makes_the_plan_again_and_a_touch_does_not() {
    let repo = with("def ci():\n    return hm.sh('one')");
    warm(&repo);
    let file = File::options()
        .append(true)
        .open(repo.request.root.join(".hm/ci.py"))
        .unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_kept(&repo);
    repo.pipeline("def ci():\n    return hm.sh('two')");
    let rendered = repo.render().unwrap();
    assert!(rendered.python_started);
    assert_eq!(repo.keys(&rendered), ["two"]);
}

#[test]
fn an_edit_that_keeps_size_and_time_is_seen() {
    let repo = with("def ci():\n    return hm.sh('one')");
    let path = repo.request.root.join(".hm/ci.py");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    warm(&repo);
    repo.pipeline("def ci():\n    return hm.sh('two')");
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(before)
        .unwrap();
    assert_eq!(repo.keys(&repo.render().unwrap()), ["two"]);
}

#[test]
fn a_new_pipeline_file_and_a_changed_module_are_seen() {
    let repo = with("def ci():\n    import _lib\n    return hm.sh(_lib.CMD)");
    repo.write(".hm/_lib.py", "CMD = 'one'\n");
    warm(&repo);
    repo.write(".hm/_lib.py", "CMD = 'two'\n");
    assert_eq!(repo.keys(&repo.render().unwrap()), ["two"]);
    assert_kept(&repo);
    repo.write(
        ".hm/more.py",
        "import harmont as hm\n@hm.pipeline('more')\ndef more(): return hm.sh('x')\n",
    );
    assert_eq!(repo.render().unwrap().pipelines.len(), 2);
    fs::remove_file(repo.request.root.join(".hm/more.py")).unwrap();
    assert_eq!(repo.render().unwrap().pipelines.len(), 1);
}

#[test]
fn what_on_change_watches_is_in_the_key() {
    let repo =
        with("def ci():\n    return hm.sh('x', cache=hm.on_change('a.txt', 'src', 'lib/**/*.c', '*.toml'))");
    let key = || {
        let plan = repo.plan(&repo.render().unwrap());
        plan["graph"]["nodes"][0]["step"]["cache"]["key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut keys = vec![key()];
    for (path, text) in [
        ("a.txt", ""),
        ("a.txt", "1"),
        ("src/deep/x", "1"),
        ("src/deep/x", "2"),
        ("lib/top.c", "1"),
        ("lib/one/two/x.c", "1"),
        ("x.toml", "1"),
        ("src/.hidden", "1"),
    ] {
        repo.write(path, text);
        assert_made_again(&repo);
        assert_kept(&repo);
        keys.push(key());
    }
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), keys.len(), "{keys:?}");
    repo.write("src/.git/HEAD", "1");
    repo.write("lib/one/x.h", "1");
    assert_eq!(Some(&key()), keys.last());
    repo.write("other/file", "1");
    repo.write("README", "1");
    assert_eq!(Some(&key()), keys.last());
    fs::rename(
        repo.request.root.join("src/deep/x"),
        repo.request.root.join("src/deep/y"),
    )
    .unwrap();
    assert!(!keys.contains(&key()));
}

#[test]
fn a_file_elsewhere_does_not_matter() {
    let repo = with("def ci():\n    return hm.sh('x', cache=hm.on_change('src'))");
    repo.write("src/a", "1");
    warm(&repo);
    repo.write("other/file", "1");
    assert_kept(&repo);
}

#[test]
fn files_that_the_author_reads_lists_or_looks_for() {
    for (code, path) in [
        (
            "open('data.txt').read() if os.path.exists('data.txt') else ''",
            "data.txt",
        ),
        ("','.join(sorted(os.listdir('d')))", "d/new"),
        ("str(pathlib.Path('maybe').exists())", "maybe"),
        (
            "str(pathlib.Path(__file__).resolve().parent.parent.joinpath('m', 'x').is_file())",
            "m/x",
        ),
        ("str(len(glob.glob('d/**/*.txt', recursive=True)))", "d/e/f.txt"),
        ("str(os.access('tool', os.X_OK))", "tool"),
        ("str(len([f for _, _, fs in os.walk('d') for f in fs]))", "d/g"),
    ] {
        let repo = with(&format!(
            "def ci():\n    import glob, os, pathlib\n    return hm.sh('echo', env={{'V': {code}}})"
        ));
        repo.write("d/old", "1");
        warm(&repo);
        repo.write("elsewhere/file", "1");
        assert_kept(&repo);
        repo.write(path, "1");
        let rendered = repo.render().unwrap();
        assert!(rendered.python_started, "{code}");
    }
}

#[test]
fn a_question_whether_a_file_is_there_is_not_one_about_its_content() {
    let repo = with("def ci():\n    import os\n    return hm.sh(str(os.path.isfile('Makefile')))");
    repo.write("Makefile", "1");
    warm(&repo);
    repo.write("Makefile", "22");
    assert_kept(&repo);
    fs::remove_file(repo.request.root.join("Makefile")).unwrap();
    assert_made_again(&repo);
}

#[test]
fn the_size_of_a_file_that_was_asked_for() {
    let repo = with("def ci():\n    import os\n    return hm.sh(str(os.path.getsize('f')))");
    repo.write("f", "1");
    warm(&repo);
    repo.write("f", "22");
    assert_eq!(repo.keys(&repo.render().unwrap()), ["2"]);
}

#[test]
fn variables_that_were_read_count_and_others_do_not() {
    let mut repo = with(concat!(
        "def ci():\n    import os\n    cmd = os.environ.get('CMD', 'x') + os.getenv('MORE', 'y')\n",
        "    return hm.sh(cmd, cache=hm.forever(env_keys=['KEYED']))"
    ));
    repo.request
        .env
        .insert("SECRET".to_owned(), "hunter2-in-the-plan".to_owned());
    warm(&repo);
    for name in ["CMD", "MORE", "KEYED"] {
        repo.request.env.insert("OTHER".to_owned(), name.to_owned());
        assert_kept(&repo);
        repo.request.env.insert(name.to_owned(), "1".to_owned());
        assert_made_again(&repo);
        assert_kept(&repo);
        repo.request.env.insert(name.to_owned(), "2".to_owned());
        assert_made_again(&repo);
        repo.request.env.remove(name);
        assert_made_again(&repo);
    }
}

#[test]
fn all_variables_count_when_all_are_read_and_none_is_written_down() {
    let mut repo = with("def ci():\n    import os\n    return hm.sh(str(len(dict(os.environ))))");
    repo.request.env.insert("SECRET".to_owned(), "hunter2".to_owned());
    warm(&repo);
    repo.request.env.insert("OTHER".to_owned(), "1".to_owned());
    assert_made_again(&repo);
    for entry in fs::read_dir(&repo.request.cache_dir).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.is_file() || !fs::read_to_string(path).unwrap().contains("hunter2"));
    }
}

#[test]
fn a_window_ends_where_it_should() {
    let day = 86_400;
    let mut repo = with(concat!(
        "def ci():\n    from datetime import timedelta\n",
        "    return hm.sh('x', cache=hm.ttl(timedelta(days=1))).sh('y', cache=hm.ttl(timedelta(hours=6)))"
    ));
    repo.at(100 * day + 10);
    warm(&repo);
    let first = repo.render().unwrap();
    repo.at(100 * day + day / 4 - 1);
    assert_kept(&repo);
    repo.at(100 * day + day / 4);
    let second = repo.render().unwrap();
    assert!(second.python_started);
    repo.at(100 * day - 1);
    assert_made_again(&repo);
    let key =
        |rendered, step: usize| repo.plan(rendered)["graph"]["nodes"][step]["step"]["cache"]["key"].clone();
    assert_eq!(key(&first, 0), key(&second, 0));
    assert_ne!(key(&first, 1), key(&second, 1));
}

#[test]
fn a_broken_entry_is_no_entry() {
    let repo = with("def ci():\n    return hm.sh('x')");
    warm(&repo);
    let entry = fs::read_dir(&repo.request.cache_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "json"))
        .unwrap();
    let whole = fs::read(&entry).unwrap();
    for broken in [&b""[..], b"{}", b"\xff\xfe", &whole[..whole.len() / 2]] {
        fs::write(&entry, broken).unwrap();
        assert_made_again(&repo);
        assert_kept(&repo);
    }
}

#[test]
fn a_failure_is_not_kept() {
    let repo = with("def ci():\n    return None");
    assert!(repo.render().is_err());
    assert!(repo.render().is_err());
    repo.pipeline("def ci():\n    return hm.sh('x')");
    warm(&repo);
}

#[test]
fn many_at_once_from_nothing() {
    let repo = with("def ci():\n    return hm.sh('x', cache=hm.on_change('.'))");
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| repo.render().unwrap().pipelines))
            .collect();
        let plans: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
        assert!(plans.iter().all(|plan| *plan == plans[0]));
    });
    assert_kept(&repo);
    let left = fs::read_dir(&repo.request.cache_dir).unwrap();
    let left: Vec<_> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

#[test]
fn nothing_is_written_into_the_worktree() {
    let repo = with("def ci():\n    import _lib, json\n    return hm.sh('x', cache=hm.on_change('**'))");
    repo.write(".hm/_lib.py", "");
    repo.write("src/a", "1");
    let files = || {
        let mut all = Vec::new();
        let mut todo = vec![repo.request.root.clone()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                if path.is_dir() {
                    todo.push(path.clone());
                }
                all.push((path, modified));
            }
        }
        all.sort();
        all
    };
    let before = files();
    warm(&repo);
    assert_eq!(files(), before);
    repo.write(".hm/ci.py", "import _lib\n1 / 0\n");
    let before = files();
    assert!(repo.render().is_err());
    assert_eq!(files(), before);
}

#[test]
fn what_is_old_is_swept_when_python_runs_anyway() {
    let repo = with("def ci():\n    return hm.sh('one')");
    warm(&repo);
    let plans = &repo.request.cache_dir;
    let package = fs::read_dir(plans)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    fs::create_dir(plans.join("python-0123")).unwrap();
    for name in ["gone.json", "fresh.json", ".plan-x", "somebody-elses"] {
        fs::write(plans.join(name), "").unwrap();
    }
    let long_ago = SystemTime::UNIX_EPOCH;
    for name in ["gone.json", ".plan-x", "somebody-elses", "python-0123"] {
        File::open(plans.join(name))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    }
    File::open(&package).unwrap().set_modified(long_ago).unwrap();
    repo.pipeline("def ci():\n    return hm.sh('two')");
    assert_made_again(&repo);
    let exists = |name: &str| plans.join(name).exists();
    assert!(package.join("boot.py").is_file() && exists("fresh.json") && exists("somebody-elses"));
    assert!(!exists("gone.json") && !exists(".plan-x") && !exists("python-0123"));
}

#[test]
fn branch_commit_and_tag_are_inputs_of_the_plan() {
    let mut repo = with("def ci():\n    return hm.sh(f'{hm.branch()} {hm.commit()} {hm.tag()}')");
    let command = |repo: &Repo| {
        let rendered = repo.render().unwrap();
        repo.plan(&rendered)["graph"]["nodes"][0]["step"]["cmd"].clone()
    };
    assert_eq!(command(&repo), "None None None");
    assert_kept(&repo);
    for (name, value, expected) in [
        ("HM_BRANCH", "main", "main None None"),
        ("HM_COMMIT", "abc", "main abc None"),
        ("HM_TAG", "v1", "main abc v1"),
        ("HM_BRANCH", "topic", "topic abc v1"),
    ] {
        repo.request.env.insert(name.to_owned(), value.to_owned());
        assert_eq!(command(&repo), expected);
        assert_kept(&repo);
    }
    let mut other = with("def ci():\n    return hm.sh('x')");
    warm(&other);
    other.request.env.insert("HM_COMMIT".into(), "abc".into());
    assert_kept(&other);
}

/// The same vectors hold the scheduler to it.
#[test]
fn on_change_names_what_the_vectors_say() {
    let script = r"
import json, os, sys, tempfile
from harmont.digest import _expand
vectors = json.load(open(sys.argv[1]))
with tempfile.TemporaryDirectory() as root:
    def at(path):
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path
    for path in vectors['files']:
        open(at(path), 'w').close()
    for path, target in vectors['links'].items():
        os.symlink(target, at(path))
    for pattern, expected in vectors['cases'].items():
        found = {path for path in _expand(root, pattern) if os.path.lexists(os.path.join(root, path))}
        found = sorted(found, key=lambda path: path.split('/'))
        assert found == expected, (pattern, found, expected)
";
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new("python3")
        .args(["-B", "-c", script])
        .arg(here.join("tests/fixtures/watched.json"))
        .env("PYTHONPATH", here.join("python"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
