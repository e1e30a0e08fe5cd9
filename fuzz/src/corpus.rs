//! Inputs as text: hexadecimal digits, blanks for the eye, `#` before a remark.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Target;

/// A file that holds no input, or cannot be made.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// Something else than pairs of digits.
    #[error("{}: not pairs of hexadecimal digits", path.display())]
    Digits {
        /// The file.
        path: PathBuf,
    },
}

/// The folder of all corpora.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
}

/// The inputs that are kept for `target`, by name.
///
/// # Errors
/// When one cannot be read.
pub fn read(folder: &Path, target: &Target) -> Result<Vec<(PathBuf, Vec<u8>)>, CorpusError> {
    let folder = folder.join(target.name);
    let failed = |source| CorpusError::Read {
        path: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let input = |path: PathBuf| read_file(&path).map(|input| (path, input));
    paths.into_iter().map(input).collect()
}

/// The input in a file.
///
/// # Errors
/// When it cannot be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, CorpusError> {
    let text = fs::read_to_string(path).map_err(|source| CorpusError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).ok_or_else(|| CorpusError::Digits {
        path: path.to_owned(),
    })
}

/// Writes what an engine that is not ours starts from into `folder`: the seeds and the corpus of `target` as files of
/// `inputs/`, and `dictionary`, of words as libFuzzer and AFL read them.
///
/// # Errors
/// When something cannot be read or written.
pub fn export(target: &Target, folder: &Path) -> Result<(), CorpusError> {
    let inputs = folder.join("inputs");
    let failed = |source| CorpusError::Write {
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(&inputs).map_err(failed)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(inputs.join(format!("seed-{number}")), seed).map_err(failed)?;
    }
    for (path, input) in read(self::folder(), target)? {
        let name = path.file_stem().unwrap_or_default();
        fs::write(inputs.join(name), input).map_err(failed)?;
    }
    let words = (target.dictionary)();
    fs::write(folder.join("dictionary"), dictionary(&words)).map_err(failed)
}

/// Words, a line each.
fn dictionary(words: &[Vec<u8>]) -> String {
    let escaped = |word: &Vec<u8>| -> String {
        let bytes = word.iter().map(|byte| format!("\\x{byte:02x}"));
        format!("\"{}\"\n", bytes.collect::<String>())
    };
    words.iter().map(escaped).collect()
}

/// The bytes of a text; `None`: it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let lines = text
        .lines()
        .map(|line| line.split_once('#').map_or(line, |(input, _)| input));
    let digits = lines
        .flat_map(str::chars)
        .filter(|char| !char.is_whitespace());
    let digits: Vec<u8> = digits
        .map(|char| char.to_digit(16).and_then(|digit| digit.try_into().ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// The text of bytes.
#[must_use]
pub fn format(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes
        .chunks(48)
        .map(line)
        .collect::<Vec<String>>()
        .join("\n")
}
