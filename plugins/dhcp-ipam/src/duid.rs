//! Who a container is to DHCP servers of both families: made from its names, so that nothing has to be kept for it.

use cni_common::owner::{self, Owner};

/// The container's DUID: a DUID-UUID (RFC 6355) that is the same on all of its interfaces.
pub(crate) fn of(owner: &Owner) -> [u8; 18] {
    /// DUID-UUID
    const TYPE: [u8; 2] = [0, 4];
    let half = |which: &str| owner::hash([which, owner.container.as_str()]);
    // Version 8, of no other meaning, and the variant of RFC 9562.
    let high = half("duid 1") & !0xf000 | 0x8000;
    let low = half("duid 2") << 2 >> 2 | 1 << 63;
    let mut duid = [0; 18];
    let bytes = TYPE.into_iter().chain(high.to_be_bytes());
    for (place, byte) in duid.iter_mut().zip(bytes.chain(low.to_be_bytes())) {
        *place = byte;
    }
    duid
}

/// The number of an interface among those of its container (RFC 4361, 6.1; RFC 8415, 4.2).
pub(crate) fn iaid(owner: &Owner) -> [u8; 4] {
    let [a, b, c, d, ..] =
        owner::hash(["iaid", owner.network.as_str(), owner.ifname.as_str()]).to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use cni_common::ident::{ContainerId, IfName, NetworkName};

    use super::*;

    fn owner(network: &str, container: &str, ifname: &str) -> Owner {
        Owner {
            network: NetworkName::parse(network).unwrap(),
            container: ContainerId::parse(container).unwrap(),
            ifname: IfName::parse(ifname).unwrap(),
        }
    }

    #[test]
    fn a_container_has_one_duid_and_an_iaid_for_each_interface() {
        let (one, two) = (owner("lan", "c1", "eth0"), owner("lan", "c1", "eth1"));
        assert_eq!(of(&one), of(&two));
        assert_ne!(iaid(&one), iaid(&two));
        assert_ne!(of(&one), of(&owner("lan", "c2", "eth0")));
    }

    #[test]
    fn it_never_changes_and_is_a_uuid() {
        // Servers have it in their files: a change here gives every container another address.
        let duid = of(&owner("lan", "c1", "eth0"));
        let text = crate::record::hex(&duid);
        assert_eq!(text, "000486ea4303aaf38634a54f8a68945c6995");
        assert_eq!((duid[8] >> 4, duid[10] >> 6), (8, 2));
    }
}
