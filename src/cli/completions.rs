//! `kinetail completions`: what shells need to complete kinetail's commands.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use super::Cli;

/// `kinetail completions`
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: CompletedShell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    /// Into /usr/share/bash-completion/completions/kinetail
    Bash,
    /// Into a folder of $fpath, as _kinetail
    Zsh,
    /// Into /usr/share/fish/vendor_completions.d/kinetail.fish
    Fish,
}

/// Prints them.
pub fn run(args: CompletionsArgs, out: &mut dyn Write) -> ExitCode {
    let shell = match args.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), "kinetail", &mut text);
    if out.write_all(&text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in [CompletedShell::Bash, CompletedShell::Zsh, CompletedShell::Fish] {
            let mut text = Vec::new();
            assert_eq!(run(CompletionsArgs { shell }, &mut text), ExitCode::SUCCESS);
            let text = String::from_utf8(text).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(text.contains(command.get_name()), "{shell:?}: {}", command.get_name());
            }
        }
    }
}
