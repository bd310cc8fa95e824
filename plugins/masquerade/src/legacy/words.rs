//! Statements in the words of iptables, in the order in which `iptables-save` prints them.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::nft::{Is, NatFlags, NatTo, Place, Statement, TRANSPORTS};

/// What one rule of a group comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    source: String,
    destination: String,
    input: String,
    output: String,
    protocol: String,
    extensions: String,
    /// Subnets that a rule has in addition to the one it may name itself: packets from, or to, these are not meant.
    pub(super) exceptions: Vec<(End, Cidr)>,
    /// The members of the group are meant, or not meant, at this end.
    pub(super) members: Vec<(Is, End)>,
    /// What the target wants to be matched in its own rule.
    pub(super) required: &'static str,
    /// `-j TARGET` and its options.
    pub(super) action: String,
}

/// An end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

impl End {
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Source => "-s",
            Self::Destination => "-d",
        }
    }
}

impl Words {
    /// The words of a rule. `chain` gives the name of a chain that it may lead to.
    ///
    /// # Errors
    /// Code 2 for what legacy iptables has no words for.
    pub(super) fn of(
        statements: &[Statement],
        chain: impl Fn(&str) -> String,
    ) -> Result<Self, Error> {
        let mut words = Self::default();
        for statement in statements {
            words.statement(statement, &chain)?;
        }
        Ok(words)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not named here, iptables cannot say"
    )]
    fn statement(
        &mut self,
        statement: &Statement,
        chain: &impl Fn(&str) -> String,
    ) -> Result<(), Error> {
        match statement {
            Statement::InInterface(is, name) => {
                self.input = format!("{}-i {} ", not(*is), interface(name));
            }
            Statement::OutInterface(is, name) => {
                self.output = format!("{}-o {} ", not(*is), interface(name));
            }
            Statement::InKind(Is::Equal, kind) if kind == "bridge" => {
                self.extend("-m physdev --physdev-is-in");
            }
            Statement::Source(is, place) => self.end(End::Source, *is, place),
            Statement::Destination(is, place) => self.end(End::Destination, *is, place),
            Statement::Established(is) => {
                let is = not(*is);
                self.extend(&format!("-m conntrack {is}--ctstate RELATED,ESTABLISHED"));
            }
            Statement::XtEstablished => self.extend("-m conntrack --ctstate RELATED,ESTABLISHED"),
            Statement::Invalid => self.extend("-m conntrack --ctstate INVALID"),
            Statement::NoRouteBack => self.extend("-m rpfilter --invert"),
            Statement::Counter => {}
            Statement::TcpSyn => {
                "-p tcp ".clone_into(&mut self.protocol);
                self.extend("-m tcp --tcp-flags SYN SYN");
            }
            Statement::ClampMss(size) => {
                self.required = "-p tcp -m tcp --tcp-flags SYN SYN ";
                match size {
                    None => self.act("TCPMSS --clamp-mss-to-pmtu"),
                    Some(bytes) => self.act(&format!("TCPMSS --set-mss {bytes}")),
                }
            }
            Statement::Redirected(is) => {
                let is = not(*is);
                self.extend(&format!("-m conntrack {is}--ctstate DNAT"));
            }
            Statement::XtRedirected => self.extend("-m conntrack --ctstate DNAT"),
            Statement::Transport(number) => self.protocol = format!("-p {} ", transport(*number)),
            Statement::Port(number, first, last) => {
                let name = transport(*number);
                self.protocol = format!("-p {name} ");
                let ports = if first == last {
                    first.to_string()
                } else {
                    format!("{first}:{last}")
                };
                self.extend(&format!("-m {name} --dport {ports}"));
            }
            Statement::ToThisHost => self.extend("-m addrtype --dst-type LOCAL"),
            Statement::Masquerade(flags) => self.act(&format!("MASQUERADE{}", options(*flags))),
            Statement::Snat(NatTo::Prefix(net), _) | Statement::Dnat(NatTo::Prefix(net)) => {
                self.act(&format!("NETMAP --to {}", net.network()));
            }
            Statement::Snat(to, flags) => {
                let text = to.to_string();
                let address = text.trim_start_matches("to ");
                self.act(&format!("SNAT --to-source {address}{}", options(*flags)));
            }
            Statement::OriginalDestination(net) => {
                self.extend(&format!("-m conntrack --ctorigdst {}", net.network()));
            }
            Statement::Notrack => self.act("CT --notrack"),
            Statement::Accept => self.act("ACCEPT"),
            Statement::Drop => self.act("DROP"),
            Statement::Jump(name) => self.act(&chain(name)),
            other => {
                return Err(Error::new(
                    Code::Unsupported,
                    format!("backend: legacy iptables cannot do what the configuration asks for ({other})"),
                )
                .with_details(
                    "with \"backend\": \"nftables\" it is done beside iptables, whose own rules have the last word",
                ));
            }
        }
        Ok(())
    }

    fn extend(&mut self, words: &str) {
        self.extensions.push_str(words);
        self.extensions.push(' ');
    }

    fn act(&mut self, target: &str) {
        self.action = format!("-j {target}");
    }

    fn end(&mut self, end: End, is: Is, place: &Place) {
        let cidr = match place {
            Place::Set(..) => return self.members.push((is, end)),
            Place::Net(cidr) => *cidr,
        };
        let own = match end {
            End::Source => &mut self.source,
            End::Destination => &mut self.destination,
        };
        if own.is_empty() {
            *own = format!("{}{} {} ", not(is), end.option(), cidr.network());
        } else if is == Is::Not {
            self.exceptions.push((end, cidr.network()));
        }
    }

    /// Whether the rule fits into one of iptables'.
    pub(super) fn is_one(&self) -> bool {
        self.exceptions.is_empty() && self.members.is_empty()
    }

    /// The matches, and then what else is given.
    pub(super) fn matches(&self) -> String {
        let Self {
            source,
            destination,
            input,
            output,
            protocol,
            extensions,
            ..
        } = self;
        format!("{source}{destination}{input}{output}{protocol}{extensions}")
    }
}

/// A star at the end stands for any ending, unless it is escaped: iptables has a plus.
fn interface(name: &str) -> String {
    if let Some(exact) = name.strip_suffix("\\*") {
        return format!("{exact}*");
    }
    name.strip_suffix('*')
        .map_or_else(|| name.to_owned(), |before| format!("{before}+"))
}

/// The number of a transport protocol.
pub(super) fn protocol(name: &str) -> Option<u8> {
    let known = TRANSPORTS.iter().find(|(_, known)| *known == name);
    known.map(|(number, _)| *number)
}

pub(super) fn transport(number: u8) -> String {
    let known = TRANSPORTS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

fn options(flags: NatFlags) -> String {
    let words = [
        (flags.random, " --random"),
        (flags.fully_random, " --random-fully"),
        (flags.persistent, " --persistent"),
    ];
    let set = words.into_iter().filter(|(set, _)| *set);
    set.map(|(_, word)| word).collect()
}

fn not(is: Is) -> &'static str {
    match is {
        Is::Equal => "",
        Is::Not => "! ",
    }
}

/// An address as iptables-save prints it.
pub(super) fn host(address: IpAddr) -> String {
    format!("{address}/{}", Family::of(address).bits())
}
