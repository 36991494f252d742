//! Secrets: where they come from, who is given them, and that their values are nowhere else.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Said, World};

/// A step that prints the length of its secret `TOKEN`, which masks leave alone.
fn length(key: &str) -> Value {
    json!({"key": key, "cmd": "echo length ${#TOKEN}", "secrets": [{"name": "TOKEN"}]})
}

/// `hm run` of the plan with these flags and variables.
fn run(world: &World, flags: &[&str], variables: &[(&str, &str)]) -> Said {
    let args = [&["run", "--plan", "p.json", "--format", "plain"], flags].concat();
    world.say(world.command(&args).envs(variables.iter().copied()))
}

fn git(world: &World, args: &[&str]) {
    let mut git = Command::new("git");
    let done = git
        .arg("-C")
        .arg(world.repo())
        .args(args)
        .stdout(Stdio::null())
        .status();
    assert!(done.expect("git").success(), "git {args:?}");
}

/// Every file below `root` that has one of these texts in it.
fn files_with(root: &Path, texts: &[String]) -> Vec<String> {
    let mut grep = Command::new("grep");
    grep.args([
        "--recursive",
        "--binary-files=text",
        "--files-with-matches",
        "--fixed-strings",
    ]);
    for text in texts {
        grep.args(["-e", text]);
    }
    let found = grep.arg(root).output().expect("grep");
    String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Whether a process of this machine has one of these texts in its arguments.
fn is_in_arguments(texts: &[String]) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|arguments| String::from_utf8_lossy(&arguments).into_owned())
        .any(|arguments| texts.iter().any(|text| arguments.contains(text)))
}

/// Prints a token in every way that a careless step does, and fails.
const CARELESS: &str = r#"
echo "plain $TOKEN."
echo "stderr $TOKEN." >&2
printf %s "$TOKEN" | base64
printf 'user:%s' "$TOKEN" | base64
printf '%.7s' "$TOKEN"; sleep 0.3; printf '%s\n' "${TOKEN#???????}"
printf %s "$TOKEN" | od -An -tx1 -v | tr -d ' \n'; echo
printf 'url %s.\n' "$(printf %s "$TOKEN" | sed 's/+/%2B/g; s/=/%3D/g')"
printf '{"token": "%s"}\n' "$TOKEN"
cat /run/secrets/deploy.key
sed 's/^/> /' /run/secrets/deploy.key
printf 'no end %s' "$TOKEN"
mkdir -p report; echo '<testsuite><testcase name="with '"$TOKEN"'"><failure/></testcase></testsuite>' > report/unit.xml
touch "report/$TOKEN.txt"
sleep 0.5
exit 3
"#;

#[test]
fn a_value_is_found_nowhere_however_a_step_prints_it() {
    let world = World::new();
    let stamp = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a time")
        .as_nanos();
    let token = format!("tok+{stamp}={}x", std::process::id());
    let lines = [
        format!("begin-{stamp}-key"),
        format!("middle-{stamp}-of-key"),
        "end".to_owned(),
    ];
    fs::write(world.path().join("key"), lines.join("\n")).expect("a key");
    let step = json!({
        "key": "careless", "cmd": CARELESS, "label": "careless",
        "secrets": [{"name": "TOKEN"}, {"name": "KEY", "file": "deploy.key"}],
        "artifacts": [{"paths": ["report"]}],
    });
    world.write_plan(&[step]);
    let key = format!("KEY=file:{}", world.path().join("key").display());
    let args = [
        "run",
        "--plan",
        "p.json",
        "--format",
        "plain",
        "--secret",
        "TOKEN=env:MINE",
        "--secret",
        &key,
    ];
    let mut command = world.command(&args);
    command
        .env("MINE", &token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("hm starts");
    // The stamp is in every form but base64 and hexadecimal, of which the middle is taken.
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let values = [token.clone(), format!("{stamp}"), hex(&format!("{stamp}"))];
    let mut looked = 0;
    while child.try_wait().expect("hm").is_none() {
        assert!(!is_in_arguments(&values));
        looked += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(looked > 3, "the run was watched");
    let output = child.wait_with_output().expect("hm ends");
    let said = [output.stdout, output.stderr].concat();
    let mut said = String::from_utf8(said).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{said}");
    for masked in [
        "plain ***.",
        "stderr ***.",
        "{\"token\": \"***\"}",
        "url ***.",
        "[careless] ***\n",
        "> ***\n",
        "no end ***",
        "with ***",
    ] {
        assert!(said.contains(masked), "{masked}\n{said}");
    }
    let mut texts: Vec<String> = values.into();
    for before in ["", "u", "us", "user:"] {
        texts.extend(middle_of_base64(&format!("{before}{token}"), before.len()));
    }
    for format in ["plain", "json", "junit", "human"] {
        said.push_str(
            &world
                .hm(&["logs", "--format", format, "--logs", "all"])
                .expect(0)
                .to_string(),
        );
    }
    said.push_str(&world.hm(&["artifacts", "--json"]).expect(0).stdout());
    assert!(said.contains("report/***.txt"), "{said}");
    for text in &texts {
        assert!(!said.contains(text), "{text}\n{said}");
    }
    // What the step itself wrote into a file is the step's.
    let elsewhere: Vec<String> = files_with(&world.data(), &texts)
        .into_iter()
        .filter(|path| !path.contains("/artifacts/files/") && !path.contains("report/"))
        .filter(|path| !path.ends_with("/unit.xml"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(files_with(&world.repo(), &texts).is_empty());
}

/// What of a value's base64 it determines alone, when `before` bytes stand before it.
fn middle_of_base64(text: &str, before: usize) -> Option<String> {
    let mut encode = Command::new("base64");
    encode
        .arg("--wrap=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = encode.spawn().expect("base64");
    let mut input = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, text.as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("base64");
    let encoded = String::from_utf8(output.stdout).expect("text");
    encoded
        .get((before * 8).div_ceil(6)..text.len() * 8 / 6)
        .map(str::to_owned)
}

#[test]
fn a_step_has_what_it_asks_for_and_no_other_has() {
    let world = World::new();
    let other =
        json!({"key": "other", "cmd": "echo other ${TOKEN-none} $(ls /run/secrets 2>/dev/null | wc -l)"});
    let file = json!({
        "key": "file", "cmd": "echo file ${TOKEN-none} $(wc -c < /run/secrets/t) $(stat -c %a /run/secrets/t)",
        "secrets": [{"name": "TOKEN", "file": "t"}],
    });
    let renamed = json!({
        "key": "renamed", "cmd": "echo renamed ${TOKEN-none} ${#OTHER}", "secrets": [{"name": "TOKEN", "env": "OTHER"}],
    });
    world.write_plan(&[length("one"), other, file, renamed]);
    let said = run(&world, &["--secret", "TOKEN"], &[("TOKEN", "12345678")])
        .expect(0)
        .stdout();
    for line in [
        "[one] length 8\n",
        "[other] other none 0\n",
        "[file] file none 8 400\n",
        "[renamed] renamed none 8\n",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
}

#[test]
fn the_flag_goes_over_the_project_and_that_over_the_user() {
    let world = World::new();
    world.write_plan(&[length("one")]);
    let user = world.path().join("home/.config/hm");
    fs::create_dir_all(&user).expect("a directory");
    fs::write(user.join("config.toml"), "[secrets]\nTOKEN = \"file:~/token\"\n").expect("a file");
    fs::write(world.path().join("home/token"), "12345\n").expect("a token");
    let variables = [("SIX", "123456"), ("NINE", "123456789")];
    let said = |flags: &[&str]| run(&world, flags, &variables).expect(0).stdout();
    assert!(said(&[]).contains("length 6\n"), "a file is given as it is");
    world.write(".hm/config.toml", "[secrets]\nTOKEN = \"env:SIX\"\n");
    assert!(said(&[]).contains("length 6\n"));
    world.write(".hm/secrets.toml", "TOKEN = \"1234567\"\n");
    assert!(said(&[]).contains("length 7\n"));
    assert!(said(&["--secret", "TOKEN=env:NINE"]).contains("length 9\n"));
    let shown = world.hm(&["config", "show", "--origin"]).expect(0).stdout();
    assert!(
        shown.contains("secrets.TOKEN") && shown.contains("(a value)"),
        "{shown}"
    );
    assert!(
        shown.contains("/.hm/secrets.toml") && !shown.contains("1234567"),
        "{shown}"
    );
    fs::remove_file(world.repo().join(".hm/secrets.toml")).expect("removed");
    let shown = world.hm(&["config", "show", "--origin"]).expect(0).stdout();
    assert!(
        shown.contains("env:SIX") && shown.contains("/.hm/config.toml"),
        "{shown}"
    );
}

#[test]
fn a_file_of_values_that_git_would_take_is_refused() {
    let world = World::new();
    world.write_plan(&[length("one")]);
    world.write(".hm/secrets.toml", "TOKEN = \"1234567\"\n");
    git(&world, &["init", "--quiet"]);
    let said = run(&world, &[], &[]).expect(2);
    let words = said.stderr();
    assert!(
        words.contains(".hm/secrets.toml has secrets, and git does not ignore it"),
        "{said}"
    );
    assert!(words.contains("echo /.hm/secrets.toml >> .gitignore"), "{said}");
    world.write(".gitignore", "/.hm/secrets.toml\n");
    run(&world, &[], &[]).expect(0);
    git(&world, &["add", "--force", ".hm/secrets.toml"]);
    run(&world, &[], &[]).expect(2);
    // Who asks for none is not troubled.
    world.write_plan(&[json!({"key": "none", "cmd": "true"})]);
    run(&world, &[], &[]).expect(0);
}

#[test]
fn what_cannot_be_given_is_refused_before_anything_starts_and_never_shown() {
    let world = World::new();
    world.write_plan(&[length("one")]);
    let refused = |flags: &[&str], variables: &[(&str, &str)], words: &[&str]| {
        let said = run(&world, flags, variables).expect(2);
        let stderr = said.stderr();
        for word in words {
            assert!(stderr.contains(word), "{word}\n{said}");
        }
        assert!(!stderr.contains("abc") && said.stdout().is_empty(), "{said}");
    };
    refused(
        &[],
        &[],
        &["step `one` needs the secret `TOKEN`", "--secret TOKEN"],
    );
    let flag = ["--secret", "TOKEN=env:MINE"];
    refused(
        &flag,
        &[],
        &["step `one`", "`TOKEN`", "the variable MINE is not set"],
    );
    refused(&flag, &[("MINE", "abc")], &["`TOKEN` is too short"]);
    refused(
        &["--secret", "TOKEN=file:gone"],
        &[],
        &["`TOKEN`", "gone cannot be read"],
    );
    refused(
        &["--secret", "TOKEN=abcdefgh"],
        &[],
        &["--secret TOKEN=", "env:VARIABLE"],
    );
    world.write(".hm/config.toml", "[secrets]\nTOKEN = \"abcdefgh\"\n");
    refused(&[], &[], &["`secrets.TOKEN` is not", "config.toml"]);
    world.write(".hm/config.toml", "");
    world.write(".hm/secrets.toml", "TOKEN = abcdefgh\n");
    refused(&[], &[], &[".hm/secrets.toml:1: not TOML"]);
    assert_eq!(world.hm(&["builds", "--json"]).expect(0).stdout(), "");
    // A step that takes no part needs none.
    world.write(".hm/secrets.toml", "");
    world.write_plan(&[length("one"), json!({"key": "two", "cmd": "true"})]);
    run(&world, &["--only", "two"], &[]).expect(0);
}

#[test]
fn a_rerun_has_todays_values_from_where_the_run_had_them() {
    let world = World::new();
    world.write_plan(&[length("one")]);
    run(&world, &["--secret", "TOKEN=env:MINE"], &[("MINE", "12345678")]).expect(0);
    let again = world
        .say(world.command(&["rerun"]).env("MINE", "123456789"))
        .expect(0);
    assert!(again.stdout().contains("length 9\n"), "{again}");
    let without = world.hm(&["rerun"]).expect(2);
    assert!(
        without.stderr().contains("the variable MINE is not set"),
        "{without}"
    );
    let other = world
        .say(
            world
                .command(&["rerun", "--secret", "TOKEN"])
                .env("TOKEN", "1234"),
        )
        .expect(0);
    assert!(other.stdout().contains("length 4\n"), "{other}");
}

#[test]
fn a_new_value_is_no_new_step_for_the_cache() {
    let world = World::new();
    let mut step = length("one");
    step["cache"] = json!({"policy": "forever", "key": "k"});
    world.write_plan(&[step]);
    run(&world, &["--secret", "TOKEN"], &[("TOKEN", "12345678")]).expect(0);
    let again = run(&world, &["--secret", "TOKEN"], &[("TOKEN", "another value")]).expect(0);
    assert!(again.stdout().contains("cached"), "{again}");
}

#[test]
fn a_shell_has_the_secrets_of_its_step() {
    let world = World::new();
    let step = json!({
        "key": "one", "cmd": "exit 1", "secrets": [{"name": "TOKEN"}, {"name": "TOKEN", "file": "t"}],
    });
    world.write_plan(&[step]);
    run(&world, &["--secret", "TOKEN"], &[("TOKEN", "12345678")]).expect(1);
    let args = [
        "shell",
        "one",
        "--",
        "sh",
        "-c",
        "echo ${#TOKEN} $(wc -c < /run/secrets/t)",
    ];
    let said = world
        .say(world.command(&args).env("TOKEN", "123456789"))
        .expect(0);
    assert_eq!(said.stdout(), "9 9\n");
    let without = world
        .hm(&["shell", "one", "--", "sh", "-c", "echo ${TOKEN-none}"])
        .expect(0);
    assert_eq!(without.stdout(), "none\n");
    let told = without.stderr();
    let named = told.matches("no secret TOKEN: the variable TOKEN is not set");
    assert_eq!(named.count(), 1, "{without}");
}
