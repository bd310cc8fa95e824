//! The keys.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Mac, parse_ip};
use cni_common::attach::master::Master;
use cni_common::attach::{keys, mac};
use cni_common::config::{Configuration, Input};
use cni_common::ident::IfName;
use cni_common::json::{Object, Value};
use cni_common::netlink::route::Route;
use cni_common::result::Dns;

/// The configuration.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// `device`: the link of the host, `mac:` and its address included.
    pub(super) device: Option<Master>,
    /// The interface's address, from `macFrom`, `CNI_ARGS`, `args.cni.mac` or `runtimeConfig.mac`.
    pub(super) mac: Option<Mac>,
    pub(super) dns: Option<Dns>,
    /// `replaceDefaultRoute`.
    pub(super) replace_default: bool,
    /// `restore`.
    pub(super) restore: Restore,
}

/// What a link of the host was before it was moved, and DEL makes it again: the kernel forgets it on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Restore {
    pub(super) name: Option<IfName>,
    pub(super) alias: String,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: Option<u32>,
    pub(super) up: bool,
    pub(super) addresses: Vec<Cidr>,
    pub(super) routes: Vec<Route>,
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        Self {
            device: object.parse_with("device", Master::parse),
            mac: mac::read(input),
            dns: keys::dns(object),
            replace_default: object.flag("replaceDefaultRoute"),
            restore: object
                .object("restore")
                .as_ref()
                .map(restore)
                .unwrap_or_default(),
        }
    }
}

fn restore(object: &Object<'_>) -> Restore {
    let addresses = object.items("addresses");
    let routes = object.items("routes");
    Restore {
        name: object.parse_with("name", IfName::parse),
        alias: object.text("alias").unwrap_or_default().to_owned(),
        mac: object.parse("mac"),
        mtu: object.unsigned("mtu", u32::MAX),
        up: object.flag("up"),
        addresses: addresses.iter().filter_map(Value::parse).collect(),
        routes: routes
            .iter()
            .filter_map(|value| route(&value.object()?))
            .collect(),
    }
}

fn route(object: &Object<'_>) -> Option<Route> {
    let gw: Option<IpAddr> = object.parse_with("gw", parse_ip);
    Some(Route {
        priority: object.unsigned("priority", u32::MAX),
        ..Route::new(object.parse::<Cidr>("dst")?.network(), gw)
    })
}
