//! Who a thing in the kernel belongs to.
//!
//! Kernel state is the database: links carry their owner in the alias, nftables elements and rules in their
//! comment. DEL, GC and CHECK find what is ours by it, with no file and no previous result.

use core::fmt;
use std::borrow::Cow;

use crate::ident::{ContainerId, IfName, NetworkName};

/// The attachment that owns a thing: network, container, interface name in the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The network.
    pub network: NetworkName,
    /// The container.
    pub container: ContainerId,
    /// The interface name inside the container.
    pub ifname: IfName,
}

/// The version of the tag's text form.
const VERSION: &str = "plumb1";

/// The longest tag in bytes: nftables stores a comment of at most 253 bytes and a NUL, the kernel an alias of
/// at most 255 (`IFALIASZ`, linux/if.h).
const MAX_LEN: usize = 250;

/// The longest further name of a link in bytes. The kernel takes 127 (`ALTIFNAMSIZ`, linux/if.h), and 496 of them; cut like
/// this, a link with so many is described in 64 KiB.
const ALTNAME: usize = 112;

impl Owner {
    /// A hash that is the same on every machine and in every release: FNV-1a, 128 bit, folded to 64.
    pub fn hash(&self) -> u64 {
        hash([
            self.network.as_str(),
            self.container.as_str(),
            self.ifname.as_str(),
        ])
    }

    /// The tag: what stands in a link's alias or in an nftables comment.
    ///
    /// `plumb1 HASH NETWORK/CONTAINER/IFNAME`, cut to 250 bytes; the hash comes first so that it survives the
    /// cut.
    pub fn tag(&self) -> String {
        cut(format!("{VERSION} {:016x} {self}", self.hash()), MAX_LEN)
    }

    /// The tag as a further name of a link, which holds neither spaces nor slashes; `what` tells apart what one
    /// attachment has several of.
    ///
    /// `plumb1:HASH:WHAT:NETWORK:CONTAINER:IFNAME`, cut to 112 bytes; a long network name is shortened so that it still
    /// tells its network.
    pub fn altname(&self, what: &str) -> String {
        let (container, ifname) = (&self.container, &self.ifname);
        let network = shortened(&self.network);
        let hash = self.hash();
        cut(
            format!("{VERSION}:{hash:016x}:{what}:{network}:{container}:{ifname}"),
            ALTNAME,
        )
    }

    /// Whether `text` is this owner's tag.
    pub fn owns(&self, text: &str) -> bool {
        text == self.tag()
    }
}

/// A network's name as a further name of a link has it: at most 64 bytes, in place of the rest a hash of the whole.
fn shortened(network: &NetworkName) -> Cow<'_, str> {
    const MAX: usize = 64;
    const HASH: usize = 12;
    let name = network.as_str();
    if name.len() <= MAX {
        return Cow::Borrowed(name);
    }
    let mut text = cut(name.to_owned(), MAX - HASH);
    // No network's name has this character.
    text.push('~');
    text.push_str(&short(hash([name])));
    Cow::Owned(text)
}

/// Cuts to so many bytes, between two characters: an interface name may be any UTF-8.
fn cut(mut text: String, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    text
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.ifname)
    }
}

/// What a tag found in the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The owner's hash.
    pub hash: u64,
    /// `NETWORK/CONTAINER/IFNAME`, possibly cut at the end.
    names: String,
}

impl Tag {
    /// Reads a tag of ours; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        if parts.next() != Some(VERSION) {
            return None;
        }
        let hash = parts.next().filter(|hash| hash.len() == 16)?;
        let hash = u64::from_str_radix(hash, 16).ok()?;
        let names = parts.next()?.to_owned();
        Some(Self { hash, names })
    }

    /// Reads a further name of a link as [`Owner::altname`] makes it; `None` for anything else.
    pub fn parse_altname(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        if parts.next() != Some(VERSION) {
            return None;
        }
        let hash = parts.next().filter(|hash| hash.len() == 16)?;
        let hash = u64::from_str_radix(hash, 16).ok()?;
        let names = parts.nth(1)?.replace(':', "/");
        Some(Self { hash, names })
    }

    /// Whether the tag belongs to an attachment of this network.
    pub fn is_of(&self, network: &NetworkName) -> bool {
        match self.names.split_once('/') {
            Some((name, _)) => name == network.as_str() || name == shortened(network),
            None => network.as_str().starts_with(&self.names),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names)
    }
}

/// FNV-1a (128 bit) of the parts, each closed by a NUL, folded to 64 bits.
///
/// Stable for ever: names in the kernel are made from it.
pub fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut state = OFFSET;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            state = (state ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    let folded = (state >> 64) ^ (state & u128::from(u64::MAX));
    u64::try_from(folded).unwrap_or_default()
}

/// Eleven characters of `[a-z2-7]` (RFC 4648 base32, lower case) that stand for the upper 55 bits of a hash.
pub fn short(hash: u64) -> String {
    const ALPHABET: [char; 32] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r',
        's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7',
    ];
    (0..11)
        .filter_map(|place| {
            let index = usize::try_from(hash >> (59 - 5 * place) & 31).ok()?;
            ALPHABET.get(index)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(network: &str, container: &str, ifname: &str) -> Owner {
        Owner {
            network: NetworkName::parse(network).unwrap(),
            container: ContainerId::parse(container).unwrap(),
            ifname: IfName::parse(ifname).unwrap(),
        }
    }

    #[test]
    fn hash_and_short_form_never_change() {
        // Names in the kernel of running hosts are made from these: a change here orphans them.
        assert_eq!(
            hash(["net", "c1", "eth0"]),
            owner("net", "c1", "eth0").hash()
        );
        assert_eq!(
            format!("{:016x}", hash(["net", "c1", "eth0"])),
            "426de9da7132605b"
        );
        assert_eq!(short(hash(["net", "c1", "eth0"])), "ijw6twtrgjq");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
    }

    #[test]
    fn a_tag_comes_back() {
        let owner = owner("net", "c1", "eth0");
        let tag = Tag::parse(&owner.tag()).unwrap();
        assert_eq!(tag.hash, owner.hash());
        assert!(tag.is_of(&owner.network));
        assert!(owner.owns(&owner.tag()));
    }

    #[test]
    fn a_long_tag_is_cut_and_still_identifies() {
        let long = owner(&"n".repeat(100), &"c".repeat(200), "eth0");
        assert_eq!(long.tag().len(), MAX_LEN);
        assert_eq!(Tag::parse(&long.tag()).unwrap().hash, long.hash());
    }

    #[test]
    fn a_further_name_tells_long_networks_apart_that_begin_alike() {
        let [one, other] =
            ["1", "2"].map(|end| owner(&format!("{}{end}", "n".repeat(64)), "c", "e"));
        let name = one.altname("q5");
        assert!(name.len() <= ALTNAME && name.ends_with(":c:e"), "{name}");
        let tag = Tag::parse_altname(&name).unwrap();
        assert!(tag.is_of(&one.network) && !tag.is_of(&other.network));
        let fits = owner(&"n".repeat(64), "c", "e");
        let tag = Tag::parse_altname(&fits.altname("q5")).unwrap();
        assert!(tag.is_of(&fits.network) && !tag.is_of(&one.network));
    }

    #[test]
    fn a_further_name_says_the_same_and_is_cut() {
        let one = owner("net", "c1", "eth0");
        assert_eq!(one.altname("q5"), "plumb1:426de9da7132605b:q5:net:c1:eth0");
        let long = owner("net", &"c".repeat(200), "eth0");
        assert_eq!(long.altname("q5").len(), ALTNAME);
        for owner in [one, long] {
            let tag = Tag::parse_altname(&owner.altname("q5")).unwrap();
            assert_eq!(tag.hash, owner.hash());
            assert!(tag.is_of(&owner.network));
            assert!(!tag.is_of(&NetworkName::parse("ne").unwrap()));
        }
        for other in ["enp0s1", "plumb1:1:q5:net", "plumb1:426de9da7132605b:q5"] {
            assert_eq!(Tag::parse_altname(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_others_wrote_is_not_a_tag() {
        for other in [
            "",
            "plumb1",
            "plumb1 xyz a/b/c",
            "plumb2 0000000000000000 a/b/c",
            "docker",
        ] {
            assert_eq!(Tag::parse(other), None, "{other:?}");
        }
    }
}
