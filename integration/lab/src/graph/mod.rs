//! Pictures of a topology: a [`Picture`] in, text out, no input or output of its own.
//!
//! What is drawn depends on what the picture holds, never on the order it is listed in: everything is
//! ordered by its distance from the Internet (or, without one, from the hosts) and then by name.
//! A newcomer's mistake: nodes and networks have names of their own, so a node may be called as a network is.

mod address;
mod bus;
mod cell;
mod crossing;
mod draft;
mod flow;
mod group;
mod icon;
mod layout;
mod mermaid;
mod model;
mod nwdiag;
mod shape;
mod straight;
mod svg;
mod text;
mod track;

use core::fmt;
use core::str::FromStr;

/// What is to be drawn.
///
/// A node or network that an attachment or a group names and that is not listed is drawn all the same, as a
/// [`Kind::Container`] and a network with no prefix. Of two with one name the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// What the picture is of, in a few words.
    pub title: String,
    /// The machines, with or without networks.
    pub nodes: Vec<Node>,
    /// The networks, with or without nodes.
    pub networks: Vec<Network>,
    /// Which node is in which network, and by which interface.
    pub attachments: Vec<Attachment>,
    /// Nodes that belong together.
    pub groups: Vec<Group>,
}

/// What a node is; decides its shape, and in this order which node a picture starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The world outside, drawn as a cloud.
    Internet,
    /// A machine that bridges live on.
    Host,
    /// A node that forwards.
    Router,
    /// Any other node.
    Container,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name, unique among the nodes.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Short texts to show with it, one a line: `FRR: zebra, ospfd`.
    pub notes: Vec<String>,
}

/// A network that nodes share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The name, unique among the networks.
    pub name: String,
    /// The prefixes in use on it: `192.168.101.0/24`, `2001:db8:1::/64`.
    pub prefixes: Vec<String>,
    /// The node whose bridge it is; shown when the networks live on more than one.
    pub host: Option<String>,
    /// Short texts to show with it: `VLAN 10`.
    pub notes: Vec<String>,
}

/// An interface of a node in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The node's name.
    pub node: String,
    /// The network's name.
    pub network: String,
    /// The interface as the node sees it: `eth1`.
    pub interface: String,
    /// The interface's addresses with their prefix lengths: `192.168.101.2/24`.
    pub addresses: Vec<String>,
}

/// Nodes that belong together: an OSPF area, a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// What they have in common: `OSPF area 0`.
    pub label: String,
    /// The names of the nodes.
    pub members: Vec<String>,
}

/// A language to draw in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Source for nwdiag.
    Nwdiag,
    /// A flowchart for Mermaid.
    Mermaid,
    /// A picture, complete in itself.
    Svg,
}

impl Picture {
    /// The picture as text in `format`, ending in a newline.
    pub fn draw(&self, format: Format) -> String {
        let model = model::Model::of(self);
        match format {
            Format::Nwdiag => nwdiag::source(&model),
            Format::Mermaid => mermaid::source(&model),
            Format::Svg => svg::source(&model),
        }
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Nwdiag, Self::Mermaid, Self::Svg];
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nwdiag => "nwdiag",
            Self::Mermaid => "mermaid",
            Self::Svg => "svg",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    /// Parses the name of a format; the error says which there are.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| format!("{text:?} is no format: nwdiag, mermaid and svg are"))
    }
}
