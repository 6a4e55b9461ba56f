//! `ironhub-loadtest`: how much a hub carries, how fast it answers, and what that costs the server.
//!
//! ```text
//!   arguments -> target (hub.json) -> devices (made over HTTPS) -> scenario -> measurement -> report
//!                                                                     |            |
//!                                               one thread, one task per connection   server process (/proc)
//! ```
//!
//! The generator shares the machine with the server it measures, so it is one thread that allocates nothing per
//! message, and what counts is the server's own CPU time per message. Absolute figures wander with the machine: with
//! `--compare mosquitto` the same load runs against mosquitto in turns, and the ratios are printed.

mod arguments;
mod authority;
mod console;
mod devices;
mod etcd;
mod fleet_report;
mod histogram;
mod http;
mod measurement;
mod mosquitto;
mod publish_template;
mod replicas;
mod report;
mod scenario;
mod server_process;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::process::ExitCode;

use arguments::{Arguments, FleetArguments, Scenario};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run found out.
enum Outcome {
    Figures(report::Report),
    Fleet(Box<fleet_report::FleetReport>),
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Scenario::Fleet(options) = &arguments.scenario
        && options.html_to_standard_output()
    {
        console::begin_page();
    }
    raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    match tasks.block_on(&runtime, run(&arguments))? {
        Outcome::Figures(report) => {
            report.print();
            arguments.json.iter().try_for_each(|file| report::write_json(&report, file))?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Fleet(report) => {
            report.print();
            arguments.json.iter().try_for_each(|file| report::write_json(&report, file))?;
            // Behind the page comes nothing.
            if let Scenario::Fleet(FleetArguments { html: Some(file), .. }) = &arguments.scenario {
                report.write_html(file)?;
            }
            Ok(report.verdict().exit_code())
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    // Looked for only by scenarios that need a hub.
    let target = || target::Target::find(&arguments.target);
    let report = match &arguments.scenario {
        Scenario::ReplicatedTwins(options) => scenario::replicated_twins::run(options).await,
        Scenario::Telemetry(options) => scenario::telemetry::run(&target()?, options).await,
        Scenario::Connect(options) => scenario::connect::run(&target()?, options).await,
        Scenario::Idle(options) => scenario::idle::run(&target()?, options).await,
        Scenario::Events(options) => scenario::events::run(&target()?, options).await,
        Scenario::Registry(options) => scenario::registry::run(&target()?, options).await,
        Scenario::Twins(options) => scenario::twins::run(&target()?, options).await,
        Scenario::Methods(options) => scenario::methods::run(&target()?, options).await,
        Scenario::Messages(options) => scenario::messages::run(&target()?, options).await,
        Scenario::Reconnect(options) => scenario::reconnect::run(&target()?, options).await,
        Scenario::Fleet(options) => {
            let report = scenario::fleet::run(&target()?, options).await?;
            return Ok(Outcome::Fleet(Box::new(report)));
        }
    };
    report.map(Outcome::Figures)
}

/// Every connection is an open file; the usual soft limit of 1024 is far below the hard one.
fn raise_open_files_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        console::progress(&format!("cannot raise the limit of open files: {error}"));
    }
}
