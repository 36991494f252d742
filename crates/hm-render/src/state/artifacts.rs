use hm_plugin_protocol::events::{ArtifactPattern, TestSummary};

/// How many artifacts of a build are kept by name: as many as are listed.
pub(super) const LISTED: usize = 10;

/// How many failed tests of a step are kept by name.
const NAMES: usize = 20;

/// How many bytes of a name are kept.
const NAME_BYTES: usize = 1024;

/// A file that a step left for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it was, relative to the workspace.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What a step left for people.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Artifacts {
    /// How many files.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Some of them, as many as are listed of the whole build.
    pub listed: Vec<Artifact>,
    /// How many the first of its patterns have named, where the build's events say it.
    pub patterns: Vec<ArtifactPattern>,
}

impl Artifacts {
    pub(super) fn add(&mut self, path: &str, bytes: u64, list: bool) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if list {
            self.listed.push(Artifact {
                path: cut(path),
                bytes,
            });
        }
    }

    pub(super) fn set_patterns(&mut self, patterns: &[ArtifactPattern]) {
        let kept = patterns.iter().take(LISTED).map(|pattern| ArtifactPattern {
            pattern: cut(&pattern.pattern),
            ..*pattern
        });
        self.patterns = kept.collect();
    }

    /// Adds artifacts that have no names here.
    pub(super) fn add_more(&mut self, count: u64, bytes: u64) {
        self.count = self.count.saturating_add(count);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What the JUnit reports among a step's artifacts say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tests {
    /// How many test cases there are.
    pub total: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were skipped.
    pub skipped: u64,
    /// The names of some that failed, the first ones. They are forgotten when the step has ended well.
    pub failures: Vec<String>,
}

impl Tests {
    /// How many passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.total
            .saturating_sub(self.failed)
            .saturating_sub(self.skipped)
    }

    /// Adds a report, with the names of its failed tests or without.
    pub(super) fn add(&mut self, report: &TestSummary, names: bool) {
        self.total = self.total.saturating_add(report.total);
        self.failed = self.failed.saturating_add(report.failed);
        self.skipped = self.skipped.saturating_add(report.skipped);
        let room = NAMES.saturating_sub(self.failures.len());
        if names {
            self.failures
                .extend(report.failures.iter().take(room).map(|name| cut(name)));
        }
    }

    pub(super) fn add_counts(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

fn cut(name: &str) -> String {
    name[..name.floor_char_boundary(NAME_BYTES)].to_owned()
}
