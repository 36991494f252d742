//! The binary; see the library beside it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    hm::main()
}
