//! Names that are checked when they are made.

use core::fmt;

/// Why a name is refused: what it is, the value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// One sentence that holds the value and the rule.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Invalid {}

/// Whether `text` is `[A-Za-z0-9][A-Za-z0-9_.-]*`, the specification's form of a container id and a network
/// name.
fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A container id (spec 1.1.0, section 2, `CNI_CONTAINERID`).
    ContainerId
}
name! {
    /// A network name (spec 1.1.0, section 1, `name`).
    NetworkName
}
name! {
    /// A link name the kernel accepts (`dev_valid_name`, net/core/dev.c): 1 to 15 bytes, not `.` or `..`, no
    /// `/`, `:`, `%` or white space. Nor control characters, which the kernel lets pass: names are shown to people.
    IfName
}

impl ContainerId {
    /// Checks and takes a container id.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if is_identifier(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid {
            reason: format!(
                "container id {text:?} must start with a letter or digit and hold only letters, digits, '_', '.' and '-'"
            ),
        })
    }
}

impl NetworkName {
    /// Checks and takes a network name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if is_identifier(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid {
            reason: format!(
                "network name {text:?} must start with a letter or digit and hold only letters, digits, '_', '.' and '-'"
            ),
        })
    }
}

impl IfName {
    /// The longest link name in bytes: `IFNAMSIZ` (linux/if.h) less the final NUL.
    pub const MAX_LEN: usize = 15;

    /// Checks and takes a link name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let rule = if text.is_empty() {
            "must not be empty"
        } else if text.len() > Self::MAX_LEN {
            "must have at most 15 bytes"
        } else if text == "." || text == ".." {
            "must not be '.' or '..'"
        } else if text == "all" || text == "default" {
            // `sysctl_dev_name_is_allowed` (linux/inetdevice.h).
            "must not be \"all\" or \"default\", under which the kernel has settings for all links"
        } else if text
            .chars()
            .any(|c| c == '/' || c == ':' || c.is_control() || c.is_whitespace())
        {
            "must not contain '/', ':', control characters or white space"
        } else if text.contains('%') {
            // `eth%d` asks the kernel for a name with a number of its choice (`dev_prep_valid_name`).
            "must not contain '%', which the kernel takes for a place to put a number"
        } else if text.bytes().any(|byte| byte == 0xa0) {
            // `isspace` (lib/ctype.c) works on bytes, and this one is Latin-1's no-break space.
            "must not contain the byte 0xa0, which the kernel takes for white space"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid {
            reason: format!("interface name {text:?} {rule}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_hold_no_control_characters() {
        for evil in ["a\0b", "\u{1b}[2J", "a\nb", "\u{7f}"] {
            let refused = IfName::parse(evil).unwrap_err();
            assert!(refused.reason.contains("control characters"), "{refused}");
            assert!(!refused.reason.contains(char::is_control), "{refused}");
        }
    }

    #[test]
    fn container_ids_follow_the_specification() {
        for good in ["a", "c1", "default-c1", "0_a.b-c"] {
            assert!(ContainerId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a b", "a/b", "ä", "a\n"] {
            assert!(ContainerId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn link_names_follow_the_kernel() {
        for good in ["eth0", "a", "eth0.100", "abcdefghijklmno"] {
            assert!(IfName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "all",
            "default",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "a\nb",
            "br%d",
            "100%",
            "voil\u{e0}",
            "abcdefghijklmnop",
        ] {
            assert!(IfName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_the_rule() {
        let refused = IfName::parse("abcdefghijklmnop").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "interface name \"abcdefghijklmnop\" must have at most 15 bytes"
        );
    }
}
