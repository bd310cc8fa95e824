//! Reading what a netlink socket gave, whatever it is: for the fuzz target and the replay of its corpus.

use super::addr::Address;
use super::default_route::default_route;
use super::frame::frames;
use super::link::Link;
use super::neigh::Neighbour;
use super::route::Described;
use crate::nft;

/// Reads every message of a datagram as each thing it might be taken for.
pub fn read(datagram: &[u8]) {
    for frame in frames(datagram) {
        let _ = frame.error();
        let _ = frame.done();
        let body = frame.body;
        let _ = Link::decode(body);
        let _ = Address::decode(body, 1);
        let _ = Neighbour::decode(body, 1);
        let _ = Described::decode(body).map(|route| route.first_link());
        let _ = default_route(body);
        nft::replies::read(body);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What the fuzz target starts from, and every input that once broke something.
    #[test]
    fn the_corpus_is_read() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/netlink");
        let mut count = 0;
        for entry in fs::read_dir(&corpus).unwrap() {
            read(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", corpus.display());
    }
}
