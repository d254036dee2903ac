//! argv -> settings -> runtime -> `ExitCode`.
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
