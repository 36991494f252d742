//! Which shell runs a command.

use std::fmt;

/// The most words that a shell may have: a program and its options.
const MAX_WORDS: usize = 16;
/// The longest shell, in bytes.
const MAX_BYTES: usize = 256;

/// What runs a command: a program and its options, such as `sh -e` or `bash -eo pipefail`. It is given
/// `-c -- COMMAND` behind them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shell(String);

impl Shell {
    /// Reads a shell as a plan names it: words that are separated by spaces, without quotes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let Some(program) = words.first() else {
            return Err(
                "it is empty: leave the field out for `sh`, or name one such as \"bash -eo pipefail\""
                    .to_owned(),
            );
        };
        if text.len() > MAX_BYTES || words.len() > MAX_WORDS {
            return Err(format!(
                "it has more than {MAX_WORDS} words or {MAX_BYTES} bytes: put the options into the command, as `set -x`"
            ));
        }
        if let Some(wrong) = text
            .chars()
            .find(|c| c.is_control() || "'\"\\$`".contains(*c) || (c.is_whitespace() && *c != ' '))
        {
            return Err(format!(
                "it contains {wrong:?}: it is a program and its options, separated by spaces, and nothing in it is quoted or \
                 expanded"
            ));
        }
        if program.starts_with('-') || program.contains('=') {
            return Err(format!("it begins with {program:?}, which is no program"));
        }
        if words.contains(&"-c") {
            return Err("it has the option -c, which hm itself adds".to_owned());
        }
        Ok(Self(words.join(" ")))
    }

    /// The program and its options, separated by single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The program, then its options.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &str {
        self.words().next().unwrap_or_default()
    }

    /// Whether it hands on variables whose names it cannot assign to, such as `app.mode`. Of the shells in use bash does;
    /// dash and busybox drop them.
    #[must_use]
    pub fn passes_every_variable(&self) -> bool {
        self.program().rsplit('/').next() == Some("bash")
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
