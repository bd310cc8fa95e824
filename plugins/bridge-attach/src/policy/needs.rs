//! Which routing rules an attachment needs: its interface's alias says it, in the container, where they are.
//!
//! A rule has no room for an owner, and two attachments of one container may want the same one.

use std::collections::BTreeMap;

use cni_common::addr::Family;
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::netlink::rule::Rule;
use cni_common::owner::{self, Owner};

/// What such an alias begins with; the owner's hash follows, and what stands for each rule.
const MARK: &str = "plumb1-rules ";

/// How many characters stand for a rule: 30 bits of its hash.
const RULE: usize = 6;

/// The longest alias in bytes (`IFALIASZ`, linux/if.h, less one).
const ALIAS: usize = 255;

/// What stands for a rule.
fn short(rule: &Rule) -> String {
    let family = match rule.family {
        Family::V4 => "4",
        Family::V6 => "6",
    };
    let mut text = owner::short(owner::hash([family, &rule.to_string()]));
    text.truncate(RULE);
    text
}

/// The alias of the interface of an attachment with these rules.
///
/// # Errors
/// Code 7 when they do not fit: some 37.
pub(super) fn alias(owner: &Owner, rules: &[Rule]) -> Result<String, Error> {
    let mut text = format!("{MARK}{:016x} ", owner.hash());
    let room = ALIAS.saturating_sub(text.len()) / RULE;
    if rules.len() > room {
        let many = rules.len();
        return Err(Error::new(
            Code::InvalidConfig,
            format!("rules: {many} rules are more than one attachment can hold: {room}"),
        ));
    }
    for rule in rules {
        text.push_str(&short(rule));
    }
    Ok(text)
}

/// How many interfaces need which rule.
pub(super) struct Needs(BTreeMap<String, usize>);

impl Needs {
    /// What the interfaces of others need, by the aliases of all.
    pub(super) fn of_others<'a>(aliases: impl Iterator<Item = &'a str>, own: &Owner) -> Self {
        let mut needs = BTreeMap::new();
        let own = format!("{:016x}", own.hash());
        for alias in aliases {
            let mark = alias.strip_prefix(MARK);
            let Some((owner, rules)) = mark.and_then(|mark| mark.split_once(' ')) else {
                continue;
            };
            if owner == own {
                continue;
            }
            for rule in rules.as_bytes().chunks(RULE) {
                let rule = String::from_utf8_lossy(rule).into_owned();
                *needs.entry(rule).or_default() += 1;
            }
        }
        Self(needs)
    }

    /// Whether one needs this rule; one that was added without a priority has that of the kernel, and is there once for each.
    pub(super) fn take(&mut self, rule: &Rule) -> bool {
        if self.0.contains_key(&short(rule)) {
            return true;
        }
        let unplaced = Rule {
            priority: None,
            ..rule.clone()
        };
        match self.0.get_mut(&short(&unplaced)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use cni_common::ident::{ContainerId, IfName, NetworkName};

    use super::*;

    fn owner(ifname: &str) -> Owner {
        Owner {
            network: NetworkName::parse("net").unwrap(),
            container: ContainerId::parse("c1").unwrap(),
            ifname: IfName::parse(ifname).unwrap(),
        }
    }

    fn rule(from: &str, priority: Option<u32>) -> Rule {
        Rule {
            family: Family::V4,
            from: Some(from.parse().unwrap()),
            to: None,
            iif: None,
            oif: None,
            mark: None,
            table: 100,
            priority,
        }
    }

    #[test]
    fn what_another_interface_needs_stays() {
        let [one, two, placed] = [
            rule("10.1.0.2/32", None),
            rule("10.1.0.3/32", None),
            rule("10.1.0.0/24", Some(50)),
        ];
        let own = alias(&owner("eth1"), &[one.clone(), placed.clone()]).unwrap();
        let other = alias(&owner("eth2"), &[two.clone(), placed.clone()]).unwrap();
        let aliases = [&own, &other, "docker"].into_iter();
        let mut needs = Needs::of_others(aliases, &owner("eth1"));
        let given = |rule: &Rule| Rule {
            priority: Some(32765),
            ..rule.clone()
        };
        assert!(!needs.take(&given(&one)));
        assert!(needs.take(&placed));
        assert!(needs.take(&given(&two)) && !needs.take(&given(&two)));
        let mut family = placed;
        family.family = Family::V6;
        assert!(!needs.take(&family));
    }

    #[test]
    fn there_is_room_for_many() {
        let rules: Vec<_> = (0..37).map(|n| rule("10.0.0.0/8", Some(n))).collect();
        assert!(alias(&owner("eth1"), &rules).unwrap().len() <= ALIAS);
        let more: Vec<_> = (0..38).map(|n| rule("10.0.0.0/8", Some(n))).collect();
        let error = alias(&owner("eth1"), &more).unwrap_err();
        assert_eq!(error.code(), Code::InvalidConfig);
    }
}
