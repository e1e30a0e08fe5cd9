//! The words of a command line: few enough to need no crate, which would be compiled before everything else.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// What is left of a command line.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    /// The words that this process was started with.
    pub(crate) fn of_process() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Takes the first word that is no flag.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self
            .0
            .iter()
            .position(|word| !word.starts_with("--") || word == "--help")?;
        Some(self.0.remove(at))
    }

    /// Takes a flag without a value.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// Takes a flag and its value, `--flag value` or `--flag=value`.
    ///
    /// # Errors
    /// A value that is missing or does not parse.
    pub(crate) fn value<T>(&mut self, name: &str) -> Result<Option<T>>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let joined = format!("{name}=");
        let Some(at) = self
            .0
            .iter()
            .position(|word| word == name || word.starts_with(&joined))
        else {
            return Ok(None);
        };
        let word = self.0.remove(at);
        let text = match word.strip_prefix(&joined) {
            Some(value) => value.to_owned(),
            None if at < self.0.len() => self.0.remove(at),
            None => bail!("{name} needs a value"),
        };
        let value = text.parse().with_context(|| format!("{name} {text}"))?;
        Ok(Some(value))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// A word that nobody took.
    pub(crate) fn end(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => bail!("unknown argument {word:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn flags_stand_anywhere_and_values_in_either_form() {
        let mut left = arguments("--slow bench --rounds 7 start --seconds=3");
        assert!(left.flag("--slow"));
        assert_eq!(left.value("--rounds").unwrap(), Some(7_u32));
        assert_eq!(left.value("--seconds").unwrap(), Some(3_u32));
        assert_eq!(left.word().as_deref(), Some("bench"));
        assert_eq!(left.word().as_deref(), Some("start"));
        left.end().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(arguments("--rounds").value::<u32>("--rounds").is_err());
        assert!(arguments("--rounds x").value::<u32>("--rounds").is_err());
        let error = arguments("--fast").end().unwrap_err();
        assert_eq!(error.to_string(), "unknown argument \"--fast\"");
    }
}
