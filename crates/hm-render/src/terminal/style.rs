use std::fmt;

/// What the reader's terminal can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Colors.
    pub color: bool,
    /// More than ASCII in what hm itself says.
    pub unicode: bool,
}

impl Style {
    /// The usual rules: no color off a terminal, under `NO_COLOR` or with `TERM=dumb`, yet always under `CLICOLOR_FORCE`; unicode where
    /// the locale is UTF-8. `get` looks an environment variable up.
    pub fn detect(is_terminal: bool, get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let forced = get("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let dumb = get("TERM").is_some_and(|term| term == "dumb");
        let color = get("NO_COLOR").is_none() && (forced || (is_terminal && !dumb));
        let locale = get("LC_ALL")
            .or_else(|| get("LC_CTYPE"))
            .or_else(|| get("LANG"))
            .unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            color,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    pub(crate) fn paint<T: fmt::Display>(self, paint: Paint, text: T) -> Painted<T> {
        Painted {
            code: if self.color { paint.code() } else { "" },
            text,
        }
    }

    /// A sign before a line, in its color.
    pub(crate) fn sign(self, sign: Sign) -> Painted<&'static str> {
        let (unicode, ascii, paint) = match sign {
            Sign::Good => ("✓", "+", Paint::Good),
            Sign::Bad => ("✗", "x", Paint::Bad),
            Sign::Warn => ("!", "!", Paint::Warn),
            Sign::Skip => ("-", "-", Paint::Dim),
            Sign::Start => ("▸", ">", Paint::Dim),
        };
        self.paint(paint, if self.unicode { unicode } else { ascii })
    }
}

/// A color's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Good,
    Bad,
    Warn,
    Dim,
    Bold,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Warn => "\x1b[33m",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
        }
    }
}

/// A sign's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Good,
    Bad,
    Warn,
    Skip,
    Start,
}

/// Text in a color, or as it is where there are none.
pub(crate) struct Painted<T> {
    code: &'static str,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            self.text.fmt(f)
        } else {
            write!(f, "{}{}\x1b[0m", self.code, self.text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(is_terminal: bool, env: &[(&str, &str)]) -> Style {
        Style::detect(is_terminal, |name| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn color_follows_terminal_and_wishes() {
        assert!(detect(true, &[]).color);
        assert!(!detect(false, &[]).color);
        assert!(!detect(true, &[("NO_COLOR", "1")]).color);
        assert!(detect(true, &[("NO_COLOR", "")]).color);
        assert!(!detect(true, &[("TERM", "dumb")]).color);
        assert!(detect(false, &[("CLICOLOR_FORCE", "1")]).color);
        assert!(!detect(false, &[("CLICOLOR_FORCE", "0")]).color);
    }

    #[test]
    fn unicode_follows_the_first_locale_that_is_set() {
        assert!(detect(true, &[("LANG", "en_US.UTF-8")]).unicode);
        assert!(!detect(true, &[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]).unicode);
        assert!(detect(true, &[("LC_CTYPE", "C.utf8")]).unicode);
        assert!(!detect(true, &[]).unicode);
    }
}
