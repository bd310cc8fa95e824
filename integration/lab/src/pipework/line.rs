//! The words of a command line, as pipework's own reading has them: what is wrong with them is found before anything else.

use super::address::{self, Address};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The syntax, because something is missing, or because it was asked for.
    Syntax { asked: bool },
    /// The version.
    Version,
    /// An interface for a guest.
    Attach(Line, Mode),
    /// A command in the guest's network namespace: `ip route`, `ip rule` or `tc`.
    Inside { command: Vec<String>, guest: String },
    /// Waiting, in a guest, for an interface.
    Wait { interface: String },
    /// What is attached.
    List { json: bool },
    /// Detaching a guest's interface, or all of them.
    Delete {
        guest: String,
        interface: Option<String>,
    },
    /// Detaching what belongs to guests that are gone.
    Collect,
}

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The guest is attached.
    Attach,
    /// What would be done is printed.
    DryRun,
    /// The network configuration list is printed.
    Emit,
}

/// A line that attaches a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `--direct-phys`: the host's interface itself goes into the guest.
    pub(super) direct: bool,
    /// The host's interface, a bridge's name, `mac:` and an address, or `dummy`.
    pub(super) host: String,
    /// `-i`: the name of the interface in the guest.
    pub(super) interface: String,
    /// `-l`: the name of the host's end.
    pub(super) local: Option<String>,
    /// The guest.
    pub(super) guest: String,
    /// The address.
    pub(super) address: Address,
    /// The Ethernet address.
    pub(super) mac: Option<Mac>,
    /// What stands behind `@`: the VLAN.
    pub(super) vlan: Option<String>,
    /// The words, to be shown.
    pub(super) words: Vec<String>,
}

/// The Ethernet address of the guest's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mac {
    /// This one.
    Literal(String),
    /// Made from a string: `U:` and the string.
    From(String),
}

/// The tools that run in a guest's network namespace, by the word that a line begins with.
const TOOLS: [(&str, &[&str]); 3] = [
    ("route", &["ip", "route"]),
    ("rule", &["ip", "rule"]),
    ("tc", &["tc"]),
];

/// The default name of a guest's interface.
const INTERFACE: &str = "eth1";

/// Reads the words behind the program's name. `is_link` says whether the host has a link of a name: where it has one, a
/// word that means something else otherwise is that link.
pub(super) fn parse(words: &[String], is_link: &dyn Fn(&str) -> bool) -> Result<Request, String> {
    let mut words = Words { left: words };
    let mut mode = Mode::Attach;
    let mut direct = false;
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        match option {
            "-h" | "--help" => return Ok(Request::Syntax { asked: true }),
            "--version" => return words.end(Request::Version),
            "--wait" => return wait(&mut words),
            "--list" => {
                let json = words.next_if(|word| word == "--json").is_some();
                return words.end(Request::List { json });
            }
            "--del" => return delete(&mut words),
            "--gc" => return words.end(Request::Collect),
            "--direct-phys" => direct = true,
            "--dry-run" => mode = Mode::DryRun,
            "--emit" => match words.next() {
                Some("conflist") => mode = Mode::Emit,
                _ => return Err("--emit: must be followed by `conflist`".to_owned()),
            },
            other => {
                return Err(format!(
                    "{other}: no such option; `pipework --help` lists them"
                ));
            }
        }
    }
    let all = words.left;
    let Some(host) = words.next() else {
        return Ok(Request::Syntax { asked: false });
    };
    let tool = TOOLS
        .iter()
        .find(|(word, _)| host.starts_with(word) && !is_link(host));
    if let Some((_, tool)) = tool {
        return Ok(inside(tool, &words));
    }
    let shown = direct.then(|| "--direct-phys".to_owned());
    let shown = shown.into_iter().chain(all.iter().cloned()).collect();
    match line(host, &mut words)? {
        None => Ok(Request::Syntax { asked: false }),
        Some(line) => {
            let words = shown;
            Ok(Request::Attach(
                Line {
                    direct,
                    words,
                    ..line
                },
                mode,
            ))
        }
    }
}

/// `pipework --wait [-i interface]`
fn wait(words: &mut Words<'_>) -> Result<Request, String> {
    let mut interface = INTERFACE.to_owned();
    if words.next_if(|word| word == "-i").is_some() {
        interface = interface_name("-i", words.next())?;
    }
    words.end(Request::Wait { interface })
}

/// `pipework --del <guest> [interface]`
fn delete(words: &mut Words<'_>) -> Result<Request, String> {
    let Some(guest) = words.next() else {
        return Err(
            "--del: must be followed by a guest, and an interface of it if only that is meant"
                .into(),
        );
    };
    // A script that adds lines with `-i eth2` removes them so.
    let named = words.next_if(|word| word == "-i").is_some();
    let interface = words.next();
    let interface = match interface {
        None if !named => None,
        word => Some(interface_name("--del", word)?),
    };
    words.end(Request::Delete {
        guest: guest.to_owned(),
        interface,
    })
}

/// `pipework route|rule|tc <guest> <command>`
fn inside(tool: &[&str], words: &Words<'_>) -> Request {
    let [guest, command @ ..] = words.left else {
        return Request::Syntax { asked: false };
    };
    if command.is_empty() {
        return Request::Syntax { asked: false };
    }
    let tool = tool.iter().map(|word| (*word).to_owned());
    Request::Inside {
        command: tool.chain(command.iter().cloned()).collect(),
        guest: guest.clone(),
    }
}

/// The words behind the host's interface. `None` where there are too few.
fn line(host: &str, words: &mut Words<'_>) -> Result<Option<Line>, String> {
    let (mut interface, mut local, mut family) = (INTERFACE.to_owned(), None, None);
    while let Some(option) = words.next_if(|word| ["-i", "-l", "-a"].contains(&word)) {
        let value = words.next();
        match option {
            "-i" => interface = interface_name("-i", value)?,
            "-l" => local = Some(interface_name("-l", value)?),
            _ => family = Some(address::family(value.unwrap_or_default())?),
        }
    }
    let (Some(guest), Some(place)) = (words.next(), words.next().filter(|word| !word.is_empty()))
    else {
        return Ok(None);
    };
    let (mac, vlan) = mac_and_vlan(words.next().unwrap_or_default())?;
    let line = Line {
        direct: false,
        host: host.to_owned(),
        interface,
        local,
        guest: guest.to_owned(),
        address: address::parse(place, family)?,
        mac,
        vlan,
        words: Vec::new(),
    };
    words.end(Some(line))
}

/// `[macaddr][@vlan]`
fn mac_and_vlan(word: &str) -> Result<(Option<Mac>, Option<String>), String> {
    let (mac, vlan) = match word.split_once('@') {
        Some((mac, vlan)) => (mac, vlan.split('@').next().unwrap_or_default()),
        None => (word, ""),
    };
    let vlan = Some(vlan.to_owned()).filter(|vlan| !vlan.is_empty());
    if mac.is_empty() {
        return Ok((None, vlan));
    }
    let mac = match mac.strip_prefix("U:") {
        Some("") => {
            return Err("U: must be followed by a string to make the Ethernet address from".into());
        }
        Some(_) => Mac::From(mac.to_owned()),
        None => Mac::Literal(crate::topology::mac(mac).map_err(|must| format!("{mac}: {must}"))?),
    };
    Ok((Some(mac), vlan))
}

fn interface_name(option: &str, word: Option<&str>) -> Result<String, String> {
    let word = word.unwrap_or_default();
    crate::topology::interface(word).map_err(|must| format!("{option}: {word:?} {must}"))
}

/// The words that have not been read.
struct Words<'a> {
    left: &'a [String],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.next_if(|_| true)
    }

    fn next_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        let (first, rest) = self.left.split_first()?;
        if !wanted(first) {
            return None;
        }
        self.left = rest;
        Some(first)
    }

    /// What was read, if that was all.
    fn end<T>(&self, read: T) -> Result<T, String> {
        match self.left.first() {
            None => Ok(read),
            Some(word) => Err(format!(
                "{word:?}: nothing more is expected here; `pipework --help` shows the syntax"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
