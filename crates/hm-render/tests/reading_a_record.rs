//! What a record may hold: newer kinds, a line cut off by a kill, damage.

use std::io;

use hm_plugin_protocol::events::BuildEvent;
use hm_render::read_events;

const END: &str = r#"{"kind":"build_end","exit_code":0,"duration_ms":1}"#;

fn read(record: &str) -> io::Result<Vec<BuildEvent>> {
    read_events(record.as_bytes()).collect()
}

#[test]
fn kinds_of_a_newer_version_are_skipped() {
    let record = format!("{{\"kind\":\"step_mood\",\"mood\":1}}\n\n{END}\n");
    assert_eq!(
        read(&record).unwrap(),
        [BuildEvent::BuildEnd {
            exit_code: 0,
            duration_ms: 1
        }]
    );
}

#[test]
fn a_line_that_was_cut_off_ends_the_record() {
    assert_eq!(read(&format!("{END}\n{}", &END[..20])).unwrap().len(), 1);
    assert_eq!(read(END).unwrap().len(), 1);
    assert_eq!(read("").unwrap().len(), 0);
}

#[test]
fn damage_is_named_with_its_line() {
    for damage in ["nonsense", "{\"kind\":\"build_end\"}", "[]", "{}", "{\"kind\":7}"] {
        let error = read(&format!("{END}\n{damage}\n{END}\n")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("line 2 of the record is not a build event"),
            "{damage}: {error}"
        );
    }
}
