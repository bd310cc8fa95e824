//! `provide` and `request`: options by name or number.

use core::net::Ipv4Addr;

use cni_common::args::CniArgs;
use cni_common::json::{Json, Object, Value};

use super::registry::{self, Form};
use crate::record::unhex;
use crate::wire::code;

fn number(value: &Value<'_>) -> Option<u8> {
    // The Go plugin has text here; a number means the same.
    let code = match value.json() {
        Json::Number(number) => registry::number(&number.to_string()),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            registry::number(value.string()?)
        }
    };
    if code.is_none() {
        value.refuse("must be the name of an option, such as host-name, or a number from 1 to 254");
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
        if registry::is_of_protocol(code) {
            name.refuse("is for the client itself to send");
            continue;
        }
        let Some(data) = data(code, &object, args) else {
            continue;
        };
        // RFC 4039: the option that has no value.
        let least = usize::from(code != code::RAPID_COMMIT);
        if !(least..=255).contains(&data.len()) {
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
    let form = registry::form(code);
    let from_arg = object.text("fromArg");
    if let Some(text) = from_arg.and_then(|key| args.get(key)) {
        return match of_text(form, text) {
            Ok(data) => Some(data),
            Err(rule) => {
                object.refuse("fromArg", format_args!("gives {text:?}, which {rule}"));
                None
            }
        };
    }
    if let Some(digits) = object.parse_with("hex", unhex) {
        return Some(digits);
    }
    let Some(value) = object.get("value") else {
        if from_arg.is_none() && object.get("hex").is_none() {
            object.refuse("value", "is missing, and so are hex and fromArg");
        }
        return None;
    };
    match value.json() {
        Json::Array(_) => of_list(form, &value),
        Json::Number(_) => of_number(form, &value, object),
        Json::Bool(flag) if form == Form::Flag => Some(vec![u8::from(*flag)]),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Object(_) => {
            let text = value.string().filter(|text| !text.is_empty())?;
            of_text(form, text)
                .inspect_err(|rule| value.refuse(rule))
                .ok()
        }
    }
}

/// Several values of one option.
fn of_list(form: Form, value: &Value<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for item in value.items() {
        // An option of which nothing is known may have a list of addresses.
        let form = match form {
            Form::Classes | Form::Names => form,
            Form::Ip
            | Form::Ips
            | Form::Number8
            | Form::Number16
            | Form::Number32
            | Form::Flag
            | Form::Text
            | Form::Fqdn
            | Form::Bytes => Form::Ip,
        };
        match of_text(form, item.string()?) {
            Ok(data) => bytes.extend(data),
            Err(rule) => {
                item.refuse(rule);
                return None;
            }
        }
    }
    Some(bytes)
}

/// A number, in as many bytes as the option has, or `bytes` says.
fn of_number(form: Form, value: &Value<'_>, object: &Object<'_>) -> Option<Vec<u8>> {
    let bytes = match form {
        Form::Number8 | Form::Flag => 1,
        Form::Number16 => 2,
        Form::Number32 => 4,
        Form::Ip
        | Form::Ips
        | Form::Text
        | Form::Names
        | Form::Classes
        | Form::Fqdn
        | Form::Bytes => {
            let Some(bytes) = object.get("bytes") else {
                value.refuse("is a number, and how long this option is, is for the key bytes to say: 1, 2 or 4");
                return None;
            };
            let length = bytes.unsigned(4)?;
            if ![1, 2, 4].contains(&length) {
                bytes.refuse("must be 1, 2 or 4");
                return None;
            }
            length
        }
    };
    // `time-offset` may be negative: two's complement, as all of them.
    let most = match (form, bytes) {
        (Form::Flag, _) => 1,
        (_, 1) => 0xff,
        (_, 2) => 0xffff,
        _ => 0xffff_ffff,
    };
    let number = value.integer(if bytes == 4 { -0x8000_0000 } else { 0 }..=most)?;
    let all = number.to_be_bytes();
    let skip = 8usize.saturating_sub(usize::try_from(bytes).unwrap_or(8));
    Some(all.into_iter().skip(skip).collect())
}

/// Text as the option wants it.
fn of_text(form: Form, text: &str) -> Result<Vec<u8>, &'static str> {
    let bytes = text.as_bytes();
    match form {
        Form::Ip | Form::Ips => addresses(text),
        Form::Number8 => whole(text.parse().map(|number: u8| number.to_be_bytes().to_vec())),
        Form::Number16 => whole(
            text.parse()
                .map(|number: u16| number.to_be_bytes().to_vec()),
        ),
        Form::Number32 => whole(
            text.parse()
                .map(|number: u32| number.to_be_bytes().to_vec()),
        ),
        Form::Flag => match text {
            "true" | "1" => Ok(vec![1]),
            "false" | "0" => Ok(vec![0]),
            _ => Err("must be true or false"),
        },
        Form::Names => text.split(',').try_fold(Vec::new(), |all, name| {
            Ok([all, labels(name.trim())?, vec![0]].concat())
        }),
        Form::Classes => {
            let length = u8::try_from(bytes.len()).map_err(|_| "must have at most 255 bytes")?;
            Ok([&[length], bytes].concat())
        }
        // RFC 4702: the server does the updates (S), the name is in wire format (E). A name without a dot is not
        // complete, and says so by having no end.
        Form::Fqdn => {
            let end: &[u8] = if text.contains('.') { &[0] } else { &[] };
            Ok([&[0x05, 0, 0], &labels(text)?[..], end].concat())
        }
        Form::Text | Form::Bytes => Ok(bytes.to_vec()),
    }
}

fn whole(parsed: Result<Vec<u8>, core::num::ParseIntError>) -> Result<Vec<u8>, &'static str> {
    parsed.map_err(|_| "must be a number that fits into the option")
}

/// One address, or several with commas or spaces between.
fn addresses(text: &str) -> Result<Vec<u8>, &'static str> {
    let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
    let parsed = parts.map(|part| part.parse().map(|ip: Ipv4Addr| ip.octets()));
    let all: Result<Vec<_>, _> = parsed.collect();
    all.map(|all| all.concat())
        .map_err(|_| "must be an IPv4 address")
}

/// The labels of a name, each with its length (RFC 1035, 3.1).
fn labels(name: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        if !(1..=63).contains(&length) {
            return Err("must be a name with 1 to 63 bytes between its dots (RFC 1035, 2.3.4)");
        }
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    Ok(bytes)
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
