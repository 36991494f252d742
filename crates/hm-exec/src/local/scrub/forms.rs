//! The forms in which a program is likely to print a secret.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::SHORTEST;
use super::quoting;

/// The columns at which programs break base64: MIME and `base64(1)`, PEM.
const COLUMNS: [usize; 2] = [76, 64];

/// Adds every form of a value.
///
/// Blanks around a value or a line are no part of it: a file's last newline is not secret, and masking it would join
/// two lines of a log.
pub(super) fn add(value: &[u8], patterns: &mut BTreeSet<Vec<u8>>) {
    let value = value.trim_ascii();
    encoded(value, patterns);
    let lines: Vec<&[u8]> = value
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .collect();
    if lines.len() > 1 {
        for line in lines {
            encoded(line, patterns);
        }
    }
}

fn encoded(value: &[u8], patterns: &mut BTreeSet<Vec<u8>>) {
    if value.len() < SHORTEST {
        return;
    }
    let mut add = |form: &[u8]| {
        if form.len() >= SHORTEST {
            patterns.insert(form.to_vec());
        }
    };
    add(value);
    base64(value, &mut add);
    hexadecimal(value, &mut add);
    url(value, &mut add);
    quoting::forms(value, &mut add);
    if let Ok(text) = std::str::from_utf8(value) {
        json(text, &mut add);
    }
}

/// At each of the three places within a group of three bytes: what the value alone determines, and, where it ends
/// what was encoded (or a newline does), the rest of it.
fn base64(value: &[u8], add: &mut impl FnMut(&[u8])) {
    for before in 0..3_usize {
        // The first characters hold bits of what stands before, the last one of what comes behind.
        let first = (before * 8).div_ceil(6);
        let known = (before + value.len()) * 8 / 6;
        let bytes = [&vec![0; before], value].concat();
        let with_newline = [bytes.as_slice(), b"\n"].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&bytes);
            add(part(&text, first..known));
            add(part(&text, first..text.len()));
            add(part(text.trim_end_matches('='), first..text.len()));
            let text = engine.encode(&with_newline);
            add(part(&text, first..text.len()));
            if before == 0 {
                for column in COLUMNS.into_iter().filter(|column| *column < text.len()) {
                    for at in (0..text.len()).step_by(column) {
                        add(part(&text, at..at + column));
                    }
                    for at in (0..known).step_by(column) {
                        add(part(&text, at..known.min(at + column)));
                    }
                }
            }
        }
    }
}

fn part(text: &str, range: std::ops::Range<usize>) -> &[u8] {
    let bytes = text.as_bytes();
    let end = range.end.min(bytes.len());
    bytes.get(range.start..end).unwrap_or_default()
}

fn hexadecimal(value: &[u8], add: &mut impl FnMut(&[u8])) {
    let mut text = String::with_capacity(value.len() * 2);
    for byte in value {
        let _ = write!(text, "{byte:02x}");
    }
    add(text.as_bytes());
    add(text.to_ascii_uppercase().as_bytes());
}

/// What the encoders in use leave as it is beside letters and digits: RFC 3986, Python's `quote`, JavaScript's
/// `encodeURIComponent` and `encodeURI`, and forms, which write a blank as `+`.
fn url(value: &[u8], add: &mut impl FnMut(&[u8])) {
    for (kept, plus) in [
        ("-_.~", false),
        ("-_.~/", false),
        ("-_.!~*'()", false),
        ("-_.!~*'();/?:@&=+$,#", false),
        ("-_.~", true),
        ("-_.*", true),
    ] {
        let mut lower = String::with_capacity(value.len());
        let mut upper = String::with_capacity(value.len());
        for byte in value {
            if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte) {
                lower.push(char::from(*byte));
                upper.push(char::from(*byte));
            } else if *byte == b' ' && plus {
                lower.push('+');
                upper.push('+');
            } else {
                let _ = write!(lower, "%{byte:02x}");
                let _ = write!(upper, "%{byte:02X}");
            }
        }
        add(lower.as_bytes());
        add(upper.as_bytes());
    }
}

/// As it stands in JSON: with the characters beyond ASCII as they are or escaped, with what HTML knows escaped (Go)
/// or not, with `/` escaped (PHP) or not.
fn json(text: &str, add: &mut impl FnMut(&[u8])) {
    for ascii in [false, true] {
        for html in [false, true] {
            for slash in [false, true] {
                for upper in [false, true] {
                    add(escaped(text, ascii, html, slash, upper).as_bytes());
                }
            }
        }
    }
    // A document in a string of another one, as in logs that are JSON.
    let once = escaped(text, false, false, false, false);
    add(escaped(&once, false, false, false, false).as_bytes());
}

fn escaped(text: &str, ascii: bool, html: bool, slash: bool, upper: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if slash => out.push_str("\\/"),
            '<' | '>' | '&' if html => unicode(character as u16, upper, &mut out),
            '\0'..='\u{1f}' => unicode(character as u16, upper, &mut out),
            '\u{80}'.. if ascii => {
                for unit in character.encode_utf16(&mut units) {
                    unicode(*unit, upper, &mut out);
                }
            }
            other => out.push(other),
        }
    }
    out
}

fn unicode(unit: u16, upper: bool, out: &mut String) {
    let _ = if upper {
        write!(out, "\\u{unit:04X}")
    } else {
        write!(out, "\\u{unit:04x}")
    };
}
