//! How a terminal would write: SGR sequences, and the state that they leave.

use hm_plugin_protocol::events::StdStream;
use vte::{Params, Parser, Perform};

/// One of the 256 colours.
pub(super) type Colour = u8;

/// How the next character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pen {
    pub(super) ink: Option<Colour>,
    pub(super) paper: Option<Colour>,
    pub(super) bold: bool,
    pub(super) dim: bool,
    pub(super) italic: bool,
    pub(super) underline: bool,
    pub(super) inverse: bool,
    pub(super) struck: bool,
}

/// The pens of a step's two streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pens {
    pub(super) stdout: Pen,
    pub(super) stderr: Pen,
}

impl Pens {
    pub(super) const fn of(&mut self, stream: StdStream) -> &mut Pen {
        match stream {
            StdStream::Stdout => &mut self.stdout,
            StdStream::Stderr => &mut self.stderr,
        }
    }
}

impl Pen {
    /// The pen after a line.
    pub(super) fn after(self, line: &str) -> Self {
        if memchr::memchr(0x1b, line.as_bytes()).is_none() {
            return self;
        }
        let mut only = Only(self);
        Parser::new().advance(&mut only, line.as_bytes());
        only.0
    }

    /// Takes the parameters of a `CSI ... m`.
    pub(super) fn sgr(&mut self, params: &Params) {
        if params.is_empty() {
            *self = Self::default();
        }
        let mut params = params.iter();
        while let Some(param) = params.next() {
            let (code, sub) = (param.first().copied().unwrap_or(0), param.get(1..));
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = sub.and_then(<[u16]>::first) != Some(&0),
                7 => self.inverse = true,
                9 => self.struck = true,
                21 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.struck = false,
                30..=37 => self.ink = colour(code - 30),
                39 => self.ink = None,
                40..=47 => self.paper = colour(code - 40),
                49 => self.paper = None,
                90..=97 => self.ink = colour(code - 90 + 8),
                100..=107 => self.paper = colour(code - 100 + 8),
                38 | 48 | 58 => {
                    // With colons all of it is one parameter, with semicolons it takes the next ones.
                    let found = match sub {
                        Some([]) | None => {
                            extended(params.by_ref().filter_map(|param| param.first().copied()))
                        }
                        Some([2, _, red, green, blue, ..]) => truecolour([*red, *green, *blue]),
                        Some(sub) => extended(sub.iter().copied()),
                    };
                    match (code, found) {
                        (38, Some(found)) => self.ink = Some(found),
                        (48, Some(found)) => self.paper = Some(found),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

fn colour(code: u16) -> Option<Colour> {
    Colour::try_from(code).ok()
}

fn extended(mut rest: impl Iterator<Item = u16>) -> Option<Colour> {
    match rest.next()? {
        5 => colour(rest.next()?),
        2 => truecolour([rest.next()?, rest.next()?, rest.next()?]),
        _ => None,
    }
}

/// The nearest of the 240 colours that are the same everywhere: a page that forbids styles has no classes for more.
fn truecolour(rgb: [u16; 3]) -> Option<Colour> {
    let mut wanted = [0; 3];
    for (wanted, given) in wanted.iter_mut().zip(rgb) {
        *wanted = i32::from(u8::try_from(given).ok()?);
    }
    let distance = |colour: &Colour| -> i32 {
        let found = rgb_of(*colour).map(i32::from);
        found
            .iter()
            .zip(wanted)
            .map(|(found, wanted)| (found - wanted).pow(2))
            .sum()
    };
    (16..=255).min_by_key(distance)
}

/// Red, green and blue of one of the colours from 16 on: a cube of 6 by 6 by 6, and greys.
pub(super) const fn rgb_of(colour: Colour) -> [u8; 3] {
    const fn level(step: u8) -> u8 {
        if step == 0 { 0 } else { 55 + step * 40 }
    }
    if colour >= 232 {
        let grey = 8 + (colour - 232) * 10;
        return [grey, grey, grey];
    }
    let place = colour.saturating_sub(16);
    [level(place / 36), level(place / 6 % 6), level(place % 6)]
}

/// Hears nothing but SGR.
struct Only(Pen);

impl Perform for Only {
    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if action == 'm' && !ignore && intermediates.is_empty() {
            self.0.sgr(params);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pen_stays_as_it_was_left() {
        let pen = Pen::default().after("\x1b[1;31mred\x1b[4m");
        assert_eq!((pen.ink, pen.bold, pen.underline), (Some(1), true, true));
        let pen = pen.after("plain").after("\x1b[22;24;39m");
        assert_eq!(pen, Pen::default());
        assert_eq!(pen.after("\x1b[7;3;2;9m").after("\x1b[m"), Pen::default());
    }

    #[test]
    fn colours_of_every_depth() {
        let ink = |text: &str| Pen::default().after(text).ink;
        assert_eq!(ink("\x1b[95m"), Some(13));
        assert_eq!(ink("\x1b[38;5;202m"), Some(202));
        assert_eq!(ink("\x1b[38:5:202m"), Some(202));
        assert_eq!(ink("\x1b[38;2;255;0;0m"), Some(196));
        assert_eq!(ink("\x1b[38:2::0:0:255m"), Some(21));
        assert_eq!(ink("\x1b[38;2;9;9;9m"), Some(232));
        // What follows an extended colour is heard too, and nonsense changes nothing.
        assert!(Pen::default().after("\x1b[38;2;1;2;3;1m").bold);
        for nonsense in [
            "\x1b[38;5;999m",
            "\x1b[38m",
            "\x1b[38;7m",
            "\x1b[999m",
            "\x1b[38;2;1m",
            "\x1b[?31m",
        ] {
            assert_eq!(Pen::default().after(nonsense), Pen::default(), "{nonsense:?}");
        }
        assert_eq!(Pen::default().after("\x1b[48;5;17m").paper, Some(17));
    }

    #[test]
    fn every_colour_is_its_own_nearest() {
        for colour in 16..=255_u8 {
            let [red, green, blue] = rgb_of(colour);
            let found = Pen::default()
                .after(&format!("\x1b[38;2;{red};{green};{blue}m"))
                .ink;
            assert_eq!(found.map(rgb_of), Some(rgb_of(colour)));
        }
    }
}
