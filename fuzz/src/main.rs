//! Runs fuzz targets: `trivisor-fuzz [TARGET] [--seconds N] [--seed N]`; or one input:
//! `trivisor-fuzz TARGET --input FILE`; or writes what another engine starts from: `trivisor-fuzz TARGET --export FOLDER`.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use trivisor_fuzz::engine::{self, Options};
use trivisor_fuzz::{TARGETS, Target, corpus};

/// For all targets, unless told otherwise.
const SECONDS: u64 = 120;

struct Arguments {
    targets: Vec<Target>,
    seconds: u64,
    seed: u64,
    input: Option<PathBuf>,
    export: Option<PathBuf>,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        targets: TARGETS.to_vec(),
        seconds: SECONDS,
        seed: 1,
        input: None,
        export: None,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seconds" => arguments.seconds = number(value()?)?,
            "--seed" => arguments.seed = number(value()?)?,
            "--input" => arguments.input = Some(value()?.into()),
            "--export" => arguments.export = Some(value()?.into()),
            name => {
                arguments.targets.retain(|target| target.name == name);
                if arguments.targets.is_empty() {
                    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                    return Err(format!("{name}: no such target; {}", names.join(", ")));
                }
            }
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &arguments.input {
        let [target] = &*arguments.targets else {
            return Err("--input wants a target".into());
        };
        engine::try_one(target, &corpus::read_file(path)?)?;
        return Ok(());
    }
    if let Some(folder) = &arguments.export {
        let [target] = &*arguments.targets else {
            return Err("--export wants a target".into());
        };
        return Ok(corpus::export(target, folder)?);
    }
    let options = Options {
        time: Duration::from_secs(arguments.seconds),
        seed: arguments.seed,
        corpus: corpus::folder().to_owned(),
    };
    Ok(engine::run(
        &arguments.targets,
        &options,
        &mut io::stdout(),
    )?)
}

fn main() -> ExitCode {
    let (error, status) = match parse(std::env::args().skip(1)) {
        Err(error) => (error, 2),
        Ok(arguments) => match run(&arguments) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), 1),
        },
    };
    eprintln!("trivisor-fuzz: {error}");
    ExitCode::from(status)
}
