//! What a topology file says, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

/// A whole topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The name of the lab.
    pub name: String,
    /// What it shows, in a sentence.
    pub description: String,
    /// The folder of the file, which relative paths start from.
    pub directory: PathBuf,
    /// The phases, in order; there is at least one.
    pub phases: Vec<String>,
    /// Programs that must be installed.
    pub needs: Vec<Need>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// Links to the outside that the lab makes itself.
    pub uplinks: Vec<Uplink>,
    /// The networks.
    pub networks: Vec<Network>,
    /// Interfaces of nodes on networks, in the order they are made.
    pub attachments: Vec<Attachment>,
    /// Lines for a host's shell, run when the attachments are made.
    pub lines: Vec<Lines>,
    /// Processes, in the order they are started.
    pub processes: Vec<Process>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// Nodes that belong together, for the picture.
    pub groups: Vec<Group>,
}

impl Topology {
    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The index of the last phase: the one a lab stays in.
    pub fn last_phase(&self) -> usize {
        self.phases.len().saturating_sub(1)
    }
}

/// A program that must be there, and the Debian package that brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// A name looked up in `PATH`, or an absolute path.
    pub program: String,
    /// The package.
    pub package: String,
}

/// Nodes that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub label: String,
    /// The nodes.
    pub members: Vec<String>,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A machine that containers run on: plugins are executed here and bridges live here.
    Host,
    /// A container.
    Container,
    /// A machine outside, at the far end of an uplink.
    Internet,
}

impl Kind {
    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Container => "container",
            Self::Internet => "internet",
        }
    }
}

/// A namespace that exists already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// That of a process.
    Pid(u32),
    /// A name of `ip netns`.
    Netns(String),
    /// A path.
    Path(PathBuf),
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, which is its host name too.
    pub name: String,
    /// What it stands for.
    pub kind: Kind,
    /// Settings under `/proc/sys`, written before anything is attached.
    pub sysctl: Vec<(String, String)>,
    /// What is mounted over files and folders of the machine: where, and the file or folder beside the topology file.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// An existing namespace to use; only on the real host.
    pub join: Option<Join>,
}

/// An address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

impl core::fmt::Display for Cidr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A link from a host to a machine outside, or to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The host.
    pub node: String,
    /// The interface of the host.
    pub interface: String,
    /// Its address.
    pub address: Cidr,
    /// The default gateway of the host.
    pub gateway: Option<IpAddr>,
    /// The machine outside, or the other host.
    pub peer: String,
    /// The interface there.
    pub peer_interface: String,
    /// Its address.
    pub peer_address: Cidr,
    /// Networks the peer reaches through the host.
    pub peer_routes: Vec<Cidr>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name in the topology.
    pub name: String,
    /// The configuration list, beside the topology file.
    pub conflist: PathBuf,
    /// The host its plugins run on.
    pub host: String,
}

/// An interface of a node on a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// The node.
    pub node: String,
    /// The network.
    pub network: String,
    /// The interface of the node.
    pub interface: String,
    /// Addresses asked for: `IP` of `CNI_ARGS`.
    pub addresses: Vec<Cidr>,
    /// Gateways asked for: `GATEWAY` of `CNI_ARGS`.
    pub gateways: Vec<IpAddr>,
    /// The hardware address asked for: `MAC` of `CNI_ARGS`.
    pub mac: Option<String>,
    /// Further `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// What is offered by capability.
    pub capabilities: Map<String, Value>,
    /// The phase it is made in, an index: before the processes of that phase.
    pub phase: usize,
}

/// Lines for a host's shell, those of `pipework` above all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The host.
    pub host: String,
    /// Where they stand.
    pub text: Text,
}

/// Where lines stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// In the topology file.
    Here(String),
    /// In a file beside it.
    File(PathBuf),
}

/// A process of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name, for messages and its log file.
    pub name: String,
    /// The node.
    pub node: String,
    /// The program and its arguments. It must stay in the foreground.
    pub command: Vec<String>,
    /// The phase it starts in, an index.
    pub phase: usize,
    /// A command that succeeds when the process is ready.
    pub ready: Option<Vec<String>>,
    /// How long it may take to become ready.
    pub ready_within: Duration,
}

/// Something that must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What holds, as a sentence.
    pub title: String,
    /// The phase it holds in, an index.
    pub phase: usize,
    /// How long it may take to come true.
    pub within: Duration,
    /// What is tried; all must succeed.
    pub probes: Vec<Probe>,
}

/// One thing that is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The node it is tried in.
    pub node: String,
    /// What is tried.
    pub kind: ProbeKind,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeKind {
    /// An echo request.
    Ping {
        /// The address.
        to: IpAddr,
        /// Whether an answer must come or must not come.
        answers: bool,
    },
    /// A TCP connection to a listener that the probe opens.
    Connect {
        /// The address and port.
        to: SocketAddr,
        /// The node that listens.
        listener: String,
        /// Whether the connection must open or must not open.
        opens: bool,
        /// The address the listener must see.
        seen_as: Option<IpAddr>,
    },
    /// The main routing table, both complete and right.
    Routes {
        /// Lines as `ip route` prints them; what a line leaves out may be anything.
        expected: Vec<Vec<String>>,
        /// Whether the table is shown.
        show: bool,
    },
    /// A command.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Its exit status.
        status: i32,
        /// What its output must contain.
        contains: Vec<String>,
        /// What its output must not contain.
        lacks: Vec<String>,
        /// Values its output must have, as a JSON document, by JSON pointer.
        json: Vec<(String, Value)>,
        /// Whether the output is shown.
        show: bool,
    },
    /// Packets on interfaces.
    Capture {
        /// The protocol number of IPv4.
        protocol: u8,
        /// Destinations that count.
        to: Option<Cidr>,
        /// Interfaces that must carry at least one.
        seen_on: Vec<String>,
        /// Interfaces that must carry none.
        silent_on: Vec<String>,
        /// How long to listen.
        listen: Duration,
    },
}
