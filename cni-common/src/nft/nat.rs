//! Translation of addresses: to what, and what it compiles to.

use core::fmt;
use core::net::IpAddr;

use super::instruction::Expr;
use super::key::octets;
use crate::addr::{Cidr, Family};

/// What addresses are translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatTo {
    /// One address.
    Address(IpAddr),
    /// Any of the addresses from the first to the last, which are of one family.
    Range(IpAddr, IpAddr),
    /// The same address with this prefix in place of its own: one to one (kernel 5.8).
    Prefix(Cidr),
}

impl NatTo {
    /// The family of the addresses.
    pub fn family(&self) -> Family {
        match self {
            Self::Address(address) | Self::Range(address, _) => Family::of(*address),
            Self::Prefix(prefix) => prefix.family(),
        }
    }

    /// The first and the last address, if there are several.
    fn ends(&self) -> (IpAddr, Option<IpAddr>) {
        match self {
            Self::Address(address) => (*address, None),
            Self::Range(first, last) => (*first, Some(*last)),
            Self::Prefix(prefix) => (prefix.network().address(), Some(last_of(*prefix))),
        }
    }
}

/// The last address of a subnet.
fn last_of(subnet: Cidr) -> IpAddr {
    let bits = u32::from(subnet.prefix());
    match subnet.network().address() {
        IpAddr::V4(first) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            IpAddr::V4((u32::from(first) | host).into())
        }
        IpAddr::V6(first) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            IpAddr::V6((u128::from(first) | host).into())
        }
    }
}

/// The subnet from the first to the last address.
fn subnet_of(first: IpAddr, last: IpAddr) -> Option<Cidr> {
    let differing = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            u32::BITS - (u32::from(first) ^ u32::from(last)).leading_zeros()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            u128::BITS - (u128::from(first) ^ u128::from(last)).leading_zeros()
        }
        _ => return None,
    };
    let bits = u32::from(Family::of(first).bits());
    let subnet = Cidr::new(first, u8::try_from(bits.checked_sub(differing)?).ok()?)?;
    (subnet.network().address() == first && last_of(subnet) == last).then_some(subnet)
}

impl fmt::Display for NatTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "to {address}"),
            Self::Range(first, last) => write!(f, "to {first}-{last}"),
            Self::Prefix(prefix) => write!(f, "prefix to {}", prefix.network()),
        }
    }
}

/// How an address and a port are chosen where several are possible (nft(8), NAT statements).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatFlags {
    /// `random`: ports in an order that is hard to guess.
    pub random: bool,
    /// `fully-random`: ports at random.
    pub fully_random: bool,
    /// `persistent`: a client keeps its address.
    pub persistent: bool,
}

impl NatFlags {
    const NONE: Self = Self {
        random: false,
        fully_random: false,
        persistent: false,
    };

    /// `NF_NAT_RANGE_*` (`linux/netfilter/nf_nat.h`), as nft(8) prints them.
    fn words(self) -> [(bool, u32, &'static str); 3] {
        [
            (self.random, 4, "random"),
            (self.fully_random, 16, "fully-random"),
            (self.persistent, 8, "persistent"),
        ]
    }

    fn bits(self) -> u32 {
        let set = self.words().into_iter().filter(|(set, ..)| *set);
        set.fold(0, |bits, (_, bit, _)| bits | bit)
    }

    /// The flags of these bits, if they are all the bits.
    pub(super) fn of_bits(bits: u32) -> Option<Self> {
        let flags = Self {
            random: bits & 4 != 0,
            fully_random: bits & 16 != 0,
            persistent: bits & 8 != 0,
        };
        (flags.bits() == bits).then_some(flags)
    }
}

impl fmt::Display for NatFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = " ";
        for (set, _, word) in self.words() {
            if set {
                write!(f, "{before}{word}")?;
                before = ",";
            }
        }
        Ok(())
    }
}

/// `NF_NAT_RANGE_NETMAP` (`linux/netfilter/nf_nat.h`).
const NETMAP: u32 = 64;

/// Which end of a connection is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// A `nat` expression, which takes its address from register 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nat {
    pub(super) end: End,
    pub(super) family: Family,
    /// Whether the last address of a range is in register 2.
    pub(super) range: bool,
    /// The register with the port.
    pub(super) port: Option<u32>,
    /// `NF_NAT_RANGE_*`.
    pub(super) flags: u32,
}

/// The expressions that translate one end of a connection.
pub(super) fn compile(end: End, to: NatTo, flags: NatFlags) -> Vec<Expr> {
    let (first, last) = to.ends();
    let netmap = match to {
        NatTo::Prefix(_) => NETMAP,
        NatTo::Address(_) | NatTo::Range(..) => 0,
    };
    let mut expressions = vec![Expr::Immediate(octets(first))];
    expressions.extend(last.map(|last| Expr::ImmediateSecond(octets(last))));
    expressions.push(Expr::Nat(Nat {
        end,
        family: to.family(),
        range: last.is_some(),
        port: None,
        flags: flags.bits() | netmap,
    }));
    expressions
}

pub(super) fn masquerade(flags: NatFlags) -> Expr {
    Expr::Masquerade(flags.bits())
}

/// What a nat expression translates, whose registers were given these addresses.
pub(super) fn parse(
    nat: Nat,
    first: IpAddr,
    last: Option<IpAddr>,
) -> Option<(End, NatTo, NatFlags)> {
    let families = core::iter::once(first).chain(last).map(Family::of);
    if nat.port.is_some()
        || nat.range != last.is_some()
        || families.into_iter().any(|family| family != nat.family)
    {
        return None;
    }
    let flags = NatFlags::of_bits(nat.flags & !NETMAP)?;
    let to = match last {
        None if nat.flags & NETMAP == 0 => NatTo::Address(first),
        Some(last) if nat.flags & NETMAP == 0 => NatTo::Range(first, last),
        Some(last) if flags == NatFlags::NONE => NatTo::Prefix(subnet_of(first, last)?),
        _ => return None,
    };
    Some((nat.end, to, flags))
}
