//! The keys about IPv6, and which families an ADD must have.

use cni_common::json::{Json, Object, Value};
use cni_common::owner::Owner;

use super::within;
use crate::dual::Require;
use crate::duid;
use crate::lease::Wishes;
use crate::record::unhex;
use crate::record6::{Mode, Settings6};
use crate::wire::v6::code;

/// How long other hosts are asked whether they have an address.
const PROBE: u32 = 100;
/// How long an ADD waits for a family that it could do without.
const GRACE: u32 = 3;
/// What is asked for.
const REQUEST: [u16; 2] = [code::DNS, code::SEARCH];
/// What the protocol itself says, or what means nothing in a list of options that are asked for.
const PROTOCOL: [u16; 11] = [
    code::CLIENT_ID,
    code::SERVER_ID,
    code::IA_NA,
    code::IA_ADDRESS,
    code::REQUEST_LIST,
    code::PREFERENCE,
    code::ELAPSED,
    code::STATUS,
    code::RAPID_COMMIT,
    code::IA_PD,
    code::IA_PREFIX,
];

/// What the configuration says about IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ipv6 {
    pub(crate) mode: Mode,
    duid: Option<Vec<u8>>,
    delegation: Option<u8>,
    rapid_commit: bool,
    request: Vec<u16>,
    pub(crate) routers: bool,
    /// Whether the kernel makes temporary addresses (RFC 8981), and prefers them.
    pub(crate) privacy: bool,
    pub(crate) prefix: u8,
    probe_millis: u32,
}

impl Ipv6 {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            duid: None,
            delegation: None,
            rapid_commit: true,
            request: REQUEST.to_vec(),
            routers: true,
            privacy: false,
            prefix: 128,
            probe_millis: PROBE,
        }
    }

    /// What the daemon needs to know.
    pub(crate) fn settings(
        &self,
        owner: &Owner,
        on_change: Option<String>,
        wishes: Wishes,
    ) -> Settings6 {
        let duid = self.duid.clone();
        Settings6 {
            mode: self.mode,
            duid: duid.unwrap_or_else(|| duid::of(owner).to_vec()),
            iaid: u32::from_be_bytes(duid::iaid(owner)),
            delegation: self.delegation,
            rapid_commit: self.rapid_commit,
            request: self.request.clone(),
            routers: self.routers,
            prefix: self.prefix,
            probe_millis: self.probe_millis,
            on_change,
            wishes,
        }
    }
}

/// The families of an ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: Option<Ipv6>,
    pub(crate) require: Require,
    pub(crate) grace_secs: u32,
}

impl Default for Families {
    fn default() -> Self {
        Self {
            ipv4: true,
            ipv6: None,
            require: Require::All,
            grace_secs: GRACE,
        }
    }
}

impl Families {
    pub(super) fn read(ipam: &Object<'_>) -> Self {
        let ipv4 = ipam.get("ipv4").is_none_or(|value| wants_ipv4(&value));
        let ipv6 = read_ipv6(ipam);
        let require = ipam.get("require").and_then(|value| require(&value));
        let families = Self {
            ipv4,
            ipv6,
            require: require.unwrap_or_default(),
            grace_secs: within(ipam, "graceSecs", 0..=600).unwrap_or(GRACE),
        };
        let missing = match families.require {
            Require::Ipv4 => !families.ipv4,
            Require::Ipv6 => families.ipv6.is_none(),
            Require::All | Require::Any => false,
        };
        if missing {
            let family = families.require.as_str();
            ipam.refuse("require", format_args!("is {family}, and {family} is off"));
        }
        if !families.ipv4 && families.ipv6.is_none() && ipam.get("ipv6").is_none_or(|v| is_off(&v))
        {
            ipam.refuse(
                "ipv4",
                "cannot be off with ipv6 off: there would be nothing to do",
            );
        }
        families
    }
}

fn is_off(value: &Value<'_>) -> bool {
    matches!(value.json(), Json::String(text) if text == "off")
}

fn wants_ipv4(value: &Value<'_>) -> bool {
    match value.string() {
        Some("off") => false,
        Some("dhcp") | None => true,
        Some(_) => {
            value.refuse("must be dhcp or off");
            true
        }
    }
}

fn require(value: &Value<'_>) -> Option<Require> {
    let found = Require::parse(value.string()?);
    if found.is_none() {
        value.refuse("must be all, any, ipv4 or ipv6");
    }
    found
}

/// `ipv6`, a mode or an object with one, and `slaac`, which is short for a mode.
fn read_ipv6(ipam: &Object<'_>) -> Option<Ipv6> {
    let slaac = ipam.flag("slaac");
    let found = match ipam.get("ipv6") {
        None if slaac => return Some(Ipv6::new(Mode::Slaac)),
        None => return None,
        Some(value) if matches!(value.json(), Json::Object(_)) => {
            let object = value.object()?;
            let usual = if slaac { Mode::Slaac } else { Mode::Auto };
            let mode = match object.get("mode") {
                Some(value) => mode(&value)?,
                None => Some(usual),
            };
            mode.map(|mode| read_keys(&object, mode))
        }
        Some(value) => mode(&value)?.map(Ipv6::new),
    };
    let contradicts = !matches!(&found, Some(ipv6) if ipv6.mode != Mode::Dhcp);
    if slaac && contradicts {
        ipam.refuse("slaac", "cannot be true with this mode of ipv6");
    }
    found
}

/// A mode, or none where it is off.
#[expect(
    clippy::option_option,
    reason = "refused, off, and a mode are three things"
)]
fn mode(value: &Value<'_>) -> Option<Option<Mode>> {
    match value.string()? {
        "off" => Some(None),
        text => {
            let mode = Mode::parse(text);
            if mode.is_none() {
                value.refuse("must be off, auto, dhcp or slaac");
            }
            mode.map(Some)
        }
    }
}

fn read_keys(object: &Object<'_>, mode: Mode) -> Ipv6 {
    let usual = Ipv6::new(mode);
    let flag = |key: &str, usual: bool| {
        let value = object.get(key).and_then(|value| value.bool());
        value.unwrap_or(usual)
    };
    let small = |key: &str, allowed: core::ops::RangeInclusive<i64>| {
        within(object, key, allowed).and_then(|number| u8::try_from(number).ok())
    };
    let ipv6 = Ipv6 {
        mode,
        duid: object.get("duid").and_then(|value| read_duid(&value)),
        delegation: match object.get("prefixDelegation") {
            Some(value) if matches!(value.json(), Json::Bool(_)) => {
                value.bool().filter(|wanted| *wanted).map(|_| 0)
            }
            _ => small("prefixDelegation", 1..=127),
        },
        rapid_commit: flag("rapidCommit", usual.rapid_commit),
        request: read_request(object),
        routers: flag("routerAdvertisements", usual.routers),
        privacy: flag("privacyAddresses", usual.privacy),
        prefix: small("prefixLength", 1..=128).unwrap_or(usual.prefix),
        probe_millis: within(object, "dadMs", 0..=10_000).unwrap_or(PROBE),
    };
    if !ipv6.routers && mode != Mode::Dhcp {
        object.refuse(
            "routerAdvertisements",
            format_args!(
                "cannot be false in mode {}: it is routers that say how to get an address",
                mode.as_str()
            ),
        );
    }
    if ipv6.delegation.is_some() && mode == Mode::Slaac {
        object.refuse(
            "prefixDelegation",
            "cannot be in mode slaac: prefixes are delegated by DHCPv6 servers",
        );
    }
    ipv6
}

fn read_duid(value: &Value<'_>) -> Option<Vec<u8>> {
    let bytes = value
        .string()?
        .strip_prefix("hex:")
        .and_then(|digits| unhex(digits).ok())
        .filter(|bytes| (3..=130).contains(&bytes.len()));
    if bytes.is_none() {
        value.refuse("must be hex: and 3 to 130 bytes, such as hex:00:03:00:01:02:00:00:00:00:07");
    }
    bytes
}

fn read_request(object: &Object<'_>) -> Vec<u16> {
    let mut list = REQUEST.to_vec();
    for item in object.items("request") {
        let number = item.unsigned(u32::from(u16::MAX));
        let Some(code) = number.and_then(|number| u16::try_from(number).ok()) else {
            continue;
        };
        if code == 0 || PROTOCOL.contains(&code) {
            item.refuse("is for the client itself to ask for");
        } else if !list.contains(&code) {
            list.push(code);
        }
    }
    list
}
