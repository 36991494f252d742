//! The doctor, on this machine.

use hm_sandbox::doctor::{self, Status};
use hm_vm::VmBackend;

use super::persons::everyone;
use super::support::World;

everyone![
    a_machine_that_runs_steps_is_told_so,
    a_data_directory_that_cannot_be_written_is_told
];

async fn a_machine_that_runs_steps_is_told_so(world: &World) {
    let findings = doctor::check(&world.config);
    assert!(
        findings.iter().all(|finding| finding.status != Status::Missing),
        "{findings:?}"
    );
    let of = |name: &str| findings.iter().find(|finding| finding.name == name).unwrap();
    assert_eq!(of("sandbox").status, Status::Ok);
    assert_eq!(of("overlayfs").status, Status::Ok);
    // What the header says and what the doctor finds are one story.
    let network = of("network").status == Status::Ok;
    assert_eq!(world.backend.notices().is_empty(), network, "{findings:?}");
    let left: Vec<_> = std::fs::read_dir(world.data.join("sandbox")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn a_data_directory_that_cannot_be_written_is_told(world: &World) {
    let mut config = world.config.clone();
    config.data_dir = "/proc/hm".into();
    let findings = doctor::check(&config);
    let sandbox = findings.iter().find(|finding| finding.name == "sandbox").unwrap();
    assert_eq!(sandbox.status, Status::Missing);
    assert!(sandbox.detail.contains("/proc/hm"), "{}", sandbox.detail);
}
