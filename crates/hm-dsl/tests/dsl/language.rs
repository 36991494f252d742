//! What the language's words become.

use hm_pipeline_ir::PipelineGraph;
use serde_json::{Value, json};

use crate::repo::Repo;

fn plan(function: &str) -> (Repo, Value) {
    let repo = Repo::new();
    repo.pipeline(function);
    let rendered = repo.render().unwrap();
    let plan = repo.plan(&rendered);
    PipelineGraph::parse(&rendered.pipelines[0].ir_json).unwrap();
    (repo, plan)
}

fn step(expression: &str) -> Value {
    plan(&format!("def ci():\n    return {expression}")).1["graph"]["nodes"][0]["step"].clone()
}

#[test]
fn a_bare_step_has_a_key_and_a_command_and_a_shell_and_nothing_else() {
    assert_eq!(
        step("hm.sh('make all')"),
        json!({"key": "make-all", "cmd": "make all", "shell": "sh -e"})
    );
}

#[test]
fn every_option_reaches_the_plan() {
    let found = step(
        "hm.sh('x', cwd='a b', label='L', image='i', key='k', runner='r', runner_args={'a': [1]}, timeout='2m', grace='0s', \
         retries=2, soft_fail=True, git=True, shell='bash', network='none', limits={'memory': '512MiB', 'cpus': 1.5, 'pids': 9})",
    );
    let expected = json!({
        "key": "k", "cmd": "cd 'a b' && x", "shell": "bash -eo pipefail", "label": "L", "image": "i", "runner": "r", "runner_args": {"a": [1]},
        "timeout_seconds": 120, "grace_seconds": 0, "retries": 2, "soft_fail": true, "git": true, "network": "none",
        "limits": {"memory": 536_870_912, "cpus": 1.5, "pids": 9},
    });
    assert_eq!(found, expected);
}

#[test]
fn options_that_change_nothing_are_left_out() {
    let found = step("hm.sh('x', retries=0, soft_fail=False, git=False, limits={})");
    assert_eq!(found, json!({"key": "x", "cmd": "x", "shell": "sh -e"}));
}

#[test]
fn keys_are_words_of_the_label_or_command_and_never_the_same() {
    let (repo, _) = plan(concat!(
        "def ci():\n",
        "    return [hm.sh('true'), hm.sh('true'), hm.sh('a', key='true-2'), hm.sh('true'), hm.sh('x', label='Über: Test!'),",
        " hm.sh('cargo build --workspace --all-targets --locked'), hm.sh('!!'), hm.sh('cd q', cwd='sub'), hm.sh('y' * 50)]"
    ));
    let keys = repo.keys(&repo.render().unwrap());
    let expected = [
        "true",
        "true-3",
        "true-2",
        "true-4",
        "ber-test",
        "cargo-build-workspace-all",
        "step",
        "cd-q",
        "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_barrier_orders_leaves_before_roots() {
    let (_, plan) = plan(concat!(
        "def ci():\n",
        "    a = hm.sh('a')\n",
        "    return [a.sh('b'), hm.wait(), hm.wait(), hm.sh('c').sh('d'), a.sh('e'), hm.wait()]"
    ));
    let expected = json!([
        [0, 1, "builds_in"],
        [1, 2, "depends_on"],
        [2, 3, "builds_in"],
        [0, 4, "builds_in"],
        [1, 4, "depends_on"]
    ]);
    assert_eq!(plan["graph"]["edges"], expected);
}

#[test]
fn a_thousand_steps_behind_one_barrier_and_ten_thousand_in_a_chain() {
    let (_, plan) = plan(concat!(
        "def ci():\n",
        "    step = hm.sh('root')\n",
        "    for n in range(10000):\n",
        "        step = step.sh('true')\n",
        "    return [step, hm.wait()] + [hm.sh(f'after {n}') for n in range(1000)]"
    ));
    let edges = plan["graph"]["edges"].as_array().unwrap();
    assert_eq!(edges.len(), 11_000);
    assert_eq!(edges[10_999], json!([10_000, 11_000, "depends_on"]));
}

#[test]
fn auto_has_no_key_of_its_own() {
    assert_eq!(
        step("hm.sh('x', cache=hm.auto())")["cache"],
        json!({"policy": "auto"})
    );
}

#[test]
fn a_key_stands_for_the_chain_above_it() {
    let key = |function: &str| {
        let (_, plan) = plan(function);
        let nodes = plan["graph"]["nodes"].as_array().unwrap().clone();
        nodes.last().unwrap()["step"]["cache"]["key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let base = key("def ci():\n    return hm.sh('a').sh('b', cache=hm.forever())");
    assert_eq!(
        base,
        key("def ci():\n    return hm.sh('a', label='other').sh('b', cache=hm.forever(), key='z')")
    );
    let others = [
        key("def ci():\n    return hm.sh('A').sh('b', cache=hm.forever())"),
        key("def ci():\n    return hm.sh('a').sh('B', cache=hm.forever())"),
        key("def ci():\n    return hm.sh('a', image='i').sh('b', cache=hm.forever())"),
        key("def ci():\n    return hm.sh('a', env={'E': '1'}).sh('b', cache=hm.forever())"),
        key("def ci():\n    return hm.sh('a').sh('b', env={'E': '1'}, cache=hm.forever())"),
        key("def ci():\n    return hm.sh('b', cache=hm.forever())"),
        key("def ci():\n    return hm.sh('a').sh('b', cache=hm.on_change('missing'))"),
    ];
    assert!(!others.contains(&base));
}

#[test]
fn a_pipeline_has_the_name_of_its_function_and_takes_targets_and_images() {
    let repo = Repo::new();
    repo.write(
        ".hm/ci.py",
        concat!(
            "from __future__ import annotations\nfrom typing import Annotated\nimport harmont as hm\n",
            "@hm.target()\ndef base(root: Annotated[hm.Step, hm.BaseImage('debian:12')]) -> hm.Step:\n",
            "    return root.sh('prepare')\n",
            "@hm.pipeline(default_image='alpine:3', timeout=90)\ndef night_build(base, count=2) -> hm.Pipeline:\n",
            "    return [[base.sh('a')], hm.group([base.sh('b')])]\n"
        ),
    );
    let rendered = repo.render().unwrap();
    assert_eq!(rendered.pipelines[0].slug, "night-build");
    let plan = repo.plan(&rendered);
    assert_eq!(plan["default_image"], "alpine:3");
    assert_eq!(plan["timeout_seconds"], 90);
    assert_eq!(plan["graph"]["nodes"][0]["step"]["image"], "debian:12");
    assert_eq!(repo.keys(&rendered), ["prepare", "a", "b"]);
}

#[test]
fn pipelines_of_several_files_come_in_the_order_of_the_files_and_share_modules() {
    let repo = Repo::new();
    repo.write(
        ".hm/b.py",
        "import harmont as hm\nimport a, _shared\n@hm.pipeline('two')\ndef two(): return _shared.STEP",
    );
    repo.write(
        ".hm/a.py",
        "import harmont as hm\n@hm.pipeline('one')\ndef one(): return hm.sh('x')",
    );
    repo.write(".hm/_shared.py", "import harmont as hm\nSTEP = hm.sh('shared')");
    repo.write(
        ".hm/json.py",
        "import harmont as hm\n@hm.pipeline('three')\ndef f(): return hm.sh('x')",
    );
    let slugs: Vec<_> = repo
        .render()
        .unwrap()
        .pipelines
        .into_iter()
        .map(|p| p.slug)
        .collect();
    assert_eq!(slugs, ["one", "two", "three"]);
}

#[test]
fn the_plan_survives_what_the_author_does_to_standard_output() {
    let (_, plan) = plan(concat!(
        "def ci():\n    import os, sys\n    print('{\"plans\": 1}')\n    os.write(1, b'raw')\n    sys.stdout.close()\n",
        "    return hm.sh('echo \"\\u00fc\\n\"')"
    ));
    assert_eq!(plan["graph"]["nodes"][0]["step"]["cmd"], "echo \"\u{fc}\n\"");
}
