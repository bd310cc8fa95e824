//! Why an ADD got no lease.

use cni_common::code::Code;
use cni_common::error::Error;

use super::attempt6::Attempt;
use super::session4::{OurClient, Session4};
use super::session6::{OurClient6, Session6};

/// Why there is no lease after so many seconds.
pub(super) fn describe(session: &Session4, seconds: u32) -> Error {
    let link = &session.owner.ifname;
    let Some(tried) = session.client.as_ref().map(OurClient::tried) else {
        return Error::new(Code::NoDhcp, format!("there is no lease after {seconds} s"));
    };
    if tried.refusals > 0 {
        let words = tried.words.as_deref().unwrap_or("and gave no reason");
        return Error::new(
            Code::DhcpRefused,
            format!(
                "a DHCP server refused {} requests on {link} within {seconds} s: {words}",
                tried.refusals
            ),
        );
    }
    if tried.declined > 0 {
        return Error::new(
            Code::NoDhcp,
            format!(
                "other hosts have the {} addresses that DHCP servers gave to {link} within {seconds} s",
                tried.declined
            ),
        );
    }
    if let Some(server) = tried.offered {
        return Error::new(
            Code::NoDhcp,
            format!(
                "DHCP server {server} made an offer on {link} and did not keep it within {seconds} s"
            ),
        );
    }
    Error::new(
        Code::NoDhcp,
        format!(
            "no DHCP server answered on {link} within {seconds} s ({} DISCOVERs sent)",
            tried.discovers
        ),
    )
}

/// Why there is no IPv6 after so many seconds.
pub(super) fn describe6(session: &Session6, seconds: u32) -> Error {
    let link = &session.owner.ifname;
    let none = |what: String| Error::new(Code::NoDhcp, what);
    if session.own.local.is_none() {
        let why = session
            .last_error
            .as_deref()
            .unwrap_or("it has none, or duplicate address detection goes on");
        return none(format!(
            "the link-local address of {link} cannot be used after {seconds} s: {why}"
        ));
    }
    let heard = session.own.attempt.as_ref().is_some_and(Attempt::has_heard);
    let Some(tried) = session.client.as_ref().map(OurClient6::tried) else {
        let subnets = session.own.attempt.as_ref().map(Attempt::autonomous);
        let subnets = subnets.unwrap_or_default();
        return match (heard, subnets.first(), &session.last_error) {
            (false, _, _) => none(format!(
                "no router advertised itself on {link} within {seconds} s"
            )),
            (true, None, _) => none(format!(
                "the routers on {link} advertise no prefix for addresses, and no DHCPv6"
            )),
            (true, Some(subnet), Some(why)) => none(format!(
                "{link} has no address of {subnet} after {seconds} s: {why}"
            )),
            (true, Some(subnet), None) => none(format!(
                "{link} has no address of {subnet} after {seconds} s"
            )),
        };
    };
    if tried.refusals > 0 {
        let words = tried.words.as_deref().unwrap_or("and gave no reason");
        return Error::new(
            Code::DhcpRefused,
            format!(
                "a DHCPv6 server refused {} requests on {link} within {seconds} s: {words}",
                tried.refusals
            ),
        );
    }
    if tried.declined > 0 {
        return none(format!(
            "other hosts have the {} addresses that DHCPv6 servers gave to {link} within {seconds} s",
            tried.declined
        ));
    }
    if tried.offered {
        return none(format!(
            "a DHCPv6 server made an offer on {link} and did not keep it within {seconds} s"
        ));
    }
    none(format!(
        "no DHCPv6 server answered on {link} within {seconds} s ({} SOLICITs sent)",
        tried.solicits
    ))
}
