//! Times for people.

use chrono::{DateTime, SecondsFormat, Utc};

/// A moment: exactly, and as people say it.
pub(super) struct Moment {
    pub(super) exact: String,
    pub(super) said: String,
}

impl Moment {
    pub(super) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            exact: exact(at),
            said: ago(at, now),
        }
    }
}

/// As `<time datetime>` takes it.
pub(super) fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// How long ago something was. `base.js` says the same.
fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    match seconds {
        ..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "yesterday".to_owned(),
        172_800..2_592_000 => format!("{} days ago", seconds / 86_400),
        _ => at.format("%-d %b %Y").to_string(),
    }
}

/// How long something took. `base.js` says the same.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Milliseconds between two moments, none where they are the wrong way round.
pub(super) fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let said = |seconds| ago(now - TimeDelta::seconds(seconds), now);
        let all: Vec<_> = [-5, 3, 59, 61, 7300, 90_000, 200_000].map(said).into();
        let expected = [
            "just now",
            "just now",
            "59 s ago",
            "1 min ago",
            "2 h ago",
            "yesterday",
            "2 days ago",
        ];
        assert_eq!(all, expected);
        assert_eq!(said(40 * 86_400), "5 Oct 2023");
        let took: Vec<_> = [7, 1234, 12_999, 61_000, 3_700_000].map(duration).into();
        assert_eq!(took, ["7 ms", "1.2 s", "12 s", "1 min 1 s", "1 h 1 min"]);
    }
}
