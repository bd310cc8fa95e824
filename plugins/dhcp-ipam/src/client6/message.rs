//! What each state sends (RFC 8415, 18.2).

use core::net::{IpAddr, Ipv6Addr};

use cni_common::addr::Cidr;

use super::{Client6, Exchange};
use crate::lease6::Terms6;
use crate::time::Time;
use crate::wire::v6::{Kind, Outgoing, association, code};

type Options = Vec<(u16, Vec<u8>)>;

impl<R: FnMut() -> u32> Client6<R> {
    /// A message with what every one of them has.
    fn message(&self, kind: Kind, exchange: &Exchange, now: Time) -> Outgoing {
        let began = if exchange.sent == 0 {
            now
        } else {
            exchange.began
        };
        let hundredths = now.since(began).as_millis() / 10;
        let elapsed = u16::try_from(hundredths).unwrap_or(u16::MAX);
        Outgoing {
            kind,
            xid: exchange.xid,
            options: vec![
                (code::CLIENT_ID, self.identity.duid.clone()),
                (code::ELAPSED, elapsed.to_be_bytes().to_vec()),
            ],
        }
    }

    /// A message that asks for parameters.
    fn question(&self, kind: Kind, exchange: &Exchange, now: Time) -> Outgoing {
        let mut message = self.message(kind, exchange, now);
        let own: &[u16] = if kind == Kind::InformationRequest {
            &[code::REFRESH, code::INF_MAX_RT]
        } else {
            &[code::SOL_MAX_RT]
        };
        let codes = self.identity.request.iter().chain(own).copied();
        let list = codes.flat_map(u16::to_be_bytes).collect();
        message.options.push((code::REQUEST_LIST, list));
        let own = self.identity.options.iter().cloned();
        message.options.extend(own);
        message
    }

    /// The address association, with an address where one is asked for.
    fn addresses(&self, address: Option<Ipv6Addr>) -> (u16, Vec<u8>) {
        let inner: Options = address
            .map(|ip| (code::IA_ADDRESS, [&ip.octets()[..], &[0; 8]].concat()))
            .into_iter()
            .collect();
        (code::IA_NA, association(self.identity.iaid, &inner))
    }

    /// The prefix association; `None` where none is wanted. A prefix of no bits says only how long one is wanted.
    fn prefixes(&self, terms: Option<&Terms6>) -> Option<(u16, Vec<u8>)> {
        let length = self.identity.prefix?;
        let delegated = terms.and_then(|terms| terms.prefix);
        Some(match delegated {
            Some((prefix, _)) => self.delegated(prefix),
            None => self.prefix_of(length, Ipv6Addr::UNSPECIFIED),
        })
    }

    fn delegated(&self, prefix: Cidr) -> (u16, Vec<u8>) {
        let address = match prefix.address() {
            IpAddr::V6(address) => address,
            IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
        };
        self.prefix_of(prefix.prefix(), address)
    }

    fn prefix_of(&self, length: u8, address: Ipv6Addr) -> (u16, Vec<u8>) {
        let mut inner: Options = Vec::new();
        if length > 0 {
            let data = [&[0; 8][..], &[length], &address.octets()].concat();
            inner.push((code::IA_PREFIX, data));
        }
        (code::IA_PD, association(self.identity.iaid, &inner))
    }

    /// What the client has, or was offered.
    fn associations(&self, terms: &Terms6) -> Options {
        let address = terms.address.map(|(address, _)| address);
        let mut options = vec![self.addresses(address)];
        options.extend(self.prefixes(Some(terms)));
        options
    }

    pub(super) fn solicit_message(&self, exchange: &Exchange, now: Time) -> Outgoing {
        let mut message = self.question(Kind::Solicit, exchange, now);
        if self.identity.rapid_commit {
            message.options.push((code::RAPID_COMMIT, Vec::new()));
        }
        message.options.push(self.addresses(self.wanted));
        message.options.extend(self.prefixes(None));
        message
    }

    pub(super) fn request_message(
        &self,
        exchange: &Exchange,
        offer: &Terms6,
        now: Time,
    ) -> Outgoing {
        self.to_server(Kind::Request, exchange, offer, now)
    }

    pub(super) fn renew_message(&self, exchange: &Exchange, terms: &Terms6, now: Time) -> Outgoing {
        self.to_server(Kind::Renew, exchange, terms, now)
    }

    fn to_server(&self, kind: Kind, exchange: &Exchange, terms: &Terms6, now: Time) -> Outgoing {
        let mut message = self.question(kind, exchange, now);
        message
            .options
            .push((code::SERVER_ID, terms.server.clone()));
        message.options.extend(self.associations(terms));
        message
    }

    pub(super) fn rebind_message(
        &self,
        exchange: &Exchange,
        terms: &Terms6,
        now: Time,
    ) -> Outgoing {
        let mut message = self.question(Kind::Rebind, exchange, now);
        message.options.extend(self.associations(terms));
        message
    }

    pub(super) fn confirm_message(
        &self,
        exchange: &Exchange,
        terms: &Terms6,
        now: Time,
    ) -> Outgoing {
        let mut message = self.message(Kind::Confirm, exchange, now);
        let address = terms.address.map(|(address, _)| address);
        message.options.push(self.addresses(address));
        message
    }

    /// Declines the address, and keeps a prefix.
    pub(super) fn decline_message(
        &self,
        exchange: &Exchange,
        terms: &Terms6,
        now: Time,
    ) -> Outgoing {
        let mut message = self.message(Kind::Decline, exchange, now);
        let address = terms.address.map(|(address, _)| address);
        message.options.extend([
            (code::SERVER_ID, terms.server.clone()),
            self.addresses(address),
        ]);
        message
    }

    /// Names what there is, and nothing that is only wanted (RFC 8415, 18.2.7).
    pub(super) fn release_message(
        &self,
        exchange: &Exchange,
        terms: &Terms6,
        now: Time,
    ) -> Outgoing {
        let mut message = self.message(Kind::Release, exchange, now);
        let server = (code::SERVER_ID, terms.server.clone());
        let address = terms.address.map(|(ip, _)| self.addresses(Some(ip)));
        let prefix = terms.prefix.map(|(prefix, _)| self.delegated(prefix));
        let options = [Some(server), address, prefix];
        message.options.extend(options.into_iter().flatten());
        message
    }

    pub(super) fn information_message(&self, exchange: &Exchange, now: Time) -> Outgoing {
        self.question(Kind::InformationRequest, exchange, now)
    }
}
