use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns `text` takes. It must hold no escapes.
#[must_use]
pub fn width(text: &str) -> usize {
    // The sum over characters is never below the width of the whole, so a line is rather too short than wrapped.
    text.width()
        .max(text.chars().map(|c| c.width().unwrap_or(0)).sum())
}

/// `text`, cut to at most `columns`, with a mark where it was cut.
pub(crate) fn fit(text: &str, columns: usize, unicode: bool) -> Cow<'_, str> {
    // A tail's line may be thousands of columns long; what lies beyond the cut is not worth measuring.
    let mut used = 0;
    let mark = if unicode { "…" } else { "~" };
    let mut cut = 0;
    for (at, c) in text.char_indices() {
        let wide = c.width().unwrap_or(0);
        if used + wide > columns {
            let mut short = text[..cut].to_owned();
            if columns > 0 {
                short.push_str(mark);
            }
            return Cow::Owned(short);
        }
        used += wide;
        if used < columns {
            cut = at + c.len_utf8();
        }
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_by_display_width() {
        assert_eq!(fit("hello", 5, true), "hello");
        assert_eq!(fit("hello!", 5, true), "hell…");
        assert_eq!(fit("hello!", 5, false), "hell~");
        assert_eq!(fit("日本語", 6, true), "日本語");
        assert_eq!(fit("日本語", 5, true), "日本…");
        assert_eq!(fit("日本語", 4, true), "日…");
        assert_eq!(fit("日", 1, true), "…");
        assert_eq!(fit("x", 0, true), "");
        for columns in 0..8 {
            assert!(width(&fit("a日b本e\u{301}語", columns, true)) <= columns);
        }
    }
}
