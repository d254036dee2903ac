//! argv -> plan -> run -> report, or one of the other commands.

use clap::Parser;
use loadgen::args::{Cli, Command, Run};
use loadgen::failure::Failure;
use loadgen::plan::Plan;
use loadgen::run::{Around, run};
use loadgen::{ledger_file, live, report};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        None => loadgen(&cli.run),
        Some(Command::Verify(args)) => ledger_file::verify(args),
        Some(Command::Lag(args)) => loadgen::lag::measure(args),
        Some(Command::Page(args)) => report::write_page_of(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::print_failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn loadgen(args: &Run) -> Result<(), Failure> {
    let plan = match &args.plan {
        Some(path) => report::read_plan(path)?,
        None => plan(args)?,
    };
    if let Some(count) = args.print_plan {
        return report::print_plan(&plan, count);
    }
    let around = Around {
        server: args.server_pid,
        marks: args.marks().map_err(Failure::Plan)?,
        control: args.control,
        read_back: args.verify,
        interrupt: interrupt()?,
    };
    let mut view = live::Live::new(&plan, args.quiet);
    let ran = run(&plan, &around, &mut |it| view.show(it));
    view.end();
    let outcome = ran?;
    report::print(&plan, &outcome);
    let report = report::report(&plan, &outcome);
    if let Some(path) = &args.json {
        report::write_json(path, &report)?;
    }
    if let Some(path) = &args.hgrm {
        report::write_hgrm(path, &outcome)?;
    }
    if let Some(path) = &args.page {
        report::write_page(path, &report)?;
    }
    if let (Some(path), Some(ledger)) = (&args.ledger, &outcome.tally.ledger) {
        ledger_file::write(path, &plan, ledger)?;
    }
    outcome.verdict().map_or(Ok(()), Err)
}

fn plan(args: &Run) -> Result<Plan, Failure> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let cores: Vec<usize> = cores.into_iter().map(|it| it.id).collect();
    args.plan(&cores).map_err(Failure::Plan)
}

/// Set by the first SIGINT, which so ends the run early; the second ends the process.
fn interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let signal = signal_hook::consts::SIGINT;
    signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
        .map_err(|it| Failure::Plan(format!("cannot watch for SIGINT: {it}")))?;
    Ok(flag)
}
