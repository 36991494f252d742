//! `hm doctor`.

use crate::harness::World;

#[test]
fn it_looks_at_python_and_the_data_directory() {
    let world = World::new();
    let text = world.hm(&["doctor", "--json"]).stdout();
    let findings: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let of = |name: &str| {
        findings
            .iter()
            .find(|finding| finding["name"] == name)
            .expect("a finding")
    };
    assert_eq!(of("python3")["status"], "ok");
    assert_eq!(of("data directory")["status"], "ok");
    assert_eq!(of("sandbox")["status"], "ok", "the other tests need it: {text}");
}

#[test]
fn without_python_it_says_what_installs_it() {
    let world = World::with_pipeline("import harmont as hm\n");
    let mut command = world.command(&["doctor"]);
    let said = world.say(command.env("PATH", world.path())).expect(1);
    assert!(said.stdout().contains("apt-get install -y python3"), "{said}");
}
