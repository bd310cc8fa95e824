//! The `CNI_*` variables of a call (spec 1.1.0, section 2, "Parameters").

use std::ffi::OsString;

use crate::args::CniArgs;
use crate::code::Code;
use crate::error::Error;
use crate::ident::{ContainerId, IfName};

/// What the runtime asks for: `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach a container.
    Del,
    /// Compare an attachment with what ADD left.
    Check,
    /// Could an ADD be served?
    Status,
    /// Remove what belongs to no valid attachment.
    Gc,
    /// Which versions are supported?
    Version,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 6] = [
        Self::Add,
        Self::Del,
        Self::Check,
        Self::Status,
        Self::Gc,
        Self::Version,
    ];

    /// The value of `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }

    /// The variables that must be set and not empty.
    ///
    /// `CNI_PATH` is optional but for GC, as the specification has it; a plugin that must execute another one
    /// asks for it then.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc => &["CNI_PATH"],
            Self::Status | Self::Version => &[],
        }
    }

    fn concerns_a_container(self) -> bool {
        matches!(self, Self::Add | Self::Check | Self::Del)
    }
}

/// Looks a variable up; an empty one is `None` as well.
pub type Lookup<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// The variables, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub command: Command,
    /// `CNI_CONTAINERID`, for ADD, CHECK and DEL.
    pub container: Option<ContainerId>,
    /// `CNI_IFNAME`, for ADD, CHECK and DEL.
    pub ifname: Option<IfName>,
    /// `CNI_NETNS` as given; empty is none.
    pub netns: Option<String>,
    /// `CNI_PATH` as given; empty is none.
    pub path: Option<String>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// Whether `CNI_NETNS_OVERRIDE` lifts the ban on the plugin's own namespace.
    pub own_namespace_allowed: bool,
}

impl Environment {
    /// Reads `CNI_COMMAND` alone; `None` when it is unset or empty.
    ///
    /// # Errors
    /// Code 4 for an unknown command.
    pub fn command(lookup: &Lookup<'_>) -> Result<Option<Command>, Error> {
        let Some(value) = lookup("CNI_COMMAND").filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let known = Command::ALL
            .into_iter()
            .find(|command| value == *command.as_str());
        known.map(Some).ok_or_else(|| {
            Error::new(
                Code::Environment,
                format!(
                    "unknown CNI_COMMAND: {:?} (ADD, DEL, CHECK, STATUS, GC or VERSION)",
                    value.to_string_lossy()
                ),
            )
        })
    }

    /// Reads and checks the variables that `command` has.
    ///
    /// # Errors
    /// Code 4 naming all variables that are missing or impossible.
    pub fn read(command: Command, lookup: &Lookup<'_>) -> Result<Self, Error> {
        let mut faults = Vec::new();
        let mut text = |name: &str| {
            let value = lookup(name).filter(|value| !value.is_empty())?;
            value
                .into_string()
                .map_err(|raw| {
                    faults.push(format!("{name}: {:?} is not UTF-8", raw.to_string_lossy()));
                })
                .ok()
        };
        let container = text("CNI_CONTAINERID");
        let ifname = text("CNI_IFNAME");
        let netns = text("CNI_NETNS");
        let path = text("CNI_PATH");
        let args = text("CNI_ARGS").unwrap_or_default();
        let allowed = text("CNI_NETNS_OVERRIDE")
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));

        // STATUS, GC and VERSION may come with dummies in the variables that they do not have.
        let concerned = command.concerns_a_container();
        let container = container.filter(|_| concerned).and_then(|text| {
            ContainerId::parse(&text)
                .map_err(|invalid| faults.push(format!("CNI_CONTAINERID: {invalid}")))
                .ok()
        });
        let ifname = ifname.filter(|_| concerned).and_then(|text| {
            IfName::parse(&text)
                .map_err(|invalid| faults.push(format!("CNI_IFNAME: {invalid}")))
                .ok()
        });
        let missing: Vec<&str> = command
            .required()
            .iter()
            .copied()
            .filter(|name| lookup(name).is_none_or(|value| value.is_empty()))
            .collect();
        if !missing.is_empty() {
            faults.push(format!(
                "required env variables [{}] missing",
                missing.join(",")
            ));
        }
        if !faults.is_empty() {
            return Err(Error::new(Code::Environment, faults.join("; ")));
        }
        Ok(Self {
            command,
            container,
            ifname,
            netns,
            path,
            args: CniArgs::parse(&args),
            own_namespace_allowed: allowed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: Command, variables: &[(&str, &str)]) -> Result<Environment, Error> {
        Environment::read(command, &|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn all_missing_variables_are_named_at_once() {
        let missing = read(Command::Add, &[("CNI_IFNAME", "")]).unwrap_err();
        assert_eq!(missing.code(), Code::Environment);
        assert_eq!(
            missing.to_string(),
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"
        );
    }

    #[test]
    fn missing_and_impossible_variables_are_named_together() {
        let variables = [("CNI_CONTAINERID", "-x"), ("CNI_IFNAME", "a/b")];
        let text = read(Command::Add, &variables).unwrap_err().to_string();
        for part in ["CNI_CONTAINERID: ", "CNI_IFNAME: ", "[CNI_NETNS] missing"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn del_needs_no_namespace_and_only_gc_a_path() {
        let names = [("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")];
        assert!(read(Command::Del, &names).is_ok());
        assert!(read(Command::Check, &names).is_err());
        assert!(read(Command::Gc, &[]).is_err());
        assert!(read(Command::Gc, &[("CNI_PATH", "/opt/cni/bin")]).is_ok());
        assert!(read(Command::Status, &[]).is_ok());
    }

    #[test]
    fn status_ignores_dummies() {
        let dummies = [
            ("CNI_CONTAINERID", "-"),
            ("CNI_IFNAME", "much-too-long-for-a-link"),
        ];
        assert_eq!(read(Command::Status, &dummies).unwrap().container, None);
    }

    #[test]
    fn an_unknown_command_is_named() {
        let lookup = |name: &str| (name == "CNI_COMMAND").then(|| OsString::from("add"));
        let unknown = Environment::command(&lookup).unwrap_err();
        assert!(unknown.to_string().contains("\"add\""), "{unknown}");
        assert_eq!(unknown.code(), Code::Environment);
        assert_eq!(Environment::command(&|_| None), Ok(None));
    }
}
