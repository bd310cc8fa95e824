//! What the Go plugin's `ipMasq` left in legacy tables for a container that it attached and we take down.

use core::net::IpAddr;

use cni_common::addr::Cidr;
use cni_common::owner::Owner;

use super::saved::{Saved, comment, target};

const TABLE: &str = "nat";
const CHAIN: &str = "POSTROUTING";

/// The comment of its rules; an interface has none of its own.
fn comment_of(owner: &Owner) -> String {
    format!("name: \"{}\" id: \"{}\"", owner.network, owner.container)
}

/// Whether there is something of the container's.
pub(super) fn is_there(saved: &Saved, owner: &Owner) -> bool {
    let wanted = comment_of(owner);
    let rules = saved.chains(TABLE).iter().flat_map(|chain| &chain.rules);
    rules
        .into_iter()
        .any(|rule| comment(rule).as_deref() == Some(&wanted))
}

/// Deletes the container's rules, with addresses those for these alone, and its chain with the last of them: two interfaces
/// of a container share it.
pub(super) fn remove(saved: &mut Saved, owner: &Owner, addresses: &[IpAddr]) {
    let wanted = comment_of(owner);
    let is_ours = |rule: &str| comment(rule).as_deref() == Some(&wanted);
    let goes = |rule: &str| {
        let meant =
            addresses.is_empty() || source(rule).is_none_or(|from| addresses.contains(&from));
        is_ours(rule) && meant
    };
    let chain_of = |rule: &String| target(rule).map(str::to_owned);
    let (going, staying): (Vec<String>, Vec<String>) = saved
        .rules(TABLE, CHAIN)
        .iter()
        .cloned()
        .partition(|rule| goes(rule));
    saved.delete_rules(TABLE, CHAIN, goes);
    for chain in going.iter().filter_map(chain_of) {
        let used = staying
            .iter()
            .filter_map(chain_of)
            .any(|other| other == chain);
        if chain.starts_with("CNI-") && !used {
            saved.delete_chain(TABLE, &chain);
        }
    }
}

fn source(rule: &str) -> Option<IpAddr> {
    let mut words = rule.split(' ').skip_while(|word| *word != "-s").skip(1);
    let cidr: Cidr = words.next()?.parse().ok()?;
    Some(cidr.address())
}

#[cfg(test)]
mod tests {
    use cni_common::ident::{ContainerId, IfName, NetworkName};

    use super::*;

    #[test]
    fn the_chain_goes_with_the_last_rule_that_leads_to_it() {
        const TEXT: &str = "\
*nat
:POSTROUTING ACCEPT [0:0]
:CNI-aa - [0:0]
-A POSTROUTING -s 10.0.0.2/32 -m comment --comment \"name: \\\"n\\\" id: \\\"c\\\"\" -j CNI-aa
-A POSTROUTING -s 10.0.0.3/32 -m comment --comment \"name: \\\"n\\\" id: \\\"c\\\"\" -j CNI-aa
-A CNI-aa -m comment --comment \"name: \\\"n\\\" id: \\\"c\\\"\" -j MASQUERADE
COMMIT
";
        let owner = |container: &str| Owner {
            network: NetworkName::parse("n").unwrap(),
            container: ContainerId::parse(container).unwrap(),
            ifname: IfName::parse("eth0").unwrap(),
        };
        let mut saved = Saved::parse(TEXT);
        assert!(is_there(&saved, &owner("c")) && !is_there(&saved, &owner("d")));
        remove(&mut saved, &owner("c"), &["10.0.0.2".parse().unwrap()]);
        assert_eq!(saved.rules(TABLE, CHAIN).len(), 1);
        assert!(saved.chain(TABLE, "CNI-aa").is_some());
        remove(&mut saved, &owner("c"), &[]);
        assert!(!is_there(&saved, &owner("c")) && saved.chain(TABLE, "CNI-aa").is_none());
    }
}
