//! `inform`: the address that a container has by other means.

use core::net::IpAddr;
use std::str::FromStr;

use cni_common::addr::Cidr;
use cni_common::config::Input;
use cni_common::env::Command;
use cni_common::ident::Invalid;
use cni_common::json::Object;

/// The address, where `inform` says that there is one: the runtime's (`runtimeConfig.ips`, then `CNI_ARGS` `IP`) before
/// the configuration's.
pub(super) fn of_its_own(input: &Input<'_>, ipam: &Object<'_>) -> Option<Cidr> {
    if !ipam.flag("inform") {
        return None;
    }
    let runtime = input.object.object("runtimeConfig");
    let ips = runtime.map(|runtime| runtime.items("ips"));
    let mut ips = ips.unwrap_or_default().into_iter();
    let of_runtime = ips.find_map(|item| item.parse_with(Cidr::from_str).filter(is_v4));
    let found = of_runtime
        .or_else(|| {
            let parsed = input.args.get("IP")?.parse().map(usable);
            match parsed {
                Ok(Ok(cidr)) => Some(cidr),
                Ok(Err(invalid)) | Err(invalid) => {
                    ipam.refuse(
                        "inform",
                        format_args!("wants the address of CNI_ARGS: IP: {}", invalid.reason),
                    );
                    None
                }
            }
        })
        .or_else(|| ipam.parse_with("address", |text| usable(Cidr::from_str(text)?)));
    let asked = !matches!(input.command, Command::Del | Command::Gc | Command::Status);
    if found.is_none() && asked && ipam.get("address").is_none() && input.args.get("IP").is_none() {
        ipam.refuse(
            "inform",
            "wants an IPv4 address with its prefix length: in ipam.address, runtimeConfig.ips or CNI_ARGS: IP",
        );
    }
    found
}

fn is_v4(cidr: &Cidr) -> bool {
    matches!(cidr.address(), IpAddr::V4(_))
}

fn usable(cidr: Cidr) -> Result<Cidr, Invalid> {
    let invalid = |why: &str| Invalid {
        reason: format!("{cidr} {why}"),
    };
    if !is_v4(&cidr) {
        return Err(invalid("must be an IPv4 address"));
    }
    cidr.unusable().map_or(Ok(cidr), |why| Err(invalid(why)))
}
