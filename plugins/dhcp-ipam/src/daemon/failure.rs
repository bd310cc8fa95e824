//! Why an ADD got no lease.

use cni_common::code::Code;
use cni_common::error::Error;

use super::session::{OurClient, Session};

/// Why there is no lease after so many seconds.
pub(super) fn describe(session: &Session, seconds: u32) -> Error {
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
