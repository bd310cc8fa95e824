//! Comments: the user data that nft(8) attaches to objects and prints back (type, length, value).

/// Types of user data, as libnftnl numbers them (include/libnftnl/udata.h).
///
/// `NFTNL_UDATA_TABLE_COMMENT`, `NFTNL_UDATA_RULE_COMMENT`, `NFTNL_UDATA_SET_ELEM_COMMENT`.
pub(super) const COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_COMMENT`.
pub(super) const SET_COMMENT: u8 = 7;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`.
const SET_KEYBYTEORDER: u8 = 0;
/// One entry: type, length, value.
fn entry(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let mut entry = vec![kind, length];
    entry.extend(value.iter().take(usize::from(length)));
    entry
}

/// A comment with its NUL, cut to the 254 bytes and a NUL that an entry can hold.
pub(super) fn with_comment(kind: u8, comment: &str) -> Vec<u8> {
    let mut end = comment.len().min(usize::from(u8::MAX) - 1);
    while !comment.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let mut value = comment.as_bytes().to_vec();
    value.truncate(end);
    value.push(0);
    entry(kind, &value)
}

/// The user data of a set: the byte order in which nft is to print its keys, and a comment.
pub(super) fn of_set(byte_order: u32, comment: &str) -> Vec<u8> {
    let mut data = entry(SET_KEYBYTEORDER, &byte_order.to_ne_bytes());
    data.extend(with_comment(SET_COMMENT, comment));
    data
}

/// The comment in user data; `None` when there is none of that type.
pub(super) fn comment(kind: u8, data: &[u8]) -> Option<String> {
    let mut rest = data;
    loop {
        let [found, length, after @ ..] = rest else {
            return None;
        };
        let (value, after) = after.split_at_checked(usize::from(*length))?;
        if *found == kind {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return String::from_utf8(text.to_vec()).ok();
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_carries_the_byte_order_of_its_keys_and_a_comment() {
        // nft 'add set inet plumb b4 { type ipv4_addr; flags timeout; comment "net"; }', nft 1.0.6, by strace.
        let golden = b"\x00\x04\x02\x00\x00\x00\x07\x04net\x00";
        assert_eq!(of_set(2, "net"), golden);
        assert_eq!(comment(SET_COMMENT, golden).as_deref(), Some("net"));
    }

    #[test]
    fn a_comment_is_cut_between_characters() {
        let long = "é".repeat(200);
        let data = with_comment(COMMENT, &long);
        assert!(data.len() <= 2 + 255, "{}", data.len());
        assert_eq!(comment(COMMENT, &data), Some("é".repeat(127)));
    }

    #[test]
    fn damaged_user_data_has_no_comment() {
        for data in [&b""[..], b"\x00", b"\x00\x09ab", b"\x05\x01x"] {
            assert_eq!(comment(COMMENT, data), None, "{data:?}");
        }
    }
}
