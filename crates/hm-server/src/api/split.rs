//! Taking the source archive out of a build's JSON as it streams in.
//!
//! The published API carries an archive as base64 in a string of the JSON body. Held in memory, that would be as large as
//! the archive is, several times over. So the value of the top-level key `source_b64` is decoded as it comes, and what
//! stays is the rest of the object, with an empty string in its place.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const KEY: &[u8] = b"\"source_b64\"";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why the body cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    #[error("`source_b64` is not base64")]
    NotBase64,
    #[error("the body ends within `source_b64`")]
    Unfinished,
    #[error("the body is longer than it may be without its source archive")]
    TooLong,
}

/// Where in the JSON text we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between tokens, or in a number or word.
    Between,
    /// In a string that stays; `true` behind a backslash.
    Text(bool),
    /// In the archive's string.
    Archive,
    /// Behind a backslash in it.
    Escape,
    /// In `\uXXXX` in it: digits so far, and their value.
    Unicode(u8, u32),
}

/// A body being taken apart.
pub(super) struct Splitter {
    most: usize,
    at: At,
    depth: usize,
    /// The string that was last read at depth 1, when it may be a key.
    key: Option<Vec<u8>>,
    /// A colon has followed it.
    colon: bool,
    rest: Vec<u8>,
    /// Base64 characters that wait for their group of four.
    group: Vec<u8>,
    /// Nothing may follow the padding.
    padded: bool,
}

impl Splitter {
    /// Keeps at most this much of the rest.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            at: At::Between,
            depth: 0,
            key: None,
            colon: false,
            rest: Vec::new(),
            group: Vec::new(),
            padded: false,
        }
    }

    /// Takes a piece of the body, and gives the piece of the archive that was in it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SplitError> {
        let mut archive = Vec::new();
        for byte in bytes {
            self.take(*byte)?;
            if self.group.len() >= 4096 {
                self.decode(&mut archive)?;
            }
        }
        let whole = self.group.len() / 4 * 4;
        let tail = self.group.split_off(whole);
        self.decode(&mut archive)?;
        self.group = tail;
        if self.rest.len() > self.most {
            return Err(SplitError::TooLong);
        }
        Ok(archive)
    }

    /// The archive's last piece, and the rest of the body.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Vec<u8>), SplitError> {
        if !matches!(self.at, At::Between) {
            return Err(SplitError::Unfinished);
        }
        let mut archive = Vec::new();
        self.decode(&mut archive)?;
        Ok((archive, self.rest))
    }

    fn decode(&mut self, archive: &mut Vec<u8>) -> Result<(), SplitError> {
        if self.group.is_empty() {
            return Ok(());
        }
        if self.padded {
            return Err(SplitError::NotBase64);
        }
        self.padded = self.group.last() == Some(&b'=') || !self.group.len().is_multiple_of(4);
        BASE64
            .decode_vec(&self.group, archive)
            .map_err(|_| SplitError::NotBase64)?;
        self.group.clear();
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), SplitError> {
        match self.at {
            At::Between => self.between(byte),
            At::Text(escaped) => {
                self.rest.push(byte);
                if let Some(key) = self.key.as_mut().filter(|key| key.len() <= KEY.len()) {
                    key.push(byte);
                }
                self.at = match byte {
                    b'"' if !escaped => At::Between,
                    b'\\' => At::Text(!escaped),
                    _ => At::Text(false),
                };
            }
            At::Archive => match byte {
                b'"' => {
                    self.rest.push(b'"');
                    self.at = At::Between;
                }
                b'\\' => self.at = At::Escape,
                byte => self.group.push(byte),
            },
            At::Escape => {
                self.at = match byte {
                    b'/' => {
                        self.group.push(b'/');
                        At::Archive
                    }
                    b'u' => At::Unicode(0, 0),
                    _ => return Err(SplitError::NotBase64),
                };
            }
            At::Unicode(digits, value) => {
                let digit = char::from(byte).to_digit(16).ok_or(SplitError::NotBase64)?;
                let value = value * 16 + digit;
                self.at = At::Unicode(digits + 1, value);
                if digits == 3 {
                    self.group
                        .push(u8::try_from(value).map_err(|_| SplitError::NotBase64)?);
                    self.at = At::Archive;
                }
            }
        }
        Ok(())
    }

    fn between(&mut self, byte: u8) {
        self.rest.push(byte);
        match byte {
            b'"' if self.colon && self.key.as_deref() == Some(KEY) => self.at = At::Archive,
            b'"' => {
                self.key = (self.depth == 1 && !self.colon).then(|| vec![byte]);
                self.at = At::Text(false);
            }
            b':' if self.depth == 1 => self.colon = true,
            b',' if self.depth == 1 => self.colon = false,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(body: &[u8], piece: usize) -> Result<(Vec<u8>, Value), SplitError> {
        let mut splitter = Splitter::new(1 << 20);
        let mut archive = Vec::new();
        for piece in body.chunks(piece) {
            archive.extend(splitter.feed(piece)?);
        }
        let (last, rest) = splitter.finish()?;
        archive.extend(last);
        Ok((archive, serde_json::from_slice(&rest).unwrap_or(Value::Null)))
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_is_whole(
            archive in prop::collection::vec(any::<u8>(), 0..10_000),
            text in ".*",
            key in "[a-z\"\\\\_:,{}]{0,14}",
            piece in 1_usize..5_000,
            escape: bool,
        ) {
            let b64 = STANDARD.encode(&archive);
            let body = json!({"a": text, "source_b64": b64, key.clone(): {"source_b64": "inner", "x": ["source_b64", text]}});
            let mut body = serde_json::to_string(&body).unwrap();
            if escape {
                body = body.replace(&b64, &b64.replace('/', "\\/").replace('=', "\\u003d").replace('+', "\\u002B"));
            }
            let (taken, rest) = split(body.as_bytes(), piece).unwrap();
            prop_assert_eq!(taken, archive);
            if key != "a" {
                prop_assert_eq!(&rest["a"], &json!(text));
            }
            prop_assert_eq!(&rest["source_b64"], &json!(""));
            prop_assert_eq!(&rest[&key]["x"], &json!(["source_b64", text]));
            prop_assert_eq!(&rest[&key]["source_b64"], &json!("inner"));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..500), piece in 1_usize..50) {
            let _ = split(&body, piece);
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for value in ["a", "ab=c", "ab==cd==", "a\\nb", "Ł", "\\u0141bcd", "!!!!"] {
            let body = format!("{{\"source_b64\":\"{value}\"}}");
            assert_eq!(split(body.as_bytes(), 3), Err(SplitError::NotBase64), "{value}");
        }
        assert_eq!(split(b"{\"source_b64\":\"AAAA", 3), Err(SplitError::Unfinished));
    }

    #[test]
    fn other_values_stay() {
        let (archive, rest) = split(b"{\"source_b64\" : null, \"b\":1}", 2).unwrap();
        assert_eq!((archive, rest), (vec![], json!({"source_b64": null, "b": 1})));
    }

    #[test]
    fn the_rest_is_bounded_and_the_archive_is_not() {
        let mut splitter = Splitter::new(100);
        splitter.feed(b"{\"source_b64\":\"").unwrap();
        for _ in 0..100 {
            assert_eq!(splitter.feed(&[b'A'; 4000]).unwrap().len(), 3000);
            assert!(splitter.rest.len() + splitter.group.len() < 100);
        }
        splitter.feed(b"\",").unwrap();
        assert_eq!(splitter.feed(&[b' '; 100]), Err(SplitError::TooLong));
    }
}
