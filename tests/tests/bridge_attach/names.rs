//! Names that the kernel would take for something else.

use plumb_tests::json;

use super::{host, layer2, plugin};

#[test]
fn a_pattern_for_names_is_refused_before_anything_is_made() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    let (before, inside) = (host.state(), c1.state());
    plugin(&host)
        .add(&c1, layer2(json!({ "hostInterfaceName": "x%d" })))
        .fails_with(
            7,
            "hostInterfaceName: interface name \"x%d\" must not contain '%'",
        );
    host.assert_unchanged_since(&before);
    plugin(&host)
        .ifname("eth%d")
        .add(&c1, layer2(json!({})))
        .fails_with(
            4,
            "CNI_IFNAME: interface name \"eth%d\" must not contain '%'",
        );
    plugin(&host)
        .add(&c1, layer2(json!({ "bridge": "br%d" })))
        .fails_with(7, "bridge: interface name \"br%d\" must not contain '%'");
    host.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&inside);
}

#[test]
fn what_a_configuration_says_does_not_look_like_lines_of_the_log() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    let conf = layer2(json!({ "name": "net\n2026-01-01 all is well\u{1b}[2J" }));
    let refused = plugin(&host).add(&c1, conf);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(!refused.stderr.contains('\u{1b}'), "{:?}", refused.stderr);
    refused.fails_with(7, "name");
}
