//! What `docs/masquerade.md` and `docs/coming-from-iptables.md` show is what happens.

use plumb_tests::{Container, Value, conf_for};

use super::reach::apart;
use super::world::World;

const PAGE: &str = include_str!("../../../docs/masquerade.md");
const COMING: &str = include_str!("../../../docs/coming-from-iptables.md");

/// The blocks of a page that begin with this fence.
fn blocks<'a>(page: &'a str, fence: &str) -> Vec<&'a str> {
    let fence = format!("{fence}\n");
    let parts = page.split(fence.as_str()).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

/// `br1`, and a container that is attached to it as on the pages.
fn attached() -> (World, Container, Value) {
    let world = World::new();
    world.bridge("br1", &["192.168.101.1/24"]);
    let r1 = world.host.container("R1");
    let result = world.join(&r1, "eth1", "br1", &["192.168.101.2/24"]);
    (world, r1, result)
}

/// The line without its counters' values.
fn without_numbers(line: &str) -> String {
    let mut words = Vec::new();
    let mut skip = 0;
    for word in line.split_whitespace() {
        if skip > 0 {
            skip -= 1;
        } else if word == "packets" || word == "bytes" {
            skip = 1;
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

#[test]
fn every_example_can_be_added_checked_and_deleted() {
    let pages = [PAGE, COMING].map(|page| blocks(page, "```json"));
    let examples: Vec<Value> = pages
        .concat()
        .iter()
        .map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect();
    assert!(examples.len() > 12, "{}", examples.len());
    for example in examples {
        apart(|| {
            let plugins = example["plugins"].as_array().cloned();
            let plugins = plugins.unwrap_or_else(|| vec![example.clone()]);
            let mut own = plugins.into_iter().filter(|p| p["type"] == "masquerade");
            let (world, r1, result) = attached();
            let keys = own.next().unwrap();
            let plugin = world.plugin().ifname("eth1").previous(&result);
            let conf = || conf_for("outside-br1", "masquerade", keys.clone());
            plugin.add(&r1, conf()).succeeds();
            plugin.check(&r1, conf()).succeeds();
            plugin.del(&r1, conf()).succeeds();
            assert_eq!(world.host.ruleset(), "", "{keys}");
        });
    }
}

#[test]
fn the_rules_on_the_page_are_those_of_its_first_example() {
    let (world, r1, result) = attached();
    world.host.sh("iptables -P FORWARD DROP");
    let list: Value = serde_json::from_str(blocks(PAGE, "```json")[0]).unwrap();
    let keys = list["plugins"][1].clone();
    let plugin = world.plugin().ifname("eth1").previous(&result);
    plugin
        .add(&r1, conf_for("outside-br1", "masquerade", keys))
        .succeeds();
    let shown = blocks(
        PAGE,
        "## In the kernel\n\nThe example above, on a host whose iptables drops what it does not know:\n\n```",
    )[0];
    let listed = world.host.exec(["nft", "list", "table", "inet", "plumb"]);
    let (table, rest) = shown.split_once("\n# iptables").unwrap();
    let expected: Vec<String> = table.lines().skip(1).map(without_numbers).collect();
    let found: Vec<String> = listed.lines().map(without_numbers).collect();
    assert_eq!(expected, found, "the page should show\n{listed}");
    let listed = world.host.exec(["iptables", "-S"]);
    for line in rest.lines().filter(|line| line.starts_with('-')) {
        assert!(
            listed.lines().any(|found| found == line),
            "{line} in\n{listed}"
        );
    }
}

#[test]
fn every_key_has_a_row() {
    let source = include_str!("../../../plugins/masquerade/src/config.rs");
    let calls = ["get", "items", "flag", "parse_with", "of_families"];
    let keys: Vec<&str> = calls
        .iter()
        .flat_map(|call| source.match_indices(*call))
        .filter_map(|(at, call)| {
            source[at + call.len()..]
                .strip_prefix("(\"")?
                .split('"')
                .next()
        })
        .chain(["allow", "publish"])
        .filter(|key| *key != "type")
        .collect();
    for key in [
        "sources",
        "natFlags",
        "isolateContainers",
        "toPrefix",
        "masquerade",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    for key in keys {
        assert!(PAGE.contains(&format!("\n| `{key}` |")), "{key} has no row");
    }
}
