//! What an attachment costs at least: three processes that do nothing, and the kernel's work by the cheapest sequence known,
//! without a check, an error or a question that it could do without.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cni_common::addr::{Cidr, Mac};
use cni_common::ident::IfName;
use cni_common::netlink::link::index_of;
use cni_common::netlink::route::Route;
use cni_common::netlink::veth::NewVeth;
use cni_common::netlink::{Rtnl, addr, route};
use cni_common::netns::Netns;
use cni_common::nft::{Batch, Nft, Table, TableFamily};
use plumb_tests::Host;

use crate::chain::{Attachment, address, gateway};

const SET: &str = "masqueraded";
const PROCESSES: usize = 3;

/// Attachments without plugins.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    nothing: PathBuf,
    table: Table,
}

impl Floor {
    pub(crate) fn new() -> Self {
        Self {
            nothing: env!("CARGO_BIN_EXE_nothing").into(),
            table: Table::new(TableFamily::Inet, "floor"),
        }
    }

    /// What the first attachment of a host would make.
    pub(crate) fn prepare(&self, host: &Host) {
        host.sh(
            "ip link add br0 type bridge && ip addr add 10.64.0.1/16 dev br0 && ip link set br0 up",
        );
        host.set_sysctl("net/ipv4/ip_forward", "1");
        let rules = format!(
            "table {} {{\n set {SET} {{ type ipv4_addr; flags timeout; }}\n chain postrouting {{\n \
             type nat hook postrouting priority srcnat;\n ip saddr @{SET} ip daddr != 10.64.0.0/16 masquerade\n }}\n}}\n",
            self.table
        );
        host.feed(["nft", "-f", "-"], &rules);
    }

    pub(crate) fn add(&self, attachment: &Attachment) {
        self.start_processes();
        let (name, eth0) = names(attachment);
        let netns = Netns::open(&attachment.netns).expect("the container's namespace");
        let mut host = Rtnl::open().expect("a socket");
        let veth = NewVeth {
            name: &name,
            mac: mac(0x02, attachment),
            master: index_of(&IfName::parse("br0").unwrap()),
            peer: &eth0,
            peer_mac: mac(0x06, attachment),
            peer_netns: &netns,
            mtu: None,
            group: None,
        };
        let made = host.add_veth(&veth).expect("a veth");
        let near = made.unwrap_or_else(|| host.link_by_name(&name).unwrap().expect("the veth"));
        let mut inside = netns.run(Rtnl::open).unwrap().expect("a socket inside");
        let far = inside.link_by_name(&eth0).unwrap().expect("the far end");
        let cidr = Cidr::new(address(attachment.number).parse().unwrap(), 16).unwrap();
        let everywhere = Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap();
        let default = Route::new(everywhere, Some(gateway().parse().unwrap()));
        let requests = vec![
            far.change().up().request(),
            addr::add(&far, cidr),
            route::add(&far, &default),
        ];
        inside.batch(requests).expect("the container's end");
        let requests = vec![near.without_link_local(), near.change().up().request()];
        host.batch(requests).expect("the host's end");
        // The barrier behind which the port forwards.
        host.link_by_index(near.index).unwrap().expect("the port");
        commit(|batch| {
            batch.add_element(&self.table, SET, cidr.address(), &attachment.id);
        });
    }

    pub(crate) fn del(&self, attachment: &Attachment) {
        self.start_processes();
        let ip: IpAddr = address(attachment.number).parse().unwrap();
        commit(|batch| batch.expire_element(&self.table, SET, ip));
        let mut host = Rtnl::open().expect("a socket");
        let (name, _) = names(attachment);
        let near = host.link_by_name(&name).unwrap().expect("the host's end");
        host.delete_link_detached(&near).expect("it is gone");
    }

    fn start_processes(&self) {
        for _ in 0..PROCESSES {
            let mut child = Command::new(&self.nothing)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("a process");
            let mut output = child.stdout.take().unwrap();
            output.read_to_end(&mut Vec::new()).unwrap();
            assert!(child.wait().unwrap().success());
        }
    }
}

fn commit(fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    let mut nft = Nft::open().expect("nftables");
    nft.commit(batch).expect("a transaction");
}

fn names(attachment: &Attachment) -> (IfName, IfName) {
    let name = format!("veth{}", attachment.number);
    (
        IfName::parse(&name).unwrap(),
        IfName::parse("eth0").unwrap(),
    )
}

fn mac(first: u8, attachment: &Attachment) -> Mac {
    let [_, _, high, low] = u32::try_from(attachment.number).unwrap().to_be_bytes();
    Mac([first, 0, 0, 0, high, low])
}
