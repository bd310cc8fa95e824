//! `adopt`: what the plugin before made becomes a port of the bridge.

use std::time::Duration;

use plumb_tests::{Container, Host, Value, json, until};

use super::{attached, host, layer2, layer3, plugin, with};

const SOON: Duration = Duration::from_secs(15);

/// An interface as the plugin before leaves it, and its result.
fn made_before(host: &Host, name: &str, last: u8) -> (Container, Value) {
    let container = host.container(name);
    let port = format!("p-{name}");
    host.sh(&format!(
        "ip link add {port} type veth peer name eth0 netns {name}"
    ));
    container.sh(&format!(
        "ip addr add 10.1.0.{last}/24 dev eth0; ip link set eth0 up"
    ));
    let mac = container.link("eth0").unwrap()["address"].clone();
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": port },
            { "name": "eth0", "mac": mac, "sandbox": container.netns().to_str().unwrap() },
        ],
        "ips": [{ "address": format!("10.1.0.{last}/24"), "gateway": "10.1.0.1", "interface": 1 }],
        "routes": [{ "dst": "192.0.2.0/24" }],
        "dns": { "nameservers": ["10.1.0.53"] },
    });
    (container, result)
}

fn adopting(keys: Value) -> Value {
    let base = json!({ "adopt": true, "removeEmptyBridge": true, "ipForward": false });
    with(with(layer2(json!({})), base), keys)
}

#[test]
fn an_interface_of_the_plugin_before_becomes_a_port_and_is_let_go() {
    let (host, _ipam) = host();
    let (c7, before) = made_before(&host, "c7", 7);
    host.sh("ip link set p-c7 up");
    let settled = || host.link("p-c7").unwrap()["operstate"] == "UP";
    assert!(until(SOON, settled));
    let state = host.state();
    let conf = adopting(json!({ "isGateway": true, "hairpinMode": true, "macspoofchk": true }));
    let call = plugin(&host).previous(&before);
    let result = call.add(&c7, &conf).succeeds();
    assert_eq!(result["interfaces"][0]["name"], "br0");
    assert_eq!(result["interfaces"][1]["name"], "p-c7");
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["ips"][0]["interface"], 2);
    assert_eq!(result["routes"], before["routes"]);
    assert_eq!(result["dns"], before["dns"]);
    assert_eq!(host.link("p-c7").unwrap()["master"], "br0");
    let (c1, _) = attached(&host, "c1", &layer3(json!({ "ipForward": false })));
    assert!(until(SOON, || c7.ping("10.1.0.1") && c7.ping("10.1.0.2")));
    let check = || plugin(&host).previous(&result).check(&c7, &conf);
    check().succeeds();
    host.sh("bridge link set dev p-c7 hairpin off");
    check().fails_with(102, "hairpin mode of p-c7");
    host.sh("ip link set p-c7 nomaster");
    check().fails_with(102, "port of br0");
    call.add(&c7, &conf).succeeds();
    plugin(&host).del(&c1, layer3(json!({}))).succeeds();
    // With nothing but the names, and again.
    for _ in 0..2 {
        plugin(&host).netns("").del(&c7, &conf).succeeds();
        host.assert_unchanged_since(&state);
    }
    plugin(&host).previous(&result).del(&c7, &conf).succeeds();
    assert!(c7.link("eth0").is_some());
}

#[test]
fn a_port_is_not_guarded_for_a_vanished_container_that_had_its_name() {
    let (host, _ipam) = host();
    let guarded = adopting(json!({ "ipspoofchk": true }));
    let open = adopting(json!({ "isGateway": true }));
    let mut last = 10;
    for conf in [&guarded, &open] {
        let mut adopted = |conf: &Value| {
            last += 1;
            let (name, port) = (format!("c{last}"), format!("p-c{last}"));
            let (container, before) = made_before(&host, &name, last);
            host.sh(&format!("ip link set {port} name tap9"));
            let before = before.to_string().replace(&port, "tap9");
            let before: Value = serde_json::from_str(&before).unwrap();
            plugin(&host)
                .previous(&before)
                .add(&container, conf)
                .succeeds();
            container
        };
        let first = adopted(&guarded);
        let tag = format!("testnet/{}/eth0", first.id());
        assert!(host.ruleset().contains(&tag));
        first.vanish();
        assert!(until(SOON, || host.link("tap9").is_none()));
        let next = adopted(conf);
        let tag_of_next = format!("testnet/{}/eth0", next.id());
        assert!(!host.ruleset().contains(&tag), "{}", host.ruleset());
        assert_eq!(conf == &guarded, host.ruleset().contains(&tag_of_next));
        next.vanish();
        assert!(until(SOON, || host.link("tap9").is_none()));
    }
}

#[test]
fn without_the_key_the_previous_result_is_passed_over() {
    let (host, _ipam) = host();
    let (_c7, before) = made_before(&host, "c7", 7);
    let c1 = host.container("c1");
    let result = plugin(&host)
        .previous(&before)
        .add(&c1, layer2(json!({})))
        .succeeds();
    assert_ne!(result["interfaces"][1]["name"], "p-c7");
    assert!(host.link("p-c7").unwrap()["master"].is_null());
}

#[test]
fn gc_lets_go_of_what_is_stale_and_deletes_nothing() {
    let (host, _ipam) = host();
    let conf = adopting(json!({}));
    let (c7, first) = made_before(&host, "c7", 7);
    let (c8, second) = made_before(&host, "c8", 8);
    plugin(&host).previous(&first).add(&c7, &conf).succeeds();
    plugin(&host).previous(&second).add(&c8, &conf).succeeds();
    plugin(&host).valid([("c8", "eth0")]).gc(&conf).succeeds();
    assert!(host.link("p-c7").unwrap()["master"].is_null());
    assert!(host.link("p-c7").unwrap()["ifalias"].is_null());
    assert_eq!(host.link("p-c8").unwrap()["master"], "br0");
    plugin(&host).valid([]).gc(&conf).succeeds();
    assert!(host.link("p-c8").is_some() && host.link("br0").is_none());
}

#[test]
fn what_cannot_be_adopted_is_refused_and_left_as_it_was() {
    let (host, _ipam) = host();
    let (c7, before) = made_before(&host, "c7", 7);
    host.sh("ip link add other0 type bridge; ip link add p0 type veth peer name p1");
    let state = host.state();
    let add =
        |previous: &Value, keys: Value| plugin(&host).previous(previous).add(&c7, adopting(keys));
    let mut nothing = before.clone();
    nothing["interfaces"][0]["name"] = "gone0".into();
    add(&nothing, json!({})).fails_with(7, "no interface of the host");
    let mut two = before.clone();
    two["interfaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "p0" }));
    add(&two, json!({})).fails_with(7, "several interfaces of the host, p-c7 and p0");
    add(&before, json!({ "ipam": { "type": "host-local" } })).fails_with(7, "ipam");
    add(&before, json!({ "isDefaultGateway": true })).fails_with(7, "isDefaultGateway");
    plugin(&host)
        .add(&c7, adopting(json!({})))
        .fails_with(7, "prevResult");
    // The last step fails: the bridge cannot have another address.
    host.assert_unchanged_since(&state);
    host.sh("ip link set p-c7 master other0");
    add(&before, json!({})).fails_with(101, "port of another bridge");
}

#[test]
fn del_lets_go_of_it_where_the_configuration_names_another_bridge_by_now() {
    let (host, _ipam) = host();
    let (c7, before) = made_before(&host, "c7", 7);
    host.sh("ip link set p-c7 addrgenmode none up");
    let settled = || host.link("p-c7").unwrap()["operstate"] == "UP";
    assert!(until(SOON, settled));
    let state = host.state();
    let conf = adopting(json!({}));
    let call = plugin(&host).previous(&before);
    call.add(&c7, &conf).succeeds();
    let renamed = with(conf, json!({ "bridge": "br7" }));
    plugin(&host).del(&c7, &renamed).succeeds();
    host.assert_unchanged_since(&state);
}

/// Holds a tap as a hypervisor does, and prints the frames that come out of it. `TUNSETIFF` (`linux/if_tun.h`) with
/// `IFF_TAP | IFF_NO_PI`.
#[cfg(feature = "stock-kernel")]
const HYPERVISOR: &str = r#"
    use Fcntl;
    sysopen(T, "/dev/net/tun", O_RDWR) or die "open: $!";
    my $wish = pack("Z16 S x22", "tap0", 0x1002);
    ioctl(T, 0x400454ca, $wish) or die "TUNSETIFF: $!";
    $| = 1; print "ready\n";
    while (sysread(T, my $frame, 2000)) { print unpack("H*", $frame), "\n" }
"#;

#[test]
#[cfg(feature = "stock-kernel")]
fn a_tap_with_and_without_somebody_who_holds_it_is_a_port() {
    let (host, _ipam) = host();
    host.sh("modprobe tun; ip tuntap add tap0 mode tap");
    let hold = || {
        let hypervisor = host.spawn(["perl", "-e", HYPERVISOR]);
        hypervisor.until_output_has("ready", SOON);
        assert!(until(SOON, || host.link("tap0").unwrap()["operstate"] == "UP"));
        hypervisor
    };
    // Its queueing discipline and its multicast groups are those of a link that had a carrier.
    host.sh("ip link set tap0 addrgenmode none up");
    drop(hold());
    host.sh("ip link set tap0 down");
    let before = host.state();
    let vm = host.container("vm");
    let conf = adopting(json!({ "isGateway": true }));
    let given = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "tap0" }],
        "ips": [{ "address": "10.1.0.9/24", "gateway": "10.1.0.1" }],
    });
    let call = plugin(&host).previous(&given);
    // Nobody holds it: no carrier, which is not waited for.
    let added = call.add(&vm, &conf);
    assert!(
        added.elapsed < Duration::from_secs(8),
        "{:?}",
        added.elapsed
    );
    let result = added.succeeds();
    assert_eq!(host.link("tap0").unwrap()["master"], "br0");
    plugin(&host).previous(&result).check(&vm, &conf).succeeds();
    let hypervisor = hold();
    // What the host asks on the bridge comes out of the tap: an ARP request for 10.1.0.9.
    host.ping("10.1.0.9");
    hypervisor.until_output_has("0a010009", SOON);
    plugin(&host).del(&vm, &conf).succeeds();
    assert!(host.link("tap0").unwrap().get("master").is_none());
    drop(hypervisor);
    host.sh("ip link set tap0 down");
    host.assert_unchanged_since(&before);
}
