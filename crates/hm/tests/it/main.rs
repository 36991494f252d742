//! The command line through the real binary: a file per command, each test in an environment of its own.

mod artifacts;
mod builds;
mod cache;
mod cancel;
mod cloud;
mod cloud_chaos;
mod cloud_crowd;
mod cloud_log;
mod cloud_login;
mod cloud_options;
mod cloud_secrets;
mod cloud_story;
mod commands;
mod completions;
mod config;
mod dashboard;
mod data;
mod docker;
mod doctor;
mod events;
mod flood;
mod graph;
mod harness;
mod images;
mod init;
mod logs;
mod pipelines;
mod published;
mod readme;
mod rerun;
mod run;
mod secrets;
mod server;
mod services;
mod shapes;
mod shell;
mod shell_surroundings;
mod usage;
mod user;

#[test]
fn no_test_file_is_forgotten() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(&here).expect("the tests") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if let Some(module) = name
            .strip_suffix(".rs")
            .filter(|module| *module != "main" && !module.starts_with('.'))
        {
            assert!(
                include_str!("main.rs").contains(&format!("mod {module};")),
                "{name} is in no test binary"
            );
        }
    }
}
