//! Who is measured: chains of plugins, and the floor beneath them.

use plumb_tests::Host;

use crate::chain::{Attachment, Chain};
use crate::floor::Floor;

#[derive(Clone, Debug)]
pub(crate) enum Contender {
    Plugins(Chain),
    Floor(Floor),
}

impl Contender {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plugins(chain) => chain.name,
            Self::Floor(_) => "floor",
        }
    }

    /// Its chain of plugins, if it has one.
    pub(crate) fn chain(&self) -> Option<&Chain> {
        match self {
            Self::Plugins(chain) => Some(chain),
            Self::Floor(_) => None,
        }
    }

    /// Makes a host ready for it.
    pub(crate) fn prepare(&self, host: &Host) {
        if let Self::Floor(floor) = self {
            floor.prepare(host);
        }
    }

    pub(crate) fn add(&self, attachment: &mut Attachment) {
        match self {
            Self::Plugins(chain) => chain.add(attachment),
            Self::Floor(floor) => floor.add(attachment),
        }
    }

    pub(crate) fn del(&self, attachment: &Attachment) {
        match self {
            Self::Plugins(chain) => chain.del(attachment),
            Self::Floor(floor) => floor.del(attachment),
        }
    }
}
