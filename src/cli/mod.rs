//! The commands of the program: one file each.

mod call;
mod caller;
pub mod check_config;
mod completions;
mod demo;
mod doctor;
mod health;
mod house;
mod load;
mod man;
mod model;
mod open_files;
mod print;
mod rehearsal;
mod replay;
mod serve;
mod socketio;
mod timeline;
mod wav;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, EXIT_USAGE, GlobalArgs, Sources};
use crate::telemetry;

/// A voice-call bridge gateway: an AI agent joins a live call as a participant.
#[derive(Debug, Parser)]
#[command(name = "callbridge", version)]
struct Cli {
    #[command(flatten)]
    settings: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway.
    Serve,
    /// A complete call with an agent, on this machine: printed, recorded and measured.
    Demo(demo::Args),
    /// The local model as a stand-alone OpenAI Realtime server, where `--listen` says.
    Model,
    /// One call: of a recorded caller with whoever answers, or of an agent in any room.
    Call(Box<call::Args>),
    /// Many calls at once against a gateway, and a report of what they measure.
    Load(Box<load::Args>),
    /// Live an agent's life again from its journal, and compare.
    Replay(replay::Args),
    /// Check the settings, and do nothing else.
    CheckConfig,
    /// Check all that a gateway needs, and say what to do; exit code 1 if it could not run.
    Doctor(doctor::Args),
    /// Ask a gateway whether it lives; exit code 0 or 1.
    Health(health::Args),
    /// Print what a shell needs to complete commands and flags.
    Completions(completions::Args),
    /// Print the manual page, for `man -l -`.
    Man,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    if let Command::Call(args) = &mut cli.command {
        args.is_model_named = cli.settings.settings.contains_key("model");
    }
    let sources = Sources::of_process(&cli.settings);
    if let Some(done) = without_settings(&cli.command, &sources) {
        return done.unwrap_or_else(|error| complain(&error));
    }
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(mistakes) => {
            print::complain(&mistakes.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match start(cli.command, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Runs a command that needs no settings, or has its own way with wrong ones.
fn without_settings(command: &Command, sources: &Sources) -> Option<anyhow::Result<ExitCode>> {
    match command {
        Command::CheckConfig => {
            let printed = check_config::run(sources, &mut io::stdout(), &mut io::stderr());
            Some(Ok(printed.unwrap_or(ExitCode::FAILURE)))
        }
        Command::Replay(args) => Some(replay::run(args)),
        Command::Doctor(args) => Some(alone(doctor::run(sources, args))),
        Command::Health(args) => Some(alone(health::run(sources, args))),
        Command::Completions(args) => {
            print::whole(&completions::script(args, Cli::command()));
            Some(Ok(ExitCode::SUCCESS))
        }
        Command::Man => Some(man::page(&Cli::command()).map_err(Into::into).map(|page| {
            print::whole(&page);
            ExitCode::SUCCESS
        })),
        Command::Serve
        | Command::Demo(_)
        | Command::Model
        | Command::Call(_)
        | Command::Load(_) => None,
    }
}

/// Runs work that prints what it has to say, and logs nothing.
fn alone(work: impl Future<Output = ExitCode>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(work);
    // Blocking work that is past its deadline must not hold up the end.
    runtime.shutdown_background();
    Ok(code)
}

fn complain(error: &anyhow::Error) -> ExitCode {
    print::complain(&format!("callbridge: {error:#}"));
    ExitCode::FAILURE
}

/// A command line that makes no sense is a mistake in the settings; help and version are not.
fn misunderstood(error: &clap::Error) -> ExitCode {
    // Nobody may be reading, which changes nothing.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

fn start(command: Command, config: Config) -> anyhow::Result<()> {
    telemetry::init(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    open_files::raise_limit();
    // Callers and model of a load share one thread, so that most of the machine is the gateway's.
    let mut threads = if matches!(command, Command::Load(_)) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = threads.enable_all().build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Serve => serve::run(config).await,
            Command::Demo(args) => demo::run(config, args).await,
            Command::Model => model::run(config).await,
            Command::Call(args) => call::run(config, *args).await,
            Command::Load(args) => load::run(*args).await,
            Command::CheckConfig
            | Command::Replay(_)
            | Command::Doctor(_)
            | Command::Health(_)
            | Command::Completions(_)
            | Command::Man => Ok(()),
        }
    });
    // Blocking work that is past its deadline must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}
