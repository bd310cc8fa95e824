//! Rules of policy routing (`ip rule`).

use core::fmt;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::error::Error;
use super::frame::{attributes, ip, number, text};
use super::request::Request;
use super::route::PROTOCOL_PLUMB;
use super::{Rtnetlink, Rtnl};
use crate::addr::{Cidr, Family};
use crate::ident::IfName;

/// A rule of ours that sends packets to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The family.
    pub family: Family,
    /// From where (`FRA_SRC`).
    pub from: Option<Cidr>,
    /// To where (`FRA_DST`).
    pub to: Option<Cidr>,
    /// By which interface they came in (`FRA_IIFNAME`).
    pub iif: Option<IfName>,
    /// By which interface they are bound to leave (`FRA_OIFNAME`).
    pub oif: Option<IfName>,
    /// Their mark, and which bits of it count (`FRA_FWMARK`, `FRA_FWMASK`).
    pub mark: Option<(u32, u32)>,
    /// The table (`FRA_TABLE`).
    pub table: u32,
    /// The place among the rules, the lowest first (`FRA_PRIORITY`); the kernel puts one without before all others but
    /// that for the table `local`.
    pub priority: Option<u32>,
}

/// As ip-rule(8) writes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(priority) = self.priority {
            write!(f, "{priority}: ")?;
        }
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => f.write_str("from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        for (word, name) in [("iif", &self.iif), ("oif", &self.oif)] {
            if let Some(name) = name {
                write!(f, " {word} {name}")?;
            }
        }
        write!(f, " lookup {}", self.table)
    }
}

impl Rule {
    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = family(self.family);
        message.header.action = RuleAction::ToTable;
        message.header.src_len = self.from.map_or(0, Cidr::prefix);
        message.header.dst_len = self.to.map_or(0, Cidr::prefix);
        let from = self.from.map(|from| RuleAttribute::Source(from.address()));
        let to = self.to.map(|to| RuleAttribute::Destination(to.address()));
        let name = |name: &IfName| name.as_str().to_owned();
        let iif = self.iif.as_ref().map(name).map(RuleAttribute::Iifname);
        let oif = self.oif.as_ref().map(name).map(RuleAttribute::Oifname);
        let mark = self.mark.map(|(mark, _)| RuleAttribute::FwMark(mark));
        let counts = self.mark.map(|(_, mask)| RuleAttribute::FwMask(mask));
        let priority = self.priority.map(RuleAttribute::Priority);
        let some = [from, to, iif, oif, mark, counts, priority];
        message.attributes = some.into_iter().flatten().collect();
        message.attributes.push(RuleAttribute::Table(self.table));
        message
            .attributes
            .push(RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL_PLUMB)));
        message
    }

    /// Adds it; fails with `EEXIST` when it is there.
    pub fn add(&self) -> Request<Rtnetlink> {
        Request::new(
            format!("add rule {self}"),
            libc::RTM_NEWRULE,
            &self.message(),
        )
        .with(NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds it unless it is there.
    pub fn ensure(&self) -> Request<Rtnetlink> {
        self.add().tolerate(libc::EEXIST)
    }

    /// Deletes it; fails with `ENOENT` when it is not there.
    pub fn delete(&self) -> Request<Rtnetlink> {
        let doing = format!("delete rule {self}");
        Request::new(doing, libc::RTM_DELRULE, &self.message())
    }

    /// Whether this is what was asked for; a priority that was not is the kernel's.
    pub fn is(&self, wanted: &Self) -> bool {
        let same = Self {
            priority: wanted.priority.and(self.priority),
            ..self.clone()
        };
        same == *wanted
    }

    /// Reads the body of an `RTM_NEWRULE` (`linux/fib_rules.h`), if the rule is of ours.
    fn decode(body: &[u8]) -> Option<Self> {
        const HEADER: usize = 12;
        const FRA_DST: u16 = 1;
        const FRA_SRC: u16 = 2;
        const FRA_IIFNAME: u16 = 3;
        const FRA_PRIORITY: u16 = 6;
        const FRA_FWMARK: u16 = 10;
        const FRA_TABLE: u16 = 15;
        const FRA_FWMASK: u16 = 16;
        const FRA_OIFNAME: u16 = 17;
        const FRA_PROTOCOL: u16 = 21;
        let [kind, to_bits, from_bits, _tos, table, ..] = *body.first_chunk::<8>()?;
        let mut rule = Self {
            family: match i32::from(kind) {
                libc::AF_INET => Family::V4,
                libc::AF_INET6 => Family::V6,
                _ => return None,
            },
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            table: u32::from(table),
            // The kernel does not say 0.
            priority: Some(0),
        };
        let (mut mark, mut counts, mut ours) = (None, None, false);
        for (kind, value) in attributes(body.get(HEADER..)?) {
            match kind {
                FRA_DST => rule.to = Cidr::new(ip(value)?, to_bits),
                FRA_SRC => rule.from = Cidr::new(ip(value)?, from_bits),
                FRA_IIFNAME => rule.iif = IfName::parse(&text(value)).ok(),
                FRA_OIFNAME => rule.oif = IfName::parse(&text(value)).ok(),
                FRA_PRIORITY => rule.priority = number(value),
                FRA_FWMARK => mark = number(value),
                FRA_FWMASK => counts = number(value),
                FRA_TABLE => rule.table = number(value)?,
                FRA_PROTOCOL => ours = value == [PROTOCOL_PLUMB],
                _ => {}
            }
        }
        rule.mark = mark.map(|mark| (mark, counts.unwrap_or(u32::MAX)));
        ours.then_some(rule)
    }
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

impl Rtnl {
    /// The rules of ours, of both families.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        let mut found = Vec::new();
        for each in [Family::V4, Family::V6] {
            let mut message = RuleMessage::default();
            message.header.family = family(each);
            let request = Request::new("list the routing rules", libc::RTM_GETRULE, &message);
            match self.dump(request) {
                Ok(replies) => found.extend(replies.iter().filter_map(|r| Rule::decode(&r.body))),
                // IPv6 is switched off.
                Err(error) if error.errno == libc::EAFNOSUPPORT => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{private_netns, run};

    #[test]
    fn rules_come_back_and_are_those_that_ip_shows() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        let rule = Rule {
            family: Family::V4,
            from: Some("10.1.0.0/24".parse().unwrap()),
            to: Some("192.0.2.7/32".parse().unwrap()),
            iif: Some(IfName::parse("lo").unwrap()),
            oif: None,
            mark: Some((0x10, 0xff)),
            table: 1000,
            priority: Some(77),
        };
        let other = Rule {
            family: Family::V6,
            from: None,
            to: None,
            iif: None,
            oif: Some(IfName::parse("eth9").unwrap()),
            mark: None,
            table: 7,
            priority: None,
        };
        rtnl.batch(vec![rule.add(), other.add()]).unwrap();
        assert!(rtnl.execute(rule.add()).unwrap_err().is_taken());
        let shown = run("ip", &["rule"]);
        let line =
            "77:\tfrom 10.1.0.0/24 to 192.0.2.7 fwmark 0x10/0xff iif lo lookup 1000 proto 80";
        assert!(shown.contains(line), "{shown}");
        let found = rtnl.rules().unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0] == rule && found[0].is(&rule));
        assert!(found[1].is(&other) && found[1] != other);
        rtnl.execute(found[1].delete()).unwrap();
        rtnl.execute(rule.delete()).unwrap();
        assert_eq!(rtnl.rules().unwrap(), []);
        assert!(rtnl.execute(rule.delete()).unwrap_err().is_absent());
    }
}
