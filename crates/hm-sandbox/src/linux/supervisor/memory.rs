//! How much memory steps may have, and whether the kernel ran out of it.

/// What is left to everything else of the machine: a sixteenth, within these.
const LEAST_RESERVE: u64 = 64 << 20;
const MOST_RESERVE: u64 = 1 << 30;

/// What all steps of a run together may have, when nobody says: what is available, and half of the machine in any case, less
/// a reserve.
pub(super) fn bound() -> Option<u64> {
    of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn of(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    let total = field("MemTotal:")?;
    let available = field("MemAvailable:")?.max(total / 2);
    let reserve = (total / 16).clamp(LEAST_RESERVE, MOST_RESERVE);
    available
        .checked_sub(reserve)
        .filter(|bound| *bound > LEAST_RESERVE)
}

/// How many processes the kernel has killed on the whole machine for want of memory.
pub(super) fn kills() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let kills = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 20;

    fn bound_of(total: u64, available: u64) -> Option<u64> {
        of(&format!(
            "MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"
        ))
    }

    #[test]
    fn memory_bound_leaves_a_reserve() {
        assert_eq!(bound_of(32 * GIB, 30 * GIB), Some(29 << 30));
        assert_eq!(bound_of(8 * GIB, GIB), Some((4 << 30) - (512 << 20)));
        assert_eq!(bound_of(GIB / 8, GIB / 8), None);
        assert_eq!(of(""), None);
    }
}
