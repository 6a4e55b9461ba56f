//! `ironhub`: the binary. It reads the command line, the environment and the configuration file, which nothing else
//! does, and starts what they ask for.
//!
//! ```text
//!   arguments, configuration ──> role/ (all, gateway, shard, operator)     first_start, certificates
//!                            └─> command/ (clients of a hub's public HTTPS API)
//! ```

mod arguments;
mod certificates;
mod command;
mod configuration;
mod files;
mod first_start;
mod open_files;
mod role;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    arguments::{Arguments, Command, OperatorArguments, RoleArguments},
    configuration::{AllConfig, Environment, GatewayConfig, LogConfig, OperatorConfig, RoleConfig, ShardConfig},
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
        Command::All(arguments) => {
            let config = AllConfig::load(arguments, environment)?;
            server(&config.log.clone(), role::all(config))
        }
        Command::Config(arguments) => print(&AllConfig::load(arguments, environment)?),
        Command::Gateway(RoleArguments { words, print_config }) => {
            let config = GatewayConfig::load(&words, environment)?;
            if print_config {
                return print(&config);
            }
            config.check()?;
            server(&config.log.clone(), role::gateway(config))
        }
        Command::Shard(RoleArguments { words, print_config }) => {
            let config = ShardConfig::load(&words, environment)?;
            if print_config {
                return print(&config);
            }
            config.check()?;
            server(&config.log.clone(), role::shard(config))
        }
        Command::PrepareCluster(arguments) => client()?.block_on(certificates::prepare_cluster(&arguments)),
        Command::Operator(OperatorArguments { role: RoleArguments { words, print_config }, print_crd }) => {
            if print_crd {
                print!("{}", operator::resource::definition());
                return Ok(());
            }
            let config = OperatorConfig::load(&words, environment)?;
            if print_config {
                return print(&config);
            }
            config.check()?;
            server(&config.log.clone(), role::operator(config))
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
        Command::Backup { target, file } => client()?.block_on(command::backup::backup(target, &file, environment)),
        Command::Restore { target, file, again } => {
            client()?.block_on(command::backup::restore(target, &file, again, environment))
        }
        Command::Cluster { target, command } => client()?.block_on(command::cluster::run(target, command, environment)),
        Command::Events { target, command } => client()?.block_on(command::events::run(target, command, environment)),
    }
}

fn print(config: &impl RoleConfig) -> anyhow::Result<()> {
    print!("{}", config.to_toml()?);
    Ok(())
}

fn server(log: &LogConfig, role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime::start_logging(log.format, &log.filter)?;
    open_files::raise_limit();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(role)
}

/// A client needs one thread.
fn client() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
