//! `uplink`, `moveAddresses`.

use core::net::IpAddr;
use core::str::FromStr;

use cni_common::addr::{Family, Mac, parse_ip};
use cni_common::ident::IfName;
use cni_common::json::{Json, Object, Value};

/// What connects the bridge with the world outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Uplink {
    /// A host interface by its name.
    Name(IfName),
    /// A host interface by its Ethernet address.
    Mac(Mac),
    /// A segment over many hosts.
    Vxlan(Vxlan),
}

/// A VXLAN segment (RFC 7348).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vxlan {
    /// `vni`.
    pub(crate) id: u32,
    /// `remote`: the other hosts.
    pub(crate) remotes: Vec<IpAddr>,
    /// `group`: the multicast group of all hosts.
    pub(crate) group: Option<IpAddr>,
    /// `port`.
    pub(crate) port: u16,
    /// `device`: the host's interface to the other hosts.
    pub(crate) device: Option<IfName>,
}

/// The port that IANA gave to VXLAN; the kernel's own default is an older one.
const PORT: u16 = 4789;

/// The largest VNI: it has 24 bits.
const LAST: u32 = 0x00ff_ffff;

/// The most uplinks of a bridge: their addresses carry numbers of their own.
const MOST: usize = 8;

/// Reads `uplink`: one, or a list.
pub(super) fn read(object: &Object<'_>) -> Vec<Uplink> {
    let Some(value) = object.get("uplink") else {
        return Vec::new();
    };
    let items = one_or_many(&value);
    if items.len() > MOST {
        value.refuse(format_args!("has more than {MOST} interfaces"));
    }
    let mut uplinks = Vec::new();
    for item in items {
        if let Some(uplink) = one(&item) {
            if uplinks.contains(&uplink) {
                item.refuse("is there twice");
            }
            uplinks.push(uplink);
        }
    }
    uplinks
}

/// A list, or what else stands there as a list of one; the empty string is nothing.
fn one_or_many<'a>(value: &Value<'a>) -> Vec<Value<'a>> {
    if matches!(value.json(), Json::Array(_)) {
        return value.items();
    }
    if *value.json() == Json::String(String::new()) {
        return Vec::new();
    }
    vec![value.clone()]
}

fn one(item: &Value<'_>) -> Option<Uplink> {
    if let Json::Object(_) = item.json() {
        let object = item.object()?;
        let Some(vxlan) = object.object("vxlan") else {
            item.refuse(
                "must be the name of an interface, \"mac:\" and its address, or {\"vxlan\": {…}}",
            );
            return None;
        };
        return self::vxlan(&vxlan).map(Uplink::Vxlan);
    }
    let text = item.string()?;
    match text.strip_prefix("mac:") {
        Some(mac) => {
            let parse = |_: &str| Mac::from_str(mac);
            item.parse_with(parse).map(Uplink::Mac)
        }
        None => item.parse_with(IfName::parse).map(Uplink::Name),
    }
}

fn vxlan(object: &Object<'_>) -> Option<Vxlan> {
    let id = object.unsigned("vni", LAST);
    if object.get("vni").is_none() {
        object.refuse("vni", "is missing");
    }
    let port = object
        .unsigned("port", u32::from(u16::MAX))
        .and_then(|port| u16::try_from(port).ok());
    if port == Some(0) {
        object.refuse("port", "cannot be 0");
    }
    let remotes: Vec<IpAddr> = match object.get("remote") {
        None => Vec::new(),
        Some(value) => one_or_many(&value).iter().filter_map(remote).collect(),
    };
    let group = object.parse_with("group", parse_ip);
    if group.is_some_and(|group| !group.is_multicast()) {
        object.refuse("group", "must be a multicast address");
    }
    let device = object.parse_with("device", IfName::parse);
    match (group.is_some(), object.get("remote").is_some()) {
        (false, false) => object.refuse("remote", "or group is required"),
        (true, true) => object.refuse("group", "cannot stand beside remote"),
        (true, false) if device.is_none() => {
            object.refuse(
                "device",
                "is required with group: nothing else says where to join it",
            );
        }
        (true, false) | (false, true) => {}
    }
    let mut families = remotes.iter().map(|remote| Family::of(*remote));
    let first = families.next();
    if families.any(|family| Some(family) != first) {
        object.refuse("remote", "must be addresses of one family");
    }
    Some(Vxlan {
        id: id?,
        remotes,
        group,
        port: port.unwrap_or(PORT),
        device,
    })
}

fn remote(item: &Value<'_>) -> Option<IpAddr> {
    let remote = item.parse_with(parse_ip)?;
    if remote.is_multicast() || remote.is_unspecified() || remote.is_loopback() {
        item.refuse("is not the address of a host");
        return None;
    }
    Some(remote)
}
