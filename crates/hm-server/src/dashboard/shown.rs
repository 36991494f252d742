//! Text of other people on a page: no markup, and nothing that turns the text around it.

use std::fmt;

use askama::filters::{Escaper, Html};
use unicode_width::UnicodeWidthChar;

/// The escaper of all templates: see `askama.toml`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown;

impl Escaper for Shown {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(turns) {
            let (before, from) = rest.split_at(at);
            Html.write_escaped_str(&mut dest, before)?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                write!(dest, "{}", Sign(c))?;
            }
            rest = chars.as_str();
        }
        Html.write_escaped_str(&mut dest, rest)
    }
}

/// Whether a character changes the direction of what stands around it: a name with one reads as another.
pub(super) const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Such a character, as a sign that a person can see.
pub(super) struct Sign(pub(super) char);

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "‹U+{:04X}›", u32::from(self.0))
    }
}

/// A text with signs in place of what turns.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if turns(c) {
            out.push_str(&Sign(c).to_string());
        } else {
            out.push(c);
        }
    }
    out
}

/// As much of a text as fits into so many columns, with an ellipsis where something is left out.
pub(super) fn clamped(text: &str, columns: usize) -> String {
    let width = |c: char| c.width().unwrap_or(0);
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        match left.checked_sub(width(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_neither_markup_nor_turns_its_surroundings() {
        let mut out = String::new();
        Shown
            .write_escaped_str(&mut out, "a<b\u{202e}c\u{2066}&\u{2069}")
            .unwrap();
        assert_eq!(out, "a&#60;b‹U+202E›c‹U+2066›&#38;‹U+2069›");
        assert_eq!(plain("a\u{202e}b"), "a‹U+202E›b");
    }

    #[test]
    fn text_is_clamped_by_its_width() {
        assert_eq!(clamped("abc", 3), "abc");
        assert_eq!(clamped("abcd", 3), "ab…");
        assert_eq!(clamped("漢字漢字", 8), "漢字漢字");
        assert_eq!(clamped("漢字漢字漢", 8), "漢字漢…");
        assert_eq!(clamped("", 0), "");
    }
}
