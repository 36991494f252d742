//! What a step's processes can reach, and that none outlives it.

use std::process::Command;

use hm_vm::testing::footprint::processes_with;
use hm_vm::{ExecRequest, ExitStatus};

use super::persons::{everyone, is_root};
use super::support::{Guard, World, run, said, sh};

everyone![
    a_host_process_is_out_of_reach,
    a_step_sees_its_own_processes_alone,
    what_a_step_leaves_running_ends_with_it,
    two_hundred_megabytes_without_a_line_arrive,
    a_fork_bomb_ends_by_itself,
];

async fn a_host_process_is_out_of_reach(world: &World) {
    let mut process = Guard(Command::new("sleep").arg("86399").spawn().unwrap());
    let pid = process.0.id();
    let ran = world
        .sh(&format!(
            "kill -9 {pid}; kill -9 -{pid}; kill -TERM -1; cat /proc/{pid}/cmdline"
        ))
        .await;
    assert!(!ran.out().contains("86399"), "{}", said(&ran));
    let every = "import os, signal\nfor pid in range(2, 70000):\n    if pid != os.getpid():\n        \
                 try: os.kill(pid, signal.SIGKILL)\n        except ProcessLookupError: pass\nprint('tried')";
    let ran = world.python(every).await;
    assert_eq!(ran.out(), "tried\n", "{}", said(&ran));
    assert!(process.0.try_wait().unwrap().is_none(), "it was killed");
}

async fn a_step_sees_its_own_processes_alone(world: &World) {
    let seen = world.passes("ls /proc | grep -c '^[0-9]'; echo $$").await;
    let count: u32 = seen.lines().next().unwrap().parse().unwrap();
    assert!(count <= 6, "{seen}");
    // Shared memory and host names are the step's own too.
    assert_eq!(
        world.passes("hostname; ipcs -m | grep -c 0x; true").await,
        "hm\n0\n"
    );
}

async fn what_a_step_leaves_running_ends_with_it(world: &World) {
    let marker = format!("9{}", std::process::id());
    let mut vm = world.machine().await;
    let command = format!(
        "setsid sleep {marker} & (trap '' TERM HUP; sleep {marker}) & nohup sleep {marker} > /dev/null 2>&1 & \
         until [ \"$(pgrep -cf 'sleep {marker}')\" -ge 3 ]; do :; done; echo begun"
    );
    let ran = sh(vm.as_mut(), &command).await;
    assert_eq!(ran.out(), "begun\n", "{}", said(&ran));
    assert_eq!(processes_with(&format!("sleep\0{marker}")), Vec::<u32>::new());
    vm.destroy().await.unwrap();
}

async fn two_hundred_megabytes_without_a_line_arrive(world: &World) {
    const SIZE: usize = 200_000_000;
    let ran = world
        .sh(&format!("head -c {SIZE} /dev/zero | tr '\\0' x; exit 7"))
        .await;
    assert_eq!(ran.outcome.status, ExitStatus::Code(7));
    assert_eq!(ran.stdout.len(), SIZE);
    assert!(ran.stdout.iter().all(|byte| *byte == b'x'));
}

async fn a_fork_bomb_ends_by_itself(world: &World) {
    if !is_root() {
        // Only root is sure to have a cgroup to give.
        return;
    }
    let mut request = ExecRequest::shell("for n in $(seq 200); do sleep 60 & done; echo all");
    request.limits.pids = Some(50);
    let mut vm = world.machine().await;
    let ran = run(vm.as_mut(), &request).await;
    assert!(
        ran.code() != 0 && !ran.out().contains("all"),
        "no limit of processes is kept: {}",
        said(&ran)
    );
    // Now that the limit is known to hold.
    request.argv[2] = "bomb() { bomb | bomb & }; bomb; sleep 2; exit 5".into();
    let ran = run(vm.as_mut(), &request).await;
    assert_ne!(ran.code(), 0, "{}", said(&ran));
    let ran = sh(vm.as_mut(), "echo on").await;
    assert_eq!(ran.out(), "on\n");
    vm.destroy().await.unwrap();
}
