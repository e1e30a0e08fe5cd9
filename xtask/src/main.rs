//! Every chore of the workspace: build, demo, test, guests, bench, fuzz, tidy.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "what a chore has to say is for the terminal"
)]

mod arguments;
mod bench;
mod demo;
mod elf;
mod fuzz;
mod guests;
mod metadata;
mod process;
mod release;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use arguments::Arguments;

const USAGE: &str = "\
cargo xtask CHORE

  setup                                   installs what the host lacks, or says what that is
  build                                   builds the VMM for release, linked statically; prints its path
  demo                                    builds the VMM, boots the bundled guest, prints what it cost
  test [--no-kvm] [--slow] [--shard K/N]  everything that CI checks
  guests [--slow]                         makes the test guests only; with --slow, fetches the foreign ones too
  bench start [--rounds N] [--output FILE]
                                          start-up against other VMMs; writes docs/benchmarks.md
  bench block [--mode hvm] [--rounds N] [--output FILE]
                                          disks against other VMMs, IDE disks in mode hvm; writes docs/benchmarks.md
  bench net [--rounds N] [--output FILE]
                                          networks against other VMMs, as root; writes docs/benchmarks.md
  bench bios [--rounds N] [--output FILE] [--grub] [--where]
                                          firmware against QEMU's PC, as root; writes docs/benchmarks.md
  bench exits                             what the buses add to an exit
  fuzz [TARGET] [--seconds N]             runs fuzz targets
  fuzz TARGET --guided [--seconds N]      runs one under libFuzzer, led by what inputs reach; says what was reached
  tidy                                    crate edges, unsafe code, licences, device folders; lists sizes
";

fn main() -> ExitCode {
    match run(Arguments::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments) -> Result<()> {
    match arguments.word().as_deref() {
        Some("setup") => {
            arguments.end()?;
            setup::run()
        }
        Some("build") => {
            arguments.end()?;
            release::trivisor().map(|path| println!("{}", path.display()))
        }
        Some("demo") => {
            arguments.end()?;
            demo::run()
        }
        Some("test") => test::run(test::Options::parse(arguments)?),
        Some("guests") => {
            let slow = arguments.flag("--slow");
            arguments.end()?;
            setup::run()?;
            println!("{}", guests::make()?);
            if slow {
                print!("{}", guests::download_foreign()?);
            }
            Ok(())
        }
        Some("bench") => bench::run(arguments),
        Some("fuzz") => fuzz::run(fuzz::Options::parse(arguments)?),
        Some("tidy") => {
            arguments.end()?;
            tidy::run()
        }
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("no chore {other:?}\n\n{USAGE}"),
        None => bail!("which chore?\n\n{USAGE}"),
    }
}
