//! A line of output as HTML: what a terminal would show in the end, its colours as classes.

use std::fmt::Write as _;

use vte::{Params, Parser, Perform};

use super::pen::Pen;
use super::shown::{Sign, turns};

/// How far a line may be moved to the right by an escape sequence alone.
const WIDEST: usize = 4096;

/// A line as HTML, and the pen after it.
pub(super) fn html(line: &str, pen: Pen) -> (String, Pen) {
    let mut out = String::with_capacity(line.len() + 16);
    if is_plain(line) {
        spanned(&mut out, pen, line.chars());
        return (out, pen);
    }
    let mut screen = Screen::new(pen);
    Parser::new().advance(&mut screen, line.as_bytes());
    for run in screen.cells.chunk_by(|one, next| one.1 == next.1) {
        let pen = run.first().map_or(pen, |cell| cell.1);
        spanned(&mut out, pen, run.iter().map(|cell| cell.0));
    }
    (out, screen.pen)
}

/// A line as text, of which pieces come: what a terminal would show in the end. A line that is wider than any terminal is
/// given out as it comes.
#[derive(Default)]
pub(super) struct LineText {
    /// What stands before the line, until it is given out.
    prefix: String,
    screen: Screen,
}

impl LineText {
    /// A line behind something that it cannot overwrite.
    pub(super) fn behind(prefix: String) -> Self {
        Self {
            prefix,
            screen: Screen::default(),
        }
    }

    /// Adds a piece of the line, and gives out what no later one can overwrite.
    pub(super) fn push(&mut self, piece: &str, out: &mut String) {
        if is_plain(piece) && self.screen.cells.is_empty() && piece.len() > WIDEST {
            out.push_str(&std::mem::take(&mut self.prefix));
            out.push_str(piece);
            return;
        }
        Parser::new().advance(&mut self.screen, piece.as_bytes());
        if self.screen.cells.len() > WIDEST {
            self.end(out);
        }
    }

    /// Gives out what is left at the line's end.
    pub(super) fn end(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.prefix));
        out.extend(self.screen.cells.drain(..).map(|cell| cell.0));
        self.screen.at = 0;
    }
}

/// Text that cannot be taken for markup.
pub(super) fn escape(out: &mut String, text: impl Iterator<Item = char>) {
    for c in text {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if turns(c) => out.push_str(&Sign(c).to_string()),
            c => out.push(c),
        }
    }
}

fn is_plain(line: &str) -> bool {
    !line.chars().any(|c| c.is_control() && c != '\t')
}

fn spanned(out: &mut String, pen: Pen, text: impl Iterator<Item = char>) {
    let classes = classes(pen);
    if classes.is_empty() {
        escape(out, text);
        return;
    }
    out.push_str("<span class=\"");
    out.push_str(classes.trim_start());
    out.push_str("\">");
    escape(out, text);
    out.push_str("</span>");
}

/// The classes of [`super::palette`] that make a pen. On paper of a colour the ink is left as it was meant (`F`); on the page's own it
/// is made legible (`f`).
fn classes(pen: Pen) -> String {
    let mut out = String::new();
    let mut add = |class: &str, colour: Option<u8>| {
        out.push(' ');
        out.push_str(class);
        if let Some(colour) = colour {
            // Writing to a string does not fail.
            let _ = write!(out, "{colour}");
        }
    };
    let (ink, paper) = if pen.inverse {
        (pen.paper, pen.ink)
    } else {
        (pen.ink, pen.paper)
    };
    match (ink, paper) {
        (Some(ink), Some(paper)) => {
            add("F", Some(ink));
            add("b", Some(paper));
        }
        (Some(ink), None) if pen.inverse => {
            add("F", Some(ink));
            add("inv", None);
        }
        (Some(ink), None) => add("f", Some(ink)),
        (None, Some(paper)) => {
            add("onp", None);
            add("b", Some(paper));
        }
        (None, None) if pen.inverse => add("inv", None),
        (None, None) => {}
    }
    for (is, class) in [
        (pen.bold, "bo"),
        (pen.dim, "di"),
        (pen.italic, "it"),
        (pen.underline && pen.struck, "un-st"),
        (pen.underline && !pen.struck, "un"),
        (pen.struck && !pen.underline, "st"),
    ] {
        if is {
            add(class, None);
        }
    }
    out
}

/// One line of a terminal.
#[derive(Default)]
struct Screen {
    cells: Vec<(char, Pen)>,
    at: usize,
    pen: Pen,
}

impl Screen {
    const fn new(pen: Pen) -> Self {
        Self {
            cells: Vec::new(),
            at: 0,
            pen,
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        if c.is_control() {
            return;
        }
        if self.cells.len() < self.at {
            self.cells.resize(self.at, (' ', Pen::default()));
        }
        match self.cells.get_mut(self.at) {
            Some(cell) => *cell = (c, self.pen),
            None => self.cells.push((c, self.pen)),
        }
        self.at += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.at = 0,
            0x08 => self.at = self.at.saturating_sub(1),
            b'\t' if self.at >= self.cells.len() => {
                self.cells.push(('\t', self.pen));
                self.at = self.cells.len();
            }
            b'\t' => self.at += 1,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().and_then(|param| param.first()).copied();
        let count = usize::from(first.unwrap_or(0).max(1));
        match action {
            'm' => self.pen.sgr(params),
            'C' => self.at = self.at.max((self.at + count).min(WIDEST)),
            'D' => self.at = self.at.saturating_sub(count),
            'G' => self.at = (count - 1).min(WIDEST),
            'K' => match first.unwrap_or(0) {
                0 => self.cells.truncate(self.at),
                1 => {
                    let end = self.cells.len().min(self.at + 1);
                    self.cells[..end].fill((' ', Pen::default()));
                }
                _ => self.cells.clear(),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(line: &str) -> String {
        html(line, Pen::default()).0
    }

    #[test]
    fn colours_become_classes() {
        assert_eq!(shown("a \x1b[31mb\x1b[0m c"), "a <span class=\"f1\">b</span> c");
        assert_eq!(
            shown("\x1b[1;4;38;5;208mx"),
            "<span class=\"f208 bo un\">x</span>"
        );
        assert_eq!(shown("\x1b[30;43mx"), "<span class=\"F0 b3\">x</span>");
        assert_eq!(shown("\x1b[41mx"), "<span class=\"onp b1\">x</span>");
        assert_eq!(shown("\x1b[7mx\x1b[27my"), "<span class=\"inv\">x</span>y");
        assert_eq!(shown("\x1b[7;31mx"), "<span class=\"onp b1\">x</span>");
        assert_eq!(shown("\x1b[7;41mx"), "<span class=\"F1 inv\">x</span>");
        assert_eq!(shown("\x1b[2;3;9mx"), "<span class=\"di it st\">x</span>");
    }

    #[test]
    fn a_colour_goes_on_until_it_is_taken_back() {
        let (_, pen) = html("\x1b[32mone", Pen::default());
        let (two, pen) = html("two", pen);
        assert_eq!(two, "<span class=\"f2\">two</span>");
        let (three, pen) = html("three\x1b[m!", pen);
        assert_eq!(
            (three.as_str(), pen),
            ("<span class=\"f2\">three</span>!", Pen::default())
        );
    }

    #[test]
    fn what_was_overwritten_is_not_shown() {
        assert_eq!(shown(" 10%\r 50%\r100%"), "100%");
        assert_eq!(shown("downloading\rdone\x1b[K"), "done");
        assert_eq!(shown("abc\rX"), "Xbc");
        assert_eq!(shown("windows\r"), "windows");
        assert_eq!(shown("ab\x08c"), "ac");
        assert_eq!(shown("junk\x1b[2K\rclean"), "clean");
        assert_eq!(shown("a\x1b[3Cb"), "a   b");
        assert_eq!(shown("\x1b[31mred\r\x1b[0mok"), "ok<span class=\"f1\">d</span>");
    }

    #[test]
    fn other_escapes_are_dropped_and_markup_is_text() {
        assert_eq!(shown("\x1b]8;;https://e.org\x07link\x1b]8;;\x07"), "link");
        assert_eq!(shown("\x1b]0;title\x1b\\x\x1b[?25l\x1b[2Jy\x1b(B\0\x07"), "xy");
        assert_eq!(
            shown("<script>alert('&\"')</script>"),
            "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"
        );
        assert_eq!(shown("\x1b[31m<b>"), "<span class=\"f1\">&lt;b&gt;</span>");
    }

    #[test]
    fn pieces_of_a_line_are_one_text() {
        let text = |pieces: &[&str]| {
            let (mut line, mut out) = (LineText::behind("[db] ".into()), String::new());
            pieces.iter().for_each(|piece| line.push(piece, &mut out));
            line.end(&mut out);
            out
        };
        assert_eq!(text(&["\x1b[31m<b>\x1b[0m 1%\r"]), "[db] <b> 1%");
        assert_eq!(text(&["10%", "\r20%\r", "\r30", "%"]), "[db] 30%");
        let (long, other) = ("x".repeat(WIDEST + 1), "y".repeat(WIDEST + 1));
        assert_eq!(
            text(&[&long, "\x1b[1m", &other, "z"]),
            format!("[db] {long}{other}z")
        );
    }

    #[test]
    fn a_hostile_line_stays_small() {
        assert!(shown(&"\x1b[65535C".repeat(1000)).len() < 5000);
        assert!(shown(&format!("{}x", "\x1b[65535C".repeat(1000))).len() < 5000);
    }

    proptest! {
        #[test]
        fn any_line_is_text_in_spans(line in "(\\PC|[\\x00-\\x1f<>&\"]|\x1b\\[[0-9;:]{0,9}[A-Za-z]){0,60}") {
            let html = shown(&line);
            let mut rest = html.as_str();
            while let Some(at) = rest.find('<') {
                let tag = &rest[at..];
                let ours = tag.starts_with("</span>") || tag.starts_with("<span class=\"");
                prop_assert!(ours, "{}", html);
                let end = tag.find('>').unwrap();
                prop_assert!(tag[1..end].chars().all(|c| c.is_alphanumeric() || " =\"/-".contains(c)), "{}", html);
                rest = &tag[end + 1..];
            }
            prop_assert!(!html.chars().any(|c| c.is_control() && c != '\t'));
        }

        #[test]
        fn the_fold_and_the_page_agree_on_the_pen(line in "(a|\x1b\\[[0-9;:]{0,12}m|\r|\x1b\\[K){0,20}") {
            prop_assert_eq!(html(&line, Pen::default()).1, Pen::default().after(&line));
        }
    }
}
