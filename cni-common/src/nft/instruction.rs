//! Instructions of the kernel's virtual machine, as values: what [`compile`](super::compile) makes of statements, and
//! [`expression`](super::expression) writes and reads.

use super::fields::Bytes;
use super::nat::Nat;
use super::statement::Is;
use crate::addr::Family;

/// What `meta` loads (`enum nft_meta_keys`, `linux/netfilter/nf_tables.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    /// `NFT_META_IIFNAME`.
    InInterface,
    /// `NFT_META_OIFNAME`.
    OutInterface,
    /// `NFT_META_NFPROTO`.
    Protocol,
    /// `NFT_META_IIFKIND`.
    InKind,
    /// `NFT_META_PROTOCOL`.
    EtherType,
    /// `NFT_META_L4PROTO`.
    Transport,
}

/// One expression of a rule (`NFTA_LIST_ELEM` of `NFTA_RULE_EXPRESSIONS`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// Loads a property of the packet.
    Meta(Meta),
    /// Loads bytes of the packet.
    Payload(Bytes),
    /// Loads a property of the packet into that register, behind what is in those before.
    MetaInto(u32, Meta),
    /// Loads bytes of the packet into that register, behind what is in those before.
    PayloadInto(u32, Bytes),
    /// Loads the connection's state (`NFT_CT_STATE`).
    CtState,
    /// Loads what has happened to the connection (`NFT_CT_STATUS`).
    CtStatus,
    /// Loads the destination of the connection's first packet (`NFT_CT_DST_IP`, `NFT_CT_DST_IP6`).
    CtDestination(Family),
    /// Loads what kind of address the destination is (`fib daddr type`).
    FibType,
    /// Loads whether the route back uses the input interface (`fib saddr . iif oif`, `NFTA_FIB_F_PRESENT`).
    FibBack,
    /// Keeps the bits of the mask.
    Mask(Vec<u8>),
    /// Goes on only if the register is, or is not, the value.
    Cmp(Is, Vec<u8>),
    /// Goes on only if the register is at least the value.
    Least(Vec<u8>),
    /// Goes on only if the register is at most the value.
    Most(Vec<u8>),
    /// Goes on only if the map has something for the register, and loads that.
    Map(String),
    /// Goes on only if the register is, or is not, in the set.
    Lookup(Is, String),
    /// Loads a value.
    Immediate(Vec<u8>),
    /// Loads a value into register 2.
    ImmediateSecond(Vec<u8>),
    /// Ends the rule with a verdict (`NF_ACCEPT`, `NF_DROP`, `NFT_*`).
    Verdict(u32),
    /// Goes on in another chain of the table, and comes back (`NFT_JUMP`).
    Jump(String),
    /// Loads the maximal segment size that the route allows (`NFT_RT_TCPMSS`), in host order.
    RouteMss,
    /// Turns two bytes from host into network order.
    ToNetwork,
    /// Writes two bytes into the option maximal segment size of TCP, unless what is there is lower.
    WriteMss,
    /// NAT to what is in the registers.
    Nat(Nat),
    /// Source NAT to the address of the output interface, with `NF_NAT_RANGE_*`.
    Masquerade(u32),
    /// Leaves the packet out of connection tracking.
    Notrack,
    /// Counts packets and bytes.
    Counter,
    /// A match of iptables (`xt_match`).
    XtMatch {
        /// Its name.
        name: String,
        /// Its revision.
        revision: u32,
        /// Its `struct xt_*_info`.
        info: Vec<u8>,
    },
    /// Refuses the packet: `reject` of nft, or iptables' target REJECT.
    Reject,
    /// An expression we never make.
    Other(String),
}
