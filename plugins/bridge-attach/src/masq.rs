//! `ipMasq`: source NAT for the container's addresses, with the rules of the plugin `masquerade`.

use core::net::IpAddr;

use cni_common::addr::Cidr;
use cni_common::error::{Error, Step};
use cni_common::ident::{IfName, NetworkName};
use cni_common::json::{Json, ObjectWriter};
use cni_common::netlink::link::Link;
use cni_common::owner::Owner;
use cni_common::result::{Attachment, Interface, IpConfig};
use cni_common::undo::Undo;
use cni_common::version::SpecVersion;
use masquerade::config::Config;
use masquerade::forwarding::Forwarding;
use masquerade::kept::Keeper;
use masquerade::rules::{self, Inside};

use crate::plan::Plan;

/// What `masquerade` chained after this plugin would be given: translation and nothing else. Forwarding is `isGateway`'s
/// affair.
fn config() -> Config {
    Config {
        ip_forward: Forwarding::LEAVE,
        firewalld_zone: None,
        drop_invalid: false,
        counters: false,
        ..Config::default()
    }
}

fn rules_for(owner: &Owner, inside: &Link, plan: &Plan) -> rules::Plan {
    let inside = match IfName::parse(&inside.name) {
        Ok(name) => Inside::Interface(name),
        Err(_) => Inside::Addresses,
    };
    let addresses: Vec<Cidr> = plan.addresses().collect();
    rules::plan(&owner.network, &config(), &inside, &addresses)
}

/// The configuration by which `masquerade`, chained after this plugin, would come to the same rules: what
/// `masquerade reload` restores them from.
fn chained(owner: &Owner, inside: &Link, plan: &Plan) -> String {
    let interface = |name: &str, sandbox: &str| Interface {
        name: name.to_owned(),
        sandbox: Some(sandbox.to_owned()),
        ..Interface::default()
    };
    let previous = Attachment {
        interfaces: vec![
            interface(&inside.name, ""),
            interface(owner.ifname.as_str(), owner.container.as_str()),
        ],
        ips: plan
            .addresses()
            .map(|address| IpConfig {
                interface: Some(1),
                address,
                gateway: None,
            })
            .collect(),
        ..Attachment::default()
    };
    let version = SpecVersion::NEWEST;
    let configuration = ObjectWriter::default()
        .with("cniVersion", version.as_str())
        .with("name", owner.network.as_str())
        .with("type", "masquerade")
        .with("ipForward", Json::Bool(false))
        .with("dropInvalid", Json::Bool(false))
        .with("counters", Json::Bool(false))
        .with("prevResult", previous.to_json(version));
    Json::from(configuration).to_line()
}

/// Translates what the container sends beyond its subnets; `inside` is the host's interface to it.
pub(crate) fn add(
    owner: &Owner,
    inside: &Link,
    plan: &Plan,
    undo: &mut Undo<'_>,
) -> Result<(), Error> {
    let rules = rules_for(owner, inside, plan);
    let chained = chained(owner, inside, plan);
    Keeper::of_bridge_attach()
        .attach(owner, &config(), &rules, chained.as_bytes())
        .step(|| "ipMasq")?;
    let owner = owner.clone();
    undo.push("remove the masquerade rules", move || remove(&owner, &[]));
    Ok(())
}

/// Whether [`add`] did something for the owner, as far as is known without a look at the firewall.
pub(crate) fn is_kept(owner: &Owner) -> bool {
    Keeper::of_bridge_attach().keeps(owner)
}

/// Removes what [`add`] did for the owner, which probably has these addresses.
pub(crate) fn remove(owner: &Owner, addresses: &[IpAddr]) -> Result<(), Error> {
    Keeper::of_bridge_attach()
        .detach(&config(), owner, addresses)
        .step(|| "ipMasq")
}

/// Removes what [`add`] did for attachments of the network that are not among these owners.
pub(crate) fn remove_stale(
    network: &NetworkName,
    valid: &std::collections::BTreeSet<u64>,
) -> Result<(), Error> {
    Keeper::of_bridge_attach()
        .collect(&config(), network, valid)
        .step(|| "ipMasq")
}

/// Compares the rules with what [`add`] left.
pub(crate) fn check(owner: &Owner, inside: &Link, plan: &Plan) -> Result<(), Error> {
    let rules = rules_for(owner, inside, plan);
    masquerade::backend::check(&config(), &rules, owner, &[])
}
