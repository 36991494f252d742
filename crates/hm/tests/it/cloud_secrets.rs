//! Secrets of builds on a server: agents have them, and the server never does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cloud::{Cloud, Service};
use crate::harness::World;

/// A step that prints the length of its secret `TOKEN`, which masks leave alone.
fn length() -> Value {
    json!({"key": "one", "cmd": "echo length ${#TOKEN}", "secrets": [{"name": "TOKEN"}]})
}

const RUN: [&str; 7] = [
    "run",
    "--backend",
    "cloud",
    "--plan",
    "p.json",
    "--format",
    "plain",
];

/// A file of the world for its owner alone.
fn private(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.path().join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    path
}

/// `hm agent` with these flags, and the file that has its messages.
fn agent(cloud: &Cloud, name: &str, flags: &[&str]) -> (Service, PathBuf) {
    let said = cloud.world.path().join(format!("{name}.log"));
    let mut args = vec!["agent", "--server", &cloud.url, "--name", name];
    args.extend(flags);
    let child = cloud
        .world
        .command(&args)
        .env("HM_AGENT_TOKEN", cloud.agent_token())
        .env("HM_DATA_DIR", cloud.world.path().join(name))
        .stderr(fs::File::create(&said).expect("a file"))
        .spawn()
        .expect("hm starts");
    (Service { child }, said)
}

/// The files below `root` that have one of these texts in them.
fn files_with(root: &Path, texts: &[String]) -> String {
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--text", "--files-with-matches", "--fixed-strings"]);
    for text in texts {
        grep.args(["-e", text]);
    }
    let found = grep.arg(root).output().expect("grep");
    String::from_utf8(found.stdout).expect("UTF-8")
}

/// What of a value's base64 it determines alone, when `before` stands before it.
fn middle_of_base64(before: &str, value: &str) -> String {
    let mut base64 = Command::new("base64")
        .arg("--wrap=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("base64");
    let mut input = base64.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, format!("{before}{value}").as_bytes()).expect("written");
    drop(input);
    let encoded = base64.wait_with_output().expect("base64").stdout;
    let determined = (before.len() * 8).div_ceil(6)..(before.len() + value.len()) * 8 / 6;
    String::from_utf8(encoded).expect("text")[determined].to_owned()
}

/// Prints a token in the ways that a careless step does, leaves it in an artifact's name, and fails.
const CARELESS: &str = r#"
echo "plain $TOKEN."
echo "stderr $TOKEN." >&2
printf %s "$TOKEN" | base64
printf 'user:%s' "$TOKEN" | base64
printf '%.7s' "$TOKEN"; sleep 0.3; printf '%s\n' "${TOKEN#???????}"
cat /run/secrets/deploy.key
touch "$TOKEN.txt"
printf 'no end %s' "$TOKEN"
exit 3
"#;

#[test]
fn a_value_is_on_the_agent_and_nowhere_else() {
    let mut cloud = Cloud::alone(World::new());
    let stamp = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a time")
        .as_nanos();
    let token = format!("tok+{stamp}={}x", std::process::id());
    let key = format!("begin-{stamp}\nmiddle-{stamp}-of-key\n");
    let values = json!({"TOKEN": token, "KEY": key, "OTHER": "another value"});
    let values = values.as_object().expect("a table").iter();
    let text: String = values
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    let file = private(&cloud.world, "values.toml", &text);
    let step = json!({
        "key": "careless", "cmd": CARELESS, "artifacts": [{"paths": ["*.txt"]}],
        "secrets": [{"name": "TOKEN"}, {"name": "KEY", "file": "deploy.key"}],
    });
    cloud.world.write_plan(&[
        step,
        json!({"key": "other", "cmd": "echo other [$TOKEN] [$OTHER]"}),
    ]);
    let file = file.to_str().expect("UTF-8");
    let (agent, agent_said) = agent(&cloud, "one", &["--secrets-file", file]);

    let watched = cloud.hm(&RUN).expect(1);
    let mut said = watched.to_string();
    for masked in [
        "plain ***.",
        "stderr ***.",
        "[careless] ***\n",
        "no end ***",
        "other [] []",
    ] {
        assert!(said.contains(masked), "{masked}\n{said}");
    }
    for args in [
        &["cloud", "job", "log", "careless", "p"][..],
        &["cloud", "build", "show", "p", "--json"],
        &["cloud", "job", "list", "p", "--json"],
        &["logs", "--format", "json", "--logs", "all"],
    ] {
        said.push_str(&cloud.hm(args).expect(0).to_string());
    }
    let followed = cloud
        .hm(&["cloud", "build", "watch", "p", "--format", "json"])
        .expect(1);
    said.push_str(&followed.to_string());
    said.push_str(&fs::read_to_string(&agent_said).expect("what the agent said"));
    assert!(said.contains("are given the secrets KEY, OTHER, TOKEN"), "{said}");
    let mut texts = vec![token.clone(), stamp.to_string(), "another value".to_owned()];
    texts.extend(["", "u", "us", "user:"].map(|before| middle_of_base64(before, &token)));
    for text in &texts {
        assert!(!said.contains(text), "{text}\n{said}");
    }
    // What is looked for would be found.
    let data = cloud.server_data();
    assert_ne!(files_with(&data, &["plain ***.".to_owned()]), "");
    assert_eq!(files_with(&data, &texts), "");
    assert_eq!(files_with(&cloud.world.data(), &texts), "");
    agent.end();
    cloud.server.take().expect("a server").end();
}

#[test]
fn a_build_whose_secret_the_agent_lacks_fails_before_anything_runs() {
    let mut cloud = Cloud::alone(World::new());
    cloud
        .world
        .write_plan(&[json!({"key": "first", "cmd": "echo it-'runs'"}), length()]);
    let values = private(&cloud.world, "values.toml", "OTHER = \"12345678\"\n");
    let values = values.to_str().expect("UTF-8");
    let (agent, _) = agent(&cloud, "builder-1", &["--secrets-file", values]);
    let failed = |words: &[&str]| {
        let said = cloud.hm(&RUN).expect(1);
        let text = said.to_string();
        for word in words {
            assert!(text.contains(word), "{word}\n{said}");
        }
        assert!(!text.contains("it-runs"), "{said}");
    };
    failed(&[
        "step `one` asks for the secret `TOKEN`",
        "the agent `builder-1` does not have",
        "--secrets-file",
    ]);
    let shown = cloud.hm(&["cloud", "build", "show", "p"]).expect(0).stdout();
    assert!(shown.contains("`TOKEN`") && shown.contains("failed"), "{shown}");
    // The file is read anew for each build.
    private(&cloud.world, "values.toml", "TOKEN = 12345678\n");
    failed(&["`builder-1` cannot have it", "values.toml: `TOKEN` is no text"]);
    private(&cloud.world, "values.toml", "TOKEN = \"12345678\"\n");
    let said = cloud.hm(&RUN).expect(0);
    assert!(said.stdout().contains("length 8\n"), "{said}");
    agent.end();
    cloud.server.take().expect("a server").end();
}

#[test]
fn the_agent_of_dev_has_the_secrets_that_a_run_here_would_have() {
    let world = World::new();
    world.write_plan(&[length()]);
    let user = world.path().join("home/.config/hm");
    fs::create_dir_all(&user).expect("a directory");
    fs::write(user.join("config.toml"), "[secrets]\nTOKEN = \"file:~/token\"\n").expect("a file");
    fs::write(world.path().join("home/token"), "12345\n").expect("a token");
    let mut cloud = Cloud::dev(world);
    let said = |cloud: &Cloud| cloud.hm(&RUN).expect(0).stdout();
    let text = said(&cloud);
    assert!(text.contains("length 6\n"), "{text}");
    cloud.world.write(".hm/secrets.toml", "TOKEN = \"1234567\"\n");
    let text = said(&cloud);
    assert!(text.contains("length 7\n"), "{text}");
    cloud.server.take().expect("a server").end();
    let values = private(&cloud.world, "values.toml", "TOKEN = \"12345678\"\n");
    let token = cloud.token_file();
    let more = [
        "--dev",
        "--token-file",
        token.to_str().expect("UTF-8"),
        "--secrets-file",
        values.to_str().expect("UTF-8"),
    ];
    cloud.serve(&more);
    let text = said(&cloud);
    assert!(text.contains("length 8\n"), "{text}");
    cloud.server.take().expect("a server").end();
    let nine = private(&cloud.world, "nine", "123456789");
    let flag = format!("TOKEN=file:{}", nine.display());
    cloud.serve(&[&more[..], &["--secret", &flag]].concat());
    let text = said(&cloud);
    assert!(text.contains("length 9\n"), "{text}");
    cloud.server.take().expect("a server").end();
}

#[test]
fn a_secret_is_not_sent_to_a_server_and_a_server_alone_takes_none() {
    let cloud = Cloud::dev(World::new());
    cloud.world.write_plan(&[length()]);
    let args = [&RUN[..], &["--secret", "TOKEN"]].concat();
    let said = cloud
        .world
        .say(cloud.world.command(&args).env("TOKEN", "12345678"))
        .expect(2);
    let words = said.stderr();
    assert!(
        words.contains("--secret TOKEN: no secret is sent to a server"),
        "{said}"
    );
    assert!(words.contains("hm agent --secrets-file"), "{said}");
    assert_eq!(
        cloud
            .hm(&["cloud", "build", "list"])
            .expect(0)
            .stdout()
            .lines()
            .count(),
        1
    );

    let said = cloud.hm(&["server", "--secrets-file", "values.toml"]).expect(2);
    assert!(said.stderr().contains("a server never has secrets"), "{said}");
    let mut agent = cloud
        .world
        .command(&["agent", "--server", &cloud.url, "--secrets-file", "gone"]);
    let said = cloud.world.say(agent.env("HM_AGENT_TOKEN", "any")).expect(2);
    assert!(said.stderr().contains("gone"), "{said}");
    cloud.server.expect("a server").end();
}
