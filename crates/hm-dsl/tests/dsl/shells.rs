//! The shell of a step, and what a directory makes of its command.

use serde_json::{Value, json};

use crate::repo::Repo;

fn steps(function: &str) -> Vec<Value> {
    let repo = Repo::new();
    repo.pipeline(function);
    let plan = repo.plan(&repo.render().unwrap());
    let nodes = plan["graph"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["step"].clone()).collect()
}

#[test]
fn shell_is_the_steps_or_the_pipelines_or_sh() {
    let repo = Repo::new();
    repo.write(
        ".hm/ci.py",
        concat!(
            "import harmont as hm\n",
            "@hm.pipeline('ci', shell='bash')\ndef ci():\n",
            "    return [hm.sh('a').sh('b', shell='sh'), hm.sh('c', shell='/bin/zsh'), hm.sh('d', shell='sh +e'),",
            " hm.sh('e', shell=' busybox  sh -eu ')]\n",
        ),
    );
    let plan = repo.plan(&repo.render().unwrap());
    let nodes = plan["graph"]["nodes"].as_array().unwrap();
    let shells: Vec<&Value> = nodes.iter().map(|node| &node["step"]["shell"]).collect();
    assert_eq!(
        shells,
        [
            "bash -eo pipefail",
            "sh -e",
            "/bin/zsh -eo pipefail",
            "sh +e",
            "busybox sh -eu"
        ]
    );
}

#[test]
fn shell_of_a_plan_that_is_made_by_hand_is_written_too() {
    let repo = Repo::new();
    repo.write(
        ".hm/ci.py",
        concat!(
            "import harmont as hm\nimport json\n",
            "made = hm.pipeline([hm.sh('a')], shell='bash')\n",
            "print(made['graph']['nodes'][0]['step']['shell'])\n",
            "@hm.pipeline('ci')\ndef ci(): return hm.sh('x')\n",
        ),
    );
    assert_eq!(repo.render().unwrap().printed, "bash -eo pipefail\n");
}

#[test]
fn shell_that_cannot_be_is_refused() {
    for (shell, expected) in [
        ("''", "must be a program"),
        ("'sh \"-e\"'", "must be a program"),
        ("['sh']", "must be text, not list"),
    ] {
        for call in [
            format!("hm.sh('x', shell={shell})"),
            format!("hm.sh('x', services=[hm.service('db', cmd='x', shell={shell})])"),
        ] {
            let repo = Repo::new();
            repo.pipeline(&format!("def ci():\n    return {call}"));
            let text = repo.render().unwrap_err().to_string();
            assert!(text.contains("shell") && text.contains(expected), "{text}");
        }
    }
}

/// `set -e` heeds only the last command of a list of `&&`, so that a failing `cd` needs a word of its own.
#[test]
fn missing_directory_ends_every_command() {
    for (cmd, expected) in [
        ("make", "cd d && make"),
        ("a && b", "cd d && a && b"),
        ("a | b", "cd d && a | b"),
        ("a; b", "cd d || exit; a; b"),
        ("a || b", "cd d || exit; a || b"),
        ("a & b", "cd d || exit; a & b"),
        ("a\nb", "cd d || exit; a\nb"),
    ] {
        let found = steps(&format!("def ci():\n    return hm.sh({}, cwd='d')", json!(cmd)));
        assert_eq!(found[0]["cmd"], expected);
        let run = std::process::Command::new("sh")
            .args(["-e", "-c", "--", &expected.replace(" a", " true")])
            .current_dir("/usr")
            .output()
            .unwrap();
        assert!(!run.status.success(), "{expected}");
    }
}
