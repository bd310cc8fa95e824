//! What people see of an attachment.

use cni_common::json::{Json, ObjectWriter};

use super::session4::Session4;
use super::session6::Session6;
use crate::record::hex;
use crate::time::Time;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// What fits on a line.
    Line,
    /// All.
    All,
}

/// The state of a session's client.
pub(super) fn state_of(session: &Session4) -> &'static str {
    match &session.client {
        Some(client) => client.state_name(),
        None => "GONE",
    }
}

/// The state of the IPv6 of a session.
pub(super) fn state_of6(session: &Session6) -> &'static str {
    match (&session.client, &session.own.attempt) {
        (Some(client), _) => client.state_name(),
        (None, Some(_)) => "ASKING-ROUTERS",
        (None, None) => "GONE",
    }
}

/// How long it is until then.
fn left(until: Time, time: Time) -> String {
    match until.since(time).as_secs() {
        left if left > u64::from(u32::MAX) => String::from("never"),
        left => format!("{left}s"),
    }
}

/// The IPv6 of a session for people.
pub(super) fn described6(session: &Session6, time: Time, depth: Depth) -> Json {
    let lease = session.lease.as_ref().map(|(lease, _)| lease);
    let address = lease.and_then(|one| session.cidr(&one.terms));
    let delegated = lease.and_then(|one| one.prefix_left(time));
    let line = ObjectWriter::default()
        .with("attachment", session.owner.to_string())
        .with("family", "ipv6")
        .with("state", state_of6(session))
        .with("netns", session.place.netns.as_str())
        .with_some("address", address.map(|cidr| cidr.to_string()))
        .with_some("delegated", delegated.map(|(prefix, _)| prefix.to_string()))
        .with_some("server", lease.map(|one| hex(&one.terms.server)))
        .with_some("renewsIn", lease.map(|one| left(one.t1(), time)))
        .with_some("rebindsIn", lease.map(|one| left(one.t2(), time)))
        .with_some("expiresIn", lease.map(|one| left(one.expiry(), time)))
        .with_some("lastError", session.last_error.as_deref());
    if depth == Depth::Line {
        return line.into();
    }
    line.with("mac", session.place.mac.to_string())
        .with("settings", session.settings.to_json())
        .with_some("lease", lease.map(|one| one.terms.to_json()))
        .into()
}

/// A session for people.
pub(super) fn described(session: &Session4, time: Time, depth: Depth) -> Json {
    let lease = session.client.as_ref().and_then(|client| client.lease());
    let lease = lease.or(session.lease.as_ref().map(|(lease, _)| lease));
    let left = |until: Time| left(until, time);
    let line = ObjectWriter::default()
        .with("attachment", session.owner.to_string())
        .with("family", "ipv4")
        .with("state", state_of(session))
        .with("netns", session.place.netns.as_str())
        .with_some("address", lease.map(|one| one.terms.cidr().to_string()))
        .with_some("server", lease.map(|one| one.terms.server.to_string()))
        .with_some("renewsIn", lease.map(|one| left(one.t1())))
        .with_some("rebindsIn", lease.map(|one| left(one.t2())))
        .with_some("expiresIn", lease.map(|one| left(one.expiry())))
        .with_some("lastError", session.last_error.as_deref());
    if depth == Depth::Line {
        return line.into();
    }
    line.with("mac", session.place.mac.to_string())
        .with("clientId", hex(&session.settings.client_id))
        .with_some(
            "serverMac",
            session.own.server_mac.map(|mac| mac.to_string()),
        )
        .with_some("onChange", session.settings.on_change.as_deref())
        .with_some("lease", lease.map(|one| one.terms.to_json()))
        .into()
}
