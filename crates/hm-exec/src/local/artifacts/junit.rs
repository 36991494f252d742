//! Sums up JUnit reports. A report is read once from front to end: nothing in it can make that cost more than its size.

use hm_plugin_protocol::events::TestSummary;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A larger file is kept, but not read.
pub(super) const LARGEST: u64 = 32 << 20;

/// How many names of failed tests are kept.
const NAMES: usize = 100;
/// How many characters of a name are kept.
const NAME_CHARS: usize = 300;

/// A test case that has begun.
struct Case {
    depth: usize,
    name: String,
    failed: bool,
    skipped: bool,
}

/// What a report says; nothing where the text is no report. Entities that the text itself declares are not expanded.
pub(super) fn summary(text: &[u8], mask: impl Fn(&str) -> String) -> Option<TestSummary> {
    let mut reader = Reader::from_reader(text);
    let mut sum = TestSummary::default();
    let mut depth = 0_usize;
    let mut begun = false;
    let mut case: Option<Case> = None;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let (element, empty) = match reader.read_event_into(&mut buffer).ok()? {
            Event::Eof => return (begun && depth == 0).then_some(sum),
            Event::End(_) => {
                depth = depth.checked_sub(1)?;
                if let Some(ended) = case.take_if(|case| case.depth == depth) {
                    count(&mut sum, ended, &mask);
                }
                continue;
            }
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            _ => continue,
        };
        match (element.local_name().as_ref(), &mut case) {
            (b"testsuites" | b"testsuite", None) => begun = true,
            // The root element is another one.
            _ if !begun => return None,
            (b"testcase", None) => {
                let begun = Case {
                    depth,
                    name: name(&element),
                    failed: false,
                    skipped: false,
                };
                if empty {
                    count(&mut sum, begun, &mask);
                } else {
                    case = Some(begun);
                }
            }
            (b"failure" | b"error", Some(case)) if case.depth + 1 == depth => case.failed = true,
            (b"skipped", Some(case)) if case.depth + 1 == depth => case.skipped = true,
            _ => {}
        }
        if !empty {
            depth += 1;
        }
    }
}

fn count(sum: &mut TestSummary, case: Case, mask: impl Fn(&str) -> String) {
    sum.total += 1;
    if case.failed {
        sum.failed += 1;
        if sum.failures.len() < NAMES {
            // Masked before it is cut: what is left of a value could not be found.
            sum.failures
                .push(mask(&case.name).chars().take(NAME_CHARS).collect());
        }
    } else if case.skipped {
        sum.skipped += 1;
    }
}

/// `classname::name`, or what there is of it.
fn name(element: &BytesStart<'_>) -> String {
    let attribute = |name: &str| {
        let attribute = element.try_get_attribute(name).ok()??;
        let text = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_or_else(
                |_| String::from_utf8_lossy(&attribute.value).into_owned(),
                std::borrow::Cow::into_owned,
            );
        (!text.is_empty()).then_some(text)
    };
    let parts: Vec<String> = ["classname", "name"].into_iter().filter_map(attribute).collect();
    let name = parts.join("::");
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}
