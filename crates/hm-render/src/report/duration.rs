/// A duration as a person says it: `7ms`, `1.2s`, `2m03s`, `1h02m03s`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m{:02}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_its_units() {
        let said = [
            0, 7, 999, 1000, 1299, 59_999, 60_000, 123_456, 3_599_999, 3_723_000,
        ]
        .map(duration);
        assert_eq!(
            said,
            [
                "0ms", "7ms", "999ms", "1.0s", "1.2s", "59.9s", "1m00s", "2m03s", "59m59s", "1h02m03s"
            ]
        );
    }
}
