//! The networks of `conf-examples/kubernetes`: each pod gets what its annotation asks for, as Multus asks for it.

#![cfg(test)]

use std::fs;
use std::path::Path;

use plumb_tests::{Container, Host, Value, json};

/// The documents of a file of the example.
fn documents(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf-examples/kubernetes");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

#[track_caller]
fn called<'all>(all: &'all [Value], name: &str) -> &'all Value {
    let found = all.iter().find(|each| each["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("nothing is called {name}"))
}

/// What a pod asks for: a list in JSON, or the short form `NETWORK@INTERFACE,…`.
fn selections(pod: &str) -> Vec<Value> {
    let pods = documents("pods.yaml");
    let annotation = &called(&pods, pod)["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"];
    let text = annotation.as_str().unwrap();
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).unwrap();
    }
    let short = |part: &str| match part.split_once('@') {
        Some((name, interface)) => json!({ "name": name, "interface": interface }),
        None => json!({ "name": part }),
    };
    text.trim().split(',').map(short).collect()
}

/// The plugins of a network, as Multus has them called: its name is the network's.
fn plugins(selection: &Value) -> Vec<Value> {
    let networks = documents("networks.yaml");
    let name = selection["name"].as_str().unwrap();
    let config = called(&networks, name)["spec"]["config"].as_str().unwrap();
    let list: Value = serde_json::from_str(config).unwrap();
    let mut plugins = list["plugins"].as_array().unwrap().clone();
    for plugin in &mut plugins {
        plugin["name"] = json!(name);
        plugin["cniVersion"] = list["cniVersion"].clone();
        let mut offered = json!({});
        for capability in ["ips", "mac"] {
            if plugin["capabilities"][capability] == true && selection[capability] != Value::Null {
                offered[capability] = selection[capability].clone();
            }
        }
        plugin["runtimeConfig"] = offered;
    }
    plugins
}

/// A pod on a node: everything Multus does after the cluster's own network.
struct Pod<'host> {
    host: &'host Host,
    netns: Container,
    name: String,
}

impl<'host> Pod<'host> {
    fn new(host: &'host Host, name: &str) -> Self {
        Self {
            host,
            netns: host.container(name),
            name: name.to_owned(),
        }
    }

    /// Calls each plugin of each network the pod asks for, and returns the results by network. The first interface that is
    /// not named is `net1`.
    #[track_caller]
    fn attach(&self) -> Vec<Value> {
        let mut results = Vec::new();
        for (number, selection) in selections(&self.name).iter().enumerate() {
            let mut result = Value::Null;
            for plugin in plugins(selection) {
                let mut call = self.call(&plugin, selection, number);
                if !result.is_null() {
                    call = call.previous(&result);
                }
                result = call.add(&self.netns, &plugin).succeeds();
            }
            results.push(result);
        }
        results
    }

    #[track_caller]
    fn detach(&self) {
        for (number, selection) in selections(&self.name).iter().enumerate().rev() {
            for plugin in plugins(selection).iter().rev() {
                let call = self.call(plugin, selection, number);
                call.del(&self.netns, plugin).succeeds();
            }
        }
    }

    fn call(&self, plugin: &Value, selection: &Value, number: usize) -> plumb_tests::Plugin {
        let default = format!("net{}", number + 1);
        let ifname = selection["interface"].as_str().unwrap_or(&default);
        let args = format!(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2",
            self.name
        );
        let kind = plugin["type"].as_str().unwrap();
        self.host.plugin(kind).ifname(ifname).args(&args)
    }
}

#[test]
fn an_annotation_gives_addresses_and_a_mac() {
    let host = Host::new();
    let server = Pod::new(&host, "server");

    server.attach();

    let addresses = server.netns.addrs("lan0");
    assert!(
        addresses.contains(&"192.168.50.20/24".to_owned()),
        "{addresses:?}"
    );
    assert!(
        addresses.contains(&"fd50::20/64".to_owned()),
        "{addresses:?}"
    );
    let link = server.netns.link("lan0").unwrap();
    assert_eq!(link["address"], "02:00:00:00:50:20");
    server.detach();
    assert_eq!(server.netns.link("lan0"), None);
}

/// A world beyond the node at 198.51.100.9, which knows no way to pods.
fn world(host: &Host) -> Container {
    let world = host.container("world");
    host.sh("ip link add wan type veth peer name wan netns world");
    for (node, address) in [(&**host, "198.51.100.1/24"), (&*world, "198.51.100.9/24")] {
        node.sh(&format!(
            "ip addr add {address} dev wan; ip link set wan up"
        ));
    }
    world
}

#[test]
fn the_lab_network_knows_pods_by_name_and_lets_nobody_in() {
    let host = Host::new();
    let world = world(&host);
    let client = Pod::new(&host, "client");

    client.attach();

    assert_eq!(client.netns.addrs("net1")[0], "10.60.0.3/24");
    assert!(client.netns.reaches("198.51.100.9"));
    world.sh("ip route add 10.60.0.0/24 via 198.51.100.1");
    assert!(!world.ping("10.60.0.3"));
    client.detach();
    assert_eq!(host.link("plumb-lab"), None);
}

#[test]
fn a_pod_without_an_assignment_is_refused_on_the_lab_network() {
    let host = Host::new();
    let before = host.state();
    let stranger = Pod::new(&host, "stranger");
    let selection = json!({ "name": "lab" });
    let plugin = &plugins(&selection)[0];

    let call = stranger.call(plugin, &selection, 0);
    call.add(&stranger.netns, plugin)
        .fails_with(7, "none of the assignments is for stranger");

    host.assert_unchanged_since(&before);
}

#[cfg(feature = "stock-kernel")]
#[test]
fn a_router_has_a_trunk_with_tags_and_a_place_in_the_lab() {
    let host = Host::new();
    let router = Pod::new(&host, "router");

    router.attach();

    assert_eq!(router.netns.addrs("lab0")[0], "10.60.0.2/24");
    let ports = host.exec(["bridge", "-compressvlans", "vlan"]);
    assert!(ports.contains("100-199"), "{ports}");
    router.detach();
}

#[cfg(feature = "stock-kernel")]
#[test]
fn a_lease_comes_from_the_server_of_the_vlan_without_a_default_route() {
    let host = Host::new();
    let server = host.container("server");
    host.sh("ip link add eth1 type veth peer name eth1 netns server && ip link set eth1 up");
    server.sh(
        "ip link set eth1 up; ip link add link eth1 vlan100 type vlan id 100
         ip addr add 10.100.0.1/24 dev vlan100; ip link set vlan100 up",
    );
    let range = [
        "--dhcp-range=10.100.0.100,10.100.0.199,1h",
        "--dhcp-leasefile=/run/testbed/leases",
    ];
    let _dnsmasq = server.dnsmasq("vlan100", &range, "DHCP, IP range");
    let soon = std::time::Duration::from_secs(30);
    let program = host.plugin("dhcp-ipam").file().to_owned();
    let daemon = host.spawn([program.as_os_str(), "daemon".as_ref()]);
    let socket = || Path::new("/run/cni/dhcp.sock").exists();
    assert!(plumb_tests::until(soon, socket), "{}", daemon.output());
    let leased = Pod::new(&host, "leased");

    leased.attach();

    let address = &leased.netns.addrs("net1")[0];
    assert!(address.starts_with("10.100.0.1"), "{address}");
    let routes = leased.netns.routes();
    assert!(
        !routes.iter().any(|route| route.starts_with("default")),
        "{routes:?}"
    );
    leased.detach();
}
