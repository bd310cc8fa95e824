//! Results read and written in every form.

use super::*;
use crate::error::Error;
use crate::json::Problems;

fn try_read(text: &str) -> Result<Attachment, Error> {
    let json = Json::parse(text.as_bytes())?;
    let problems = Problems::default();
    let attachment = Attachment::read(&Object::root(&json, &problems)?);
    problems.finish()?;
    Ok(attachment)
}

fn read(text: &str) -> Attachment {
    try_read(text).unwrap()
}

const FULL: &str = r#"{"cniVersion":"1.1.0",
    "interfaces":[{"name":"br0","mac":"02:00:00:00:00:01"},
                  {"name":"eth0","mac":"02:00:00:00:00:02","mtu":1400,"sandbox":"/run/netns/c1"}],
    "ips":[{"interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"},
           {"interface":1,"address":"fd00::5/64"}],
    "routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1300,"advmss":1200,"priority":5,"table":1000,"scope":0},
              {"dst":"fd01::/64"}],
    "dns":{"nameservers":["10.1.0.1"],"domain":"x.test","search":["y.test"],"options":["ndots:1"]}}"#;

#[test]
fn a_result_comes_back_as_it_was() {
    let attachment = read(FULL);
    for version in [SpecVersion::V1_0_0, SpecVersion::V1_1_0] {
        assert_eq!(read(&attachment.to_json(version).to_line()), attachment);
    }
}

#[test]
fn from_0_3_0_to_0_4_0_addresses_say_their_version_and_links_have_no_mtu() {
    let json = read(FULL).to_json(SpecVersion::V0_4_0).to_line();
    assert!(
        json.contains(
            r#"{"version":"4","interface":1,"address":"10.1.0.5/16","gateway":"10.1.0.1"}"#
        ),
        "{json}"
    );
    assert!(
        json.contains(r#"{"version":"6","interface":1,"address":"fd00::5/64"}"#),
        "{json}"
    );
    assert!(!json.contains("\"mtu\":1400"), "{json}");
    assert!(
        json.contains("\"mtu\":1300"),
        "the route keeps its own: {json}"
    );
}

#[test]
fn before_0_3_0_each_family_has_one_object() {
    let json = read(FULL).to_json(SpecVersion::V0_2_0).to_line();
    assert_eq!(
        json,
        r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}]},"ip6":{"ip":"fd00::5/64","routes":[{"dst":"fd01::/64"}]},"dns":{"nameservers":["10.1.0.1"],"domain":"x.test","search":["y.test"],"options":["ndots:1"]}}"#
    );
    let back = read(&json);
    assert_eq!(back.ips.len(), 2);
    assert_eq!(back.routes.len(), 2);
}

#[test]
fn an_empty_result_has_a_version_and_before_1_0_0_an_empty_dns() {
    let empty = Attachment::default();
    assert_eq!(
        empty.to_json(SpecVersion::V1_1_0).to_line(),
        r#"{"cniVersion":"1.1.0"}"#
    );
    assert_eq!(
        empty.to_json(SpecVersion::V0_4_0).to_line(),
        r#"{"cniVersion":"0.4.0","dns":{}}"#
    );
    assert_eq!(
        empty.to_json(SpecVersion::V0_1_0).to_line(),
        r#"{"cniVersion":"0.1.0","dns":{}}"#
    );
}

#[test]
fn two_addresses_of_a_family_do_not_fit_before_0_3_0() {
    let two = read(r#"{"ips":[{"address":"10.1.0.5/16"},{"address":"10.2.0.5/16"}]}"#);
    assert!(two.fits(SpecVersion::V0_2_0).unwrap_err().contains("0.2.0"));
    assert!(two.fits(SpecVersion::V0_3_0).is_ok());
    assert!(read(FULL).fits(SpecVersion::V0_1_0).is_ok());
    assert!(Attachment::default().fits(SpecVersion::V0_2_0).is_err());
    assert!(Attachment::default().fits(SpecVersion::V0_3_0).is_ok());
}

#[test]
fn faults_name_their_place() {
    for (text, message) in [
        (
            r#"{"ips":[{"address":"10.1.0.5"}]}"#,
            "ips[0].address: \"10.1.0.5\" is not an address with a prefix length, such as 10.1.2.3/24",
        ),
        (
            r#"{"ips":[{}]}"#,
            "ips[0].address: is missing; an address with a prefix length is wanted",
        ),
        (
            r#"{"ips":[{"address":"10.1.0.5/16","interface":0}]}"#,
            "ips[0].interface: 0 must be the place of one of the 0 interfaces",
        ),
        (
            r#"{"routes":[{"dst":"10.0.0.0/8","gw":"fd00::1"}]}"#,
            "routes[0].gw: \"fd00::1\" must be of the family of dst, IPv4",
        ),
    ] {
        assert_eq!(try_read(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn an_empty_gateway_is_none() {
    let attachment = read(
        r#"{"ips":[{"address":"10.1.0.5/16","gateway":""}],"routes":[{"dst":"0.0.0.0/0","gw":""}]}"#,
    );
    assert_eq!(attachment.ips[0].gateway, None);
    assert_eq!(attachment.routes[0].gw, None);
}
