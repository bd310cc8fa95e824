//! Hosts whose firewall is legacy iptables.

use std::fs;

use plumb_tests::{Container, Host, Plugin, at_once, binaries, conf, json};

use super::world::{
    INTERNET, SECOND, SILENCE, UPLINK, World, kept_out, nf_call, seen, seen_by_datagram,
    seen_within,
};

const DROPPING: &str = "iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP";

pub(crate) fn world() -> World {
    let world = World::new();
    nf_call(&world.host, true);
    world.host.sh(DROPPING);
    world
}

/// What both families have, without what varies.
pub(crate) fn saved(host: &Host) -> Vec<String> {
    let text = host.sh("iptables-legacy-save; ip6tables-legacy-save");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(" [").next().unwrap_or_default().to_owned())
        .collect()
}

/// Tables come into being when they are first used, and stay.
pub(crate) fn rules(host: &Host) -> Vec<String> {
    let own = |line: &String| line.starts_with("-A") || line.contains(" - ");
    saved(host).into_iter().filter(own).collect()
}

#[test]
fn a_network_passes_and_is_translated() {
    let world = world();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    world.add(&c1, &first, json!({})).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        for container in [&c1, &c2] {
            let tcp = seen(container, &world.internet, outside);
            assert_eq!(tcp.as_deref(), Some(uplink));
            let udp = seen_by_datagram(container, &world.internet, outside);
            assert_eq!(udp.as_deref(), Some(uplink));
        }
    }
    assert_eq!(seen(&c1, &c2, "10.77.0.3").as_deref(), Some("10.77.0.2"));
    kept_out(&world.internet, &c1, "10.77.0.2");
    kept_out(&world.internet, &c1, "fd77::2");
    // Nothing is in nftables.
    assert_eq!(world.host.ruleset(), "");
    let check = world.plugin().previous(&first);
    check.check(&c1, conf("masquerade", json!({}))).succeeds();
    world
        .plugin()
        .status(conf("masquerade", json!({})))
        .succeeds();

    let once = saved(&world.host);
    world.add(&c1, &first, json!({})).succeeds();
    assert_eq!(saved(&world.host), once);
    world.del(&c1).succeeds();
    // It is not translated any more.
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some("10.77.0.2")
    );
    assert!(seen(&c2, &world.internet, INTERNET[0]).is_some());
    world.del(&c2).succeeds();
    assert_eq!(rules(&world.host), Vec::<String>::new());
}

#[test]
fn all_settings_hold_there() {
    let world = world();
    world.bridge("br2", &["10.78.0.1/16"]);
    let (c1, first) = world.with_container("c1");
    let c2 = world.host.container("c2");
    let second = world.join(&c2, "eth0", "br2", &["10.78.0.2/16"]);
    c2.sh("ip route add default via 10.78.0.1");
    let keys = json!({
        "forward": "stateful", "toSource": SECOND, "clampMss": 1200, "ingressPolicy": "same-bridge",
        "exclude": ["203.0.113.200/32", "198.51.100.0/24"], "sources": ["10.90.0.0/16", "fd90::/48"],
        "iptablesAdminChainName": "EXCEPTIONS", "restoreSysctls": true,
    });
    world.add(&c1, &first, keys.clone()).succeeds();
    let lan = plumb_tests::conf_for(
        "lan",
        "masquerade",
        json!({ "ingressPolicy": "same-bridge" }),
    );
    world.plugin().previous(&second).add(&c2, &lan).succeeds();
    let check = world.plugin().previous(&first);
    check.check(&c1, conf("masquerade", keys)).succeeds();
    for (outside, source) in INTERNET.into_iter().zip(SECOND) {
        assert_eq!(seen(&c1, &world.internet, outside).as_deref(), Some(source));
    }
    // Excluded destinations see the container itself.
    world.internet.sh("ip addr add 203.0.113.200/32 dev eth0");
    world.host.sh("ip route add 203.0.113.200/32 dev eth0");
    assert_eq!(
        seen(&c1, &world.internet, "203.0.113.200").as_deref(),
        Some("10.77.0.2")
    );
    // Networks with a policy are kept apart, and the guard holds whatever the administrator accepts.
    kept_out(&c1, &c2, "10.78.0.2");
    kept_out(&c2, &c1, "10.77.0.2");
    world.host.sh("iptables-legacy -A EXCEPTIONS -j ACCEPT");
    kept_out(&world.internet, &c1, "10.77.0.2");
    world.host.sh("iptables-legacy -F EXCEPTIONS; iptables-legacy -A EXCEPTIONS -d 203.0.113.9 -p tcp -j DROP");
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    world.host.sh("iptables-legacy -F EXCEPTIONS");
    let syn = world.internet.capture("eth0", "tcp and dst port 80");
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    syn.until_seen("mss 1200", super::world::SOON);
    world.plugin().del(&c2, &lan).succeeds();
    world
        .plugin()
        .valid([])
        .gc(conf("masquerade", json!({})))
        .succeeds();
    assert_eq!(rules(&world.host), Vec::<String>::new());
    assert_eq!(
        world.host.sysctl("net/ipv4/ip_forward").as_deref(),
        Some("0")
    );
}

#[test]
fn flushed_tables_are_noticed_and_put_back() {
    let world = world();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    let before = saved(&world.host);
    world.host.sh(&format!("for f in iptables ip6tables; do for t in filter nat; do $f-legacy -t $t -F; $f-legacy -t $t -X; done; done; {DROPPING}"));
    let status = world.plugin().status(conf("masquerade", json!({})));
    status.fails_with(51, "PLUMB-FORWARD");
    let plugin = binaries().find("masquerade");
    let said = world.host.exec([plugin.as_os_str(), "reload".as_ref()]);
    assert!(said.contains("in place: 2;"), "{said}");
    let mut after = saved(&world.host);
    let mut wanted = before;
    wanted.sort();
    after.sort();
    assert_eq!(after, wanted);
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    world.host.sh("iptables-legacy -F FORWARD");
    let check = world.plugin().previous(&first);
    let drifted = check.check(&c1, conf("masquerade", json!({})));
    drifted.fails_with(102, "filter -I FORWARD");
    world.add(&c2, &second, json!({})).succeeds();
    check.check(&c1, conf("masquerade", json!({}))).succeeds();
}

#[test]
fn an_address_of_a_new_owner_is_left_to_it() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    let heir = world.host.container("heir");
    world.add(&heir, &result, json!({})).succeeds();
    let kept = saved(&world.host);
    assert!(
        kept.iter().all(|line| !line.contains("testnet/c1/eth0")),
        "{kept:#?}"
    );
    world.del(&c1).succeeds();
    assert_eq!(saved(&world.host), kept);
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
}

#[test]
fn a_call_restores_each_family_once_and_keeps_what_others_have() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    let keys =
        json!({ "forward": "stateful", "publish": ["8080:80"], "sources": ["10.90.0.0/16"] });
    world
        .host
        .sh("iptables-legacy -A FORWARD -s 192.0.2.1 -j DROP");
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=execve",
        "-o",
        "/run/executed",
    ];
    let plugin = world.plugin().previous(&result).under(strace);
    let conf = conf("masquerade", keys);
    for operation in ["ADD", "DEL"] {
        plugin.operation(operation, &c1, &conf).succeeds();
        let executed = fs::read_to_string("/run/executed").unwrap();
        for program in ["iptables-legacy-restore", "ip6tables-legacy-restore"] {
            let calls = executed
                .lines()
                .filter(|line| line.contains(&format!("/{program}\"")) && line.ends_with("= 0"));
            let calls: Vec<&str> = calls.collect();
            assert_eq!(calls.len(), 1, "{operation}: {executed}");
            assert!(calls[0].contains("--noflush"), "{operation}: {calls:?}");
        }
        assert!(
            rules(&world.host)
                .iter()
                .any(|line| line.contains("192.0.2.1/32"))
        );
    }
}

#[test]
fn twelve_at_once_beside_somebody_else() {
    let world = world();
    world.bridge("br1", &["10.77.0.1/16", "fd77::1/64"]);
    let members: Vec<_> = (1..=12)
        .map(|number| {
            let container = world.host.container(&format!("c{number}"));
            let result = json!({
                "cniVersion": "1.1.0",
                "interfaces": [{ "name": "br1" }, { "name": "eth0", "sandbox": container.netns().to_str().unwrap() }],
                "ips": [{ "interface": 1, "address": format!("10.77.1.{number}/16") }],
            });
            (container, result)
        })
        .collect();
    let before = rules(&world.host);
    at_once(members.len() + 1, |number| {
        if let Some((container, result)) = members.get(number) {
            world
                .add(container, result, json!({ "forward": "stateful" }))
                .succeeds();
        } else {
            for round in 0..15 {
                world.host.sh(&format!(
                    "iptables-legacy -w 20 -A INPUT -s 192.0.2.{round} -j ACCEPT"
                ));
            }
        }
    });
    for (container, result) in &members {
        let check = world.plugin().previous(result);
        let conf = conf("masquerade", json!({ "forward": "stateful" }));
        check.check(container, conf).succeeds();
    }
    let found = rules(&world.host);
    let mut unique = found.clone();
    unique.dedup();
    assert_eq!(found, unique);
    let theirs = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| line.contains("192.0.2."))
            .count()
    };
    assert_eq!(theirs(&found), 15);
    at_once(members.len(), |number| {
        world.del(&members[number].0).succeeds()
    });
    world.host.sh("iptables-legacy -F INPUT");
    assert_eq!(rules(&world.host), before);
}

#[test]
fn the_backend_can_be_chosen() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    // Nobody uses legacy iptables here.
    world
        .add(&c1, &result, json!({ "backend": "iptables" }))
        .succeeds();
    assert!(world.host.ruleset().contains("table inet plumb"));
    world.del(&c1).succeeds();
    world
        .add(&c1, &result, json!({ "backend": "iptables-legacy" }))
        .succeeds();
    assert_eq!(world.host.ruleset(), "");
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    // DEL finds the rules wherever they are.
    world.del(&c1).succeeds();
    assert_eq!(rules(&world.host), Vec::<String>::new());
    world
        .host
        .sh("iptables-legacy -A FORWARD -s 192.0.2.1 -j DROP");
    world
        .add(&c1, &result, json!({ "backend": "nftables" }))
        .succeeds();
    assert!(world.host.ruleset().contains("table inet plumb"));
    world.del(&c1).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn without_the_programs_it_is_said() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    world
        .host
        .sh("for p in /usr/sbin/*tables*-save; do mount --bind /dev/null $p; done");
    let keys = json!({ "backend": "iptables-legacy" });
    world
        .add(&c1, &result, keys.clone())
        .fails_with(2, "iptables-legacy-restore");
    world
        .host
        .sh("for p in /usr/sbin/*tables*-save; do umount $p; done");
    world.host.assert_unchanged_since(&before);
    world.add(&c1, &result, keys).succeeds();
}

/// Calls the plugin with its nftables socket refused, as by a kernel that has none. Which of its sockets that is, a call
/// that is only watched tells.
fn without_nftables(plugin: &Plugin, operation: &str, container: &Container) {
    let conf = conf("masquerade", json!({}));
    let call = |fault: &[&str]| {
        let strace = ["strace", "-o", "/run/trace", "-e", "trace=socket"];
        let traced = plugin.clone().under(strace.iter().chain(fault));
        traced.operation(operation, container, &conf).succeeds();
        std::fs::read_to_string("/run/trace").unwrap()
    };
    let watched = call(&[]);
    let place = watched
        .lines()
        .position(|line| line.contains("NETLINK_NETFILTER"));
    let place = place.unwrap() + 1;
    // It is asked for once more without SOCK_CLOEXEC, which old kernels do not know.
    let fault = format!(
        "inject=socket:error=EPROTONOSUPPORT:when={place}..{}",
        place + 1
    );
    if operation == "ADD" {
        plugin.del(container, &conf).succeeds();
    }
    let trace = call(&["-e", &fault]);
    let mut refused = trace.lines().filter(|line| line.contains("INJECTED"));
    assert!(
        refused.all(|line| line.contains("NETLINK_NETFILTER")),
        "{trace}"
    );
    assert!(trace.contains("INJECTED"), "{trace}");
}

#[test]
fn a_kernel_without_nftables_has_legacy_iptables() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    without_nftables(&world.plugin().previous(&result), "ADD", &c1);
    assert_eq!(world.host.ruleset(), "");
    let seen = seen(&c1, &world.internet, INTERNET[0]);
    assert_eq!(seen.as_deref(), Some(UPLINK[0]));
    // Watched, DEL has removed them; what is left to do is nothing, and no nftables is no obstacle.
    without_nftables(&world.plugin().netns(""), "DEL", &c1);
    assert_eq!(rules(&world.host), Vec::<String>::new());
}
