//! The forms in which shells and languages quote a value: a trace (`set -x`), `printf %q`, `declare -p`, a `repr`, XML.
//!
//! A value of letters and digits has none of them beside itself, and adds nothing to what is searched for.

use std::fmt::Write;

/// What a program writes in place of single bytes; all others stay as they are.
#[derive(Clone, Copy)]
struct Quoting {
    replaced: &'static [(u8, &'static str)],
    /// Those that get a backslash.
    backslashed: &'static [u8],
    control: Other,
    /// Bytes beyond ASCII.
    high: Other,
}

/// How bytes are written that have no name.
#[derive(Clone, Copy, PartialEq)]
enum Other {
    Same,
    /// `\033`
    Octal,
    /// `\x1b`
    Hex,
    /// `\x1B`
    UpperHex,
    /// `\u{1b}`
    Braces,
}

const SAME: Quoting = Quoting {
    replaced: &[],
    backslashed: b"",
    control: Other::Same,
    high: Other::Same,
};

const C_NAMES: &[(u8, &str)] = &[(b'\\', "\\\\"), (b'\n', "\\n"), (b'\r', "\\r"), (b'\t', "\\t")];

/// As `$'...'` names them.
const ANSI_NAMES: &[(u8, &str)] = &[
    (b'\\', "\\\\"),
    (b'\'', "\\'"),
    (0x07, "\\a"),
    (0x08, "\\b"),
    (0x1b, "\\E"),
    (0x0c, "\\f"),
    (b'\n', "\\n"),
    (b'\r', "\\r"),
    (b'\t', "\\t"),
    (0x0b, "\\v"),
];

const QUOTINGS: &[Quoting] = &[
    // Within '...': bash, zsh, `${x@Q}` and coreutils; then dash, busybox and Python's `shlex`.
    Quoting {
        replaced: &[(b'\'', "'\\''")],
        ..SAME
    },
    Quoting {
        replaced: &[(b'\'', "'\"'\"'")],
        ..SAME
    },
    // coreutils, where a line breaks.
    Quoting {
        replaced: &[
            (b'\'', "'\\''"),
            (b'\n', "'$'\\n''"),
            (b'\r', "'$'\\r''"),
            (b'\t', "'$'\\t''"),
        ],
        ..SAME
    },
    // `$'...'`, in any locale.
    Quoting {
        replaced: ANSI_NAMES,
        control: Other::Octal,
        ..SAME
    },
    Quoting {
        replaced: ANSI_NAMES,
        control: Other::Octal,
        high: Other::Octal,
        ..SAME
    },
    // `printf %q` of bash, and with what zsh adds.
    Quoting {
        backslashed: b"\t !\"$&'()*,;<>?[\\]^`{|}",
        ..SAME
    },
    Quoting {
        backslashed: b"\t !\"#$&'()*,;<>?[\\]^`{|}~",
        ..SAME
    },
    Quoting {
        backslashed: b"\t !\"#$&'()*;<=>?[\\]^`{|}~",
        ..SAME
    },
    // Within "...": `declare -p` and everybody who writes for a shell; Perl and Ruby.
    Quoting {
        backslashed: b"\"\\$`",
        ..SAME
    },
    Quoting {
        backslashed: b"\"\\$@",
        ..SAME
    },
    // Literals: of quotes either one, or both, or none has a backslash.
    Quoting {
        backslashed: b"'\\",
        ..SAME
    },
    Quoting {
        backslashed: b"\"\\",
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        control: Other::Hex,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"'",
        control: Other::Hex,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"\"",
        control: Other::Hex,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"'\"",
        control: Other::Hex,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        control: Other::Hex,
        high: Other::Hex,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"'",
        control: Other::Hex,
        high: Other::Hex,
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"\"",
        control: Other::Hex,
        high: Other::Hex,
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"'",
        control: Other::UpperHex,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"\"",
        control: Other::Braces,
        ..SAME
    },
    Quoting {
        replaced: C_NAMES,
        backslashed: b"\"",
        control: Other::Octal,
        high: Other::Octal,
    },
    // Doubled: SQL, YAML and PowerShell; CSV; make and compose files.
    Quoting {
        replaced: &[(b'\'', "''")],
        ..SAME
    },
    Quoting {
        replaced: &[(b'"', "\"\"")],
        ..SAME
    },
    Quoting {
        replaced: &[(b'$', "$$")],
        ..SAME
    },
];

/// Adds every form in which a value is quoted.
pub(super) fn forms(value: &[u8], add: &mut impl FnMut(&[u8])) {
    for quoting in QUOTINGS {
        add(&quoting.of(value));
    }
    xml(value, add);
    if let Ok(text) = std::str::from_utf8(value) {
        for quote in ["", "'", "\""] {
            add(python_ascii(text, quote).as_bytes());
        }
    }
}

impl Quoting {
    fn of(&self, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(value.len() + 16);
        for byte in value {
            if let Some((_, text)) = self.replaced.iter().find(|(of, _)| of == byte) {
                out.extend_from_slice(text.as_bytes());
            } else if self.backslashed.contains(byte) {
                out.extend_from_slice(&[b'\\', *byte]);
            } else {
                let other = match byte {
                    0..=0x1f | 0x7f => self.control,
                    0x80.. => self.high,
                    _ => Other::Same,
                };
                other.write(*byte, &mut out);
            }
        }
        out
    }
}

impl Other {
    fn write(self, byte: u8, out: &mut Vec<u8>) {
        let text = match self {
            Self::Same => return out.push(byte),
            Self::Octal => format!("\\{byte:03o}"),
            Self::Hex => format!("\\x{byte:02x}"),
            Self::UpperHex => format!("\\x{byte:02X}"),
            Self::Braces => format!("\\u{{{byte:x}}}"),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// How blanks that are no space stand in XML.
const BREAKS: [[&str; 3]; 4] = [
    ["\n", "\t", "\r"],
    ["&#10;", "&#9;", "&#13;"],
    ["&#xA;", "&#x9;", "&#xD;"],
    ["&#xa;", "&#x9;", "&#xd;"],
];

/// As text and as an attribute: `&` and `<` always, the rest by the writer's taste.
fn xml(value: &[u8], add: &mut impl FnMut(&[u8])) {
    for greater in [">", "&gt;"] {
        for double in ["\"", "&quot;", "&#34;"] {
            for single in ["'", "&apos;", "&#39;", "&#x27;", "&#039;"] {
                for [newline, tab, cr] in BREAKS {
                    let mut out = Vec::with_capacity(value.len() + 16);
                    for byte in value {
                        let text = match byte {
                            b'&' => "&amp;",
                            b'<' => "&lt;",
                            b'>' => greater,
                            b'"' => double,
                            b'\'' => single,
                            b'\n' => newline,
                            b'\t' => tab,
                            b'\r' => cr,
                            _ => {
                                out.push(*byte);
                                continue;
                            }
                        };
                        out.extend_from_slice(text.as_bytes());
                    }
                    add(&out);
                }
            }
        }
    }
}

/// As Python's `ascii` has it, with a backslash before the quotes in `quotes`.
fn python_ascii(text: &str, quotes: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let code = u32::from(character);
        let _ = match character {
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            _ if quotes.contains(character) => write!(out, "\\{character}"),
            ' '..='~' => write!(out, "{character}"),
            _ if code <= 0xff => write!(out, "\\x{code:02x}"),
            _ if code <= 0xffff => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out
}
