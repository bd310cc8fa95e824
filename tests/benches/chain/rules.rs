//! A firewall as it is with many containers, without the containers: the elements and rules that each of them would have,
//! written in one go. One container is attached before, by the plugins themselves, so that all else is there.

use std::fmt::Write;
use std::fs;

use plumb_tests::Host;

use crate::chain::{Chain, address};

/// Where ours keeps what `masquerade reload` needs.
const FILES: &str = "/var/lib/cni/masquerade";

/// Makes the firewall of a chain's host what it would be with containers of these numbers attached.
pub(crate) fn preload(host: &Host, chain: &Chain, numbers: std::ops::Range<usize>) {
    let addresses: Vec<String> = numbers.map(address).collect();
    match chain.name {
        "plumb" => {
            elements(host, &addresses);
            files(&addresses);
        }
        "go nft+firewall" => {
            let mut script = String::new();
            for (number, address) in addresses.iter().enumerate() {
                let _ = writeln!(
                    script,
                    "add rule inet cni_plugins_masquerade masq_checks ip saddr {address} ip daddr != 10.64.0.0/16 masquerade \
                     comment \"7c40fa3d8d19ebc9-{number:016x}, net: bench, if: eth0, id: x{address}\""
                );
            }
            host.feed(["nft", "-f", "-"], &script);
            accepts(host, &addresses);
        }
        "go ipt+firewall" => {
            chains(host, &addresses);
            accepts(host, &addresses);
        }
        _ => chains(host, &addresses),
    }
}

/// Our set's members.
fn elements(host: &Host, addresses: &[String]) {
    let listed = host.exec(["nft", "list", "sets", "table", "inet", "plumb"]);
    let set = listed
        .lines()
        .find_map(|line| line.trim().strip_prefix("set ")?.strip_suffix(" {"))
        .expect("a set");
    let members: Vec<String> = addresses
        .iter()
        .enumerate()
        .map(|(number, address)| {
            format!("{address} comment \"plumb1 {number:016x} bench/x{number}/eth0\"")
        })
        .collect();
    let line = format!("add element inet plumb {set} {{ {} }}", members.join(", "));
    host.feed(["nft", "-f", "-"], &line);
}

/// Our files: a copy of the real one for each.
fn files(addresses: &[String]) {
    let mut entries = fs::read_dir(FILES).expect("the directory").flatten();
    let first = entries.next().expect("the first container's file").path();
    let text = fs::read(&first).unwrap();
    let name = first.file_name().unwrap().to_str().unwrap();
    let parts: Vec<&str> = name.splitn(4, '-').collect();
    for (number, address) in addresses.iter().enumerate() {
        let octets: Vec<&str> = address.split('.').collect();
        let hash = format!("{number:08x}{:0>4}{:0>4}", octets[2], octets[3]);
        let name = format!("{}-{}-{hash}-{}", parts[0], parts[1], parts[3]);
        fs::write(format!("{FILES}/{name}"), &text).unwrap();
    }
}

/// The chains of `ipMasq`.
fn chains(host: &Host, addresses: &[String]) {
    let (mut heads, mut rules) = (String::new(), String::new());
    for (number, address) in addresses.iter().enumerate() {
        let octets: Vec<&str> = address.split('.').collect();
        let name = format!("CNI-{number:016x}{:0>4}{:0>4}", octets[2], octets[3]);
        let comment =
            format!("-m comment --comment \"name: \\\"bench\\\" id: \\\"x{address}\\\"\"");
        let _ = writeln!(heads, ":{name} - [0:0]");
        let _ = writeln!(rules, "-A POSTROUTING -s {address}/32 {comment} -j {name}");
        let _ = writeln!(rules, "-A {name} -d 10.64.0.0/16 {comment} -j ACCEPT");
        let _ = writeln!(rules, "-A {name} ! -d 224.0.0.0/4 {comment} -j MASQUERADE");
    }
    let script = format!("*nat\n{heads}{rules}COMMIT\n");
    host.feed(["iptables-restore", "--noflush"], &script);
}

/// The rules of `firewall`.
fn accepts(host: &Host, addresses: &[String]) {
    let mut rules = String::new();
    for address in addresses {
        let _ = writeln!(
            rules,
            "-A CNI-FORWARD -d {address}/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A CNI-FORWARD -s {address}/32 -j ACCEPT"
        );
    }
    let script = format!("*filter\n{rules}COMMIT\n");
    host.feed(["iptables-restore", "--noflush"], &script);
}
