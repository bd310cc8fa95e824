//! What lets a network's packets pass where iptables drops what it does not know.

use cni_common::addr::{Cidr, Family};
use cni_common::ident::NetworkName;
use cni_common::nft::{Is, Place, Statement};

use super::group::{iif, oif};
use super::{Inside, accepts_comment};
use crate::config::{Admin, Config, Forward};

/// The rules that let a network's packets pass where iptables drops what it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// Whose FORWARD chain.
    pub family: Family,
    /// The rules without their comment.
    pub rules: Vec<Vec<Statement>>,
    /// Their comment.
    pub comment: String,
    /// The chain that comes before them.
    pub admin: Admin,
}

/// Those of a network for a family, of which it has these subnets.
pub(super) fn of(
    network: &NetworkName,
    config: &Config,
    inside: &Inside,
    family: Family,
    subnets: Vec<Cidr>,
) -> Accepts {
    let mut networks = subnets;
    networks.extend(config.sources(family));
    networks.sort();
    networks.dedup();
    let towards = |network: Cidr| Statement::Destination(Is::Equal, Place::Net(network));
    let mut rules = Vec::new();
    let mut rule = |statements: &[Statement]| {
        let mut rule = statements.to_vec();
        rule.extend([Statement::Counter, Statement::Accept]);
        rules.push(rule);
    };
    match inside {
        Inside::Interface(inside) => {
            rule(&[oif(Is::Equal, inside), Statement::XtEstablished]);
            rule(&[iif(Is::Equal, inside)]);
        }
        Inside::Addresses => {
            for network in &networks {
                rule(&[towards(*network), Statement::XtEstablished]);
                rule(&[Statement::Source(Is::Equal, Place::Net(*network))]);
            }
        }
    }
    let open = |statement: Statement| match inside {
        Inside::Interface(inside) => vec![oif(Is::Equal, inside), statement],
        Inside::Addresses => vec![statement],
    };
    if config.forward != Forward::Open && config.allow.iter().any(|allow| allow.is_for(family)) {
        // Our own chain has dropped by then what is not allowed.
        for network in &networks {
            rule(&open(towards(*network)));
        }
    } else if config.publishes(family) {
        for network in &networks {
            let mut statements = open(towards(*network));
            statements.push(Statement::XtRedirected);
            rule(&statements);
        }
    }
    Accepts {
        family,
        rules,
        comment: accepts_comment(network),
        admin: config.admin.clone(),
    }
}
