//! How overlays are mounted, and by which attributes they mark what a layer hides.

use std::sync::OnceLock;

/// Whose attributes overlayfs marks files by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// An ordinary user's. Without root the kernel neither renames directories of lower layers nor keeps hard links
    /// together.
    User,
    /// Root's, of this machine and not of a user namespace.
    Trusted,
}

impl Marks {
    /// What this process's overlays use.
    #[must_use]
    pub fn of_process() -> Self {
        static MARKS: OnceLock<Marks> = OnceLock::new();
        *MARKS.get_or_init(|| {
            let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let all_ids = map.split_whitespace().eq(["0", "0", "4294967295"]);
            if rustix::process::geteuid().is_root() && all_ids {
                Self::Trusted
            } else {
                Self::User
            }
        })
    }

    /// The options of a mount. A lower layer may change between mounts only while no upper one holds redirects, indexes
    /// or the like: what a sealed layer would hold of them is settled when it is sealed.
    #[must_use]
    pub const fn options(self) -> &'static str {
        match self {
            // `userxattr` turns `redirect_dir` and `metacopy` off too.
            Self::User => "userxattr,index=off,xino=off",
            Self::Trusted => "redirect_dir=on,index=on,metacopy=off,xino=off",
        }
    }

    /// The names of the attribute in use and of the one that means an opaque directory in it.
    #[must_use]
    pub const fn opaque(self) -> &'static str {
        match self {
            Self::User => "user.overlay.opaque",
            Self::Trusted => "trusted.overlay.opaque",
        }
    }

    /// The name of the attribute by which a file that was copied up knows its lower one.
    #[must_use]
    pub const fn origin(self) -> &'static str {
        match self {
            Self::User => "user.overlay.origin",
            Self::Trusted => "trusted.overlay.origin",
        }
    }

    /// The name of the attribute of a whiteout that is an ordinary file.
    #[must_use]
    pub const fn whiteout(self) -> &'static str {
        match self {
            Self::User => "user.overlay.whiteout",
            Self::Trusted => "trusted.overlay.whiteout",
        }
    }
}
