//! argv -> settings -> runtime -> `ExitCode`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "answers of the command line")]

use ringfold::base::huge::Huge;
use ringfold::doctor::command::{self, Answer};
use ringfold::doctor::failover_report;
use ringfold::runtime::cli::{self, Invocation};
use ringfold::runtime::{migrate, sentinel_start, serve, top};
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Huge = Huge;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Invocation::Server { settings, warnings, config_file } => {
            serve::run(*settings, &warnings, config_file)
        }
        Invocation::Sentinel(told) => sentinel_start::run(told),
        Invocation::Doctor(asked) => say(&command::doctor(&asked)),
        Invocation::Tune(asked) => say(&command::tune(&asked)),
        Invocation::Top(asked) => end(top::run(&asked, &mut std::io::stdout())),
        Invocation::Migrate(asked) => end(migrate::run(&asked, &mut std::io::stdout())),
        Invocation::Print(bytes) => match std::io::stdout().write_all(&bytes) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Invocation::FailoverReport(asked) => say(&failover_report::report(&asked)),
        Invocation::Help(text) | Invocation::Version(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Invocation::Error { text, code } => {
            eprint!("{text}");
            ExitCode::from(code)
        }
    }
}

fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn say(answer: &Answer) -> ExitCode {
    print!("{}", answer.text);
    ExitCode::from(answer.code)
}
