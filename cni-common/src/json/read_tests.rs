//! What the reader accepts, and how it complains.

use super::*;
use crate::addr::{Cidr, Mac};

fn read<T>(text: &str, with: impl FnOnce(&Object<'_>) -> T) -> (T, Result<(), Error>) {
    let json = Json::parse(text.as_bytes()).unwrap();
    let problems = Problems::default();
    let value = with(&Object::root(&json, &problems).unwrap());
    (value, problems.finish())
}

#[test]
fn keys_match_in_any_case_and_the_last_counts() {
    let (bridge, ok) = read(r#"{"bridge":"a","BRIDGE":"z","Bridge":"b"}"#, |o| {
        o.string("bridge").map(str::to_owned)
    });
    assert_eq!(bridge.as_deref(), Some("b"));
    assert_eq!(ok, Ok(()));
}

#[test]
fn null_is_absent_and_leaves_an_earlier_duplicate() {
    let (read_, ok) = read(r#"{"mtu":1400,"mtu":null,"x":null}"#, |o| {
        (
            o.unsigned("mtu", 9000),
            o.get("x").is_none(),
            o.find("x").is_some(),
        )
    });
    assert_eq!(read_, (Some(1400), true, true));
    assert_eq!(ok, Ok(()));
}

#[test]
fn an_empty_string_is_no_address() {
    let (gateway, ok) = read(r#"{"gateway":""}"#, |o| o.parse::<Cidr>("gateway"));
    assert_eq!(gateway, None);
    assert_eq!(ok, Ok(()));
}

#[test]
fn all_faults_are_reported_at_once_with_path_and_value() {
    let text = r#"{"ipam":{"mtu":99999,"on":"yes","macs":["zz"]}}"#;
    let ((), failed) = read(text, |o| {
        let ipam = o.object("ipam").unwrap();
        ipam.unsigned("mtu", 65535);
        ipam.flag("on");
        for mac in ipam.items("macs") {
            mac.parse::<Mac>();
        }
    });
    let failed = failed.unwrap_err();
    assert_eq!(failed.code(), Code::Decode);
    assert_eq!(
        failed.to_string(),
        "ipam.mtu: 99999 must be between 0 and 65535; \
         ipam.on: \"yes\" is a string, where true or false is wanted; \
         ipam.macs[0]: \"zz\" is not a MAC address, such as 02:00:00:00:00:01"
    );
}

#[test]
fn an_impossible_value_has_code_7_and_an_unsupported_one_code_2() {
    let ((), refused) = read(r#"{"a":5}"#, |o| {
        o.get("a").unwrap().unsupported("is not built");
    });
    assert_eq!(refused.unwrap_err().code(), Code::Unsupported);
    let ((), refused) = read(r#"{"a":5}"#, |o| {
        o.get("a").unwrap().unsupported("is not built");
        o.refuse("b", "is missing");
    });
    assert_eq!(refused.unwrap_err().code(), Code::InvalidConfig);
}

#[test]
fn a_fraction_is_no_whole_number() {
    let (number, failed) = read(r#"{"mtu":1500.0}"#, |o| o.unsigned("mtu", 9000));
    assert_eq!(number, None);
    assert_eq!(failed.unwrap_err().code(), Code::Decode);
}

#[test]
fn what_is_not_one_document_is_refused() {
    for text in ["", "{", "{} {}", "{\"a\":}", "\u{feff}{}"] {
        assert_eq!(
            Json::parse(text.as_bytes()).unwrap_err().code(),
            Code::Decode,
            "{text:?}"
        );
    }
    let problems = Problems::default();
    for text in ["[]", "3", "null", "\"x\""] {
        let json = Json::parse(text.as_bytes()).unwrap();
        assert!(Object::root(&json, &problems).is_err(), "{text}");
    }
}
