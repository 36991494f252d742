use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use bytes::Bytes;
use hm_vm::SecretValue;
use proptest::prelude::*;

use super::{Scrubber, forms};

fn scrubber(values: &[&[u8]]) -> Scrubber {
    let secrets: BTreeMap<_, _> = values
        .iter()
        .enumerate()
        .map(|(at, value)| (format!("S{at}"), SecretValue::new(*value)))
        .collect();
    Scrubber::new(&secrets).expect("secrets that can be masked")
}

/// What a stream of these chunks becomes.
fn masked(scrubber: &Scrubber, chunks: &[&[u8]]) -> Vec<u8> {
    let mut mask = scrubber.mask();
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&mask.feed(Bytes::copy_from_slice(chunk)));
    }
    out.extend_from_slice(&mask.finish());
    out
}

fn text(scrubber: &Scrubber, text: &str) -> String {
    let whole = scrubber.text(text).into_owned();
    let streamed = masked(scrubber, &[text.as_bytes()]);
    assert_eq!(whole.as_bytes(), streamed, "a text and a stream are masked alike");
    whole
}

#[test]
fn every_form_is_masked() {
    let value = "pa/ss <wörd>\"\\&=";
    let scrubber = scrubber(&[value.as_bytes()]);
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    for form in [
        value.to_owned(),
        STANDARD.encode(value),
        STANDARD.encode(format!("{value}\n")),
        STANDARD_NO_PAD.encode(value),
        URL_SAFE.encode(value),
        hex.to_uppercase(),
        hex,
        "pa%2Fss%20%3Cw%C3%B6rd%3E%22%5C%26%3D".into(),
        "pa%2fss%20%3cw%c3%b6rd%3e%22%5c%26%3d".into(),
        "pa/ss%20%3Cw%C3%B6rd%3E%22%5C%26%3D".into(),
        "pa%2Fss+%3Cw%C3%B6rd%3E%22%5C%26%3D".into(),
        serde_json::to_string(value)
            .expect("JSON")
            .trim_matches('"')
            .to_owned(),
        r#"pa/ss <w\u00f6rd>\"\\&="#.into(),
        r#"pa/ss <w\u00F6rd>\"\\&="#.into(),
        r#"pa\/ss <w\u00f6rd>\"\\&="#.into(),
        r#"pa/ss \u003cwörd\u003e\"\\\u0026="#.into(),
    ] {
        assert_eq!(text(&scrubber, &format!("[{form}]")), "[***]", "{form}");
    }
}

/// What this program prints when it quotes `values`; each of them holds `core`.
fn printed(program: &str, script: &str, values: &[String]) -> String {
    let output = std::process::Command::new(program)
        .args(["-c", script, "quoting"])
        .args(values)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("the program runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn value_quoted_by_real_programs_is_masked() {
    let specials = "'\"\\$`!#&()*,;<>?[]^{|}~ \t%=@:/+-_.é€🚀\n\r\u{1b}\u{7f}\u{b}";
    let mut values: Vec<String> = specials
        .chars()
        .flat_map(|one| [format!("se{one}core{one}cret"), format!("x'se\"{one}core$cret")])
        .collect();
    values.push(format!("se{specials}core{specials}cret"));
    let bytes: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
    let scrubber = scrubber(&bytes);
    let bash = r#"
        for value; do
            printf '%q\n' "$value"; printf '%s\n' "${value@Q}"; declare -p value; export value; export -p | grep -a core
            LC_ALL=C printf '%q\n' "$value"
            (set -x; : "$value"; export value="$value"; [ "$value" = x ]) || :
        done"#;
    let sh = r#"for value; do set -x; : "$value"; set +x; export value; export -p | grep -a core; done"#;
    let python = r#"
import html, json, shlex, sys
from xml.sax.saxutils import escape, quoteattr
for value in sys.argv[1:]:
    print(repr(value), ascii(value), repr(value.encode()), shlex.quote(value), json.dumps(value), sep="\n")
    print(json.dumps({"log": json.dumps({"value": value}, ensure_ascii=False)}, ensure_ascii=False))
    print(escape(value), quoteattr(value), html.escape(value), {"value": [value]}, sep="\n")
"#;
    for (program, script) in [("bash", bash), ("sh", sh), ("python3", python)] {
        let out = printed(program, script, &values);
        assert!(out.contains("core"), "{program}");
        let masked = text(&scrubber, &out);
        let left: Vec<&str> = masked.lines().filter(|line| line.contains("core")).collect();
        assert!(left.is_empty(), "{program}: {left:#?}");
    }
}

#[test]
fn value_without_special_characters_has_no_quoted_forms() {
    let mut plain = std::collections::BTreeSet::new();
    super::quoting::forms(b"ghp_0123456789abcdefABCDEF", &mut |form| {
        plain.insert(form.to_vec());
    });
    assert_eq!(plain.len(), 1);
}

#[test]
fn basic_authentication_is_masked_as_far_as_it_is_determined() {
    let scrubber = scrubber(&[b"correct-horse"]);
    for user in ["u", "us", "use", "a.longer.user"] {
        let encoded = STANDARD.encode(format!("{user}:correct-horse"));
        let masked = text(&scrubber, &encoded);
        let (before, after) = masked.split_once("***").expect("a mask");
        // A character or two hold bits of the user beside those of the secret; nothing is left at the end.
        assert!(
            before.len() <= (user.len() + 1).div_ceil(3) * 4 && after.is_empty(),
            "{masked}"
        );
    }
    let followed = STANDARD.encode("correct-horse:and what follows");
    let masked = text(&scrubber, &followed);
    assert!(
        masked.starts_with("***") && masked.len() < followed.len() - 12,
        "{masked}"
    );
}

#[test]
fn each_line_of_a_longer_value_is_masked_and_short_ones_only_within_the_whole() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n  ab\nqhkiG9w0BAQEFAAS\n-----END KEY-----\n";
    let scrubber = scrubber(&[key.as_bytes()]);
    assert_eq!(
        text(&scrubber, &format!("key:\n{key}next\n")),
        "key:\n***\nnext\n"
    );
    assert_eq!(
        text(&scrubber, "> MIIEvQIBADANBgkq\r\n> ab\r\n> qhkiG9w0BAQEFAAS\r\n"),
        "> ***\r\n> ab\r\n> ***\r\n"
    );
    let wrapped: Vec<u8> = STANDARD
        .encode(key.repeat(4))
        .as_bytes()
        .chunks(76)
        .flat_map(|line| [line, b"\n"].concat())
        .collect();
    let four = self::scrubber(&[key.repeat(4).as_bytes()]);
    let masked = String::from_utf8(masked(&four, &[&wrapped])).expect("text");
    assert!(masked.lines().all(|line| line == "***"), "{masked}");
}

#[test]
fn values_that_overlap_leave_no_end_behind() {
    let scrubber = scrubber(&[b"abcdef", b"defghi", b"cdef"]);
    assert_eq!(text(&scrubber, "<abcdefghi>"), "<***>");
    assert_eq!(
        text(&scrubber, "<abcdef><defghi><cdefcdef>"),
        "<***><***><******>"
    );
    let repeating = self::scrubber(&[b"aaaa"]);
    assert_eq!(text(&repeating, "baaaaaaaaab aaa"), "b***b aaa");
}

#[test]
fn only_the_beginning_of_a_value_is_held_back() {
    let scrubber = scrubber(&[b"hunter22"]);
    let mut mask = scrubber.mask();
    assert_eq!(mask.feed("a line\nhunt".into()), "a line\n");
    assert_eq!(mask.feed("ing season\n".into()), "hunting season\n");
    assert_eq!(mask.feed("my hunter".into()), "my ");
    assert_eq!(mask.feed("22!".into()), "***!");
    assert_eq!(mask.feed("hunter2".into()), "");
    assert_eq!(mask.finish(), "hunter2");
}

#[test]
fn a_value_without_end_is_not_held() {
    let scrubber = scrubber(&[b"aaaaaaaa"]);
    let mut mask = scrubber.mask();
    assert_eq!(mask.feed("aaaaaaaaaaaa".into()), "***");
    for _ in 0..1000 {
        assert_eq!(mask.feed("aaaaaaaa".into()), "");
    }
    assert_eq!(mask.feed("b".into()), "b");
    assert_eq!(mask.finish(), "");
}

#[test]
fn what_cannot_be_masked_is_refused_without_being_shown() {
    for value in [
        "",
        "abc",
        "  abc\n",
        "\n\n\n\n\n",
        "x".repeat(super::LONGEST + 1).as_str(),
    ] {
        let secrets = BTreeMap::from([("TOKEN".to_owned(), SecretValue::new(value.as_bytes()))]);
        let words = Scrubber::new(&secrets).expect_err("refused");
        assert!(words.contains("`TOKEN`"), "{words}");
        assert!(
            value.trim().is_empty() || !words.contains(value.trim()),
            "{words}"
        );
    }
}

#[test]
fn a_run_without_secrets_copies_nothing() {
    let mut mask = Scrubber::default().mask();
    let chunk = Bytes::from_static(b"as it is");
    assert_eq!(mask.feed(chunk.clone()).as_ptr(), chunk.as_ptr());
}

/// What masking means, written in the simplest way: every byte that any form covers, run by run.
fn model(values: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    let mut patterns = std::collections::BTreeSet::new();
    values.iter().for_each(|value| forms::add(value, &mut patterns));
    let mut found: Vec<(usize, usize)> = Vec::new();
    for pattern in &patterns {
        for at in 0..input.len() {
            if input[at..].starts_with(pattern) {
                found.push((at, at + pattern.len()));
            }
        }
    }
    found.sort_unstable();
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (start, end) in found {
        match spans.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => spans.push((start, end)),
        }
    }
    let (mut out, mut done) = (Vec::new(), 0);
    for (start, end) in spans {
        out.extend_from_slice(&input[done..start]);
        out.extend_from_slice(b"***");
        done = end;
    }
    out.extend_from_slice(&input[done..]);
    out
}

/// Few letters, so that values overlap each other and themselves.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop_oneof![Just(b'a'), Just(b'b'), Just(b'='), Just(b'\n'), any::<u8>()];
    prop_oneof![
        prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 4..9),
        prop::collection::vec(letters, 4..24),
    ]
    .prop_filter("long enough, and no mask itself", |value| {
        value.trim_ascii().len() >= super::SHORTEST && !value.contains(&b'*')
    })
}

/// A value in one of its forms, whole or cut, or other text.
fn part(values: usize) -> impl Strategy<Value = (usize, u8, usize, Vec<u8>)> {
    let noise = prop::collection::vec(
        prop_oneof![Just(b'a'), Just(b'b'), Just(b'\n'), Just(b'\r'), any::<u8>()],
        0..6,
    );
    (0..values, any::<u8>(), 0..40_usize, noise)
}

fn encode(value: &[u8], how: u8) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    match how % 8 {
        0 | 1 => value.to_vec(),
        2 => STANDARD.encode(value).into_bytes(),
        3 => STANDARD.encode([b"u:", value].concat()).into_bytes(),
        4 => URL_SAFE.encode([b"us", value, b"\n"].concat()).into_bytes(),
        5 => value
            .iter()
            .flat_map(|byte| format!("%{byte:02X}").into_bytes())
            .collect(),
        6 => serde_json::to_vec(&text).unwrap_or_default(),
        _ => value
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
    }
}

proptest! {
    #[test]
    fn however_it_is_cut_it_is_masked_as_the_whole_is(
        (values, parts) in prop::collection::vec(value(), 1..4).prop_flat_map(|values| {
            let count = values.len();
            (Just(values), prop::collection::vec(part(count), 0..12))
        }),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut input = Vec::new();
        for (which, how, left, noise) in parts {
            let form = encode(&values[which], how);
            input.extend_from_slice(&form[..form.len().saturating_sub(left.saturating_sub(20))]);
            input.extend_from_slice(&noise);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
        let borrowed: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let got = masked(&scrubber(&borrowed), &chunks);
        prop_assert_eq!(&got, &model(&values, &input));
        for value in &values {
            prop_assert!(memchr::memmem::find(&got, value.trim_ascii()).is_none());
        }
    }

    #[test]
    fn text_without_a_secret_comes_through_as_it_is(
        input in prop::collection::vec(prop_oneof![Just(b'Q'), Just(b'\n'), 0x80u8..=0xff, b'a'..=b'f'], 0..400),
        size in 1..50_usize,
    ) {
        let scrubber = scrubber(&[b"QQQQQQ-secret", b"fedcba-QQ"]);
        let chunks: Vec<&[u8]> = input.chunks(size).collect();
        prop_assert_eq!(masked(&scrubber, &chunks), input);
    }
}
