//! What an entry's name means: where it goes, or what it hides.

use super::error::{UnpackError, shown};

/// A path within the image, taken apart: no part of it is empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names(Vec<Vec<u8>>);

/// What an entry's name means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing: the root itself, or the notes of an old storage driver.
    Nowhere,
    /// Something goes here.
    Here(Names),
    /// What the layers below have here is gone.
    Whiteout(Names),
    /// All that the layers below have in this directory is gone; `None`: in the root.
    Opaque(Option<Names>),
}

const LONGEST: usize = 255;

impl Names {
    /// Takes a path apart; nothing is left of one that means the root.
    pub(super) fn of(path: &[u8]) -> Result<Option<Self>, UnpackError> {
        let refused = |why: &str| Err(UnpackError::Refused(format!("{} {why}", shown(path))));
        if path.starts_with(b"/") {
            return refused("is an absolute path");
        }
        let mut names = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return refused("leads out of the image"),
                _ if name.len() > LONGEST => {
                    return Err(UnpackError::TooMuch(format!(
                        "the name {} is too long",
                        shown(path)
                    )));
                }
                _ => names.push(name.to_vec()),
            }
        }
        Ok((!names.is_empty()).then_some(Self(names)))
    }

    /// The last name.
    pub(super) fn last(&self) -> &[u8] {
        self.0.last().map_or(b"", Vec::as_slice)
    }

    /// The directory that it is in; empty for the root.
    pub(super) fn parent(&self) -> Vec<u8> {
        self.0[..self.0.len() - 1].join(&b'/')
    }

    /// The whole path.
    pub(super) fn path(&self) -> Vec<u8> {
        self.0.join(&b'/')
    }

    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Whether it lies in the root's directory of that name.
    pub(super) fn is_below(&self, top: &[u8]) -> bool {
        self.0.len() > 1 && self.0[0] == top
    }

    fn above(&self) -> Option<Self> {
        let above = &self.0[..self.0.len() - 1];
        (!above.is_empty()).then(|| Self(above.to_vec()))
    }
}

impl Place {
    /// What a name means in a layer.
    pub(super) fn in_layer(path: &[u8]) -> Result<Self, UnpackError> {
        let Some(mut names) = Names::of(path)? else {
            return Ok(Self::Nowhere);
        };
        let refused = || {
            Err(UnpackError::Refused(format!(
                "{} hides nothing that could be",
                shown(path)
            )))
        };
        let (last, directories) = match names.0.split_last() {
            Some((last, directories)) => (last.clone(), directories),
            None => return Ok(Self::Nowhere),
        };
        if directories.iter().any(|name| name.starts_with(b".wh..wh.")) {
            return Ok(Self::Nowhere);
        }
        if directories.iter().any(|name| name.starts_with(b".wh.")) {
            return refused();
        }
        Ok(match last.strip_prefix(b".wh.") {
            None => Self::Here(names),
            Some(b".wh..opq") => Self::Opaque(names.above()),
            Some(hidden) if hidden.starts_with(b".wh.") => Self::Nowhere,
            Some(b"" | b"." | b"..") => return refused(),
            Some(hidden) => {
                let hidden = hidden.to_vec();
                names.0.pop();
                names.0.push(hidden);
                Self::Whiteout(names)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_something_goes_or_what_is_gone() {
        let names = |path: &str| Names::of(path.as_bytes()).ok().flatten();
        let here = |path| names(path).map(Place::Here);
        for (path, place) in [
            ("./etc//passwd", here("etc/passwd")),
            ("./", Some(Place::Nowhere)),
            ("etc/.wh.passwd", names("etc/passwd").map(Place::Whiteout)),
            ("etc/.wh..wh..opq", Some(Place::Opaque(names("etc")))),
            (".wh..wh..opq", Some(Place::Opaque(None))),
            (".wh..wh.plnk/1.2", Some(Place::Nowhere)),
            (".wh..wh.aufs", Some(Place::Nowhere)),
            ("a.wh.b", here("a.wh.b")),
            ("/etc/passwd", None),
            ("etc/../../passwd", None),
            ("..", None),
            ("etc/.wh..", None),
            ("etc/.wh...", None),
            ("etc/.wh.", None),
            (".wh.etc/passwd", None),
        ] {
            assert_eq!(Place::in_layer(path.as_bytes()).ok(), place, "{path}");
        }
        assert!(Names::of(&[b'a'; 256]).is_err());
    }
}
