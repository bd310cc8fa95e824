//! What runtimes that no test can install were seen to call, call by call.
//!
//! Each [`Client`] is a table of what nerdctl 2.3.5, containerd 2.3.4 (CRI) and Multus 4.2.4 sent to their plugins: the
//! variables, the spelling of `runtimeConfig`, the order of the calls.
#![cfg(test)]

use std::path::PathBuf;

use plumb_clients::{DIRECTORY, install, install_ours, reference};
use plumb_lab::runtime::{Attachment, Cache, NetworkList, Runtime};
use plumb_tests::{Container, Host, Value, at_once, json};

/// How a runtime calls the plugins.
struct Client {
    name: &'static str,
    version: &'static str,
    /// `CNI_CONTAINERID`.
    container: &'static str,
    /// `CNI_ARGS`, in an order that was seen; of the CRI's random ones another than the natural.
    args: &'static [(&'static str, &'static str)],
    /// What stands in `runtimeConfig`, by capability.
    runtime_config: fn() -> Value,
    habits: &'static [Habit],
    /// `CNI_NETNS` of each DEL at the end: the namespace, or nothing.
    dels: &'static [Netns],
}

#[derive(PartialEq)]
enum Habit {
    /// DEL with an empty `CNI_NETNS` before every ADD.
    DelBeforeAdd,
    /// The networks of a container are added at once.
    InParallel,
    /// STATUS before ADD.
    Status,
    /// CHECK after ADD.
    Check,
}

#[derive(Clone, Copy)]
enum Netns {
    There,
    Empty,
}

/// Each container is on both.
const NETWORKS: [u8; 2] = [1, 2];

const NERDCTL: Client = Client {
    name: "nerdctl",
    version: "1.0.0",
    container: "default-7f4e1c0ba1d94c0d1f6e39f4f3f2a7c8e5d0b9a8c7f6e5d4c3b2a1908f7e6d5c",
    args: &[
        ("NERDCTL_CNI_DHCP_HOSTNAME", "web"),
        ("MAC", "02:00:00:00:00:44"),
        ("IgnoreUnknown", "1"),
    ],
    runtime_config: || json!({ "portMappings": [{ "HostPort": 8070, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "0.0.0.0" }] }),
    habits: &[Habit::DelBeforeAdd, Habit::InParallel],
    dels: &[Netns::Empty],
};

const CRI: Client = Client {
    name: "containerd 2, CRI",
    version: "1.1.0",
    container: "0c9a8b7f6e5d4c3b2a190f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a",
    args: &[
        ("K8S_POD_UID", "11111111-2222-3333-4444-555555555555"),
        ("IgnoreUnknown", "1"),
        ("K8S_POD_INFRA_CONTAINER_ID", "0c9a8b7f6e5d"),
        ("K8S_POD_NAME", "web"),
        ("K8S_POD_NAMESPACE", "default"),
    ],
    runtime_config: || {
        json!({
            "portMappings": [{ "HostPort": 8099, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" }],
            "dns": { "Servers": ["10.0.0.53"], "Searches": ["pods.test"], "Options": [] },
            "bandwidth": { "IngressRate": 1_000_000, "IngressBurst": 4_294_967_295_u32, "EgressRate": 0, "EgressBurst": 0 },
            "io.kubernetes.cri.pod-annotations": null,
            "cgroupPath": "/kubepods/x",
        })
    },
    habits: &[Habit::Status],
    dels: &[Netns::There, Netns::Empty],
};

const MULTUS: Client = Client {
    name: "Multus 4",
    version: "1.0.0",
    container: "abc",
    args: &[
        ("IgnoreUnknown", "true"),
        ("K8S_POD_NAMESPACE", ""),
        ("K8S_POD_NAME", ""),
        ("K8S_POD_INFRA_CONTAINER_ID", ""),
        ("K8S_POD_UID", ""),
    ],
    runtime_config: || {
        json!({
            "mac": "02:00:00:00:21:09",
            "portMappings": [{ "hostPort": 8085, "containerPort": 80, "protocol": "tcp" }],
            "CNIDeviceInfoFile": "/run/testbed/device.json",
        })
    },
    habits: &[Habit::Check],
    dels: &[Netns::There],
};

/// One of the two networks of a container, as nerdctl generates them but for the addresses.
fn list(client: &Client, number: u8) -> NetworkList {
    let capabilities = json!({
        "ips": true, "mac": true, "portMappings": true, "dns": true, "bandwidth": true, "CNIDeviceInfoFile": true,
        "io.kubernetes.cri.pod-annotations": true, "cgroupPath": true,
    });
    let mut chain = vec![json!({
        "type": "bridge", "bridge": format!("br-{number}"), "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "removeEmptyBridge": true, "capabilities": capabilities,
        "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": format!("10.19{number}.0.0/24") }]],
            "routes": [{ "dst": format!("10.20{number}.0.0/16") }],
        },
    })];
    // One port of the host can lead to one network only.
    if number == 1 {
        chain.push(json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
    }
    chain.push(json!({ "type": "firewall", "ingressPolicy": "same-bridge" }));
    chain.push(json!({ "type": "tuning" }));
    let source =
        json!({ "cniVersion": client.version, "name": format!("net{number}"), "plugins": chain });
    NetworkList::from_value(source).unwrap()
}

fn runtime(cache: &str) -> Runtime {
    let cache = Cache::new(format!("/run/testbed/cache-{cache}"));
    Runtime::new(vec![PathBuf::from(DIRECTORY)], cache)
        // The Go plugins execute iptables.
        .prepared_by(|process| {
            process.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        })
}

fn attachment(client: &Client, container: &Container, number: u8, netns: Netns) -> Attachment {
    let args = client
        .args
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Attachment {
        container: client.container.to_owned(),
        netns: match netns {
            Netns::There => Some(container.netns().to_owned()),
            Netns::Empty => None,
        },
        ifname: format!("eth{}", number - 1),
        args: args.collect(),
        capabilities: (client.runtime_config)().as_object().unwrap().clone(),
    }
}

impl Client {
    fn has(&self, habit: &Habit) -> bool {
        self.habits.contains(habit)
    }

    fn add(&self, container: &Container, number: u8) -> Value {
        let runtime = runtime(&format!("net{number}"));
        let list = list(self, number);
        if self.has(&Habit::Status) {
            runtime.status(&list).unwrap();
        }
        let added = runtime.add(&list, &attachment(self, container, number, Netns::There));
        added.unwrap_or_else(|error| panic!("{}: ADD of net{number}: {error}", self.name))
    }

    fn check(&self, container: &Container) {
        for number in NETWORKS {
            let same = attachment(self, container, number, Netns::There);
            let checked = runtime(&format!("net{number}")).check(&list(self, number), &same);
            checked.unwrap_or_else(|error| panic!("{}: CHECK of net{number}: {error}", self.name));
        }
    }

    fn del(&self, container: &Container, netns: Netns) {
        for number in NETWORKS {
            let gone = attachment(self, container, number, netns);
            let done = runtime(&format!("net{number}")).del(&list(self, number), &gone);
            done.unwrap_or_else(|error| panic!("{}: DEL of net{number}: {error}", self.name));
        }
    }

    /// The MAC address it asks for.
    fn mac(&self) -> Option<Value> {
        let by_args = self.args.iter().find(|(name, _)| *name == "MAC");
        let by_args = by_args.map(|(_, mac)| json!(mac));
        by_args.or((self.runtime_config)().get("mac").cloned())
    }
}

/// What podman and nerdctl ask of each plugin before anything else.
fn ask_for_versions(client: &Client) {
    for kind in ["bridge", "firewall", "portmap", "tuning"] {
        let versions = runtime("versions").version(kind).unwrap();
        let versions = versions["supportedVersions"].to_string();
        assert!(versions.contains(client.version), "{kind}: {versions}");
    }
}

/// The addresses of the results are there and lead to the gateways, the MAC address is as asked, and the port of the host,
/// however it was spelled, leads to the server in the container.
fn is_attached(client: &Client, host: &Host, container: &Container, results: &[Value]) {
    for (number, result) in NETWORKS.into_iter().zip(results) {
        let address = result["ips"][0]["address"].as_str();
        let addresses = container.addrs(&format!("eth{}", number - 1));
        assert_eq!(addresses.first().map(String::as_str), address);
        assert!(
            container.ping(&format!("10.19{number}.0.1")),
            "{}",
            client.name
        );
    }
    if let Some(mac) = client.mac() {
        assert_eq!(container.link("eth0").unwrap()["address"], mac);
    }
    let config = (client.runtime_config)();
    let mapping = &config["portMappings"][0];
    let port = mapping["hostPort"]
        .as_u64()
        .or(mapping["HostPort"].as_u64());
    let page = format!("http://10.191.0.1:{}/page", port.unwrap());
    let answer = host.exec(["timeout", "20", "busybox", "wget", "-q", "-O", "-", &page]);
    assert_eq!(answer, "hello\n", "{}", client.name);
}

/// Plays a client on a host whose plugins are ours, under the Go plugins' names, and from the Go plugins what we have none
/// of; at the end nothing of ours may be left.
fn play(client: &Client) {
    let host = Host::new();
    install_ours(&host);
    for name in ["host-local", "portmap", "tuning"] {
        install(&host, &reference(), name);
    }
    let container = host.container("c1");
    host.sh("echo hello > /run/testbed/page");
    let web = container.spawn(["busybox", "httpd", "-f", "-p", "80", "-h", "/run/testbed"]);
    let links = host.links().len();

    ask_for_versions(client);
    if client.has(&Habit::DelBeforeAdd) {
        client.del(&container, Netns::Empty);
    }
    let results: Vec<Value> = if client.has(&Habit::InParallel) {
        at_once(2, |index| client.add(&container, NETWORKS[index]))
    } else {
        NETWORKS
            .map(|number| client.add(&container, number))
            .to_vec()
    };
    is_attached(client, &host, &container, &results);
    if client.has(&Habit::Check) {
        client.check(&container);
    }

    drop(web);
    for netns in client.dels {
        if matches!(netns, Netns::Empty) && container.netns().exists() {
            container.vanish();
        }
        client.del(&container, *netns);
    }
    assert_eq!(
        host.links().len(),
        links,
        "{}: {:?}",
        client.name,
        host.links()
    );
    let ruleset = host.ruleset();
    for number in NETWORKS {
        let address = format!("10.19{number}.0.2");
        assert!(!ruleset.contains(&address), "{}: {ruleset}", client.name);
    }
}

#[test]
fn nerdctl() {
    play(&NERDCTL);
}

#[test]
fn containerd_2_for_a_kubelet() {
    play(&CRI);
}

#[test]
fn multus() {
    play(&MULTUS);
}
