//! The lab with a DHCP server, with the real plugins and dnsmasq.

use super::bench::{Bench, User, install, repository, succeeds};
use super::tutorial::{built, copy};

#[test]
fn clients_get_addresses_of_a_server_and_give_them_back() {
    let bench = Bench::new(User::Caller);
    copy(&repository("conf-examples/dhcp"), &bench.path("dhcp"));
    for plugin in ["bridge-attach", "static-ipam", "dhcp-ipam"] {
        install(&built(plugin), &bench.path("plugins").join(plugin));
    }
    let plugins = bench.path("plugins");
    let plugins = plugins.to_str().unwrap();
    let up = ["up", "--check", "dhcp/topology.toml", "--plugins", plugins];
    let said = succeeds(&mut bench.topology(&up));
    for line in [
        "ok    each client has an address of the server's",
        "ok    the printer has the one that is reserved for it",
        "ok    the server knows them by the names of their containers",
    ] {
        let has = |each: &str| each.starts_with(line);
        assert!(said.lines().any(has), "{line} in:\n{said}");
    }
    assert!(!said.contains("FAIL"), "{said}");
    let files = bench.succeeds(&["exec", "host", "--", "ls", "/run/dhcp-ipam"]);
    let leases = files.matches(".json").count();
    assert_eq!(leases, 3, "{files}");
    bench.runs_the_page("dhcp");
    let said = bench.succeeds(&["down"]);
    assert!(!said.contains("goes with its namespace"), "{said}");
    bench.assert_nothing_left();
}
