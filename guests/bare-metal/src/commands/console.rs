//! Greeting, echo, and the commands that come as lines.

use super::Command;
use crate::console::Lines;
use crate::say;
use crate::script::{self, Failure, Words};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "hello",
        usage: "",
        run: hello,
    },
    Command {
        name: "echo",
        usage: "TEXT",
        run: echo,
    },
    Command {
        name: "serial",
        usage: "",
        run: serial,
    },
];

/// Longest line that is read.
const LINE: usize = 512;

fn hello(_: Words<'_>) -> Result<(), Failure> {
    say!("ok hello");
    Ok(())
}

fn echo(words: Words<'_>) -> Result<(), Failure> {
    say!("ok echo {}", words.rest());
    Ok(())
}

/// Ends with the line `end`; the script then goes on.
fn serial(_: Words<'_>) -> Result<(), Failure> {
    let mut buffer = [0; LINE];
    let mut lines = Lines::new();
    say!("ok serial");
    loop {
        let line = script::text(lines.read(&mut buffer)).trim();
        if line == "end" {
            break;
        }
        script::run(line);
        // The command may have used the receiver's interrupt for itself.
        lines.resume();
    }
    say!("ok end");
    Ok(())
}
