//! nftables by netlink.
