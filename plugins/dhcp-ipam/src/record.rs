//! What is remembered of an attachment, in a file and on the control socket.

use core::net::Ipv4Addr;
use std::rc::Rc;
use std::str::FromStr;

use cni_common::addr::{Cidr, Mac, parse_ip};
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::ident::{ContainerId, IfName, Invalid, NetworkName};
use cni_common::json::{Json, Object, ObjectWriter, Problems, Value};
use cni_common::owner::Owner;

use crate::kept::Kept;
use crate::lease::{Hop, Lease, Terms, Wishes};
use crate::time::Time;

/// The version of the form, in files and on the socket.
pub(crate) const VERSION: u32 = 1;

/// What the configuration says about a client; it is kept with the lease, for a daemon that starts has nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) client_id: Vec<u8>,
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    pub(crate) request: Vec<u8>,
    pub(crate) probe_millis: u32,
    /// A program to tell of changes.
    pub(crate) on_change: Option<String>,
    pub(crate) wishes: Wishes,
}

/// Where the interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `CNI_NETNS`, as the host has it.
    pub(crate) netns: String,
    /// `SO_NETNS_COOKIE`, where the kernel has it.
    pub(crate) cookie: Option<u64>,
    /// Cookies and times since boot mean nothing in another boot.
    pub(crate) boot: String,
    pub(crate) mac: Mac,
    /// The interface's MTU before a server said another.
    pub(crate) mtu: Option<u32>,
}

/// A lease and all that is needed to go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Owner,
    pub(crate) place: Place,
    pub(crate) settings: Rc<Settings>,
    pub(crate) lease: Lease,
    /// Seconds since 1970 at `lease.since`.
    pub(crate) wall: u64,
    /// Who sent the ACK on the link: the server, or the way to it.
    pub(crate) server_mac: Option<Mac>,
    pub(crate) standing: Standing,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The container has it.
    Held,
    /// It was refused or ran out, and the container waits for another.
    Lost,
    /// The container is gone, and only the release is left to send.
    Released,
}

impl Standing {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        [Self::Held, Self::Lost, Self::Released]
            .into_iter()
            .find(|standing| standing.as_str() == text)
            .ok_or_else(|| Invalid {
                reason: format!("{text:?} must be held, lost or released"),
            })
    }
}

/// A number that may be larger than 32 bits, as JSON.
pub(crate) fn number(value: u64) -> Json {
    Json::Number(value.into())
}

/// Two hexadecimal digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes from pairs of hexadecimal digits, which colons may separate.
pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, Invalid> {
    let invalid = || Invalid {
        reason: format!("{text:?} must be pairs of hexadecimal digits, such as 01:0a:ff"),
    };
    let digits: Vec<char> = text.chars().filter(|c| *c != ':').collect();
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => {
            let (high, low) = (high.to_digit(16)?, low.to_digit(16)?);
            u8::try_from(high * 16 + low).ok()
        }
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(invalid)
}

/// The path of a program.
///
/// # Errors
/// Why it is none.
pub(crate) fn program(text: &str) -> Result<String, Invalid> {
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(text.to_owned());
    }
    Err(Invalid {
        reason: format!("{text:?} must be an absolute path"),
    })
}

fn options_to_json(options: &[(u8, Vec<u8>)]) -> Vec<Json> {
    let one = |(code, data): &(u8, Vec<u8>)| {
        ObjectWriter::default()
            .with("code", u32::from(*code))
            .with("hex", hex(data))
            .into()
    };
    options.iter().map(one).collect()
}

fn read_options(object: &Object<'_>) -> Option<Vec<(u8, Vec<u8>)>> {
    let read = |item: Value<'_>| {
        let item = item.object()?;
        let code = u8::try_from(item.unsigned("code", 255)?).ok()?;
        Some((code, item.parse_with("hex", unhex).unwrap_or_default()))
    };
    object.items("options").into_iter().map(read).collect()
}

impl Settings {
    pub(crate) fn to_json(&self) -> ObjectWriter {
        ObjectWriter::default()
            .with("clientId", hex(&self.client_id))
            .with_list("options", options_to_json(&self.options))
            .with("request", hex(&self.request))
            .with("arpProbeMs", self.probe_millis)
            .with_some("onChange", self.on_change.as_deref())
            .with_some("priority", self.wishes.priority)
            .with("noDefaultRoute", Json::Bool(self.wishes.no_default_route))
    }

    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self {
            client_id: object.parse_with("clientId", unhex)?,
            options: read_options(object)?,
            request: object.parse_with("request", unhex).unwrap_or_default(),
            probe_millis: object.unsigned("arpProbeMs", 60_000).unwrap_or(0),
            on_change: object.parse_with("onChange", program),
            wishes: Wishes {
                priority: object.unsigned("priority", u32::MAX),
                no_default_route: object.flag("noDefaultRoute"),
            },
        })
    }
}

impl Terms {
    pub(crate) fn to_json(&self) -> ObjectWriter {
        let texts = |list: Vec<String>| list.into_iter().map(Json::from).collect();
        let routes = self.routes.iter().map(|hop| {
            ObjectWriter::default()
                .with("dst", hop.dst.to_string())
                .with("via", hop.via.to_string())
                .into()
        });
        ObjectWriter::default()
            .with("address", self.cidr().to_string())
            .with("server", self.server.to_string())
            .with_some("gateway", self.gateway.map(|ip| ip.to_string()))
            .with_list("routes", routes.collect())
            .with_list(
                "dns",
                texts(self.dns.iter().map(ToString::to_string).collect()),
            )
            .with_some("domain", self.domain.as_deref())
            .with_list("search", texts(self.search.clone()))
            .with_some("mtu", self.mtu)
            .with("leaseSeconds", self.seconds)
            .with_some("t1Seconds", self.t1)
            .with_some("t2Seconds", self.t2)
            .with_list("options", options_to_json(&self.others))
    }

    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        let cidr = object.parse_with("address", Cidr::from_str)?;
        let routes = object.items("routes").into_iter().map(|item| {
            let item = item.object()?;
            let dst = item.parse_with("dst", Cidr::from_str)?;
            Some(Hop {
                dst,
                via: address(&item, "via")?,
            })
        });
        let dns = object.items("dns").into_iter();
        Some(Self {
            address: match cidr.address() {
                core::net::IpAddr::V4(ip) => ip,
                core::net::IpAddr::V6(_) => return None,
            },
            prefix: cidr.prefix(),
            server: address(object, "server")?,
            gateway: address(object, "gateway"),
            routes: routes.collect::<Option<_>>()?,
            dns: dns.map(|item| item.parse_with(v4)).collect::<Option<_>>()?,
            domain: object.text("domain").map(str::to_owned),
            search: object.strings("search"),
            mtu: object.unsigned("mtu", 65_535),
            seconds: object.unsigned("leaseSeconds", u32::MAX)?,
            t1: object.unsigned("t1Seconds", u32::MAX),
            t2: object.unsigned("t2Seconds", u32::MAX),
            others: read_options(object)?,
        })
    }
}

fn v4(text: &str) -> Result<Ipv4Addr, Invalid> {
    match parse_ip(text)? {
        core::net::IpAddr::V4(ip) => Ok(ip),
        core::net::IpAddr::V6(_) => Err(Invalid {
            reason: format!("{text:?} is not an IPv4 address"),
        }),
    }
}

fn address(object: &Object<'_>, key: &str) -> Option<Ipv4Addr> {
    object.parse_with(key, v4)
}

/// A number that may be larger than 32 bits.
pub(crate) fn large(object: &Object<'_>, key: &str) -> Option<u64> {
    let value: Value<'_> = object.get(key)?;
    match value.json() {
        Json::Number(number) => number.as_u64(),
        Json::String(text) => text.parse().ok(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// The attachment that a document is about.
pub(crate) fn read_owner(object: &Object<'_>) -> Option<Owner> {
    Some(Owner {
        network: object.parse_with("network", NetworkName::parse)?,
        container: object.parse_with("container", ContainerId::parse)?,
        ifname: object.parse_with("ifname", IfName::parse)?,
    })
}

/// A document that begins with an attachment.
pub(crate) fn about(owner: &Owner) -> ObjectWriter {
    ObjectWriter::default()
        .with("version", VERSION)
        .with("network", owner.network.as_str())
        .with("container", owner.container.as_str())
        .with("ifname", owner.ifname.as_str())
}

impl Place {
    /// Adds it to a document.
    pub(crate) fn write(&self, document: ObjectWriter) -> ObjectWriter {
        document
            .with("netns", self.netns.as_str())
            // As text: readers in other languages take numbers for floating point.
            .with_some("cookie", self.cookie.map(|cookie| cookie.to_string()))
            .with("boot", self.boot.as_str())
            .with("mac", self.mac.to_string())
            .with_some("mtu", self.mtu)
    }

    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self {
            netns: object.text("netns")?.to_owned(),
            cookie: large(object, "cookie"),
            boot: object.text("boot")?.to_owned(),
            mac: object.parse("mac")?,
            mtu: object.unsigned("mtu", u32::MAX),
        })
    }
}

/// Reads a document of our version.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_versioned<T>(
    json: &Json,
    read: impl FnOnce(&Object<'_>) -> Option<T>,
) -> Result<T, Error> {
    let problems = Problems::default();
    let object = Object::root(json, &problems)?;
    match object.unsigned("version", u32::MAX) {
        Some(VERSION) => {}
        other => {
            let found = other.map_or_else(|| String::from("none"), |n| n.to_string());
            return Err(Error::new(
                Code::Decode,
                format!("is of version {found}, and this release reads {VERSION}"),
            ));
        }
    }
    let record = read(&object);
    problems.finish()?;
    record.ok_or_else(|| Error::new(Code::Decode, "is not complete"))
}

/// When it is in this boot that something began at `then`, in seconds since 1970 as `wall` is now. A moment before this boot
/// has no number in it: the boot stands for it, and how many seconds it was before that.
pub(crate) fn in_this_boot(then: u64, wall: u64, now: Time) -> (Time, u64) {
    let age = wall.saturating_sub(then);
    match now.millis().checked_sub(age.saturating_mul(1000)) {
        Some(since) => (Time::from_millis(since), 0),
        None => (
            Time::from_millis(0),
            age.saturating_sub(now.millis() / 1000),
        ),
    }
}

/// What is left of a lifetime in seconds, which may have no end (`u32::MAX`).
pub(crate) fn left(seconds: u32, lost: u64) -> u32 {
    match seconds {
        u32::MAX => u32::MAX,
        _ => u32::try_from(u64::from(seconds).saturating_sub(lost)).unwrap_or(0),
    }
}

impl Kept for Record {
    const SUFFIX: &str = ".json";

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
            .write(about(&self.owner))
            .with("settings", self.settings.to_json())
            .with("lease", self.lease.terms.to_json())
            .with("since", number(self.wall))
            .with("sinceBootMs", number(self.lease.since.millis()))
            .with_some("serverMac", self.server_mac.map(|mac| mac.to_string()))
            .with("standing", self.standing.as_str())
    }

    fn from_json(json: &Json) -> Result<Self, Error> {
        read_versioned(json, Self::read)
    }

    fn settle(&mut self, boot: &str, now: Time, wall: u64) {
        if self.place.boot == boot {
            return;
        }
        let (since, lost) = in_this_boot(self.wall, wall, now);
        self.lease.since = since;
        let terms = Rc::make_mut(&mut self.lease.terms);
        terms.seconds = left(terms.seconds, lost);
    }
}

impl Record {
    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self {
            owner: read_owner(object)?,
            place: Place::read(object)?,
            settings: Rc::new(Settings::read(&object.object("settings")?)?),
            lease: Lease::new(
                Terms::read(&object.object("lease")?)?,
                Time::from_millis(large(object, "sinceBootMs")?),
            ),
            wall: large(object, "since")?,
            server_mac: object.parse("serverMac"),
            standing: object.parse_with("standing", Standing::parse)?,
        })
    }
}
