//! Attachments that the Go plugin made, with what it left in the firewall.

use plumb_tests::{Host, json};

use super::{host, layer3, plugin};

const ID: &str = "c-0123456789abcdef0123456789abcdef";

/// The firewall as bridge 1.9.1 leaves it for two containers: `ipMasq` with both backends, and `macspoofchk`.
fn left_behind(host: &Host) {
    for (container, chain, v4, v6) in [
        (ID, "CNI-b5d3af18ea030eda5aaadfbb", "10.1.0.2", "fd01::2"),
        (
            "other",
            "CNI-aaaaaaaaaaaaaaaaaaaaaaaa",
            "10.1.0.3",
            "fd01::3",
        ),
    ] {
        let comment = format!("-m comment --comment 'name: \"testnet\" id: \"{container}\"'");
        for (tables, address, net, multicast) in [
            ("iptables-nft -w -t nat", v4, "10.1.0.0/24", "224.0.0.0/4"),
            ("ip6tables-nft -w -t nat", v6, "fd01::/64", "ff00::/8"),
        ] {
            host.sh(&format!(
                "{tables} -N {chain}; {tables} -A POSTROUTING -s {address} {comment} -j {chain}
                 {tables} -A {chain} -d {net} {comment} -j ACCEPT; {tables} -A {chain} ! -d {multicast} {comment} -j MASQUERADE"
            ));
        }
        let (spoof, masq) = (
            format!("comment \"macspoofchk-{container}-eth0\""),
            format!(
                "comment \"c5964c6794a1152e-243b2ae045a7f822, net: testnet, if: eth0, id: {container}\""
            ),
        );
        let chain = format!("cni-br-iface-{container}-eth0");
        host.sh(&format!(
            "nft -f - <<'END'
add table bridge nat
add chain bridge nat PREROUTING {{ type filter hook prerouting priority -300; }}
add chain bridge nat {chain}-mac
add chain bridge nat {chain}
add rule bridge nat {chain}-mac ether saddr 02:00:00:00:00:01 return {spoof}
add rule bridge nat {chain}-mac drop {spoof}
add rule bridge nat {chain} jump {chain}-mac {spoof}
add rule bridge nat PREROUTING iifname veth-{v4} jump {chain} {spoof}
add table inet cni_plugins_masquerade
add chain inet cni_plugins_masquerade masq_checks
add rule inet cni_plugins_masquerade masq_checks ip saddr {v4} ip daddr != 10.1.0.0/24 masquerade {masq}
add rule inet cni_plugins_masquerade masq_checks ip6 saddr {v6} ip6 daddr != fd01::/64 masquerade {masq}
END"
        ));
    }
}

#[test]
fn del_takes_what_the_go_plugin_left_of_this_container_alone() {
    for has_result in [false, true] {
        std::thread::scope(|scope| {
            let proof = scope.spawn(|| {
                let (host, _ipam) = host();
                left_behind(&host);
                assert!(host.ruleset().contains(ID), "{}", host.ruleset());
                let conf = layer3(json!({ "ipMasq": true, "macspoofchk": true }));
                let mut call = plugin(&host).netns("");
                if has_result {
                    call = call.previous(&json!({
                        "cniVersion": "1.1.0",
                        "interfaces": [
                            { "name": "br0" }, { "name": "veth12345678" },
                            { "name": "eth0", "sandbox": "/run/netns/gone" },
                        ],
                        "ips": [
                            { "address": "10.1.0.2/24", "interface": 2 }, { "address": "fd01::2/64", "interface": 2 },
                        ],
                    }));
                }
                let container = host.container(ID);
                for _ in 0..2 {
                    call.del(&container, &conf).succeeds();
                }
                let left = [host.ruleset(), host.sh("iptables-nft-save; ip6tables-nft-save")].concat();
                assert!(!left.contains(ID) && !left.contains("CNI-b5d3af18ea030eda5aaadfbb"), "{left}");
                assert!(!left.contains("10.1.0.2") && !left.contains("fd01::2"), "{left}");
                assert!(left.contains("CNI-aaaaaaaaaaaaaaaaaaaaaaaa"), "{left}");
                assert!(left.contains("cni-br-iface-other-eth0-mac"), "{left}");
                assert!(left.contains("if: eth0, id: other"), "{left}");
            });
            proof.join().unwrap();
        });
    }
}

/// What `ipMasq` of bridge 1.9.1 leaves on a host of legacy iptables: a chain for each container, which its interfaces share.
fn left_behind_in_legacy_tables(host: &Host) {
    for (container, chain, addresses) in [
        (
            ID,
            "CNI-b5d3af18ea030eda5aaadfbb",
            ["10.1.0.2", "10.1.0.99", "fd01::2"],
        ),
        (
            "other",
            "CNI-aaaaaaaaaaaaaaaaaaaaaaaa",
            ["10.1.0.3", "10.1.0.98", "fd01::3"],
        ),
    ] {
        let comment = format!("-m comment --comment 'name: \"testnet\" id: \"{container}\"'");
        for tables in ["iptables-legacy -w -t nat", "ip6tables-legacy -w -t nat"] {
            host.sh(&format!(
                "{tables} -N {chain}; {tables} -A {chain} {comment} -j MASQUERADE"
            ));
            for address in addresses {
                if address.contains(':') == tables.starts_with("ip6") {
                    host.sh(&format!(
                        "{tables} -A POSTROUTING -s {address} {comment} -j {chain}"
                    ));
                }
            }
        }
    }
}

fn legacy_tables(host: &Host) -> String {
    host.sh("iptables-legacy-save -t nat; ip6tables-legacy-save -t nat")
}

#[test]
fn del_takes_it_from_legacy_tables_too() {
    let (host, _ipam) = host();
    left_behind_in_legacy_tables(&host);
    let conf = layer3(json!({ "ipMasq": true }));
    let container = host.container(ID);
    let call = plugin(&host).netns("");
    // Of two interfaces the first to go leaves what the other needs.
    let first = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "br0" }, { "name": "veth12345678" },
            { "name": "eth0", "sandbox": "/run/netns/gone" },
        ],
        "ips": [{ "address": "10.1.0.99/24", "interface": 2 }],
    });
    call.clone()
        .previous(&first)
        .del(&container, &conf)
        .succeeds();
    let left = legacy_tables(&host);
    assert!(
        !left.contains("10.1.0.99") && left.contains("10.1.0.2"),
        "{left}"
    );
    assert!(left.contains(":CNI-b5d3af18ea030eda5aaadfbb"), "{left}");
    for _ in 0..2 {
        call.del(&container, &conf).succeeds();
    }
    let left = legacy_tables(&host);
    for gone in [ID, "CNI-b5d3af18ea030eda5aaadfbb", "10.1.0.2", "fd01::2"] {
        assert!(!left.contains(gone), "{left}");
    }
    for stays in ["10.1.0.3", "10.1.0.98", "fd01::3"] {
        assert!(left.contains(stays), "{left}");
    }
    assert_eq!(
        left.matches(":CNI-aaaaaaaaaaaaaaaaaaaaaaaa").count(),
        2,
        "{left}"
    );
}
