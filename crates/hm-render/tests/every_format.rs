//! One recorded build, through every renderer.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod record;

use std::io;

use hm_render::{Format, Logs, Options, Style, replay};

fn rendered(format: Format, options: Options) -> String {
    let out = record::Shared::default();
    let mut renderer = format.renderer(out.clone(), options);
    replay(record::failed_build().into_iter().map(Ok), renderer.as_mut()).unwrap();
    out.text()
}

#[test]
fn plain() {
    insta::assert_snapshot!(rendered(Format::Plain, Options::default()));
}

#[test]
fn plain_quiet() {
    insta::assert_snapshot!(rendered(
        Format::Plain,
        Options {
            quiet: true,
            ..Options::default()
        }
    ));
}

#[test]
fn plain_without_hints_or_logs() {
    let options = Options {
        hints: false,
        logs: Some(Logs::Failed),
        ..Options::default()
    };
    insta::assert_snapshot!(rendered(Format::Plain, options));
}

#[test]
fn human_played_back() {
    let options = Options {
        style: Style {
            color: false,
            unicode: true,
        },
        ..Options::default()
    };
    insta::assert_snapshot!(rendered(Format::Human, options));
}

#[test]
fn human_in_color() {
    let options = Options {
        style: Style {
            color: true,
            unicode: true,
        },
        logs: Some(Logs::All),
        ..Options::default()
    };
    insta::assert_snapshot!(rendered(Format::Human, options));
}

#[test]
fn junit() {
    insta::assert_snapshot!(rendered(Format::Junit, Options::default()));
}

#[test]
fn json_is_the_record_itself() {
    let json = rendered(Format::Json, Options::default());
    let read: Vec<_> = hm_render::read_events(json.as_bytes())
        .collect::<io::Result<_>>()
        .unwrap();
    assert_eq!(read, record::failed_build());
    assert_eq!(json.lines().count(), read.len());
}
