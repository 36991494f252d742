//! Turns each argument into the other notation.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for argument in std::env::args().skip(1) {
        let answer = match argument.parse::<u16>() {
            Ok(number) => roman::write(number),
            Err(_) => roman::read(&argument).map(|number| number.to_string()),
        };
        match answer {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("{error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
