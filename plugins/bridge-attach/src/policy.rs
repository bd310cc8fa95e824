//! Policy routing in the container: `rules`, each with its table, and `replaceDefaultRoute`.
//!
//! Routes go with the interface; rules do not. They carry our protocol number, so DEL finds those of its tables, and the
//! interfaces that are there say which of them they need ([`needs`]).

use core::cmp::Reverse;
use std::collections::BTreeSet;

use cni_common::addr::{Cidr, Family};
use cni_common::attach::check::drift;
use cni_common::attach::{defaults, routes};
use cni_common::error::{Cause, Error, Step};
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netlink::rule::Rule;
use cni_common::netns::Netns;
use cni_common::owner::Owner;
use cni_common::plugin::{Call, DelCall};
use cni_common::result::{IpConfig, Route};
use cni_common::undo::Undo;

use crate::config::{Config, From, RuleKeys};
use crate::plan::Plan;
use needs::Needs;

mod needs;

/// The rules for an attachment with these addresses.
pub(crate) fn rules(config: &Config, ips: &[IpConfig]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for keys in &config.rules {
        let rule = |family, from: Option<Cidr>| Rule {
            family,
            from,
            to: keys.to,
            iif: keys.iif.clone(),
            oif: keys.oif.clone(),
            mark: keys.mark,
            table: keys.table,
            priority: keys.priority,
        };
        let here = |family: Family| ips.iter().any(|ip| ip.address.family() == family);
        match keys.from {
            From::Own => rules.extend(
                ips.iter()
                    .map(|ip| Cidr::host(ip.address.address()))
                    .filter(|own| keys.to.is_none_or(|to| to.family() == own.family()))
                    .map(|own| rule(own.family(), Some(own))),
            ),
            From::Net(from) => rules.push(rule(from.family(), Some(from))),
            From::All => {
                let families = [Family::V4, Family::V6].into_iter();
                let meant = |family: &Family| match keys.family() {
                    Some(said) => said == *family,
                    None => here(*family),
                };
                rules.extend(families.filter(meant).map(|family| rule(family, None)));
            }
        }
    }
    rules
}

/// The routes of the tables that the rules lead to, where the IPAM plugin gave a table none: the subnets of the
/// attachment, and a default route by its gateway. So the interface answers through itself.
pub(crate) fn table_routes(rules: &[RuleKeys], ips: &[IpConfig], given: &[Route]) -> Vec<Route> {
    let tables: BTreeSet<u32> = rules
        .iter()
        .filter(|rule| rule.from == From::Own)
        .map(|rule| rule.table)
        .collect();
    let mut list: Vec<Route> = Vec::new();
    for table in tables {
        if given.iter().any(|route| route.table == Some(table)) {
            continue;
        }
        for ip in ips {
            let mut on_link = Route::new(ip.address.network(), None);
            on_link.table = Some(table);
            on_link.scope = Some(routes::LINK);
            if !list.contains(&on_link) {
                list.push(on_link);
            }
        }
        for family in [Family::V4, Family::V6] {
            if let Some(gw) = routes::gateway(ips, family) {
                let mut default = Route::new(family.default_route(), Some(gw));
                default.table = Some(table);
                list.push(default);
            }
        }
    }
    list
}

/// Adds the rules of the attachment whose interface is `far`.
pub(crate) fn add_rules<'a>(
    rtnl: &mut Rtnl,
    call: &'a Call<Config>,
    netns: &'a Netns,
    far: &Link,
    plan: &Plan,
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    let rules = rules(&call.config, &plan.ips);
    let owner = call.owner();
    // Before the rules: a DEL of another attachment that looks now must find them needed.
    let mark = far.change().alias(&needs::alias(&owner, &rules)?);
    let mark = mark.doing(format!("mark link {}", far.name));
    rtnl.execute(mark.request()).map_err(Cause::cause)?;
    undo.push("delete the routing rules", move || {
        remove_rules(netns, &call.config, &owner)
    });
    for rule in rules {
        // What another attachment added that says the same.
        rtnl.execute(rule.ensure()).map_err(Cause::cause)?;
    }
    Ok(())
}

/// Removes the rules in the tables of an attachment that no interface of another needs.
fn remove_rules(netns: &Netns, config: &Config, owner: &Owner) -> Result<(), Error> {
    let tables: BTreeSet<u32> = config.rules.iter().map(|rule| rule.table).collect();
    let removed = netns.run(|| {
        let mut rtnl = Rtnl::open()?;
        let mut rules = rtnl.rules()?;
        rules.retain(|rule| tables.contains(&rule.table));
        // The kernel puts the newest of several that say the same first: it goes before the others.
        rules.sort_by_key(|rule| Reverse(rule.priority));
        if rules.is_empty() {
            return Ok(());
        }
        let links = rtnl.links()?;
        let aliases = links.iter().filter_map(|link| link.alias.as_deref());
        let mut needs = Needs::of_others(aliases, owner);
        for rule in rules.iter().filter(|rule| !needs.take(rule)) {
            match rtnl.execute(rule.delete()) {
                Err(error) if !error.is_absent() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    });
    removed
        .step(|| "enter the container's namespace")?
        .map_err(|error: cni_common::netlink::Error| error.cause())
}

/// Removes what DEL finds of it, where the namespace is still there.
pub(crate) fn remove(call: &DelCall<Config>) -> Result<(), Error> {
    let Some(netns) = &call.netns else {
        return Ok(());
    };
    let mut outcome = Ok(());
    if !call.config.rules.is_empty() {
        outcome = remove_rules(netns, &call.config, &call.owner());
    }
    if call.config.replace_default {
        outcome = outcome.and(defaults::promote(netns, &call.ifname));
    }
    outcome
}

/// Compares the rules with what ADD left.
pub(crate) fn check(call: &Call<Config>, plan: &Plan) -> Result<(), Error> {
    if call.config.rules.is_empty() {
        return Ok(());
    }
    let found = call
        .netns()?
        .run(|| Rtnl::open()?.rules())
        .step(|| "enter the container's namespace")?
        .map_err(|error: cni_common::netlink::Error| error.cause())?;
    for wanted in rules(&call.config, &plan.ips) {
        if !found.iter().any(|found| found.is(&wanted)) {
            return Err(drift("routing rule", wanted, "none"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str, gateway: Option<&str>) -> IpConfig {
        IpConfig {
            interface: None,
            address: address.parse().unwrap(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        }
    }

    #[test]
    fn a_table_has_the_subnet_and_the_gateway_unless_it_was_given_routes() {
        let keys = RuleKeys {
            from: From::Own,
            table: 100,
            ..RuleKeys::default()
        };
        let ips = [ip("10.1.0.2/24", Some("10.1.0.1")), ip("fd01::2/64", None)];
        let routes = table_routes(&[keys.clone(), keys.clone()], &ips, &[]);
        let shown: Vec<_> = routes
            .iter()
            .map(|route| (route.dst.to_string(), route.gw.is_some(), route.table))
            .collect();
        let expected = [
            ("10.1.0.0/24".to_owned(), false, Some(100)),
            ("fd01::/64".to_owned(), false, Some(100)),
            ("0.0.0.0/0".to_owned(), true, Some(100)),
        ];
        assert_eq!(shown, expected);
        let mut given = Route::new("192.0.2.0/24".parse().unwrap(), None);
        given.table = Some(100);
        assert!(table_routes(&[keys], &ips, &[given]).is_empty());
    }
}
