//! The Ethernet address of a container's interface.

use core::str::FromStr;

use crate::addr::Mac;
use crate::code::Code;
use crate::config::Input;
use crate::ident::Invalid;

/// The address a call asks for, of the places it may come from: `macFrom`, over it `CNI_ARGS` `MAC`, over it
/// `args.cni.mac`, over it `runtimeConfig.mac`.
pub fn read(input: &Input<'_>) -> Option<Mac> {
    let parse = |text: &str| {
        let mac = Mac::from_str(text)?;
        if mac.is_usable() {
            return Ok(mac);
        }
        Err(Invalid {
            reason: format!("{text:?} is a multicast or the zero address, which no link can have"),
        })
    };
    let object = &input.object;
    let argument = input.args.get("MAC").and_then(|text| {
        parse(text)
            .map_err(|invalid| {
                object.report(Code::Environment, format!("CNI_ARGS: MAC: {invalid}"));
            })
            .ok()
    });
    let args = object
        .object("args")
        .and_then(|args| args.object("cni"))
        .and_then(|cni| cni.parse_with("mac", parse));
    let runtime = object
        .object("runtimeConfig")
        .and_then(|runtime| runtime.parse_with("mac", parse));
    let derived = object.parse_with("macFrom", derived);
    runtime.or(args).or(argument).or(derived)
}

/// `U:STRING`: 02 and the first five bytes of the MD5 of the string and a newline, as pipework derives it.
fn derived(text: &str) -> Result<Mac, Invalid> {
    let string = text.strip_prefix("U:").filter(|string| !string.is_empty());
    let string = string.ok_or_else(|| Invalid {
        reason: format!("{text:?} must be \"U:\" and a string to derive the address from"),
    })?;
    let digest = crate::md5::digest(format!("{string}\n").as_bytes());
    let mut mac = [2; 6];
    for (octet, byte) in mac.iter_mut().skip(1).zip(digest) {
        *octet = byte;
    }
    Ok(Mac(mac))
}

/// A random address of the locally administered kind.
///
/// Random, and not made from names: two hosts on one layer 2 may well use the same ones.
pub fn random() -> Mac {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let [_, _, bytes @ ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    Mac::local_from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_derived_as_pipework_does() {
        let mac = derived("U:myhost.foo.com").unwrap();
        assert_eq!(mac.to_string(), "02:72:6c:cd:9b:8d");
        for other in ["myhost", "U:", "u:x", ""] {
            assert!(derived(other).is_err(), "{other}");
        }
    }

    #[test]
    fn random_addresses_are_usable_and_differ() {
        let (one, two) = (random(), random());
        assert!(one.is_usable() && two.is_usable());
        assert_ne!(one, two);
    }
}
