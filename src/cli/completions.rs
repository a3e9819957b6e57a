//! `callbridge completions`: what a shell needs to complete commands and flags.

use clap::Command;
use clap_complete::Shell;

/// What `callbridge completions` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell that will read it.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// The script for the shell's folder of completions.
pub(super) fn script(args: &Args, mut program: Command) -> Vec<u8> {
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::man::tests::{names, program};

    #[test]
    fn every_shell_is_told_every_command_and_flag() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(&Args { shell }, program())).expect("text");
            let names = names(&program());
            let missing: Vec<_> = names.iter().filter(|name| !script.contains(*name)).collect();
            assert!(missing.is_empty(), "{shell} is not told of {missing:?}");
        }
    }
}
