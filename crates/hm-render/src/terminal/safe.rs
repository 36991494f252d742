use std::borrow::Cow;
use std::fmt::Write;

use vte::{Params, Parser, Perform};

/// What to do with a step's own colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    Keep,
    Drop,
}

/// Columns between tab stops.
const TAB: usize = 8;

/// A line of a step's output that a terminal shows as one line and survives: of a line that overwrites itself, what was last on it;
/// no escape but colors (closed at the end), no control character, no reordering of what is read.
pub(crate) fn safe(line: &str, colors: Colors) -> Cow<'_, str> {
    filtered(line, colors, false)
}

/// A name within a line of ours: as [`safe`] without colors, and what would turn the text round is shown.
pub(crate) fn safe_name(text: &str) -> Cow<'_, str> {
    filtered(text, Colors::Drop, true)
}

/// A message of one or more lines that a terminal shows as it is meant, whatever names it holds.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_harmful(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n").replace('\r', " ");
    let lines: Vec<_> = text.split('\n').map(safe_name).collect();
    Cow::Owned(lines.join("\n"))
}

fn filtered(line: &str, colors: Colors, signs: bool) -> Cow<'_, str> {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    if !line.chars().any(is_harmful) {
        return Cow::Borrowed(line);
    }
    let mut filter = Filter {
        out: String::with_capacity(line.len()),
        colors,
        signs,
        columns: 0,
        colored: false,
    };
    let mut parser: Parser = Parser::new();
    parser.advance(&mut filter, line.as_bytes());
    if filter.colored {
        filter.out.push_str("\x1b[0m");
    }
    Cow::Owned(filter.out)
}

/// Whether a terminal that was given this line goes on in a color of the line's.
pub(crate) fn leaves_color(line: &str) -> bool {
    struct Last(bool);
    impl Perform for Last {
        fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
            if action == 'm' && intermediates.is_empty() && !ignore {
                // No parameter stands for 0, which ends all that was before it.
                self.0 = params
                    .iter()
                    .last()
                    .is_some_and(|param| param.first() != Some(&0));
            }
        }
    }
    if !line.contains('\x1b') {
        return false;
    }
    let mut last = Last(false);
    let mut parser: Parser = Parser::new();
    parser.advance(&mut last, line.as_bytes());
    last.0
}

fn is_harmful(c: char) -> bool {
    c.is_control() || is_reordering(c)
}

/// The characters that make a terminal show text in another order than it was written (U+202A and its kin).
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

struct Filter {
    out: String,
    colors: Colors,
    /// Characters that reorder text are shown, and not left out.
    signs: bool,
    columns: usize,
    colored: bool,
}

impl Perform for Filter {
    fn print(&mut self, c: char) {
        if !is_harmful(c) {
            self.out.push(c);
            self.columns += 1;
        } else if self.signs && is_reordering(c) {
            let _ = write!(self.out, "<U+{:04X}>", u32::from(c));
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            let spaces = TAB - self.columns % TAB;
            self.out.extend(std::iter::repeat_n(' ', spaces));
            self.columns += spaces;
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if self.colors == Colors::Drop || ignore || action != 'm' || !intermediates.is_empty() {
            return;
        }
        self.out.push_str("\x1b[");
        for (at, param) in params.iter().enumerate() {
            if at > 0 {
                self.out.push(';');
            }
            for (at, sub) in param.iter().enumerate() {
                let colon = if at > 0 { ":" } else { "" };
                let _ = write!(self.out, "{colon}{sub}");
            }
        }
        self.out.push('m');
        self.colored = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_plain_text_as_it_is() {
        assert!(matches!(
            safe("héllo 日本", Colors::Keep),
            Cow::Borrowed("héllo 日本")
        ));
    }

    #[test]
    fn keeps_colors_and_closes_them() {
        assert_eq!(safe("\x1b[1;31mred", Colors::Keep), "\x1b[1;31mred\x1b[0m");
        assert_eq!(
            safe("\x1b[38:2:1:2:3mred\x1b[m", Colors::Keep),
            "\x1b[38:2:1:2:3mred\x1b[0m\x1b[0m"
        );
        assert_eq!(safe("\x1b[1;31mred\x1b[0m", Colors::Drop), "red");
    }

    #[test]
    fn drops_whatever_could_do_harm() {
        for harm in [
            "\x1b[2J",
            "\x1b[10A",
            "\x1b[?1049h",
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x1b\\",
            "\x1bc",
            "\x1b[6n",
            "\x1bPq#0\x1b\\",
            "\x07",
            "\x08\x08",
            "\u{9b}",
            "\x7f",
            "\x0b",
            "\x0e",
            "\u{202e}",
            "\n",
            "\x1b[>4;2m",
            "\x1b[5i",
        ] {
            assert_eq!(safe(&format!("a{harm}b"), Colors::Keep), "ab", "{harm:?}");
        }
        assert_eq!(safe("open\x1b]0;never closed", Colors::Keep), "open");
    }

    #[test]
    fn shows_what_was_last_on_the_line() {
        assert_eq!(safe("10%\r20%\r30%", Colors::Drop), "30%");
        assert_eq!(safe("done\r", Colors::Drop), "done");
    }

    #[test]
    fn name_shows_what_turns_text_round() {
        assert_eq!(safe_name("a\u{202e}b\x1b[2J\u{2066}c"), "a<U+202E>b<U+2066>c");
        assert_eq!(
            printable("error: \x1b[31mx\n  \u{202a}y\tz"),
            "error: x\n  <U+202A>y     z"
        );
        assert!(matches!(printable("one\ntwo"), Cow::Borrowed(_)));
    }

    #[test]
    fn puts_tabs_on_their_stops() {
        assert_eq!(safe("ab\tc\td", Colors::Drop), "ab      c       d");
    }
}
