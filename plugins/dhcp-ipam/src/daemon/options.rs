//! What the daemon is told when it is started: the Go daemon's options, with one dash or two, and some more.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Policy;
use crate::config::SOCKET;
use crate::store;

/// The words after `dhcp-ipam daemon`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) socket: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) pidfile: Option<PathBuf>,
    /// Stands before the paths of the host: socket, leases and namespaces, where the host's files are under another root.
    pub(crate) host_prefix: String,
    pub(crate) broadcast: bool,
    pub(crate) policy: Policy,
    /// Whether it was started by a plugin: into the background, and until it is of no more use.
    pub(crate) detach: bool,
    /// A namespace that it was started for, to tell whether it would still find it elsewhere.
    pub(crate) netns: Option<String>,
}

pub(crate) const USAGE: &str = "usage: dhcp-ipam daemon [--socketpath PATH] [--state-dir PATH] [--pidfile PATH]
       [--hostprefix PATH] [--broadcast] [--resendmax DURATION] [--timeout DURATION] [--resendtimeout DURATION] [--detach [--netns PATH]]";

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            socket: PathBuf::from(SOCKET),
            state: PathBuf::from(store::DIRECTORY),
            pidfile: None,
            host_prefix: String::new(),
            broadcast: false,
            policy: Policy::default(),
            detach: false,
            netns: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let name = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
                .ok_or_else(|| format!("{argument:?} is no option\n{USAGE}"))?;
            let (name, attached) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            let flag = attached.is_none_or(|value| value == "true");
            match name {
                "broadcast" => {
                    options.broadcast = flag;
                    continue;
                }
                "detach" => {
                    options.detach = flag;
                    continue;
                }
                _ => {}
            }
            let value = attached
                .or_else(|| rest.next().map(String::as_str))
                .ok_or_else(|| format!("--{name} wants a value\n{USAGE}"))?;
            options.take(name, value)?;
        }
        options.socket = options.host_path(&options.socket);
        // Where a plugin of that host, which finds no daemon, leaves word.
        options.state = options.host_path(&options.state);
        Ok(options)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let absolute = || {
            if value.starts_with('/') {
                return Ok(PathBuf::from(value));
            }
            Err(format!("--{name}: {value:?} must be an absolute path"))
        };
        match name {
            "socketpath" => self.socket = absolute()?,
            "state-dir" => self.state = absolute()?,
            "netns" => self.netns = Some(absolute()?.display().to_string()),
            "pidfile" => self.pidfile = Some(absolute()?),
            "hostprefix" => {
                absolute()?;
                value
                    .trim_end_matches('/')
                    .clone_into(&mut self.host_prefix);
            }
            "resendmax" => {
                let longest = duration(value).ok_or_else(|| bad_duration(name, value))?;
                self.policy.longest = longest.max(self.policy.first);
            }
            // How long an ADD waits is for its configuration to say.
            "timeout" | "resendtimeout" => {
                duration(value).ok_or_else(|| bad_duration(name, value))?;
            }
            _ => return Err(format!("--{name} is no option\n{USAGE}")),
        }
        Ok(())
    }

    fn host_path(&self, path: &std::path::Path) -> PathBuf {
        let mut whole = std::ffi::OsString::from(&self.host_prefix);
        whole.push(path);
        PathBuf::from(whole)
    }

    /// A namespace's path as this process has it.
    pub(crate) fn netns_path(&self, path: &str) -> String {
        format!("{}{path}", self.host_prefix)
    }
}

fn bad_duration(name: &str, value: &str) -> String {
    format!("--{name}: {value:?} must be a duration, such as 10s or 1m30s")
}

/// A duration as Go writes it, in whole hours, minutes, seconds and milliseconds.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let end = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        let (unit, after) = unit.split_at_checked(end)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn one_dash_or_two_and_a_value_after_a_space_or_a_sign() {
        let one = parse(&["-socketpath", "/a", "-broadcast", "-resendmax=1m2s"]).unwrap();
        let two = parse(&["--socketpath=/a", "--broadcast=true", "--resendmax", "62s"]).unwrap();
        assert_eq!(one, two);
        assert!(one.broadcast && one.policy.longest == Duration::from_secs(62));
    }

    #[test]
    fn the_prefix_stands_before_the_socket_the_leases_and_namespaces() {
        let options = parse(&["--hostprefix", "/host/", "--socketpath", "/run/x"]).unwrap();
        assert_eq!(options.socket, PathBuf::from("/host/run/x"));
        let leases = "/host/var/lib/cni/dhcp-ipam";
        assert_eq!(options.state, PathBuf::from(leases));
        assert_eq!(options.netns_path("/run/netns/c1"), "/host/run/netns/c1");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (words, reason) in [
            (&["--pidfile", "x"][..], "\"x\" must be an absolute path"),
            (&["--resendmax", "5"], "must be a duration"),
            (&["--what", "x"], "--what is no option"),
            (&["--timeout"], "--timeout wants a value"),
            (&["x"], "\"x\" is no option"),
        ] {
            let refused = parse(words).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
