//! Every number survives the way there and back.

#[test]
fn every_number_comes_back() {
    for number in 1..=3999 {
        let text = roman::write(number).unwrap();
        assert_eq!(roman::read(&text), Ok(number), "{text}");
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    assert_eq!(roman::write(0), Err(roman::Error::OutOfRange(0)));
    assert_eq!(roman::write(4000), Err(roman::Error::OutOfRange(4000)));
}

#[test]
fn unusual_forms_are_refused() {
    for text in ["", "IIII", "IC", "VX", "MMMM", "abc", "iv"] {
        assert!(roman::read(text).is_err(), "{text}");
    }
}
