//! What is printed from the command line's own description.

use std::io;

use clap::CommandFactory;

use crate::arguments::{Arguments, Shell};

/// `trivisor completions SHELL`.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Elvish => clap_complete::Shell::Elvish,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Powershell => clap_complete::Shell::PowerShell,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "trivisor", &mut script);
    script
}

/// `trivisor man`: one page, with the verbs in it.
pub(crate) fn man() -> io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for verb in command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
    {
        let verb = verb
            .clone()
            .display_name(format!("trivisor {}", verb.get_name()));
        let verb = clap_mangen::Man::new(verb);
        verb.render_synopsis_section(&mut page)?;
        verb.render_description_section(&mut page)?;
        verb.render_options_section(&mut page)?;
    }
    Ok(page)
}

/// `trivisor --version [--verbose]`.
pub(crate) fn version(verbose: bool) -> String {
    let mut text = format!("trivisor {}\n", env!("CARGO_PKG_VERSION"));
    if verbose {
        text +=
            "modes: basic\nboot protocols: PVH, Linux (ELF, bzImage), multiboot 2, multiboot 1\n";
        text += "payloads: gzip, bzip2, lzma, xz, lz4, zstd\n";
    }
    text
}
