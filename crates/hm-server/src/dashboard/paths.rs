//! Where pages are.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &PLAIN).to_string()
}

/// Where an organization's page is.
pub(super) fn org_path(org: &str) -> String {
    format!("/{}", encoded(org))
}

/// Where a pipeline's page is.
pub(super) fn pipeline_path(org: &str, pipeline: &str) -> String {
    format!("/{}/{}", encoded(org), encoded(pipeline))
}

/// Where a build's page is.
pub(super) fn build_path(org: &str, pipeline: &str, number: i64) -> String {
    format!("{}/builds/{number}", pipeline_path(org, pipeline))
}
