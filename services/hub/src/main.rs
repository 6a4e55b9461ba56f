//! `ironhub`: the binary. It reads the command line, the environment and the configuration file, which nothing else
//! does, and starts what they ask for.
//!
//! ```text
//!   arguments, configuration ──> all/ (a whole hub)     first_start, certificates
//!                            └─> command/ (clients of a hub's public HTTPS API)
//! ```

mod all;
mod arguments;
mod certificates;
mod command;
mod configuration;
mod files;
mod first_start;
mod open_files;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    arguments::{AllArguments, Arguments, Command},
    configuration::{Config, Environment},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let environment = Environment::new(std::env::vars_os());
    match run(arguments.command, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ironhub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, environment: &Environment) -> anyhow::Result<()> {
    match command {
        Command::All(arguments) => run_all(arguments, environment),
        Command::Config(arguments) => {
            print!("{}", Config::load(arguments, environment)?.to_toml()?);
            Ok(())
        }
        Command::Device { target, command } => client()?.block_on(command::device::run(target, command, environment)),
        Command::Module { target, command } => client()?.block_on(command::module::run(target, command, environment)),
        Command::Twin { target, command } => client()?.block_on(command::twin::run(target, command, environment)),
        Command::Method { target, command } => client()?.block_on(command::method::run(target, command, environment)),
        Command::Messages { target, command } => {
            client()?.block_on(command::messages::run(target, command, environment))
        }
        Command::Explain { target, arguments } => {
            client()?.block_on(command::explain::run(target, arguments, environment))
        }
        Command::Statistics { target } => client()?.block_on(command::statistics::run(target, environment)),
        Command::Policy { target, command } => client()?.block_on(command::policy::run(target, command, environment)),
        Command::Certificate { target, command } => {
            client()?.block_on(command::certificate::run(target, command, environment))
        }
        Command::ConsumerGroup { target, command } => {
            client()?.block_on(command::consumer_group::run(target, command, environment))
        }
        Command::Settings { target, command } => {
            client()?.block_on(command::settings::run(target, command, environment))
        }
        Command::Cluster { target, command } => client()?.block_on(command::cluster::run(target, command, environment)),
        Command::Events { target, command } => client()?.block_on(command::events::run(target, command, environment)),
    }
}

fn run_all(arguments: AllArguments, environment: &Environment) -> anyhow::Result<()> {
    let config = Config::load(arguments, environment)?;
    runtime::start_logging(config.log.format, &config.log.filter)?;
    open_files::raise_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(all::run(config))
}

/// A client needs one thread.
fn client() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
