//! The commands of docs/dhcp-ipam.md run as they stand there, for an attachment that is there.

use plumb_tests::{json, until};

use crate::world::{SOON, World, bridged};

const PAGE: &str = include_str!("../../../docs/dhcp-ipam.md");

/// The page's lines that begin with `dhcp-ipam` and one of these verbs, without what they say after `  #`; each option in
/// brackets is given.
fn lines(verb: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    let lines = blocks
        .filter_map(|block| block.strip_prefix("sh\n"))
        .flat_map(str::lines);
    let words = |line: &str| {
        let line = line.split("  #").next().unwrap().replace(['[', ']'], "");
        line.split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    lines.map(words).filter(|words| verb(&words[0])).collect()
}

/// The words with values for what the page has in capitals.
fn filled(words: &[String]) -> Vec<String> {
    let mut after = "";
    let mut filled = Vec::new();
    for word in words {
        let value = match (after, word.as_str()) {
            ("--socketpath", "PATH") => "/run/cni/dhcp.sock",
            ("--state-dir", "PATH") => "/run/leases",
            ("--pidfile", "PATH") => "/run/dhcp.pid",
            ("--hostprefix", "PATH") => "/",
            (_, "NETWORK/CONTAINER/IFNAME") => "testnet/c1/eth0",
            (_, other) => other,
        };
        filled.push(value.to_owned());
        after = word;
    }
    filled
}

#[test]
fn the_commands_of_the_page_run() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq_with((100, 110), &[]);
    let program = world.plugin().file().to_str().unwrap().to_owned();
    let spawned = |words: &[String]| {
        let mut words = filled(words);
        words.insert(0, program.clone());
        world.host.spawn(words)
    };
    let [daemon] = &lines(|verb| verb == "daemon")[..] else {
        panic!("one line starts the daemon")
    };
    let daemon = spawned(daemon);
    daemon.until_output_has("listens at", SOON);
    let bridge = world.host.plugin("bridge-attach");
    let attach = |name: &str| {
        let container = world.host.container(name);
        bridge.add(&container, bridged(json!({}))).succeeds();
        container
    };
    let _c1 = attach("c1");
    let verbs = lines(|verb| verb != "daemon");
    assert!(verbs.len() > 5, "{verbs:?}");
    for words in verbs {
        if words == ["watch"] {
            let watch = spawned(&words);
            // It does not say when it has begun to listen; the daemon counts it.
            let listens = || world.metrics().contains("do=\"watch\"} 1");
            assert!(until(SOON, listens), "{}", world.metrics());
            let _c2 = attach("c2");
            watch.until_output_has(r#""container":"c2""#, SOON);
            continue;
        }
        let words = filled(&words);
        let said = world.said(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let tells = ["list", "show", "metrics"].contains(&words[0].as_str());
        assert!(
            !tells || said.contains("c1") || said.contains("# TYPE"),
            "{words:?}: {said}"
        );
    }
}
