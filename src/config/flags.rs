//! The flags that every command takes: one for each setting, and `--config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::error::Result;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::settings::{BOOL, SETTINGS, Setting};

/// Settings given as flags; flatten it into a command line.
///
/// Values stay text until [`Config::load`](super::Config::load) reads them, so that a wrong
/// flag is reported together with all other mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalArgs {
    /// The file to read, in place of `callbridge.toml`.
    pub config: Option<PathBuf>,
    /// What was given, by the setting's key.
    pub settings: BTreeMap<&'static str, String>,
}

impl Args for GlobalArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG_ID)
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .global(true)
            .help("Settings file, which must exist [default: callbridge.toml, if it exists]");
        command.arg(config).args(SETTINGS.iter().map(flag_of))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GlobalArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<()> {
        if let Some(path) = matches.get_one::<PathBuf>(CONFIG_ID) {
            self.config = Some(path.clone());
        }
        for setting in SETTINGS {
            if let Some(text) = matches.get_one::<String>(setting.env) {
                self.settings.insert(setting.key, text.clone());
            }
        }
        Ok(())
    }
}

/// The flag of one setting. Its id is the variable's name, which no command's own argument has.
fn flag_of(setting: &'static Setting) -> Arg {
    let help = format!("{} [{}] [default: {}]", setting.help.trim(), setting.env, setting.default);
    let flag = Arg::new(setting.env)
        .long(setting.flag)
        .value_name(setting.value)
        .action(ArgAction::Set)
        .global(true)
        .hide_short_help(true)
        .help_heading("Settings")
        .help(help);
    if setting.value == BOOL {
        return flag.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    flag
}

const CONFIG_ID: &str = "CALLBRIDGE_CONFIG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_may_stand_before_and_after_the_command() {
        let args = parse(&["--listen", "a", "serve", "--log=debug", "--config", "x.toml"]);
        assert_eq!(args.config, Some(PathBuf::from("x.toml")));
        let given: Vec<_> = args.settings.into_iter().collect();
        assert_eq!(given, [("listen", "a".to_owned()), ("log.level", "debug".to_owned())]);
    }

    #[test]
    fn an_on_off_flag_may_stand_alone_before_the_command() {
        let args = parse(&["--rooms-files", "--archive-enabled=false", "serve"]);
        assert_eq!(args.settings["rooms.files"], "true");
        assert_eq!(args.settings["archive.enabled"], "false");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    fn parse(words: &[&str]) -> GlobalArgs {
        let words = ["callbridge"].iter().chain(words);
        GlobalArgs::from_arg_matches(&command().get_matches_from(words)).unwrap()
    }

    fn command() -> Command {
        GlobalArgs::augment_args(Command::new("callbridge")).subcommand(Command::new("serve"))
    }
}
