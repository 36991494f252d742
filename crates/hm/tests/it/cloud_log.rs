//! `hm cloud job log`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::cloud::Cloud;
use crate::harness::World;

#[test]
fn a_log_is_whole_and_in_its_two_streams_though_the_server_is_killed() {
    let mut cloud = Cloud::alone(World::new());
    let counting = "for n in $(seq 40); do echo out-$n; echo err-$n >&2; sleep 0.1; done";
    cloud
        .world
        .write("p.json", &World::plan(&[("a", counting, None)]));
    let agent = cloud.agent_by(&cloud.agent_token(), "one", 1);
    cloud
        .hm(&["run", "--backend", "cloud", "--plan", "p.json", "--no-watch"])
        .expect(0);
    let mut child = cloud
        .world
        .command(&["cloud", "job", "log", "a", "p"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hm starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("out-5\n") {
        assert!(
            output.read_line(&mut said).expect("hm speaks") > 0,
            "the step never started"
        );
    }
    cloud.server.take().expect("a server").kill();
    cloud.serve(&["--lease", "2s"]);
    output.read_to_string(&mut said).expect("UTF-8");
    let rest = child.wait_with_output().expect("hm ends");
    let errors = String::from_utf8(rest.stderr).expect("UTF-8");
    assert_eq!(rest.status.code(), Some(0), "{said}{errors}");
    let lines = |word: &str| (1..=40).map(|n| format!("{word}-{n}\n")).collect::<String>();
    assert_eq!(said, lines("out"));
    assert_eq!(errors, lines("err"));

    let again = cloud.hm(&["cloud", "job", "log", "-f", "a", "p", "1"]).expect(0);
    assert_eq!((again.stdout(), again.stderr()), (lines("out"), lines("err")));
    let none = cloud.hm(&["cloud", "job", "log", "b", "p"]).expect(2);
    assert!(none.stderr().contains("has no job `b`"), "{none}");
    agent.end();
    cloud.server.take().expect("a server").end();
}

#[test]
fn a_log_says_of_a_job_that_did_not_run_why() {
    let cloud = Cloud::dev(World::new());
    let mut steps = World::plan(&[
        ("kept", "echo once", None),
        ("bad", "exit 3", Some("kept")),
        ("after", "true", Some("bad")),
    ]);
    let cached = r#""key":"kept","cache":{"policy":"forever","key":"k"}"#;
    steps = steps.replacen(r#""key":"kept""#, cached, 1);
    assert!(steps.contains(cached), "{steps}");
    cloud.world.write("p.json", &steps);
    for _ in 0..2 {
        cloud
            .hm(&["run", "--backend", "cloud", "--plan", "p.json"])
            .expect(1);
    }
    let log = |step, build| cloud.hm(&["cloud", "job", "log", step, "p", build]).expect(0);
    assert_eq!(log("kept", "1").stdout(), "once\n");
    let cached = log("kept", "2");
    assert_eq!(cached.stdout(), "", "{cached}");
    assert!(cached.stderr().contains("was cached"), "{cached}");
    let skipped = log("after", "2");
    assert!(skipped.stderr().starts_with("Skipped: "), "{skipped}");
    cloud.server.expect("a server").end();
}
