//! The plugin's keys.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Mac, parse_ip};
use cni_common::attach::{keys, mac};
use cni_common::config::{Configuration, Input};
use cni_common::ident::{IfName, Invalid};
use cni_common::json::{Json, Object, Value};
use cni_common::netlink::addr::Detection;
use cni_common::result::Dns;

use crate::names::Held;

mod options;
mod rules;
mod uplink;
mod vlan;

pub(crate) use options::Options;
pub(crate) use rules::{From, RuleKeys};
pub(crate) use uplink::{Uplink, Vxlan};
pub(crate) use vlan::Membership;

/// The bridge a configuration without `bridge` means.
const DEFAULT_BRIDGE: &str = "cni0";

/// The configuration; a key's own name stands where it differs from the field's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
pub(crate) struct Config {
    /// The bridge; `None` only on DEL and GC with a faulty configuration.
    pub(crate) bridge: Option<IfName>,
    /// `isGateway`, or implied by `isDefaultGateway`.
    pub(crate) gateway: bool,
    /// `isDefaultGateway`.
    pub(crate) default_gateway: bool,
    pub(crate) force_address: bool,
    /// What is chosen about the bridge.
    pub(crate) options: Options,
    /// `uplink`.
    pub(crate) uplinks: Vec<Uplink>,
    /// `moveAddresses`: whether the addresses of uplinks become the bridge's.
    pub(crate) move_addresses: bool,
    /// The VLANs of the port.
    pub(crate) vlans: Membership,
    /// `mtu`; 0 is absent.
    pub(crate) mtu: Option<u32>,
    /// `hairpinMode`.
    pub(crate) hairpin: bool,
    /// `promiscMode`.
    pub(crate) promisc: bool,
    /// `portIsolation`.
    pub(crate) isolated: bool,
    /// `enabledad`: whether IPv6 addresses are probed for before they are used.
    pub(crate) detect_duplicates: bool,
    /// `disableContainerInterface`.
    pub(crate) leave_down: bool,
    /// `ipMasq`.
    pub(crate) masquerade: bool,
    /// `macspoofchk`, `ipspoofchk`.
    pub(crate) spoof_check: SpoofCheck,
    pub(crate) dns: Option<Dns>,
    /// The container end's address: `CNI_ARGS` `MAC`, over it `args.cni.mac`, over it `runtimeConfig.mac`.
    pub(crate) mac: Option<Mac>,
    /// `hostInterfaceName`.
    pub(crate) host_name: Option<IfName>,
    pub(crate) host_routes: Vec<HostRoute>,
    /// `ipForward`: whether `isGateway` makes the host forward.
    pub(crate) forward: bool,
    /// `removeEmptyBridge`.
    pub(crate) remove_empty: bool,
    pub(crate) strict_del: bool,
    /// `arpProbe`: whether IPv4 addresses are probed for before they are used.
    pub(crate) arp_probe: bool,
    /// `replaceDefaultRoute`: whether other interfaces' default routes stand back.
    pub(crate) replace_default: bool,
    pub(crate) rules: Vec<RuleKeys>,
    /// `adopt`: whether the host interface of the previous result becomes the port.
    pub(crate) adopt: bool,
    /// Whether `ipam.type` names a plugin.
    pub(crate) has_ipam: bool,
}

/// What a container's frames are checked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpoofCheck {
    /// Nothing.
    #[default]
    Off,
    /// The Ethernet source address.
    Mac,
    /// That, and addresses in ARP, IPv4, IPv6 and neighbour discovery.
    Ip,
}

/// A destination that the host reaches through the attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostRoute {
    pub(crate) dst: Cidr,
    /// The gateway; `None` for the container's address of the family.
    pub(crate) gw: Option<IpAddr>,
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        let config = Self {
            bridge: bridge(object),
            gateway: object.flag("isGateway") || object.flag("isDefaultGateway"),
            default_gateway: object.flag("isDefaultGateway"),
            force_address: object.flag("forceAddress"),
            options: Options::read(object),
            uplinks: uplink::read(object),
            move_addresses: object.flag("moveAddresses"),
            vlans: Membership::read(object),
            mtu: keys::mtu(object),
            hairpin: object.flag("hairpinMode"),
            promisc: object.flag("promiscMode"),
            isolated: object.flag("portIsolation"),
            detect_duplicates: object.flag("enabledad"),
            leave_down: object.flag("disableContainerInterface"),
            masquerade: object.flag("ipMasq"),
            spoof_check: spoof_check(object),
            dns: keys::dns(object),
            mac: mac::read(input),
            host_name: object.parse_with("hostInterfaceName", IfName::parse),
            host_routes: host_routes(object),
            forward: object
                .get("ipForward")
                .and_then(|value| value.bool())
                .unwrap_or(true),
            remove_empty: object.flag("removeEmptyBridge"),
            strict_del: object.flag("strictDel"),
            arp_probe: object.flag("arpProbe"),
            replace_default: object.flag("replaceDefaultRoute"),
            rules: rules::read(object),
            adopt: object.flag("adopt"),
            has_ipam: keys::has_ipam(object),
        };
        check_backend(object);
        config.refuse_contradictions(object);
        config
    }
}

impl Config {
    /// Whether IPv6 addresses are probed for before they are used.
    pub(crate) fn detection(&self) -> Detection {
        if self.detect_duplicates {
            Detection::Probe
        } else {
            Detection::Skip
        }
    }

    /// Whether `macspoofchk` or `ipspoofchk` is on.
    pub(crate) fn checks_spoofing(&self) -> bool {
        self.spoof_check != SpoofCheck::Off
    }

    /// The VLAN that needs a gateway interface of its own.
    pub(crate) fn gateway_vlan(&self) -> Option<u16> {
        self.vlans.vlan.filter(|_| self.gateway)
    }

    /// What an attachment has beside its link; its host routes go by these gateways.
    pub(crate) fn held<'a>(&self, via: &'a [IpAddr]) -> Held<'a> {
        Held {
            gateway: self.gateway_vlan(),
            guarded: self.checks_spoofing(),
            via,
            adopted: false,
        }
    }

    fn refuse_contradictions(&self, object: &Object<'_>) {
        if self.hairpin && self.promisc {
            object.refuse("hairpinMode", "cannot be true while promiscMode is true");
        }
        if self.leave_down && self.has_ipam {
            object.refuse(
                "disableContainerInterface",
                "cannot be true with ipam: an interface that is down has no use for addresses",
            );
        }
        if self.adopt {
            for (key, asks) in [
                ("ipam", self.has_ipam),
                ("isDefaultGateway", self.default_gateway),
                ("disableContainerInterface", self.leave_down),
                ("hostInterfaceName", self.host_name.is_some()),
                ("hostRoutes", !self.host_routes.is_empty()),
                ("rules", !self.rules.is_empty()),
                ("arpProbe", self.arp_probe),
                ("replaceDefaultRoute", self.replace_default),
            ] {
                if asks {
                    let words = "cannot stand beside adopt: the interface is the previous plugin's";
                    object.refuse(key, words);
                }
            }
        }
        if self.spoof_check == SpoofCheck::Ip && !self.has_ipam && !self.adopt {
            object.refuse(
                "ipspoofchk",
                "cannot be true without ipam: it is not known which addresses are the container's",
            );
        }
        if self.move_addresses && self.uplinks.is_empty() {
            object.refuse(
                "moveAddresses",
                "cannot be true without uplink: there is nothing to move",
            );
        }
        let nobody = |rule: &RuleKeys| rule.family().is_none();
        if !self.has_ipam && !self.adopt && self.rules.iter().any(nobody) {
            object.refuse(
                "rules",
                "must say from or to as a subnet without ipam: the container has no address that tells the family",
            );
        }
        self.options.refuse_contradictions(self, object);
        if self.gateway
            && let (Some(bridge), Some(vlan)) = (&self.bridge, self.vlans.vlan)
            && let Err(invalid) = gateway_name(bridge, vlan)
        {
            object.refuse(
                "bridge",
                format_args!("has no room for its VLAN's gateway: {invalid}"),
            );
        }
        if self.host_name.is_some() && self.host_name == self.bridge {
            object.refuse("hostInterfaceName", "cannot be the bridge's own name");
        }
    }
}

/// The name of the interface that carries the gateway addresses of a VLAN, as in the reference plugin.
pub(crate) fn gateway_name(bridge: &IfName, vlan: u16) -> Result<IfName, Invalid> {
    IfName::parse(&format!("{bridge}.{vlan}"))
}

fn spoof_check(object: &Object<'_>) -> SpoofCheck {
    match (object.flag("ipspoofchk"), object.flag("macspoofchk")) {
        (true, _) => SpoofCheck::Ip,
        (false, true) => SpoofCheck::Mac,
        (false, false) => SpoofCheck::Off,
    }
}

fn bridge(object: &Object<'_>) -> Option<IfName> {
    match object.get("bridge") {
        Some(value) if *value.json() != Json::String(String::new()) => {
            value.parse_with(IfName::parse)
        }
        _ => IfName::parse(DEFAULT_BRIDGE).ok(),
    }
}

fn host_routes(object: &Object<'_>) -> Vec<HostRoute> {
    let read = |item: &Value<'_>| {
        let route = item.object()?;
        let gw = route.parse_with("gw", parse_ip);
        let Some(value) = route.get("dst") else {
            route.refuse("dst", "is missing");
            return None;
        };
        let dst: Cidr = value.parse()?;
        if dst.network() != dst {
            value.refuse(format_args!(
                "has host bits set: {} is meant",
                dst.network()
            ));
            return None;
        }
        if gw.is_some_and(|gw| cni_common::addr::Family::of(gw) != dst.family()) {
            route.refuse("gw", format_args!("must be an {} address", dst.family()));
            return None;
        }
        if gw.is_none() && !keys::has_ipam(object) {
            route.refuse(
                "gw",
                "is required without ipam: the container has no address",
            );
            return None;
        }
        Some(HostRoute { dst, gw })
    };
    object.items("hostRoutes").iter().filter_map(read).collect()
}

/// `ipMasqBackend`: both names of the reference plugin are understood, and both mean nftables.
fn check_backend(object: &Object<'_>) {
    let Some(value) = object.get("ipMasqBackend") else {
        return;
    };
    if let Some(backend) = value.string()
        && !["", "iptables", "nftables"].contains(&backend)
    {
        value.refuse("must be \"iptables\" or \"nftables\"");
    }
}

#[cfg(test)]
mod tests;
