//! Addresses of links.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};

use super::error::Error;
use super::frame::{attributes, ip, number};
use super::link::Link;
use super::request::Request;
use super::{Rtnetlink, Rtnl};
use crate::addr::{Cidr, Family};

/// An address of a link as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent flags of the kernel"
)]
pub struct Address {
    /// The address and the length of its subnet's prefix.
    pub cidr: Cidr,
    /// Whether it lasts until deleted (`IFA_F_PERMANENT`); one learnt from router advertisements does not.
    pub permanent: bool,
    /// Whether duplicate address detection has yet to end (`IFA_F_TENTATIVE`): it cannot be used.
    pub tentative: bool,
    /// Whether another host has it (`IFA_F_DADFAILED`).
    pub duplicate: bool,
    /// Whether it changes now and then, to tell nobody who it is (`IFA_F_TEMPORARY`, RFC 8981).
    pub temporary: bool,
    /// Whether it is of link or host scope, as `fe80::` addresses are.
    pub local_scope: bool,
}

pub(super) fn family_of(cidr: Cidr) -> AddressFamily {
    match cidr.family() {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn message(link: &Link, cidr: Cidr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(cidr);
    message.header.prefix_len = cidr.prefix();
    message.header.index = link.index;
    message.attributes = vec![AddressAttribute::Local(cidr.address())];
    message
}

/// Adds an address, usable at once: IPv6 without duplicate address detection (`IFA_F_NODAD`), IPv4 with the
/// subnet's broadcast address. Fails with `EEXIST` when the link has it.
pub fn add(link: &Link, cidr: Cidr) -> Request<Rtnetlink> {
    add_with(link, cidr, Detection::Skip)
}

/// Whether an IPv6 address is probed for before it can be used (RFC 4862, 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// Usable at once.
    Skip,
    /// As the link's `accept_dad` says.
    Probe,
}

/// Like [`add`], with a choice about duplicate address detection.
pub fn add_with(link: &Link, cidr: Cidr, detection: Detection) -> Request<Rtnetlink> {
    let mut message = message(link, cidr);
    message
        .attributes
        .push(AddressAttribute::Address(cidr.address()));
    message
        .attributes
        .extend(cidr.broadcast().map(AddressAttribute::Broadcast));
    if cidr.family() == Family::V6 && detection == Detection::Skip {
        message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    Request::new(
        format!("add address {cidr} to {}", link.name),
        libc::RTM_NEWADDR,
        &message,
    )
    .with(NLM_F_CREATE | NLM_F_EXCL)
}

/// Gives an IPv6 address that many seconds in which it is preferred, and in which it is valid, all ones for ever
/// (`IFA_CACHEINFO`); a link that does not have it gets it, usable at once. The kernel takes it away at its end.
pub fn lease(link: &Link, cidr: Cidr, preferred: u32, valid: u32) -> Request<Rtnetlink> {
    let mut message = message(link, cidr);
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_preferred = preferred;
    lifetimes.ifa_valid = valid;
    message.attributes.extend([
        AddressAttribute::Address(cidr.address()),
        AddressAttribute::Flags(AddressFlags::Nodad),
        AddressAttribute::CacheInfo(lifetimes),
    ]);
    Request::new(
        format!("lease address {cidr} to {} for {valid} s", link.name),
        libc::RTM_NEWADDR,
        &message,
    )
    .with(NLM_F_CREATE | NLM_F_REPLACE)
}

/// Deletes an address; fails with `EADDRNOTAVAIL` when the link does not have it.
pub fn delete(link: &Link, cidr: Cidr) -> Request<Rtnetlink> {
    Request::new(
        format!("delete address {cidr} from {}", link.name),
        libc::RTM_DELADDR,
        &message(link, cidr),
    )
}

/// Like [`add`], and succeeds when the link has it.
pub fn ensure(link: &Link, cidr: Cidr) -> Request<Rtnetlink> {
    add(link, cidr).tolerate(libc::EEXIST)
}

/// Like [`delete`], and succeeds when the link does not have it.
pub fn remove(link: &Link, cidr: Cidr) -> Request<Rtnetlink> {
    delete(link, cidr).tolerate(libc::EADDRNOTAVAIL)
}

impl Rtnl {
    /// Lists the addresses of a link, both families.
    pub fn addresses(&mut self, link: &Link) -> Result<Vec<Address>, Error> {
        let mut filter = AddressMessage::default();
        filter.header.index = link.index;
        let replies = self.dump(Request::new(
            format!("list the addresses of {}", link.name),
            libc::RTM_GETADDR,
            &filter,
        ))?;
        Ok(replies
            .iter()
            .filter_map(|reply| Address::decode(&reply.body, link.index))
            .collect())
    }
}

impl Address {
    /// Reads the body of an `RTM_NEWADDR`: `struct ifaddrmsg` (`linux/if_addr.h`), then attributes. `None` for one of
    /// another link: kernels before 4.20 do not filter.
    pub(super) fn decode(body: &[u8], index: u32) -> Option<Self> {
        const AF_INET6: u8 = 10;
        let [family, prefix, flags, scope] = *body.first_chunk()?;
        if number(body.get(4..)?)? != index {
            return None;
        }
        let mut local = None;
        let mut address = None;
        let mut flags = AddressFlags::from_bits_retain(u32::from(flags));
        for (kind, value) in attributes(body.get(8..)?) {
            match kind {
                libc::IFA_LOCAL => local = ip(value),
                libc::IFA_ADDRESS => address = ip(value),
                libc::IFA_FLAGS => flags = AddressFlags::from_bits_retain(number(value)?),
                _ => {}
            }
        }
        // On a point-to-point link `IFA_ADDRESS` is the other side's.
        Some(Self {
            cidr: Cidr::new(local.or(address)?, prefix)?,
            permanent: flags.contains(AddressFlags::Permanent),
            tentative: flags.contains(AddressFlags::Tentative),
            duplicate: flags.contains(AddressFlags::Dadfailed),
            // The flag is IPv4's `IFA_F_SECONDARY` as well.
            temporary: flags.contains(AddressFlags::Secondary) && family == AF_INET6,
            local_scope: scope >= libc::RT_SCOPE_LINK,
        })
    }
}
