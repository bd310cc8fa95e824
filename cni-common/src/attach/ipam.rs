//! The IPAM plugin's part of an attachment.

use crate::code::Code;
use crate::delegate::{Delegate, Running};
use crate::env::Command;
use crate::error::Error;
use crate::log;
use crate::plugin::{Call, GcCall, StatusCall};
use crate::result::Attachment;

/// IPAM plugins that never look at the link, so that they can work while it is made or deleted. Others may run DHCP
/// over it.
const NEED_NO_LINK: [&str; 4] = ["static-ipam", "static", "host-local", "whereabouts"];

/// Whether a plugin may need the link to be there, and up.
pub fn needs_link(delegate: &Delegate) -> bool {
    !NEED_NO_LINK.contains(&delegate.name())
}

/// The IPAM plugin's part of an ADD.
pub struct Ipam<'a, C> {
    call: &'a Call<C>,
    delegate: Option<&'a Delegate>,
    running: Option<Running<'a>>,
    started: bool,
    given: Option<Attachment>,
}

impl<'a, C> Ipam<'a, C> {
    /// Starts the plugin where it needs no link.
    pub fn new(call: &'a Call<C>, delegate: Option<&'a Delegate>) -> Result<Self, Error> {
        let mut ipam = Self {
            call,
            delegate,
            running: None,
            started: false,
            given: None,
        };
        if !ipam.needs_link() {
            ipam.start()?;
        }
        Ok(ipam)
    }

    /// Whether there is a plugin that may need the link to be there, and up.
    pub fn needs_link(&self) -> bool {
        self.delegate.is_some_and(needs_link)
    }

    fn start(&mut self) -> Result<(), Error> {
        if let Some(delegate) = self.delegate.filter(|_| !self.started) {
            self.running = Some(delegate.start(Command::Add)?);
            self.started = true;
        }
        Ok(())
    }

    /// What the plugin gives, nothing where there is none; waits for it, and remembers.
    ///
    /// # Errors
    /// Code 7 when it gives no address, or more than the version's result has room for.
    pub fn given(&mut self) -> Result<Attachment, Error> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        self.start()?;
        let given = match (self.delegate, self.running.take()) {
            (None, _) => Attachment::default(),
            (Some(delegate), Some(running)) => {
                let given = running.result()?;
                if given.ips.is_empty() {
                    return Err(Error::new(
                        Code::InvalidConfig,
                        format!("IPAM plugin {} returned no address", delegate.name()),
                    ));
                }
                given
            }
            (Some(delegate), None) => {
                return Err(Error::new(
                    Code::Io,
                    format!("IPAM plugin {} has failed already", delegate.name()),
                ));
            }
        };
        self.call.check_room(&given)?;
        let mut addresses = given.ips.iter().map(|ip| ip.address);
        if let Some((address, why)) =
            addresses.find_map(|address| Some((address, address.unusable()?)))
        {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("the IPAM plugin returned {address}, which {why}"),
            ));
        }
        self.given = Some(given.clone());
        Ok(given)
    }

    /// Gives back what the plugin may have reserved; after this it can be asked anew.
    pub fn release(&mut self) {
        let Some(delegate) = self.delegate.filter(|_| self.started) else {
            return;
        };
        self.started = false;
        self.given = None;
        if let Some(running) = self.running.take() {
            // Its DEL must not overtake its ADD.
            let _ = running.result();
        }
        if let Err(error) = delegate.run(Command::Del) {
            log::error(format_args!("undo: DEL of the IPAM plugin: {error}"));
        }
    }
}

/// Runs a DEL: `remove` removes the link, and whatever fails does not keep the rest alive; the first failure is
/// reported.
///
/// The link goes after the IPAM plugin had its turn, for a DHCP client releases its lease over it; meanwhile where
/// the plugin needs no link.
pub fn del(
    delegate: &Result<Option<Delegate>, Error>,
    remove: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let (released, running) = match delegate {
        Ok(Some(delegate)) => begin_release(delegate),
        Ok(None) => (Ok(()), None),
        Err(error) => (Err(error.clone()), None),
    };
    let removed = remove();
    let waited = running.map_or(Ok(()), Running::finish);
    removed.and(released).and(waited)
}

/// Executes the IPAM plugin to its end, or starts it where it needs no link.
fn begin_release(delegate: &Delegate) -> (Result<(), Error>, Option<Running<'_>>) {
    if needs_link(delegate) {
        return (delegate.run(Command::Del), None);
    }
    match delegate.start(Command::Del) {
        Ok(running) => (Ok(()), Some(running)),
        Err(error) => (Err(error), None),
    }
}

/// The IPAM plugin's GC.
pub fn collect<C>(call: &GcCall<C>) -> Result<(), Error> {
    match call.ipam() {
        Ok(Some(delegate)) => delegate.run(Command::Gc),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The IPAM plugin's STATUS.
///
/// # Errors
/// Its own; code 50 when it is missing.
pub fn status<C>(call: &StatusCall<C>) -> Result<(), Error> {
    match call.ipam() {
        Ok(Some(delegate)) => delegate.run(Command::Status),
        Ok(None) => Ok(()),
        Err(error) => Err(error.with_code(Code::NotAvailable)),
    }
}
