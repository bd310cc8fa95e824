//! The small forms that values of a topology file have. Each error says what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::model::Cidr;
use super::reader::Value;

/// A name of a lab, a node, a network or a process: it becomes a host name, a container id, part of a file name.
pub(super) fn name(text: &str) -> Result<String, String> {
    let valid = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each))
        && text.len() <= 63;
    if valid {
        return Ok(text.to_owned());
    }
    Err(
        "must be a letter or digit, then letters, digits, '_', '.' or '-', at most 63 in all"
            .into(),
    )
}

/// One of the words of a table.
pub(super) fn one_of<T: Copy>(word: &str, table: &[(&str, T)]) -> Result<T, String> {
    let found = table.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = table.iter().map(|(known, _)| *known).collect();
        format!("must be one of: {}", known.join(", "))
    })
}

/// An address.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "must be an address: 192.0.2.1 or 2001:db8::1".into())
}

/// An address with its prefix length.
pub(crate) fn cidr(text: &str) -> Result<Cidr, String> {
    let must =
        || "must be an address with a prefix length: 192.0.2.1/24 or 2001:db8::1/64".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(must)?;
    let address: IpAddr = address.parse().map_err(|_| must())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix
        .parse()
        .ok()
        .filter(|prefix| *prefix <= longest)
        .ok_or_else(must)?;
    Ok(Cidr { address, prefix })
}

/// An address and a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an address and a port: 192.0.2.1:80 or [2001:db8::1]:80".into())
}

/// A hardware address of a single station.
pub(crate) fn mac(text: &str) -> Result<String, String> {
    let octets: Vec<_> = text
        .split(':')
        .map(|part| {
            u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| part.len() == 2)
        })
        .collect();
    match octets.as_slice() {
        [Some(first), _, _, _, _, _]
            if first & 1 == 0 && octets.iter().all(Option::is_some) && octets.len() == 6 =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be a hardware address of one station: 02:00:00:00:00:01".into()),
    }
}

/// A name the kernel takes for an interface.
pub(crate) fn interface(text: &str) -> Result<String, String> {
    let valid = (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(|each: char| each.is_ascii_whitespace() || "/:%".contains(each));
    if valid {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 15 characters without space, '/', ':' or '%'".into())
    }
}

/// An absolute path.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(text.into())
    } else {
        Err("must be an absolute path".into())
    }
}

/// A value of `CNI_ARGS`.
pub(super) fn arg(text: &str) -> Result<String, String> {
    if text.contains([';', '=']) {
        Err("cannot hold ';' or '='".into())
    } else {
        Ok(text.to_owned())
    }
}

/// A program and its arguments.
pub(super) fn command(value: &Value<'_>) -> Option<Vec<String>> {
    let words = value.strings();
    if words.first().is_none_or(String::is_empty) {
        value.refuse("must be a list: the program and its arguments");
        return None;
    }
    Some(words)
}
