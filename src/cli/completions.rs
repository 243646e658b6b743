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
    use clap::Command;

    use super::*;

    /// All commands below this one and what they can be given, as somebody would type it.
    fn words(command: &Command) -> Vec<String> {
        let options = command.get_arguments().filter_map(|it| it.get_long().map(str::to_owned));
        let below = command.get_subcommands().flat_map(|below| {
            let mut words = words(below);
            words.push(below.get_name().to_owned());
            words
        });
        options.chain(below).collect()
    }

    #[test]
    fn every_shell_learns_every_command_and_every_option() {
        let words = words(&Cli::command());
        for new in ["tap", "rate", "replay", "reason", "purge", "yes", "forget", "watch"] {
            assert!(words.iter().any(|word| word == new), "no {new} in {words:?}");
        }
        for shell in [CompletedShell::Bash, CompletedShell::Zsh, CompletedShell::Fish] {
            let mut text = Vec::new();
            assert_eq!(run(CompletionsArgs { shell }, &mut text), ExitCode::SUCCESS);
            let text = String::from_utf8(text).unwrap();
            for word in &words {
                assert!(text.contains(word), "{shell:?}: {word}");
            }
        }
    }
}
