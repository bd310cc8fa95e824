//! Pictures to draw.

use plumb_lab::graph::{Attachment, Group, Kind, Network, Node, Picture};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

pub(crate) fn node(name: &str, kind: Kind) -> Node {
    Node {
        name: name.to_owned(),
        kind,
        notes: Vec::new(),
    }
}

pub(crate) fn network(name: &str, prefixes: &[&str]) -> Network {
    Network {
        name: name.to_owned(),
        prefixes: texts(prefixes),
        ..Network::default()
    }
}

pub(crate) fn attachment(
    node: &str,
    network: &str,
    interface: &str,
    addresses: &[&str],
) -> Attachment {
    Attachment {
        node: node.to_owned(),
        network: network.to_owned(),
        interface: interface.to_owned(),
        addresses: texts(addresses),
    }
}

fn group(label: &str, members: &[&str]) -> Group {
    Group {
        label: label.to_owned(),
        members: texts(members),
    }
}

/// The tutorial's topology: a chain of two routers behind a host.
pub(crate) fn tutorial() -> Picture {
    Picture {
        title: "The tutorial".to_owned(),
        nodes: vec![
            node("Internet", Kind::Internet),
            node("dockerhost", Kind::Host),
            node("R1", Kind::Router),
            node("R2", Kind::Router),
            node("H1", Kind::Container),
        ],
        networks: vec![
            network("WAN", &["203.0.113.0/24"]),
            network("outside-br1", &["192.168.101.0/24"]),
            network("internal-br2", &["192.168.102.0/24"]),
            network("inside-br3", &["192.168.103.0/24"]),
        ],
        attachments: vec![
            attachment("Internet", "WAN", "eth0", &["203.0.113.10/24"]),
            attachment("dockerhost", "WAN", "eth0", &["203.0.113.1/24"]),
            attachment("dockerhost", "outside-br1", "br1", &["192.168.101.1/24"]),
            attachment("R1", "outside-br1", "eth1", &["192.168.101.2/24"]),
            attachment("R1", "internal-br2", "eth2", &["192.168.102.1/24"]),
            attachment("R2", "internal-br2", "eth1", &["192.168.102.2/24"]),
            attachment("R2", "inside-br3", "eth2", &["192.168.103.1/24"]),
            attachment("H1", "inside-br3", "eth1", &["192.168.103.2/24"]),
        ],
        groups: vec![group("OSPF area 0", &["R1", "R2"])],
    }
}

/// Two hosts with three bridges each, eighteen more nodes, a network between two of them, nested groups.
pub(crate) fn two_hosts() -> Picture {
    let mut picture = Picture {
        title: "Two hosts".to_owned(),
        nodes: vec![
            node("Internet", Kind::Internet),
            node("spare", Kind::Container),
        ],
        networks: vec![
            network("WAN", &["203.0.113.0/24"]),
            network("transit", &["10.9.0.0/30"]),
        ],
        attachments: vec![attachment("Internet", "WAN", "eth0", &["203.0.113.9/24"])],
        groups: Vec::new(),
    };
    for host in 1..=2 {
        let name = format!("host{host}");
        picture.nodes.push(node(&name, Kind::Host));
        let wan = format!("203.0.113.{host}/24");
        picture
            .attachments
            .push(attachment(&name, "WAN", "eth0", &[&wan]));
        for bridge in 1..=3 {
            let net = format!("{name}-br{bridge}");
            let subnet = format!("10.{host}.{bridge}");
            let mut bus = network(&net, &[&format!("{subnet}.0/24")]);
            bus.host = Some(name.clone());
            bus.notes = vec![format!("VLAN {bridge}0")];
            picture.networks.push(bus);
            let gateway = format!("{subnet}.1/24");
            let port = format!("br{bridge}");
            picture
                .attachments
                .push(attachment(&name, &net, &port, &[&gateway]));
            for leaf in 1..=3 {
                let leaf_name = format!("c{host}{bridge}{leaf}");
                let address = format!("{subnet}.{}/24", leaf + 1);
                let kind = if leaf == 1 {
                    Kind::Router
                } else {
                    Kind::Container
                };
                picture.nodes.push(node(&leaf_name, kind));
                picture
                    .attachments
                    .push(attachment(&leaf_name, &net, "eth0", &[&address]));
            }
        }
        let end = format!("c{host}31");
        let address = format!("10.9.0.{host}/30");
        picture
            .attachments
            .push(attachment(&end, "transit", "eth1", &[&address]));
    }
    picture.groups = vec![
        group("tenant", &["c111", "c112", "c113"]),
        group("tenant, front", &["c111", "c112"]),
        group("OSPF area 0", &["c131", "c231"]),
    ];
    picture
}

/// The tutorial with IPv6 beside IPv4, global addresses of full length and link-local ones.
pub(crate) fn dual_stack() -> Picture {
    let mut picture = tutorial();
    for (place, network) in picture.networks.iter_mut().enumerate() {
        let prefix = format!("2001:db8:1234:{}567::/64", place + 1);
        network.prefixes.push(prefix);
    }
    let names: Vec<String> = picture.networks.iter().map(|n| n.name.clone()).collect();
    for (place, attachment) in picture.attachments.iter_mut().enumerate() {
        let network = names.iter().position(|n| *n == attachment.network).unwrap() + 1;
        let global = format!("2001:db8:1234:{network}567:1234:5678:9abc:def{place}/64");
        attachment.addresses.push(global);
        attachment
            .addresses
            .push("fe80::42:acff:fe11:2/64".to_owned());
    }
    picture
}

/// Nodes before they have networks, a network before it has nodes, an interface before it has an address.
pub(crate) fn unattached() -> Picture {
    Picture {
        title: "Before anything is attached, which is a title wider than the picture".to_owned(),
        nodes: vec![
            node("dockerhost", Kind::Host),
            node("R1", Kind::Router),
            node("H1", Kind::Container),
        ],
        networks: vec![network("unused", &["10.0.0.0/24"]), network("one", &[])],
        attachments: vec![attachment("dockerhost", "one", "br0", &[])],
        groups: Vec::new(),
    }
}

/// A small source of numbers, the same on every machine (the constants are Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A picture that no one would draw: anything attached to anything.
pub(crate) fn random(seed: u64) -> Picture {
    let mut numbers = Numbers(seed);
    for _ in 0..8 {
        numbers.below(2);
    }
    let kinds = [
        Kind::Internet,
        Kind::Host,
        Kind::Router,
        Kind::Router,
        Kind::Container,
    ];
    let count = 1 + numbers.below(20);
    let nodes: Vec<Node> = (0..count)
        .map(|n| node(&format!("node-{n}-"), kinds[numbers.below(kinds.len())]))
        .collect();
    let networks: Vec<Network> = (0..=numbers.below(9))
        .map(|n| network(&format!("net{n}"), &[&format!("10.{n}.0.0/24")]))
        .collect();
    let mut attachments = Vec::new();
    for number in 0..numbers.below(3 * count) {
        let at = numbers.below(networks.len());
        let who = numbers.below(count);
        let mut addresses = vec![format!("10.{at}.0.{number}/24")];
        if numbers.below(3) == 0 {
            addresses.push(format!("fd00:{at}::{number:x}/64"));
        }
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let interface = format!("eth{number}");
        let (who, at) = (&nodes[who].name, &networks[at].name);
        attachments.push(attachment(who, at, &interface, &addresses));
    }
    let mut groups = Vec::new();
    for label in ["red", "a group with a longer label"]
        .into_iter()
        .take(numbers.below(3))
    {
        let members: Vec<&str> = nodes
            .iter()
            .filter(|_| numbers.below(4) == 0)
            .map(|n| n.name.as_str())
            .collect();
        if !members.is_empty() {
            groups.push(group(label, &members));
        }
    }
    Picture {
        title: format!("Picture {seed}"),
        nodes,
        networks,
        attachments,
        groups,
    }
}
