//! Splits a stream of bytes into lines, and lines that are too long into pieces.

use std::mem::take;

/// The most bytes of a line that one event carries.
pub(super) const LIMIT: usize = 64 * 1024;

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The text, without its line terminator.
    pub(super) text: String,
    /// The line goes on in the next piece.
    pub(super) partial: bool,
}

/// Cuts one output stream into [`Piece`]s: a line without its `\n` or `\r\n`, in pieces of at most [`LIMIT`]
/// bytes. Bytes that are not UTF-8 are replaced, and no character is ever cut: decoding the pieces one by one
/// gives what decoding the whole line gives.
///
/// What has come of a line that goes on is given out by [`Lines::flush`], for those who wait before it: a prompt, a bar
/// that is drawn by carriage returns.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// The last piece said that its line goes on.
    open: bool,
}

impl Lines {
    /// The next piece from `input`, whose used part is cut off; `None` once more input is needed.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<Piece> {
        let piece = self.next_piece(input);
        self.open = piece.as_ref().map_or(self.open, |piece| piece.partial);
        piece
    }

    /// Whether something has come of a line that [`Lines::flush`] can give out.
    pub(super) fn is_pending(&self) -> bool {
        self.flushable() > 0
    }

    /// What has come of the line so far.
    pub(super) fn flush(&mut self) -> Option<Piece> {
        let end = self.flushable();
        if end == 0 {
            return None;
        }
        self.open = true;
        Some(self.cut(end))
    }

    /// The end of a line of which pieces were given out; what comes next is another line.
    pub(super) fn close(&mut self) -> Option<Piece> {
        if self.open { self.finish() } else { None }
    }

    /// How much of what is pending is known to be text of the line: a carriage return may belong to its end.
    fn flushable(&self) -> usize {
        let line = &self.pending[..self.pending.len().min(LIMIT)];
        if line.ends_with(b"\n") {
            return 0;
        }
        boundary(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn next_piece(&mut self, input: &mut &[u8]) -> Option<Piece> {
        if self.pending.is_empty()
            && let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LIMIT)])
        {
            let (line, rest) = input.split_at(end);
            *input = &rest[1..];
            return Some(whole(line));
        }
        self.fill(input);
        if let Some(line) = self.pending.strip_suffix(b"\n")
            && line.strip_suffix(b"\r").unwrap_or(line).len() <= LIMIT
        {
            let piece = whole(line);
            self.pending.clear();
            return Some(piece);
        }
        (self.pending.len() >= LIMIT + 2).then(|| self.cut(boundary(&self.pending[..LIMIT])))
    }

    /// What is left at the end of the stream, called until it gives nothing.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        match self.pending.len() {
            0 if !self.open => None,
            long if long > LIMIT => Some(self.cut(boundary(&self.pending[..LIMIT]))),
            // Empty where all of the line was given out before its end was known.
            _ => {
                self.open = false;
                Some(Piece {
                    text: decode(&take(&mut self.pending)),
                    partial: false,
                })
            }
        }
    }

    /// Takes over input up to a line's end, and never more than two bytes beyond the limit: these tell whether
    /// the line ends there.
    fn fill(&mut self, input: &mut &[u8]) {
        let room = (LIMIT + 2).saturating_sub(self.pending.len());
        // A cut leaves the bytes beyond the limit, which may end the line already.
        if self.pending.last() == Some(&b'\n') {
            return;
        }
        let window = &input[..input.len().min(room)];
        let end = memchr::memchr(b'\n', window).map_or(window.len(), |at| at + 1);
        self.pending.extend_from_slice(&window[..end]);
        *input = &input[end..];
    }

    /// Cuts a piece off a line that goes on.
    fn cut(&mut self, end: usize) -> Piece {
        let rest = self.pending.split_off(end);
        let text = decode(&take(&mut self.pending));
        self.pending = rest;
        Piece { text, partial: true }
    }
}

fn whole(line: &[u8]) -> Piece {
    Piece {
        text: decode(line.strip_suffix(b"\r").unwrap_or(line)),
        partial: false,
    }
}

fn decode(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How far back an escape sequence that has only begun is looked for.
const ESCAPE: usize = 256;

/// Where to cut so that a character or an escape sequence which has only begun at the end goes to the next piece.
fn boundary(bytes: &[u8]) -> usize {
    let end = character_boundary(bytes);
    let from = end.saturating_sub(ESCAPE);
    match memchr::memrchr(0x1b, &bytes[from..end]) {
        Some(at) if begins_escape(&bytes[from + at..end]) => from + at,
        _ => end,
    }
}

/// Whether this is an escape sequence whose end has not come.
fn begins_escape(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.get(1..).and_then(<[u8]>::split_first) else {
        return true;
    };
    match kind {
        b'[' => !rest.iter().any(|byte| matches!(byte, 0x40..=0x7e)),
        b']' => !rest.contains(&0x07),
        b'P' | b'X' | b'^' | b'_' => true,
        0x20..=0x2f => !rest.iter().any(|byte| matches!(byte, 0x30..=0x7e)),
        _ => false,
    }
}

fn character_boundary(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len()) {
        let at = bytes.len() - back;
        if bytes[at] & 0b1100_0000 != 0b1000_0000 {
            let begun = std::str::from_utf8(&bytes[at..])
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none());
            return if begun { at } else { bytes.len() };
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(chunks: &[Vec<u8>]) -> Vec<Piece> {
        cut(chunks, false)
    }

    fn cut(chunks: &[Vec<u8>], flush: bool) -> Vec<Piece> {
        let mut lines = Lines::default();
        let mut pieces = Vec::new();
        for chunk in chunks {
            let mut input = chunk.as_slice();
            while let Some(piece) = lines.next(&mut input) {
                pieces.push(piece);
            }
            assert!(input.is_empty(), "all input is taken");
            if flush {
                pieces.extend(lines.flush());
            }
        }
        while let Some(piece) = lines.finish() {
            pieces.push(piece);
        }
        pieces
    }

    #[test]
    fn terminators_go_and_the_last_line_needs_none() {
        let texts: Vec<_> = pieces(&[b"one\r\ntwo\n\nthree\rx\r".to_vec()])
            .into_iter()
            .map(|p| p.text)
            .collect();
        assert_eq!(texts, ["one", "two", "", "three\rx\r"]);
    }

    #[test]
    fn a_line_of_the_limit_is_whole_and_one_byte_more_is_not() {
        for terminator in ["\n", "\r\n", ""] {
            let exact = [vec![b'x'; LIMIT], terminator.into()].concat();
            let got = pieces(&[exact]);
            assert_eq!(got.len(), 1, "{terminator:?}");
            assert!(!got[0].partial && got[0].text.len() == LIMIT);
            let more = [vec![b'x'; LIMIT + 1], terminator.into(), b"y".to_vec()].concat();
            let got = pieces(&[more]);
            assert!(got[0].partial && got[0].text.len() == LIMIT);
        }
    }

    #[test]
    fn only_one_carriage_return_belongs_to_a_long_lines_end() {
        let got = pieces(&[[vec![b'x'; LIMIT - 3], b"\r\r\r\n".to_vec()].concat()]);
        assert_eq!(got.len(), 1);
        assert!(got[0].text.len() == LIMIT - 1 && got[0].text.ends_with("x\r\r"));
    }

    #[test]
    fn flushed_pieces_and_their_end_are_one_line() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for chunk in ["10%\r", "20%", "\r30%\r", "\n", "Name: ", "\r\nlast"] {
            let mut input = chunk.as_bytes();
            while let Some(piece) = lines.next(&mut input) {
                got.push((piece.text, piece.partial));
            }
            got.extend(lines.flush().map(|piece| (piece.text, piece.partial)));
            assert!(!lines.is_pending());
        }
        got.extend(std::iter::from_fn(|| lines.finish()).map(|piece| (piece.text, piece.partial)));
        let got: Vec<_> = got
            .iter()
            .map(|(text, partial)| (text.as_str(), *partial))
            .collect();
        assert_eq!(
            got,
            [
                ("10%", true),
                ("\r20%", true),
                ("\r30%", true),
                ("", false),
                ("Name: ", true),
                ("", false),
                ("last", true),
                ("", false),
            ]
        );
    }

    #[test]
    fn escape_sequence_is_not_cut() {
        for escape in [
            "\x1b[38;5;200m",
            "\x1b]0;title\x07",
            "\x1b]8;;u\x1b\\",
            "\x1b(B",
            "\x1b7",
        ] {
            for before in LIMIT - escape.len()..=LIMIT {
                let line = format!("{}{escape}z\n", "x".repeat(before));
                let got = pieces(&[line.into_bytes()]);
                assert!(
                    got.iter().any(|piece| piece.text.contains(escape)) || escape.contains("\x1b\\"),
                    "{escape:?} after {before}"
                );
            }
        }
        let mut lines = Lines::default();
        assert_eq!(lines.next(&mut b"red\x1b[3".as_slice()), None);
        assert_eq!(lines.flush().map(|piece| piece.text).as_deref(), Some("red"));
        assert!(!lines.is_pending());
    }

    #[test]
    fn a_character_is_not_cut() {
        let line = [vec![b'x'; LIMIT - 2], "🦀🦀".into(), b"\n".to_vec()].concat();
        let got = pieces(&[line]);
        assert_eq!(got[0].text.len(), LIMIT - 2);
        assert_eq!(got[1].text, "🦀🦀");
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            8 => any::<u8>(),
            3 => Just(b'\n'),
            2 => Just(b'\r'),
            1 => Just(0),
            6 => 0x80u8..0xff,
        ]
    }

    proptest! {
        #[test]
        fn pieces_decode_to_what_the_lines_decode_to(
            lead in prop_oneof![Just(0), LIMIT - 8..LIMIT + 8],
            body in prop::collection::vec(byte(), 0..64),
            tail in prop_oneof![Just(0), LIMIT - 8..LIMIT + 8],
            cuts in prop::collection::vec(0usize..200_000, 0..6),
            flush: bool,
        ) {
            let bytes = [vec![b'x'; lead], body, vec![b'y'; tail]].concat();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            let chunks: Vec<_> = cuts.into_iter().map(|to| { let c = bytes[from..to].to_vec(); from = to; c }).collect();
            let got = cut(&chunks, flush);
            let expected: Vec<_> = bytes
                .split_inclusive(|b| *b == b'\n')
                .map(|line| match line.strip_suffix(b"\n") {
                    Some(line) => decode(line.strip_suffix(b"\r").unwrap_or(line)),
                    None => decode(line),
                })
                .collect();
            let mut lines = Vec::new();
            let mut open = String::new();
            for piece in &got {
                open.push_str(&piece.text);
                if !piece.partial { lines.push(take(&mut open)); }
            }
            prop_assert!(open.is_empty());
            prop_assert_eq!(&lines, &expected);
            prop_assert!(got.iter().all(|piece| piece.text.len() <= LIMIT * 3));
        }
    }
}
