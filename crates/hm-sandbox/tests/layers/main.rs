//! The sandbox's layer store over real overlay mounts, as root; where this process may not mount, the tests
//! that need to are skipped.
#![cfg(target_os = "linux")]

mod children;
mod kill;
mod merging;
mod random;
mod removing;
mod renaming;
mod sealing;
mod shadows;
mod support;
