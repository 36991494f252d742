//! Plans of every shape run to their end on the in-memory double.

use crate::support::{self, Bench};
use hm_exec::testing::{PlanWriter, StepWriter, check_order};
use hm_exec::{BuildStatus, RunOptions, StepStatus};

#[tokio::test(start_paused = true)]
async fn a_chain_and_a_fan_out_of_a_thousand_pass() {
    let chain = (0..1000).map(|n| {
        let step = StepWriter::new(format!("s{n}"), "true");
        if n == 0 {
            step
        } else {
            step.builds_in(format!("s{}", n - 1))
        }
    });
    let fan = (0..1000).map(|n| {
        let step = StepWriter::new(format!("s{n}"), "true");
        if n == 0 { step } else { step.builds_in("s0") }
    });
    for plan in [PlanWriter::of(chain), PlanWriter::of(fan)] {
        let bench = Bench::new();
        let plan = plan.plan();
        let played = bench.play(plan.clone(), RunOptions::default()).await;
        assert_eq!(
            played.status().expect("no infrastructure failure"),
            BuildStatus::Passed
        );
        check_order(&played.events, &plan.graph).expect("the order holds");
        assert!(
            played
                .steps()
                .values()
                .all(|status| *status == StepStatus::Passed)
        );
        let counters = bench.vm.counters();
        assert_eq!((counters.created, counters.restored), (1, 999));
        assert_eq!(
            (counters.execs, counters.snapshots, counters.live),
            (1000, 1000, 0)
        );
        assert!(counters.most_running <= 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_sees_what_its_parent_wrote_and_siblings_do_not() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("root", "echo base > file"),
        StepWriter::new("left", "cat file; echo left >> file; cat file").builds_in("root"),
        StepWriter::new("right", "cat file")
            .builds_in("root")
            .after("left"),
    ]);
    let played = bench.play(plan.plan(), RunOptions::default()).await;
    assert_eq!(
        played.status().expect("no infrastructure failure"),
        BuildStatus::Passed
    );
    assert_eq!(support::stdout(&played, "left"), "base\nbase\nleft\n");
    assert_eq!(support::stdout(&played, "right"), "base\n");
}

#[tokio::test(start_paused = true)]
async fn the_bound_on_parallel_steps_holds_and_is_reached() {
    let bench = Bench::new();
    let plan = PlanWriter::of((0..20).map(|n| StepWriter::new(format!("s{n}"), "sleep 1")));
    let played = bench.play(plan.plan(), RunOptions::default()).await;
    assert_eq!(
        played.status().expect("no infrastructure failure"),
        BuildStatus::Passed
    );
    assert_eq!(bench.vm.counters().most_running, 4);
    let one = RunOptions {
        parallelism: std::num::NonZeroUsize::new(1),
        ..RunOptions::default()
    };
    let bench = Bench::new();
    bench.play(plan.plan(), one).await;
    assert_eq!(bench.vm.counters().most_running, 1);
}
