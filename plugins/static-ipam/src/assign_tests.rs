//! Sources and their precedence, as tables of values.

use cni_common::config::{Configuration, Input};
use cni_common::env::Command;
use cni_common::error::Error;
use cni_common::json::{Json, Object, Problems};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

use super::*;
use crate::config::Config;

/// What a container `c1` gets; `conf` is the outermost object.
fn assign_c1(conf: &str, args: &str) -> Result<Attachment, Error> {
    let json = Json::parse(conf.as_bytes())?;
    let problems = Problems::default();
    let container = ContainerId::parse("c1").map_err(|e| Error::new(Code::Io, e.to_string()))?;
    let config = Config::read(&Input {
        object: Object::root(&json, &problems)?,
        args: &CniArgs::parse(args),
        container: Some(&container),
        version: SpecVersion::NEWEST,
        command: Command::Add,
    });
    problems.finish()?;
    Ok(config.assigned)
}

/// The addresses and gateways, as `address gateway, …`.
#[track_caller]
fn gets(conf: &str, args: &str, expected: &str) {
    let assigned = assign_c1(conf, args).unwrap_or_else(|error| panic!("{conf} {args}: {error}"));
    let ips: Vec<String> = assigned
        .ips
        .iter()
        .map(|ip| match ip.gateway {
            Some(gateway) => format!("{} {gateway}", ip.address),
            None => ip.address.to_string(),
        })
        .collect();
    assert_eq!(ips.join(", "), expected, "{conf} {args}");
}

#[track_caller]
fn refused(conf: &str, args: &str, code: u32, words: &str) {
    let error = match assign_c1(conf, args) {
        Ok(assigned) => panic!("{conf} {args} is accepted: {:?}", assigned.ips),
        Err(error) => error,
    };
    assert_eq!(error.code().number(), code, "{error}");
    assert!(
        error.to_string().contains(words),
        "{error:?} has no {words:?}"
    );
}

const TWO: &str = r#"{"ipam":{"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"},{"address":"fd00::5/64"}]}}"#;

#[test]
fn the_networks_addresses_are_taken_as_they_stand() {
    gets(TWO, "", "10.1.0.5/24 10.1.0.1, fd00::5/64");
    gets(
        r#"{"ipam":{"addresses":[{"address":"10.1.0.5/24","gateway":""}]}}"#,
        "",
        "10.1.0.5/24",
    );
    gets(r#"{"ipam":{"addresses":null}}"#, "", "");
    gets(
        r#"{"IPAM":{"Addresses":[{"ADDRESS":"10.1.0.5/24"}]}}"#,
        "",
        "10.1.0.5/24",
    );
}

#[test]
fn ip_of_the_arguments_joins_them() {
    gets(
        TWO,
        "IP=10.2.0.9/16",
        "10.1.0.5/24 10.1.0.1, fd00::5/64, 10.2.0.9/16",
    );
    gets(
        r#"{"ipam":{}}"#,
        "IP=10.2.0.9/16,fd02::9/64;GATEWAY=fd02::1,10.2.0.1",
        "10.2.0.9/16 10.2.0.1, fd02::9/64 fd02::1",
    );
    gets(TWO, "IP=10.1.0.5/24", "10.1.0.5/24 10.1.0.1, fd00::5/64");
}

#[test]
fn a_gateway_of_the_arguments_holds_for_every_address_in_its_subnet() {
    gets(
        TWO,
        "GATEWAY=fd00::1",
        "10.1.0.5/24 10.1.0.1, fd00::5/64 fd00::1",
    );
    refused(
        TWO,
        "GATEWAY=10.9.0.1",
        4,
        "CNI_ARGS: GATEWAY: \"10.9.0.1\" is in the subnet of none",
    );
}

#[test]
fn args_replace_the_addresses_and_capabilities_the_args() {
    let args = r#"{"args":{"cni":{"ips":["10.1.0.7/24"]}},"ipam":{"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}]}}"#;
    gets(args, "IP=10.1.0.6/24", "10.1.0.7/24 10.1.0.1");
    let both = r#"{"runtimeConfig":{"ips":["10.1.0.8/24","fd00::8/64"]},"args":{"cni":{"ips":["10.1.0.7/24"]}},"ipam":{}}"#;
    gets(both, "IP=10.1.0.6/24", "10.1.0.8/24, fd00::8/64");
}

#[test]
fn a_bare_address_takes_the_prefix_of_the_smallest_subnet_told() {
    gets(
        TWO,
        "IP=10.1.0.6",
        "10.1.0.5/24 10.1.0.1, fd00::5/64, 10.1.0.6/24 10.1.0.1",
    );
    let capability = r#"{"runtimeConfig":{"ips":["10.7.3.12","fd07::77"]},"ipam":{"subnets":["10.0.0.0/8",{"subnet":"10.7.0.0/16","gateway":"10.7.0.1"},{"gateway":"fd07::1/64"}]}}"#;
    gets(capability, "", "10.7.3.12/16 10.7.0.1, fd07::77/64 fd07::1");
    refused(
        r#"{"ipam":{}}"#,
        "IP=10.1.0.6",
        4,
        "CNI_ARGS: IP: \"10.1.0.6\" has no prefix length",
    );
    refused(
        r#"{"ipam":{},"runtimeConfig":{"ips":["10.1.0.6"]}}"#,
        "",
        7,
        "runtimeConfig.ips[0]: ",
    );
}

#[test]
fn a_declared_gateway_is_not_given_to_itself() {
    let conf = r#"{"ipam":{"subnets":[{"subnet":"10.7.0.0/16","gateway":"10.7.0.1"}],"assignments":{"c1":"10.7.0.1","c2":"10.7.0.2"}}}"#;
    gets(conf, "", "10.7.0.1/16");
}

const NAMED: &str = r#"{"ipam":{"addresses":[{"address":"10.1.0.99/24"}],
    "assignments":{
        "c1":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}],
        "web":"10.1.0.6/24",
        "prod/db":{"addresses":["10.1.0.7/24"],"routes":[{"dst":"10.8.0.1/8"}],"dns":{"domain":"x.test"}},
        "NODE=r1":{"address":"10.1.0.8/24","gateway":"10.1.0.1"}}}}"#;

/// The same, without the entry for the container's id.
fn named() -> String {
    NAMED.replace("\"c1\":", "\"c9\":")
}

#[test]
fn an_assignment_replaces_the_addresses() {
    gets(NAMED, "", "10.1.0.5/24 10.1.0.1");
    gets(&named(), "", "10.1.0.99/24");
    gets(
        &named(),
        "K8S_POD_NAME=web;K8S_POD_NAMESPACE=any",
        "10.1.0.6/24",
    );
    gets(
        &named(),
        "K8S_POD_NAME=db;K8S_POD_NAMESPACE=prod",
        "10.1.0.7/24",
    );
    gets(
        &named(),
        "K8S_POD_NAME=db;K8S_POD_NAMESPACE=test",
        "10.1.0.99/24",
    );
    gets(&named(), "NODE=r1", "10.1.0.8/24 10.1.0.1");
    gets(&named(), "NODE=r2", "10.1.0.99/24");
}

#[test]
fn an_assignment_brings_its_routes_and_resolver() {
    let assigned = assign_c1(&named(), "K8S_POD_NAME=db;K8S_POD_NAMESPACE=prod").unwrap();
    assert_eq!(assigned.routes.len(), 1);
    assert_eq!(
        assigned.routes[0].dst.to_string(),
        "10.0.0.0/8",
        "host bits are cleared"
    );
    assert_eq!(assigned.dns.domain.as_deref(), Some("x.test"));
}

#[test]
fn arguments_and_capabilities_win_over_an_assignment() {
    gets(NAMED, "IP=10.1.0.50/24", "10.1.0.50/24 10.1.0.1");
    gets(
        &NAMED.replacen('{', r#"{"runtimeConfig":{"ips":["10.1.0.51"]},"#, 1),
        "IP=10.1.0.50/24",
        "10.1.0.51/24 10.1.0.1",
    );
}

#[test]
fn two_assignments_for_one_container_are_refused() {
    refused(
        NAMED,
        "K8S_POD_NAME=web",
        7,
        "both \"c1\" and \"web\" match this container",
    );
}

#[test]
fn with_assignments_only_others_get_nothing() {
    let only = NAMED.replace(
        "\"assignments\"",
        "\"assignmentsOnly\":true,\"assignments\"",
    );
    gets(&only, "", "10.1.0.5/24 10.1.0.1");
    let only = only.replace("\"c1\":", "\"c9\":");
    refused(
        &only,
        "K8S_POD_NAME=x;K8S_POD_NAMESPACE=y",
        7,
        "none of the assignments is for c1 or x or y/x",
    );
    refused(&only, "IP=10.1.0.50/24", 7, "ipam.assignmentsOnly");
}

#[test]
fn keys_named_by_assignments_are_known_arguments() {
    gets(&named(), "NODE=r1", "10.1.0.8/24 10.1.0.1");
    refused(TWO, "NODE=r1", 4, "key \"NODE\" is unknown");
    gets(
        TWO,
        "NODE=r1;IgnoreUnknown=1",
        "10.1.0.5/24 10.1.0.1, fd00::5/64",
    );
}

#[test]
fn a_gateway_must_be_reachable_and_somebody_else() {
    let conf = |address: &str, gateway: &str, routes: &str| {
        format!(
            r#"{{"ipam":{{"addresses":[{{"address":"{address}","gateway":"{gateway}"}}],"routes":[{routes}]}}}}"#
        )
    };
    refused(
        &conf("10.1.0.5/24", "10.1.0.5", ""),
        "",
        7,
        "is the container's own address",
    );
    refused(
        &conf("10.1.0.5/24", "10.2.0.1", ""),
        "",
        7,
        "is in no subnet of the container",
    );
    refused(
        &conf("10.1.0.5/32", "10.1.0.1", r#"{"dst":"10.1.0.1/32"}"#),
        "",
        7,
        "scope 253",
    );
    gets(
        &conf(
            "10.1.0.5/32",
            "10.1.0.1",
            r#"{"dst":"10.1.0.1/32","scope":253}"#,
        ),
        "",
        "10.1.0.5/32 10.1.0.1",
    );
    gets(
        &conf("10.1.0.4/31", "10.1.0.5", ""),
        "",
        "10.1.0.4/31 10.1.0.5",
    );
    gets(&conf("fd00::5/64", "fe80::1", ""), "", "fd00::5/64 fe80::1");
    refused(
        &conf("10.1.0.5/24", "fd00::1", ""),
        "",
        7,
        "must be of the family of the address, IPv4",
    );
}

#[test]
fn addresses_that_no_container_can_have_are_refused() {
    for (address, words) in [
        ("0.0.0.0/8", "is the unspecified address"),
        ("::/64", "is the unspecified address"),
        ("224.0.0.1/24", "is a multicast address"),
        ("ff02::1/64", "is a multicast address"),
        ("127.0.0.5/8", "is a loopback address"),
        ("::1/128", "is a loopback address"),
        ("10.1.0.255/24", "is the broadcast address"),
        ("10.1.0.5/33", "is not an address with a prefix length"),
        ("10.1.0", "is not an IPv4 or IPv6 address"),
    ] {
        let conf = format!(r#"{{"ipam":{{"addresses":[{{"address":"{address}"}}]}}}}"#);
        refused(&conf, "", 7, words);
        refused(&conf, "", 7, "ipam.addresses[0].address: ");
    }
}

#[test]
fn one_address_with_two_prefixes_is_refused() {
    refused(
        TWO,
        "IP=10.1.0.5/16",
        4,
        "\"10.1.0.5/16\" is given as 10.1.0.5/24 as well",
    );
}

#[test]
fn all_faults_are_named_at_once() {
    let conf = r#"{"ipam":{"addresses":[{"address":"zz"},{}],"routes":[{"dst":"10.0.0.0"}],"subnets":[{}],"assignmentsOnly":"yes"}}"#;
    let error = assign_c1(conf, "").unwrap_err();
    assert_eq!(error.code(), Code::Decode);
    for place in [
        "addresses[0].address",
        "addresses[1].address",
        "routes[0].dst",
        "subnets[0].subnet",
        "assignmentsOnly",
    ] {
        assert!(
            error.to_string().contains(&format!("ipam.{place}: ")),
            "{error}: no {place}"
        );
    }
}

#[test]
fn without_ipam_the_key_is_named() {
    refused("{}", "", 7, "ipam: is missing");
    refused(
        r#"{"ipam":"static"}"#,
        "",
        6,
        "ipam: \"static\" is a string, where an object is wanted",
    );
}
