//! Other programs, run to their end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command with these words and nothing to read.
pub(crate) fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    command
}

/// A command of the Cargo that runs this chore, at the workspace's root.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(words)
        .current_dir(crate::workspace::root())
        .stdin(Stdio::null());
    command
}

/// How a command is shown to a reader.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    for word in command.get_args() {
        text.push(' ');
        text.push_str(&word.to_string_lossy());
    }
    text
}

/// Runs it, its output going where ours goes.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| shown(command))?;
    if !status.success() {
        bail!("`{}`: {status}", shown(command));
    }
    Ok(())
}

/// Runs it and returns what it printed.
///
/// # Errors
/// When it cannot be started, fails, or prints no text.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| shown(command))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`{}`: {}\n{error}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| shown(command))
}

/// Runs it with all its output appended to a file.
///
/// # Errors
/// When it cannot be started or fails; the last lines of the file are in the error.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.with_context(|| log.display().to_string())?;
    let status = command
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| shown(command))?;
    if !status.success() {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        let last: Vec<_> = lines.into_iter().rev().collect();
        bail!("`{}`: {status}\n{}", shown(command), last.join("\n"));
    }
    Ok(())
}

/// Whether a program of this name is in the search path.
pub(crate) fn exists(program: &str) -> bool {
    search_path()
        .iter()
        .any(|folder| folder.join(program).is_file())
}

/// Folders of programs.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Tools that only root needs stand here, and are not in everybody's path.
    let extra = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&path).chain(extra).collect()
}
