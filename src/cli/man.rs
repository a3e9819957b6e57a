//! `callbridge man`: the manual page, of the commands and flags as they are.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The whole page, in the language of roff.
pub(super) fn page(program: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    // The short help leaves settings out; here is space for what they mean.
    let whole = Man::new(program.clone().mut_args(|flag| flag.hide_short_help(false)));
    // A command that is built knows the flags which all of them take.
    let mut built = program.clone().disable_help_subcommand(true);
    built.build();
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    write_synopsis(program, &mut page)?;
    whole.render_description_section(&mut page)?;
    section("COMMANDS").to_writer(&mut page)?;
    for command in built.get_subcommands() {
        write_command(program.get_name(), command, &mut page)?;
    }
    whole.render_options_section(&mut page)?;
    write_rest(&mut page)?;
    Ok(page)
}

/// In brief: all flags of all settings would be a page of their own.
fn write_synopsis(program: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut synopsis = section("SYNOPSIS");
    synopsis.text([bold(program.get_name()), roman(" [settings] command [options]")]);
    synopsis.to_writer(page)
}

/// One command: what it does, then its own options.
fn write_command(program: &str, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let title = format!("{program} {}", command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about());
    let mut head = Roff::new();
    head.control("SS", [title.as_str()]);
    head.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
    head.to_writer(page)?;
    // What every command takes has its place with the program.
    let is_shared = |flag: &Arg| flag.is_global_set() || flag.get_id() == "help";
    let own = command.clone().mut_args(|flag| {
        let is_hidden = is_shared(&flag);
        flag.hide(is_hidden)
    });
    let mut options = Vec::new();
    Man::new(own).render_options_section(&mut options)?;
    // They stand within a section, so their own heading falls away.
    let options = String::from_utf8_lossy(&options).into_owned();
    let lines = options.lines().filter(|line| !line.starts_with(".SH "));
    page.extend(lines.flat_map(|line| [line, "\n"]).flat_map(str::bytes));
    Ok(())
}

/// What no flag tells.
fn write_rest(page: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = section("ENVIRONMENT");
    rest.text([roman(ENVIRONMENT)]);
    rest.control("SH", ["FILES"]);
    rest.text([roman(FILES)]);
    rest.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        rest.control("TP", []);
        rest.text([bold(*code)]);
        rest.text([roman(*meaning)]);
    }
    rest.to_writer(page)
}

fn section(title: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    roff
}

const ENVIRONMENT: &str = "Each setting has a variable, which stands beside its flag above. It \
     is stronger than the file and weaker than the flag. OPENAI_API_KEY is the key of the model \
     profile openai. CALLBRIDGE_CACHE is where models are looked for.";

const FILES: &str = "callbridge.toml in the folder where the program is started holds settings, \
     if it exists.";

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "The program failed, or what was asked for is not well."),
    ("64", "The settings or the command line are wrong."),
    ("143", "A second signal came while the gateway was going down."),
];

#[cfg(test)]
pub(super) mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::{SETTINGS, Setting};

    #[test]
    fn the_page_names_every_command_and_flag() {
        let page = page(&program()).expect("it is written");
        // Roff asks for a backslash before a hyphen that is one.
        let page = String::from_utf8(page).expect("text").replace("\\-", "-");
        let names = names(&program());
        let missing: Vec<_> = names.iter().filter(|name| !page.contains(*name)).collect();
        assert!(missing.is_empty(), "the page has no {missing:?}");
        for section in ["NAME", "SYNOPSIS", "COMMANDS", "OPTIONS", "SETTINGS", "\"EXIT STATUS\""] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "no {section}: {page}");
        }
    }

    #[test]
    fn every_setting_stands_there_with_its_variable() {
        let page = page(&program()).expect("it is written");
        let page = String::from_utf8(page).expect("text");
        let is_missing = |setting: &&Setting| !page.contains(&format!("[{}]", setting.env));
        let missing: Vec<_> = SETTINGS.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_setting_stands_there_once_and_not_with_each_command() {
        let page = page(&program()).expect("it is written");
        let page = String::from_utf8(page).expect("text").replace("\\-", "-");
        assert_eq!(page.matches("--media-listen").count(), 1, "{page}");
    }

    /// The program as it is.
    pub(in crate::cli) fn program() -> Command {
        crate::cli::Cli::command()
    }

    /// Every command by its name, every flag by its long form.
    pub(in crate::cli) fn names(program: &Command) -> Vec<String> {
        let mut names = Vec::new();
        for command in [program].into_iter().chain(program.get_subcommands()) {
            names.push(command.get_name().to_owned());
            names.extend(
                command.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned),
            );
        }
        assert!(names.len() > 30, "{names:?}");
        names
    }
}
