//! Expressions as `nft --debug=netlink` shows them.

use core::fmt::Write;

use super::super::*;

/// Renders an expression in the form of libnftnl's debugging output (`nft --debug=netlink`).
pub(super) fn shown(expression: &Expr) -> String {
    let words = |bytes: &[u8]| {
        bytes.chunks(4).fold(String::new(), |mut text, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            let _ = write!(text, " 0x{:08x}", u32::from_le_bytes(word));
            text
        })
    };
    let op = |is: &Is| match is {
        Is::Equal => "eq",
        Is::Not => "neq",
    };
    match expression {
        Expr::Meta(meta) => property(*meta, 1),
        Expr::MetaInto(register, meta) => property(*meta, *register),
        Expr::Payload(bytes) => loaded(*bytes, 1),
        Expr::PayloadInto(register, bytes) => loaded(*bytes, *register),
        Expr::CtState => "[ ct load state => reg 1 ]".into(),
        Expr::CtStatus => "[ ct load status => reg 1 ]".into(),
        Expr::CtDestination(Family::V4) => "[ ct load dst_ip => reg 1 , dir original ]".into(),
        Expr::CtDestination(Family::V6) => "[ ct load dst_ip6 => reg 1 , dir original ]".into(),
        Expr::FibType => "[ fib daddr type => reg 1 ]".into(),
        Expr::Least(value) => format!("[ cmp gte reg 1{} ]", words(value)),
        Expr::Most(value) => format!("[ cmp lte reg 1{} ]", words(value)),
        Expr::Map(map) => format!("[ lookup reg 1 set {map} dreg 1 ]"),
        Expr::ImmediateSecond(value) => format!("[ immediate reg 2{} ]", words(value)),
        Expr::FibBack => "[ fib saddr . iif oif present => reg 1 ]".into(),
        Expr::Mask(bits) => {
            format!(
                "[ bitwise reg 1 = ( reg 1 &{} ) ^{} ]",
                words(bits),
                " 0x00000000".repeat(bits.len().div_ceil(4))
            )
        }
        Expr::Cmp(is, value) => format!("[ cmp {} reg 1{} ]", op(is), words(value)),
        Expr::Lookup(Is::Equal, set) => format!("[ lookup reg 1 set {set} ]"),
        Expr::Lookup(Is::Not, set) => format!("[ lookup reg 1 set {set} 0x1 ]"),
        Expr::Immediate(value) => format!("[ immediate reg 1{} ]", words(value)),
        Expr::Verdict(NF_ACCEPT) => "[ immediate reg 0 accept ]".into(),
        Expr::Verdict(NF_DROP) => "[ immediate reg 0 drop ]".into(),
        Expr::Jump(chain) => format!("[ immediate reg 0 jump -> {chain} ]"),
        Expr::Verdict(other) => format!("[ immediate reg 0 {other} ]"),
        Expr::RouteMss => "[ rt load tcpmss => reg 1 ]".into(),
        Expr::ToNetwork => "[ byteorder reg 1 = hton(reg 1, 2, 2) ]".into(),
        Expr::WriteMss => "[ exthdr write tcpopt reg 1 => 2b @ 2 + 2 ]".into(),
        Expr::Nat(nat) => translated(*nat),
        Expr::Masquerade(0) => "[ masq ]".into(),
        Expr::Masquerade(flags) => format!("[ masq flags {flags:#x} ]"),
        Expr::Notrack => "[ notrack ]".into(),
        Expr::Counter => "[ counter pkts 0 bytes 0 ]".into(),
        Expr::XtMatch { name, revision, .. } => format!("[ match name {name} rev {revision} ]"),
        Expr::Reject => "[ reject ]".into(),
        Expr::Other(name) => name.clone(),
    }
}

fn property(meta: Meta, register: u32) -> String {
    let key = match meta {
        Meta::InInterface => "iifname",
        Meta::OutInterface => "oifname",
        Meta::Protocol => "nfproto",
        Meta::InKind => "iifkind",
        Meta::EtherType => "protocol",
        Meta::Transport => "l4proto",
    };
    format!("[ meta load {key} => reg {register} ]")
}

fn translated(nat: Nat) -> String {
    let end = match nat.end {
        End::Source => "snat",
        End::Destination => "dnat",
    };
    let family = match nat.family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let mut text = format!("[ nat {end} {family} addr_min reg 1");
    if nat.range {
        text.push_str(" addr_max reg 2");
    }
    if let Some(register) = nat.port {
        write!(text, " proto_min reg {register}").unwrap();
    }
    if nat.flags != 0 {
        write!(text, " flags {:#x}", nat.flags).unwrap();
    }
    text + " ]"
}

fn loaded(bytes: Bytes, register: u32) -> String {
    let Bytes {
        base,
        offset,
        length,
    } = bytes;
    let base = match base {
        Base::Link => "link",
        Base::Network => "network",
        Base::Transport => "transport",
    };
    format!("[ payload load {length}b @ {base} header + {offset} => reg {register} ]")
}
