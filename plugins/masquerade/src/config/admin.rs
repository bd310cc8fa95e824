//! The key `iptablesAdminChainName`.

use cni_common::json::Value;

/// The administrator's chain in iptables, whose rules come before those of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Its name.
    pub name: String,
    /// When it is made.
    pub make: Make,
}

/// When the administrator's chain is made where it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Never; one that exists is used.
    Never,
    /// Where iptables is in use.
    WithIptables,
    /// Always.
    Always,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            name: "CNI-ADMIN".to_owned(),
            make: Make::Never,
        }
    }
}

pub(super) fn read(value: Option<&Value<'_>>, is_firewall: bool) -> Admin {
    let named =
        value.and_then(|value| Some((value, value.string().filter(|name| !name.is_empty())?)));
    let Some((value, name)) = named else {
        let make = if is_firewall {
            Make::WithIptables
        } else {
            Make::Never
        };
        return Admin {
            make,
            ..Admin::default()
        };
    };
    // What iptables takes for a name: XT_EXTENSION_MAXNAMELEN (linux/netfilter/x_tables.h) less what it keeps for itself.
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    if name.len() > 28 || !name.chars().all(plain) || name.starts_with(['-', '!']) {
        value.refuse("must be a chain's name: up to 28 characters without spaces or quotes, not beginning with - or !");
    } else if RESERVED.contains(&name) {
        value.refuse("is a chain that has another purpose");
    }
    Admin {
        name: name.to_owned(),
        make: Make::Always,
    }
}

/// Chains and targets of iptables that cannot be the administrator's, and our own.
const RESERVED: [&str; 10] = [
    "INPUT",
    "FORWARD",
    "OUTPUT",
    "ACCEPT",
    "DROP",
    "QUEUE",
    "RETURN",
    "REJECT",
    "DOCKER-USER",
    "PLUMB-FORWARD",
];
