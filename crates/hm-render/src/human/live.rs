use std::fmt::Write;

use crate::terminal::width;

/// The lines at the bottom of the screen that are drawn again and again. The cursor rests at the end of the last one.
#[derive(Debug, Default)]
pub(super) struct LiveArea {
    /// The widths of the lines on the screen.
    drawn: Vec<usize>,
}

/// A line of the live area: what it shows, and the same without colors, to measure.
pub(super) struct LiveLine {
    pub(super) bare: String,
    pub(super) painted: String,
}

impl LiveArea {
    /// Writes what takes the lines off a screen that is now `columns` wide. A terminal that became narrower has wrapped them.
    pub(super) fn erase(&mut self, out: &mut String, columns: usize) {
        let rows: usize = self
            .drawn
            .drain(..)
            .map(|width| width.div_ceil(columns.max(1)).max(1))
            .sum();
        if rows == 0 {
            return;
        }
        out.push('\r');
        if rows > 1 {
            let _ = write!(out, "\x1b[{}A", rows - 1);
        }
        out.push_str("\x1b[J");
    }

    /// Writes the lines. The area must have been erased.
    pub(super) fn draw(&mut self, out: &mut String, lines: &[LiveLine]) {
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                out.push('\n');
            }
            out.push_str(&line.painted);
            self.drawn.push(width(&line.bare));
        }
    }
}
