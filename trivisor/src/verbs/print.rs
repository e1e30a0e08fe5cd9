//! What is printed from the command line's own description.

use std::io;

use clap::{Command, CommandFactory};

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
    describe_verbs(&command, "trivisor", &mut page)?;
    Ok(page)
}

/// The verbs of a command, and theirs.
fn describe_verbs(command: &Command, name: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for verb in command.get_subcommands() {
        if verb.get_name() == "help" {
            continue;
        }
        let name = format!("{name} {}", verb.get_name());
        let section = clap_mangen::Man::new(verb.clone().display_name(name.clone()));
        section.render_synopsis_section(page)?;
        section.render_description_section(page)?;
        section.render_options_section(page)?;
        describe_verbs(verb, &name, page)?;
    }
    Ok(())
}

/// `trivisor --version [--verbose]`.
pub(crate) fn version(verbose: bool) -> String {
    let mut text = format!("trivisor {}\n", env!("CARGO_PKG_VERSION"));
    if verbose {
        text += "modes: basic, pv\nboot protocols: PVH, Linux (ELF, bzImage), multiboot 2, multiboot 1\n";
        text += "payloads: gzip, bzip2, lzma, xz, lz4, zstd\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_and_verb_is_in_what_is_printed() {
        let page = String::from_utf8(man().unwrap()).unwrap();
        let scripts = [
            Shell::Bash,
            Shell::Elvish,
            Shell::Fish,
            Shell::Powershell,
            Shell::Zsh,
        ];
        let scripts = scripts.map(|shell| String::from_utf8(completions(shell)).unwrap());
        for word in [
            "disk",
            "net",
            "vsock",
            "rng",
            "no-rng",
            "balloon",
            "transport",
            "packed",
            "create",
            "convert",
        ] {
            // A page breaks no line at a hyphen.
            let escaped = word.replace('-', "\\-");
            assert!(page.contains(&escaped), "{word} is not in the page");
            for script in &scripts {
                assert!(script.contains(word), "{word} is not in\n{script}");
            }
        }
    }
}
