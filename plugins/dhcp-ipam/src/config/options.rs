//! `provide` and `request`: options by name or number.

use cni_common::args::CniArgs;
use cni_common::json::{Json, Object, Value};

use crate::record::unhex;
use crate::wire::code;

/// Options by the names that dhcp-options(5) has for them, which the Go plugin uses.
const NAMES: [(&str, u8); 40] = [
    ("subnet-mask", code::SUBNET_MASK),
    ("time-offset", 2),
    ("routers", code::ROUTERS),
    ("time-servers", 4),
    ("domain-name-servers", code::DNS),
    ("log-servers", 7),
    ("host-name", 12),
    ("domain-name", code::DOMAIN),
    ("root-path", 17),
    ("ip-forwarding", 19),
    ("default-ip-ttl", 23),
    ("interface-mtu", code::MTU),
    ("broadcast-address", 28),
    ("static-routes", code::STATIC_ROUTES),
    ("nis-domain", 40),
    ("nis-servers", 41),
    ("ntp-servers", 42),
    ("vendor-encapsulated-options", 43),
    ("netbios-name-servers", 44),
    ("netbios-node-type", 46),
    ("netbios-scope", 47),
    ("dhcp-requested-address", code::REQUESTED_ADDRESS),
    ("dhcp-lease-time", code::LEASE_TIME),
    ("dhcp-message", code::MESSAGE),
    ("dhcp-renewal-time", code::T1),
    ("dhcp-rebinding-time", code::T2),
    ("vendor-class-identifier", 60),
    ("dhcp-client-identifier", code::CLIENT_ID),
    ("tftp-server-name", 66),
    ("bootfile-name", 67),
    ("smtp-server", 69),
    ("user-class", code::USER_CLASS),
    ("fqdn", code::FQDN),
    ("client-architecture", 93),
    ("pxe-client-id", 97),
    ("tz-posix-string", 100),
    ("tz-database-string", 101),
    ("domain-search", code::SEARCH),
    ("classless-static-routes", code::CLASSLESS_ROUTES),
    ("tftp-server-address", 150),
];

/// What the protocol itself says: no configuration can.
const PROTOCOL: [u8; 8] = [
    0,
    code::REQUESTED_ADDRESS,
    code::OVERLOAD,
    code::MESSAGE_TYPE,
    code::SERVER,
    code::REQUEST_LIST,
    code::MAX_SIZE,
    255,
];

fn number(value: &Value<'_>) -> Option<u8> {
    let text = value.string()?;
    let named = NAMES.iter().find(|(name, _)| *name == text);
    let code = named.map(|(_, code)| *code).or_else(|| text.parse().ok());
    if code.is_none_or(|code| code == 0 || code == 255) {
        value.refuse("must be the name of an option, such as host-name, or a number from 1 to 254");
        return None;
    }
    code
}

/// `provide`: what is sent.
pub(super) fn provided(ipam: &Object<'_>, args: &CniArgs) -> Vec<(u8, Vec<u8>)> {
    let mut list: Vec<(u8, Vec<u8>)> = Vec::new();
    for item in ipam.items("provide") {
        let Some(object) = item.object() else {
            continue;
        };
        let Some(name) = object.get("option") else {
            object.refuse("option", "is missing");
            continue;
        };
        let Some(code) = number(&name) else { continue };
        if PROTOCOL.contains(&code) {
            name.refuse("is for the client itself to send");
            continue;
        }
        let Some(data) = data(code, &object, args) else {
            continue;
        };
        if !(1..=255).contains(&data.len()) {
            object.refuse(
                "value",
                format_args!("has {} bytes, where an option has 1 to 255", data.len()),
            );
            continue;
        }
        list.retain(|(other, _)| *other != code);
        list.push((code, data));
    }
    list
}

/// The value of an option: of the argument that `fromArg` names, where the call has it, else the one written.
fn data(code: u8, object: &Object<'_>, args: &CniArgs) -> Option<Vec<u8>> {
    let given = object.text("fromArg").and_then(|key| args.get(key));
    if let Some(text) = given {
        return Some(framed(code, text));
    }
    if let Some(digits) = object.parse_with("hex", unhex) {
        return Some(digits);
    }
    let Some(value) = object.get("value") else {
        if object.text("fromArg").is_none() && object.get("hex").is_none() {
            object.refuse("value", "is missing, and so are hex and fromArg");
        }
        return None;
    };
    if matches!(value.json(), Json::Array(_)) {
        let mut bytes = Vec::new();
        for item in value.items() {
            let Ok(ip) = item.string()?.parse::<core::net::Ipv4Addr>() else {
                item.refuse("must be an IPv4 address");
                return None;
            };
            bytes.extend(ip.octets());
        }
        return Some(bytes);
    }
    let text = value.string().filter(|text| !text.is_empty())?;
    Some(framed(code, text))
}

/// Text as the option wants it.
fn framed(code: u8, text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    match code {
        // RFC 3004: a list of classes with their lengths, here of one.
        code::USER_CLASS => [&[length(bytes)], bytes].concat(),
        // RFC 4702: the server does the updates (S), the name is in wire format (E).
        code::FQDN => {
            let mut data = vec![0x05, 0, 0];
            for label in text.trim_end_matches('.').split('.') {
                data.push(length(label.as_bytes()));
                data.extend_from_slice(label.as_bytes());
            }
            // A name without a dot is not complete, and says so by having no end.
            if text.contains('.') {
                data.push(0);
            }
            data
        }
        _ => bytes.to_vec(),
    }
}

/// `request`: what is asked for, beside `usual` unless an entry says `skipDefault`.
pub(super) fn requested(ipam: &Object<'_>, usual: &[u8]) -> Vec<u8> {
    let mut skip = false;
    let mut list = Vec::new();
    for item in ipam.items("request") {
        let Some(object) = item.object() else {
            continue;
        };
        skip |= object.flag("skipDefault");
        let named = object
            .get("option")
            .filter(|value| !matches!(value.json(), Json::String(text) if text.is_empty()));
        list.extend(named.and_then(|value| number(&value)));
    }
    let mut all = if skip { Vec::new() } else { usual.to_vec() };
    for code in list {
        if !all.contains(&code) {
            all.push(code);
        }
    }
    // An empty list would leave it to the server, which then sends all it has.
    if all.is_empty() {
        all.push(code::SUBNET_MASK);
    }
    all
}
