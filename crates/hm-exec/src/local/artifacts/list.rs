//! What an event says of a step's artifacts.

use std::path::Path;

use globset::GlobBuilder;
use hm_plugin_protocol::events::{Artifact as ListedArtifact, ArtifactPattern, MoreArtifacts, TestSummary};

use super::store::Artifact;

/// About how many bytes of an event its list takes: a server keeps no event above 1 MiB, and ten thousand files have more.
const LIST_BYTES: usize = 128 * 1024;
/// What an artifact takes on top of its texts.
const ENTRY_BYTES: usize = 128;

/// The most patterns of a step that are counted, and the longest of them: what is of no use to a person is of none here.
const PATTERNS: usize = 100;
const PATTERN_BYTES: usize = 1024;

/// The artifacts that an event lists, what the others are together, and what each pattern has named.
pub(in crate::local) type Listed = (Vec<ListedArtifact>, Option<MoreArtifacts>, Vec<ArtifactPattern>);

/// Lists artifacts, the first of them where there are too many.
pub(super) fn listed(artifacts: &[Artifact], patterns: &[&str]) -> Listed {
    let (mut list, mut left) = (Vec::new(), LIST_BYTES);
    let mut rest = artifacts.iter();
    let mut more = MoreArtifacts::default();
    for artifact in rest.by_ref() {
        let names = artifact.tests.iter().flat_map(|tests| &tests.failures);
        let texts = artifact.path.len() + artifact.digest.len() + names.map(String::len).sum::<usize>();
        let Some(less) = left.checked_sub(ENTRY_BYTES + texts) else {
            add(&mut more, artifact);
            break;
        };
        left = less;
        list.push(ListedArtifact {
            path: artifact.path.clone(),
            bytes: artifact.bytes,
            digest: artifact.digest.clone(),
            tests: artifact.tests.clone(),
        });
    }
    rest.for_each(|artifact| add(&mut more, artifact));
    (
        list,
        (more.count > 0).then_some(more),
        counted(artifacts, patterns),
    )
}

/// Counts each artifact for the first pattern that names it. A pattern that names nothing is left out.
fn counted(artifacts: &[Artifact], patterns: &[&str]) -> Vec<ArtifactPattern> {
    let mut counts: Vec<_> = patterns
        .iter()
        .filter(|pattern| pattern.len() <= PATTERN_BYTES)
        .take(PATTERNS)
        .map(|pattern| (taker(pattern), ArtifactPattern::default(), *pattern))
        .collect();
    for artifact in artifacts {
        let path = Path::new(&artifact.path);
        if let Some((_, count, pattern)) = counts.iter_mut().find(|(takes, ..)| takes(path)) {
            let is_first = count.count == 0;
            count.pattern = if is_first { &artifact.path } else { *pattern }.to_owned();
            count.count += 1;
            count.bytes = count.bytes.saturating_add(artifact.bytes);
        }
    }
    let counts = counts.into_iter().map(|(_, count, _)| count);
    counts.filter(|count| count.count > 0).collect()
}

fn add(more: &mut MoreArtifacts, artifact: &Artifact) {
    more.count += 1;
    more.bytes = more.bytes.saturating_add(artifact.bytes);
    if let Some(tests) = &artifact.tests {
        let all = more.tests.get_or_insert_with(TestSummary::default);
        all.total = all.total.saturating_add(tests.total);
        all.failed = all.failed.saturating_add(tests.failed);
        all.skipped = all.skipped.saturating_add(tests.skipped);
    }
}

/// Tells whether a pattern names a path, or a directory above it. Made once for all paths: there may be thousands.
pub(super) fn taker(pattern: &str) -> impl Fn(&Path) -> bool + use<> {
    let parts: Vec<&str> = pattern
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let glob = GlobBuilder::new(&parts.join("/"))
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher());
    // `.` is all of it.
    let is_all = parts.is_empty();
    move |path| {
        is_all
            || glob
                .as_ref()
                .is_ok_and(|glob| path.ancestors().any(|path| glob.is_match(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(path: String, tests: Option<TestSummary>) -> Artifact {
        Artifact {
            step: "build".into(),
            path,
            bytes: 2,
            digest: "d".repeat(64),
            executable: false,
            tests,
        }
    }

    #[test]
    fn ten_thousand_artifacts_fit_one_event_and_all_are_counted() {
        let tests = TestSummary {
            total: 3,
            failed: 1,
            skipped: 0,
            failures: vec!["adds".into()],
        };
        let many: Vec<_> = (0..10_000)
            .map(|n| artifact(format!("out/{n}"), Some(tests.clone())))
            .collect();
        let (list, more, patterns) = listed(&many, &["none/*", "./out", "out/*"]);
        let all = ArtifactPattern {
            pattern: "./out".into(),
            count: 10_000,
            bytes: 20_000,
        };
        assert_eq!(patterns, [all]);
        let more = more.unwrap_or_default();
        assert!(list.len() > 500);
        assert_eq!(list.len() as u64 + more.count, 10_000);
        assert_eq!(more.bytes, more.count * 2);
        assert_eq!(more.tests.map(|tests| tests.failed), Some(more.count));
        let json = serde_json::to_string(&list).unwrap_or_default();
        assert!(json.len() < 512 * 1024, "{}", json.len());
    }

    #[test]
    fn few_artifacts_are_all_listed() {
        let few = ["a.txt", "b.txt", "c"].map(|path| artifact(path.into(), None));
        let (list, more, patterns) = listed(&few, &["*.txt", "?"]);
        assert_eq!((list.len(), more), (3, None));
        // The only file of a pattern is named itself.
        let named: Vec<_> = patterns
            .iter()
            .map(|count| (count.pattern.as_str(), count.count))
            .collect();
        assert_eq!(named, [("*.txt", 2), ("c", 1)]);
    }
}
