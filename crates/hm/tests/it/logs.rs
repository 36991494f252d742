//! `hm logs`.

use crate::harness::{FAILING, World};

#[test]
fn logs_play_a_run_again_as_it_was() {
    let world = World::with_pipeline(FAILING);
    for format in ["plain", "json", "human"] {
        let run = world
            .hm(&["run", "--keep-going", "--format", format])
            .expect(1)
            .stdout();
        let logs = world.hm(&["logs", "--format", format]).expect(0).stdout();
        assert!(
            run == logs,
            "{format}: the run said\n{run}\nand its record\n{logs}"
        );
    }
    let junit = world.hm(&["logs", "--format", "junit"]).expect(0).stdout();
    assert!(junit.contains("<testsuite") && junit.contains("bad"), "{junit}");
}

#[test]
fn logs_of_one_step_leave_the_others_out() {
    let world = World::failed();
    let text = world
        .hm(&["logs", "--step", "good", "--format", "plain", "--logs", "all"])
        .expect(0)
        .stdout();
    assert!(text.contains("base") && !text.contains("wanted.txt"), "{text}");
    let said = world.hm(&["logs", "--step", "godo"]).expect(2);
    assert!(said.stderr().contains("did you mean `good`?"), "{said}");
}
