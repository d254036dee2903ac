//! argv -> plan -> run -> report.

use clap::Parser;
use loadgen::args::Args;
use loadgen::failure::Failure;
use loadgen::plan::Plan;
use loadgen::{report, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match loadgen(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::print_failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn loadgen(args: &Args) -> Result<(), Failure> {
    let plan = match &args.plan {
        Some(path) => report::read_plan(path)?,
        None => plan(args)?,
    };
    if let Some(count) = args.print_plan {
        return report::print_plan(&plan, count);
    }
    let ran = run::run(&plan, args.server_pid, &mut report::show_progress);
    report::end_progress();
    let outcome = ran?;
    report::print(&plan, &outcome);
    if let Some(path) = &args.json {
        report::write_json(path, &plan, &outcome)?;
    }
    if let Some(path) = &args.hgrm {
        report::write_hgrm(path, &outcome)?;
    }
    outcome.verdict().map_or(Ok(()), Err)
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let cores: Vec<usize> = cores.into_iter().map(|it| it.id).collect();
    args.plan(&cores).map_err(Failure::Plan)
}
