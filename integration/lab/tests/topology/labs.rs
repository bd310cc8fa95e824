//! The labs of conf-examples, each up, proven and down, with the real plugins.

use super::bench::{Bench, User, fails, install, repository, succeeds, users};
use super::tutorial::{built, copy};

/// A bench that has the labs where the program looks for them, and the plugins beside it.
fn bench(user: User) -> Bench {
    let bench = Bench::new(user);
    copy(&repository("conf-examples"), &bench.path("conf-examples"));
    for plugin in ["bridge-attach", "static-ipam", "masquerade"] {
        install(&built(plugin), &bench.path("plugins").join(plugin));
    }
    bench
}

/// Brings a lab up by its name, as a user who has no rights; it says what must hold, its picture has `drawn`, and the
/// commands of its page run.
#[track_caller]
fn holds(lab: &str, titles: &[&str], drawn: &str) {
    let bench = bench(*users().last().unwrap());
    let plugins = bench.path("plugins");
    let plugins = plugins.to_str().unwrap();
    let said = succeeds(&mut bench.topology(&["up", "--check", lab, "--plugins", plugins]));
    for title in titles {
        let line = format!("ok    {title}");
        let has = |each: &str| each.starts_with(&line);
        assert!(said.lines().any(has), "{line} in:\n{said}");
    }
    assert!(!said.contains("FAIL"), "{said}");
    let graph = bench.succeeds(&["graph", "--format", "nwdiag"]);
    assert!(graph.contains(drawn), "{drawn} in:\n{graph}");
    bench.runs_the_page(lab);
    let said = bench.succeeds(&["down"]);
    assert!(!said.contains("goes with its namespace"), "{said}");
    bench.assert_nothing_left();
}

#[test]
fn bgp_routers_share_traffic_over_two_paths() {
    let titles = [
        "either edge has two next hops of equal cost to the other's network",
        "connections of one client take both paths",
    ];
    holds("bgp-ecmp", &titles, "network m1-r {");
}

#[test]
fn nftables_hand_connections_to_three_servers() {
    let titles = [
        "connections to port 80 go to the servers in turn",
        "on port 81 a client always meets the same server",
    ];
    holds("load-balancing", &titles, "network web {");
}

#[test]
fn an_overlay_joins_containers_of_two_hosts() {
    let titles = [
        "containers of one host and of both are neighbours",
        "the hosts carry it in UDP, marked 42",
    ];
    holds("overlay", &titles, "network wan0");
}

#[test]
fn containers_have_addresses_of_their_hosts_network() {
    let titles = [
        "the Internet opens connections to the containers, and sees them under their own addresses",
        "a container cannot take the host's address, nor its neighbour's",
    ];
    holds(
        "public-addresses",
        &titles,
        r#"internet [address = ".1 (eth0)"];"#,
    );
}

#[test]
fn a_spoofing_attack_works_on_the_open_network_alone() {
    let titles = [
        "on the open network a false ARP reply takes the server's traffic over",
        "on the guarded network nobody hears it",
    ];
    holds("spoofing", &titles, "network guarded {");
}

#[test]
fn a_spanning_tree_breaks_the_loop() {
    let titles = [
        "the root of the tree forwards on both cables, and the other bridge blocks one of them",
        "a broadcast arrives once",
    ];
    holds(
        "stp",
        &titles,
        "  network cable2 {\n    switch1 [address = \"(cable2)\"]",
    );
}

#[test]
fn labs_are_listed_and_an_unknown_one_is_refused() {
    let bench = bench(User::Caller);
    let said = bench.succeeds(&["list"]);
    for lab in [
        "bgp-ecmp",
        "load-balancing",
        "overlay",
        "public-addresses",
        "spoofing",
        "stp",
        "tutorial",
        "vlan",
    ] {
        let has = |line: &str| {
            line.split_once("  ")
                .is_some_and(|(name, rest)| name == lab && !rest.trim().is_empty())
        };
        assert!(said.lines().any(has), "{lab} in:\n{said}");
    }
    assert!(!said.contains("problems"), "{said}");
    assert!(!said.contains("kubernetes"), "it is no lab: {said}");
    let said = fails(&mut bench.topology(&["up", "nonesuch"]));
    assert!(said.contains("no file and no lab nonesuch"), "{said}");
}
