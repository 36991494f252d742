//! Roman numerals, both ways.

use std::fmt;

const DIGITS: [(u16, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// Why a text or a number has no Roman form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Roman numerals go from 1 to 3999.
    OutOfRange(u16),
    /// The text is not a numeral in its usual form.
    NotANumeral(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(number) => write!(f, "{number} is not between 1 and 3999"),
            Self::NotANumeral(text) => write!(f, "{text:?} is not a Roman numeral"),
        }
    }
}

impl std::error::Error for Error {}

/// Writes a number in Roman numerals.
///
/// # Errors
/// When it is not between 1 and 3999.
///
/// ```
/// assert_eq!(roman::write(1994).unwrap(), "MCMXCIV");
/// ```
pub fn write(number: u16) -> Result<String, Error> {
    if !(1..=3999).contains(&number) {
        return Err(Error::OutOfRange(number));
    }
    let mut rest = number;
    let mut text = String::new();
    for (value, digit) in DIGITS {
        while rest >= value {
            text.push_str(digit);
            rest -= value;
        }
    }
    Ok(text)
}

/// Reads Roman numerals.
///
/// # Errors
/// When the text is not a numeral in its usual form: `IIII` is none.
///
/// ```
/// assert_eq!(roman::read("MMXXVI").unwrap(), 2026);
/// ```
pub fn read(text: &str) -> Result<u16, Error> {
    let not_a_numeral = || Error::NotANumeral(text.to_owned());
    let mut rest = text;
    let mut number: u16 = 0;
    for (value, digit) in DIGITS {
        while let Some(tail) = rest.strip_prefix(digit) {
            number = number.checked_add(value).ok_or_else(not_a_numeral)?;
            rest = tail;
        }
    }
    // Only the usual form is written back as it was read.
    match write(number) {
        Ok(usual) if usual == text => Ok(number),
        _ => Err(not_a_numeral()),
    }
}
