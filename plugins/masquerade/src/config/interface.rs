//! A name of an interface of the host, or the beginning of names.

use core::fmt;

use cni_common::ident::{IfName, Invalid};
use cni_common::nft::exact;

/// Which interfaces are meant, as nft(8) writes them: a star at the end stands for any ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(String);

impl Interface {
    /// Checks and takes a name or the beginning of one.
    ///
    /// # Errors
    /// What no interface can be called.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(start) = text.strip_suffix('*')
            && !start.ends_with('\\')
        {
            if start.is_empty() {
                return Err(Invalid {
                    reason: "\"*\" is any interface: leave the key out".to_owned(),
                });
            }
            IfName::parse(start)?;
            return Ok(Self(text.to_owned()));
        }
        let name = match text.strip_suffix("\\*") {
            Some(start) => format!("{start}*"),
            None => text.to_owned(),
        };
        IfName::parse(&name).map(|name| Self::of(&name))
    }

    /// The interface of that name.
    pub fn of(name: &IfName) -> Self {
        Self(exact(name.as_str()))
    }

    /// As a rule has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the interface of that name is meant.
    pub fn includes(&self, name: &IfName) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) if !start.ends_with('\\') => name.as_str().starts_with(start),
            _ => *self == Self::of(name),
        }
    }

    /// Whether it is the interface of that name and no other.
    pub fn is(&self, name: &IfName) -> bool {
        *self == Self::of(name)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_any_ending() {
        let name = |text: &str| IfName::parse(text).unwrap();
        let any = Interface::parse("eth*").unwrap();
        assert!(any.includes(&name("eth0")) && any.includes(&name("eth")));
        assert!(!any.includes(&name("br0")) && !any.is(&name("eth*")));
        let one = Interface::parse("eth0").unwrap();
        assert!(one.includes(&name("eth0")) && one.is(&name("eth0")));
        assert!(!one.includes(&name("eth01")));
        let star = Interface::parse("br\\*").unwrap();
        assert!(star.is(&name("br*")) && !star.includes(&name("br1")));
        assert_eq!(star, Interface::of(&name("br*")));
        for wrong in [
            "",
            "*",
            "a/b",
            "a name",
            "0123456789abcdef",
            "0123456789abcdef*",
        ] {
            assert!(Interface::parse(wrong).is_err(), "{wrong}");
        }
    }
}
