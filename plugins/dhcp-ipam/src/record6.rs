//! What is remembered of an attachment's IPv6, in a file and on the control socket.

use core::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::str::FromStr;

use cni_common::addr::{Cidr, parse_ip};
use cni_common::error::Error;
use cni_common::ident::Invalid;
use cni_common::json::{Json, Object, ObjectWriter};
use cni_common::owner::Owner;

use crate::kept::Kept;
use crate::lease::Wishes;
use crate::lease6::{Advertised, Granted6, Lease6, Span, Terms6};
use crate::record::{self, Place, Standing, hex, large, number, program, unhex};
use crate::time::Time;

/// Where a container's IPv6 addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// From a DHCPv6 server, whatever routers say.
    Dhcp,
    /// Made by the kernel from what routers advertise.
    Slaac,
    /// As routers say.
    Auto,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Dhcp, Self::Slaac, Self::Auto];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Slaac => "slaac",
            Self::Auto => "auto",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// What the configuration says about IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings6 {
    pub(crate) mode: Mode,
    pub(crate) duid: Vec<u8>,
    pub(crate) iaid: u32,
    /// The length of a prefix to be delegated; zero leaves it to the server.
    pub(crate) delegation: Option<u8>,
    pub(crate) rapid_commit: bool,
    /// Options to ask for.
    pub(crate) request: Vec<u16>,
    /// Whether routers are asked and heard.
    pub(crate) routers: bool,
    /// The prefix length of an address from DHCPv6, which says none.
    pub(crate) prefix: u8,
    /// How long other hosts are asked whether they have it.
    pub(crate) probe_millis: u32,
    /// The program that is told of changes.
    pub(crate) on_change: Option<String>,
    pub(crate) wishes: Wishes,
}

/// A lease and all that is needed to go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record6 {
    pub(crate) owner: Owner,
    pub(crate) place: Place,
    pub(crate) settings: Rc<Settings6>,
    pub(crate) lease: Lease6,
    /// Seconds since 1970 at `lease.since`.
    pub(crate) wall: u64,
    /// What routers said when it was given to the container.
    pub(crate) advertised: Advertised,
    pub(crate) slaac: Vec<Cidr>,
    pub(crate) standing: Standing,
}

fn v6(text: &str) -> Result<Ipv6Addr, Invalid> {
    match parse_ip(text)? {
        IpAddr::V6(ip) => Ok(ip),
        IpAddr::V4(_) => Err(Invalid {
            reason: format!("{text:?} is not an IPv6 address"),
        }),
    }
}

fn cidr6(text: &str) -> Result<Cidr, Invalid> {
    let cidr = Cidr::from_str(text)?;
    match cidr.address() {
        IpAddr::V6(_) => Ok(cidr),
        IpAddr::V4(_) => Err(Invalid {
            reason: format!("{text:?} is not an IPv6 address with a prefix length"),
        }),
    }
}

fn texts(list: impl IntoIterator<Item = impl ToString>) -> Vec<Json> {
    let items = list.into_iter();
    items.map(|item| Json::from(item.to_string())).collect()
}

fn list<T>(
    object: &Object<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Option<Vec<T>> {
    let items = object.items(key).into_iter();
    items.map(|item| item.parse_with(&parse)).collect()
}

/// A small number.
fn byte(object: &Object<'_>, key: &str) -> Option<u8> {
    u8::try_from(object.unsigned(key, 255)?).ok()
}

impl Settings6 {
    pub(crate) fn to_json(&self) -> ObjectWriter {
        let request = self.request.iter().map(|code| number(u64::from(*code)));
        ObjectWriter::default()
            .with("mode", self.mode.as_str())
            .with("duid", hex(&self.duid))
            .with("iaid", self.iaid)
            .with_some("prefixDelegation", self.delegation.map(u32::from))
            .with("rapidCommit", Json::Bool(self.rapid_commit))
            .with_list("request", request.collect())
            .with("routerAdvertisements", Json::Bool(self.routers))
            .with("prefixLength", u32::from(self.prefix))
            .with("dadMs", self.probe_millis)
            .with_some("onChange", self.on_change.as_deref())
            .with_some("priority", self.wishes.priority)
            .with("noDefaultRoute", Json::Bool(self.wishes.no_default_route))
    }

    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        let request = object.items("request").into_iter().map(|item| {
            let code = item.unsigned(u32::from(u16::MAX))?;
            u16::try_from(code).ok()
        });
        Some(Self {
            mode: Mode::parse(object.text("mode")?)?,
            duid: object.parse_with("duid", unhex)?,
            iaid: object.unsigned("iaid", u32::MAX)?,
            delegation: byte(object, "prefixDelegation").filter(|length| *length < 128),
            rapid_commit: object.flag("rapidCommit"),
            request: request.collect::<Option<_>>()?,
            routers: object.flag("routerAdvertisements"),
            prefix: byte(object, "prefixLength").filter(|length| *length <= 128)?,
            probe_millis: object.unsigned("dadMs", 60_000).unwrap_or(0),
            on_change: object.parse_with("onChange", program),
            wishes: Wishes {
                priority: object.unsigned("priority", u32::MAX),
                no_default_route: object.flag("noDefaultRoute"),
            },
        })
    }
}

fn granted_json(what: &str, span: Span) -> ObjectWriter {
    ObjectWriter::default()
        .with("prefix", what)
        .with("preferredSeconds", span.preferred)
        .with("validSeconds", span.valid)
}

fn read_granted(object: &Object<'_>) -> Option<(Cidr, Span)> {
    let span = Span {
        preferred: object.unsigned("preferredSeconds", u32::MAX)?,
        valid: object.unsigned("validSeconds", u32::MAX)?,
    };
    Some((object.parse_with("prefix", cidr6)?, span))
}

impl Terms6 {
    pub(crate) fn to_json(&self) -> ObjectWriter {
        let address = self
            .address
            .map(|(ip, span)| granted_json(&format!("{ip}/128"), span));
        let delegated = self
            .prefix
            .map(|(prefix, span)| granted_json(&prefix.to_string(), span));
        ObjectWriter::default()
            .with("server", hex(&self.server))
            .with_some("address", address)
            .with_some("delegated", delegated)
            .with("t1Seconds", self.t1)
            .with("t2Seconds", self.t2)
            .with_list("dns", texts(&self.dns))
            .with_list("search", texts(&self.search))
    }

    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        let address = match object.object("address") {
            Some(address) => {
                let (cidr, span) = read_granted(&address)?;
                match cidr.address() {
                    IpAddr::V6(ip) => Some((ip, span)),
                    IpAddr::V4(_) => return None,
                }
            }
            None => None,
        };
        let prefix = match object.object("delegated") {
            Some(delegated) => Some(read_granted(&delegated)?),
            None => None,
        };
        Some(Self {
            server: object.parse_with("server", unhex)?,
            address,
            prefix,
            t1: object.unsigned("t1Seconds", u32::MAX)?,
            t2: object.unsigned("t2Seconds", u32::MAX)?,
            dns: list(object, "dns", v6)?,
            search: object.strings("search"),
        })
    }
}

impl Advertised {
    fn to_json(&self) -> ObjectWriter {
        ObjectWriter::default()
            .with_some("gateway", self.gateway.map(|ip| ip.to_string()))
            .with_list("onLink", texts(&self.on_link))
            .with_list("dns", texts(&self.dns))
            .with_list("search", texts(&self.search))
    }

    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self {
            gateway: object.parse_with("gateway", v6),
            on_link: list(object, "onLink", cidr6)?,
            dns: list(object, "dns", v6)?,
            search: object.strings("search"),
        })
    }
}

impl Granted6 {
    pub(crate) fn to_json(&self) -> ObjectWriter {
        ObjectWriter::default()
            .with_some("lease", self.terms.as_ref().map(Terms6::to_json))
            .with_list("slaac", texts(&self.slaac))
            .with("advertised", self.advertised.to_json())
    }

    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        let terms = match object.object("lease") {
            Some(lease) => Some(Terms6::read(&lease)?),
            None => None,
        };
        Some(Self {
            terms,
            slaac: list(object, "slaac", cidr6)?,
            advertised: Advertised::read(&object.object("advertised")?)?,
        })
    }
}

impl Kept for Record6 {
    const SUFFIX: &str = ".v6.json";

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn standing(&self) -> Standing {
        self.standing
    }

    fn released(&self) -> Self {
        Self {
            standing: Standing::Released,
            ..self.clone()
        }
    }

    fn to_json(&self) -> ObjectWriter {
        self.place
            .write(record::about(&self.owner))
            .with("settings", self.settings.to_json())
            .with("lease", self.lease.terms.to_json())
            .with("since", number(self.wall))
            .with("sinceBootMs", number(self.lease.since.millis()))
            .with("advertised", self.advertised.to_json())
            .with_list("slaac", texts(&self.slaac))
            .with("standing", self.standing.as_str())
    }

    fn from_json(json: &Json) -> Result<Self, Error> {
        record::read_versioned(json, Self::read)
    }

    fn settle(&mut self, boot: &str, now: Time, wall: u64) {
        if self.place.boot == boot {
            return;
        }
        let (since, lost) = record::in_this_boot(self.wall, wall, now);
        self.lease.since = since;
        let shorten = |span: &mut Span| {
            span.preferred = record::left(span.preferred, lost);
            span.valid = record::left(span.valid, lost);
        };
        let terms = &mut self.lease.terms;
        if let Some((_, span)) = &mut terms.address {
            shorten(span);
        }
        if let Some((_, span)) = &mut terms.prefix {
            shorten(span);
        }
    }
}

impl Record6 {
    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self {
            owner: record::read_owner(object)?,
            place: Place::read(object)?,
            settings: Rc::new(Settings6::read(&object.object("settings")?)?),
            lease: Lease6 {
                terms: Terms6::read(&object.object("lease")?)?,
                since: Time::from_millis(large(object, "sinceBootMs")?),
            },
            wall: large(object, "since")?,
            advertised: Advertised::read(&object.object("advertised")?)?,
            slaac: list(object, "slaac", cidr6)?,
            standing: object.parse_with("standing", Standing::parse)?,
        })
    }
}

#[cfg(test)]
mod tests;
