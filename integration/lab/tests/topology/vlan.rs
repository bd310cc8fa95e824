//! The lab of two VLANs over one trunk, with the real plugins on a kernel that has 802.1Q.

use super::bench::{Bench, User, install, repository, succeeds};
use super::tutorial::{built, copy};

#[test]
fn two_vlans_over_one_trunk_come_up_prove_themselves_and_go_without_a_trace() {
    let bench = Bench::new(User::Caller);
    copy(&repository("conf-examples/vlan"), &bench.path("vlan"));
    for plugin in ["bridge-attach", "static-ipam", "vlan"] {
        install(&built(plugin), &bench.path("plugins").join(plugin));
    }
    let plugins = bench.path("plugins");
    let plugins = plugins.to_str().unwrap();
    let up = ["up", "--check", "vlan/topology.toml", "--plugins", plugins];
    let said = succeeds(&mut bench.topology(&up));
    for line in [
        "ok    nobody reaches the other VLAN, though the subnet is the same",
        "ok    frames on the trunk carry the tag of their VLAN",
    ] {
        let has = |each: &str| each.starts_with(line);
        assert!(said.lines().any(has), "{line} in:\n{said}");
    }
    assert!(!said.contains("FAIL"), "{said}");
    let graph = bench.succeeds(&["graph", "--format", "nwdiag"]);
    assert!(graph.contains("network trunk"), "{graph}");
    bench.runs_the_page("vlan");
    let said = bench.succeeds(&["down"]);
    assert!(!said.contains("goes with its namespace"), "{said}");
    bench.assert_nothing_left();
}
