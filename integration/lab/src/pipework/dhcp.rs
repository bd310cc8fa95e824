//! DHCP clients by the names that pipework knows them by, and their options, as far as they mean something to dhcp-ipam.

use serde_json::{Value, json};

/// A wish for an address of a DHCP server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dhcp {
    /// Options that are sent, by name or number, with their value as `value` or `hex` of `provide`.
    provide: Vec<(String, &'static str, String)>,
    /// Options that are asked for.
    request: Vec<String>,
}

/// Whatever client is named, dhcp-ipam does its work, and keeps the lease: `-f` means nothing more.
const CLIENTS: [&str; 6] = [
    "dhcp",
    "udhcpc",
    "udhcpc-f",
    "dhcpcd",
    "dhclient",
    "dhclient-f",
];

/// Flags of udhcpc, dhclient and dhcpcd about what they do beside asking, which here is done or has no meaning.
const IDLE: [&str; 16] = [
    "-f", "-q", "-n", "-b", "-R", "-S", "-v", "-B", "-1", "-d", "-w", "-4", "-o", "-a", "-i", "-C",
];

/// Such flags that are followed by a value.
const IDLE_WITH_VALUE: [&str; 9] = ["-p", "-t", "-T", "-A", "-s", "-pf", "-lf", "-cf", "-sf"];

/// Reads the word of a line; `None` where it names no client.
pub(super) fn parse(word: &str) -> Option<Result<Dhcp, String>> {
    let (client, options) = word.split_once(':').unwrap_or((word, ""));
    CLIENTS
        .contains(&client)
        .then(|| read(options).map_err(|why| format!("{word}: {why}")))
}

fn read(options: &str) -> Result<Dhcp, String> {
    let mut dhcp = Dhcp::default();
    let mut words = options.split_whitespace();
    while let Some(flag) = words.next() {
        if IDLE.contains(&flag) {
            continue;
        }
        let value = words.next();
        let value = value.ok_or_else(|| format!("{flag}: {KNOWN}"))?;
        match flag {
            flag if IDLE_WITH_VALUE.contains(&flag) => {}
            "-x" => dhcp.provide.push(option(value)?),
            "-H" | "-h" | "-F" => dhcp.provide.push(text("host-name", value)),
            "-V" => dhcp.provide.push(text("vendor-class-identifier", value)),
            "-u" => dhcp.provide.push(text("user-class", value)),
            "-I" => dhcp.provide.push(text("dhcp-client-identifier", value)),
            "-O" => dhcp.request.push(value.to_owned()),
            other => return Err(format!("{other}: {KNOWN}")),
        }
    }
    Ok(dhcp)
}

const KNOWN: &str = "dhcp-ipam does the client's work; of a client's options it takes -x OPTION:VALUE, -H NAME, \
    -V VENDOR, -u CLASS, -I CLIENTID and -O OPTION. `pipework --emit conflist` makes a configuration in which \
    all its keys can be used";

/// udhcpc's `-x`: a name or a number, then text, or hexadecimal digits for a number.
fn option(word: &str) -> Result<(String, &'static str, String), String> {
    let (name, value) = word
        .split_once(':')
        .ok_or_else(|| format!("-x {word}: must be OPTION:VALUE"))?;
    Ok(match name {
        "hostname" => text("host-name", value),
        _ => match number(name) {
            Some(number) => (number.to_string(), "hex", value.replace(':', "")),
            None => text(name, value),
        },
    })
}

/// As udhcpc writes numbers: 61 or 0x3d.
fn number(name: &str) -> Option<u8> {
    match name.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => name.parse().ok(),
    }
}

fn text(name: &str, value: &str) -> (String, &'static str, String) {
    (
        name.to_owned(),
        "value",
        value.trim_matches(['"', '\'']).to_owned(),
    )
}

impl Dhcp {
    /// The `ipam` section. The guest's name is its host name unless it was given one.
    pub(super) fn ipam(&self, guest: Option<&str>) -> Value {
        let mut provide = Vec::new();
        let named = self.provide.iter().any(|(name, ..)| name == "host-name");
        if let Some(guest) = guest.filter(|_| !named) {
            provide.push(json!({"option": "host-name", "value": guest}));
        }
        provide.extend(self.provide.iter().map(|(name, key, value)| {
            let mut option = json!({"option": name});
            if let Some(option) = option.as_object_mut() {
                option.insert((*key).to_owned(), value.as_str().into());
            }
            option
        }));
        let mut ipam = serde_json::Map::new();
        ipam.insert("type".into(), "dhcp-ipam".into());
        if !provide.is_empty() {
            ipam.insert("provide".into(), provide.into());
        }
        if !self.request.is_empty() {
            let request = self.request.iter().map(|name| json!({"option": name}));
            ipam.insert("request".into(), request.collect());
        }
        ipam.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> Dhcp {
        parse(word).unwrap().unwrap()
    }

    #[test]
    fn every_client_of_pipework_is_one_and_other_words_are_not() {
        for client in CLIENTS {
            assert_eq!(read(client), Dhcp::default(), "{client}");
            assert_eq!(read(&format!("{client}:-f")), Dhcp::default(), "{client}");
        }
        for word in ["dhcpd", "dhcp6", "192.0.2.1/24", "udhcpc-x"] {
            assert!(parse(word).is_none(), "{word}");
        }
    }

    #[test]
    fn options_of_clients_become_options_of_dhcp_ipam() {
        let dhcp = read("udhcpc:-x hostname:web -V \"acme\" -O 66 -x 0x3d:01:02 -t 5 -q");
        assert_eq!(
            dhcp.ipam(Some("c1")),
            json!({
                "type": "dhcp-ipam",
                "provide": [
                    {"option": "host-name", "value": "web"},
                    {"option": "vendor-class-identifier", "value": "acme"},
                    {"option": "61", "hex": "0102"},
                ],
                "request": [{"option": "66"}],
            })
        );
        assert_eq!(
            read("dhcp").ipam(Some("c1"))["provide"],
            json!([{"option": "host-name", "value": "c1"}])
        );
        assert_eq!(read("dhcp").ipam(None), json!({"type": "dhcp-ipam"}));
    }

    #[test]
    fn an_option_that_would_be_lost_is_refused() {
        for (word, words) in [
            ("udhcpc:-r 10.0.0.1", "-r: dhcp-ipam does the client's work"),
            ("udhcpc:-O", "-O:"),
            ("udhcpc:-x web", "-x web: must be OPTION:VALUE"),
        ] {
            let error = parse(word).unwrap().unwrap_err();
            assert!(error.contains(word) && error.contains(words), "{error}");
        }
    }
}
