//! The options of DHCP: their numbers, their names, and the form of their values.

use crate::wire::code;

/// The form of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One IPv4 address.
    Ip,
    /// IPv4 addresses.
    Ips,
    /// A number of one byte, of two, of four.
    Number8,
    Number16,
    Number32,
    /// A byte that is 0 or 1.
    Flag,
    /// Text.
    Text,
    /// Domain names in the form of RFC 1035.
    Names,
    /// Classes with their lengths (RFC 3004).
    Classes,
    /// A host's name (RFC 4702).
    Fqdn,
    /// Anything else.
    Bytes,
}

/// Number, form, the name in IANA's registry "BOOTP Vendor Extensions and DHCP Options" with its words joined, and that
/// of dhcp-options(5), where it is another.
#[rustfmt::skip]
const OPTIONS: [(u8, Form, &str, &str); 158] = [
    (1, Form::Ip, "subnet-mask", ""),
    (2, Form::Number32, "time-offset", ""),
    (3, Form::Ips, "router", "routers"),
    (4, Form::Ips, "time-server", "time-servers"),
    (5, Form::Ips, "name-server", "ien116-name-servers"),
    (6, Form::Ips, "domain-server", "domain-name-servers"),
    (7, Form::Ips, "log-server", "log-servers"),
    (8, Form::Ips, "quotes-server", "cookie-servers"),
    (9, Form::Ips, "lpr-server", "lpr-servers"),
    (10, Form::Ips, "impress-server", "impress-servers"),
    (11, Form::Ips, "rlp-server", "resource-location-servers"),
    (12, Form::Text, "hostname", "host-name"),
    (13, Form::Number16, "boot-file-size", "boot-size"),
    (14, Form::Text, "merit-dump-file", "merit-dump"),
    (15, Form::Text, "domain-name", ""),
    (16, Form::Ip, "swap-server", ""),
    (17, Form::Text, "root-path", ""),
    (18, Form::Text, "extension-file", "extensions-path"),
    (19, Form::Flag, "forward-on-off", "ip-forwarding"),
    (20, Form::Flag, "srcrte-on-off", "non-local-source-routing"),
    (21, Form::Ips, "policy-filter", ""),
    (22, Form::Number16, "max-dg-assembly", "max-dgram-reassembly"),
    (23, Form::Number8, "default-ip-ttl", ""),
    (24, Form::Number32, "mtu-timeout", "path-mtu-aging-timeout"),
    (25, Form::Bytes, "mtu-plateau", "path-mtu-plateau-table"),
    (26, Form::Number16, "mtu-interface", "interface-mtu"),
    (27, Form::Flag, "mtu-subnet", "all-subnets-local"),
    (28, Form::Ip, "broadcast-address", ""),
    (29, Form::Flag, "mask-discovery", "perform-mask-discovery"),
    (30, Form::Flag, "mask-supplier", ""),
    (31, Form::Flag, "router-discovery", ""),
    (32, Form::Ip, "router-request", "router-solicitation-address"),
    (33, Form::Ips, "static-route", "static-routes"),
    (34, Form::Flag, "trailers", "trailer-encapsulation"),
    (35, Form::Number32, "arp-timeout", "arp-cache-timeout"),
    (36, Form::Flag, "ethernet", "ieee802-3-encapsulation"),
    (37, Form::Number8, "default-tcp-ttl", ""),
    (38, Form::Number32, "keepalive-time", "tcp-keepalive-interval"),
    (39, Form::Flag, "keepalive-data", "tcp-keepalive-garbage"),
    (40, Form::Text, "nis-domain", ""),
    (41, Form::Ips, "nis-servers", ""),
    (42, Form::Ips, "ntp-servers", ""),
    (43, Form::Bytes, "vendor-specific", "vendor-encapsulated-options"),
    (44, Form::Ips, "netbios-name-srv", "netbios-name-servers"),
    (45, Form::Ips, "netbios-dist-srv", "netbios-dd-server"),
    (46, Form::Number8, "netbios-node-type", ""),
    (47, Form::Text, "netbios-scope", ""),
    (48, Form::Ips, "x-window-font", "font-servers"),
    (49, Form::Ips, "x-window-manager", "x-display-manager"),
    (50, Form::Ip, "address-request", "dhcp-requested-address"),
    (51, Form::Number32, "address-time", "dhcp-lease-time"),
    (52, Form::Number8, "overload", "dhcp-option-overload"),
    (53, Form::Number8, "dhcp-msg-type", "dhcp-message-type"),
    (54, Form::Ip, "dhcp-server-id", "dhcp-server-identifier"),
    (55, Form::Bytes, "parameter-list", "dhcp-parameter-request-list"),
    (56, Form::Text, "dhcp-message", ""),
    (57, Form::Number16, "dhcp-max-msg-size", "dhcp-max-message-size"),
    (58, Form::Number32, "renewal-time", "dhcp-renewal-time"),
    (59, Form::Number32, "rebinding-time", "dhcp-rebinding-time"),
    (60, Form::Text, "class-id", "vendor-class-identifier"),
    (61, Form::Text, "client-id", "dhcp-client-identifier"),
    (62, Form::Text, "netware-ip-domain", "nwip-domain"),
    (63, Form::Bytes, "netware-ip-option", "nwip-suboptions"),
    (64, Form::Text, "nis-domain-name", "nisplus-domain"),
    (65, Form::Ips, "nis-server-addr", "nisplus-servers"),
    (66, Form::Text, "server-name", "tftp-server-name"),
    (67, Form::Text, "bootfile-name", ""),
    (68, Form::Ips, "home-agent-addrs", "mobile-ip-home-agent"),
    (69, Form::Ips, "smtp-server", ""),
    (70, Form::Ips, "pop3-server", "pop-server"),
    (71, Form::Ips, "nntp-server", ""),
    (72, Form::Ips, "www-server", ""),
    (73, Form::Ips, "finger-server", ""),
    (74, Form::Ips, "irc-server", ""),
    (75, Form::Ips, "streettalk-server", ""),
    (76, Form::Ips, "stda-server", "streettalk-directory-assistance-server"),
    (77, Form::Classes, "user-class", ""),
    (78, Form::Bytes, "directory-agent", "slp-directory-agent"),
    (79, Form::Bytes, "service-scope", "slp-service-scope"),
    (80, Form::Bytes, "rapid-commit", ""),
    (81, Form::Fqdn, "client-fqdn", "fqdn"),
    (82, Form::Bytes, "relay-agent-information", ""),
    (83, Form::Bytes, "isns", ""),
    (85, Form::Ips, "nds-servers", ""),
    (86, Form::Text, "nds-tree-name", ""),
    (87, Form::Text, "nds-context", ""),
    (88, Form::Names, "bcmcs-controller-domain-name-list", "bcms-controller-names"),
    (89, Form::Ips, "bcmcs-controller-ipv4-address-option", "bcms-controller-address"),
    (90, Form::Bytes, "authentication", ""),
    (91, Form::Number32, "client-last-transaction-time-option", "client-last-transaction-time"),
    (92, Form::Ips, "associated-ip-option", "associated-ip"),
    (93, Form::Number16, "client-system", "client-architecture"),
    (94, Form::Bytes, "client-ndi", ""),
    (95, Form::Text, "ldap", ""),
    (97, Form::Bytes, "uuid-guid", "pxe-client-id"),
    (98, Form::Text, "user-auth", "uap-servers"),
    (99, Form::Bytes, "geoconf-civic", ""),
    (100, Form::Text, "pcode", "tz-posix-string"),
    (101, Form::Text, "tcode", "tz-database-string"),
    (108, Form::Number32, "ipv6-only-preferred", ""),
    (109, Form::Bytes, "option-dhcp4o6-s46-saddr", ""),
    (112, Form::Ips, "netinfo-address", "netinfo-server-address"),
    (113, Form::Text, "netinfo-tag", "netinfo-server-tag"),
    (114, Form::Text, "dhcp-captive-portal", "default-url"),
    (116, Form::Number8, "auto-config", ""),
    (117, Form::Bytes, "name-service-search", ""),
    (118, Form::Ip, "subnet-selection-option", "subnet-selection"),
    (119, Form::Names, "domain-search", ""),
    (120, Form::Bytes, "sip-servers-dhcp-option", "sip-servers"),
    (121, Form::Bytes, "classless-static-route-option", "classless-static-routes"),
    (122, Form::Bytes, "ccc", ""),
    (123, Form::Bytes, "geoconf-option", ""),
    (124, Form::Bytes, "v-i-vendor-class", "vivco"),
    (125, Form::Bytes, "v-i-vendor-specific-information", "vivso"),
    (128, Form::Bytes, "etherboot-signature", ""),
    (129, Form::Bytes, "call-server-ip-address", ""),
    (130, Form::Bytes, "discrimination-string", ""),
    (131, Form::Bytes, "remote-statistics-server-ip-address", ""),
    (132, Form::Bytes, "ieee-802-1q-vlan-id", ""),
    (133, Form::Bytes, "ieee-802-1d-p-layer-2-priority", ""),
    (134, Form::Bytes, "diffserv-code-point-dscp", ""),
    (135, Form::Bytes, "http-proxy-for-phone-specific-applications", ""),
    (136, Form::Ips, "option-pana-agent", ""),
    (137, Form::Names, "option-v4-lost", ""),
    (138, Form::Ips, "option-capwap-ac-v4", ""),
    (139, Form::Bytes, "option-ipv4-address-mos", ""),
    (140, Form::Bytes, "option-ipv4-fqdn-mos", ""),
    (141, Form::Names, "sip-ua-configuration-service-domains", ""),
    (142, Form::Bytes, "option-ipv4-address-andsf", ""),
    (143, Form::Bytes, "option-v4-sztp-redirect", ""),
    (144, Form::Bytes, "geoloc", ""),
    (145, Form::Bytes, "forcerenew-nonce-capable", ""),
    (146, Form::Bytes, "rdnss-selection", ""),
    (147, Form::Bytes, "option-v4-dots-ri", ""),
    (148, Form::Ips, "option-v4-dots-address", ""),
    (150, Form::Ips, "tftp-server-address", ""),
    (151, Form::Bytes, "status-code", ""),
    (152, Form::Number32, "base-time", ""),
    (153, Form::Number32, "start-time-of-state", ""),
    (154, Form::Number32, "query-start-time", ""),
    (155, Form::Number32, "query-end-time", ""),
    (156, Form::Number8, "dhcp-state", ""),
    (157, Form::Number8, "data-source", ""),
    (158, Form::Bytes, "option-v4-pcp-server", ""),
    (159, Form::Bytes, "option-v4-portparams", ""),
    (161, Form::Text, "option-mud-url-v4", ""),
    (162, Form::Bytes, "option-v4-dnr", ""),
    (175, Form::Bytes, "etherboot", ""),
    (176, Form::Bytes, "ip-telephone", ""),
    (177, Form::Bytes, "packetcable-and-cablehome", ""),
    (208, Form::Bytes, "pxelinux-magic", ""),
    (209, Form::Text, "configuration-file", ""),
    (210, Form::Text, "path-prefix", ""),
    (211, Form::Number32, "reboot-time", ""),
    (212, Form::Bytes, "option-6rd", ""),
    (213, Form::Names, "option-v4-access-domain", ""),
    (220, Form::Bytes, "subnet-allocation-option", ""),
    (221, Form::Bytes, "virtual-subnet-selection-vss-option", ""),
];

/// What the protocol itself says: no configuration can.
const PROTOCOL: [u8; 8] = [
    0,
    code::REQUESTED_ADDRESS,
    code::OVERLOAD,
    code::MESSAGE_TYPE,
    code::SERVER,
    code::REQUEST_LIST,
    code::MAX_SIZE,
    255,
];

/// The option with a number, or with a name in any case, whatever stands between its words.
pub(super) fn number(text: &str) -> Option<u8> {
    if let Ok(code) = text.parse() {
        return (1..=254).contains(&code).then_some(code);
    }
    let wanted = joined(text);
    let mut all = OPTIONS.iter();
    let found = all.find(|(_, _, iana, other)| wanted == *iana || wanted == *other);
    found.filter(|_| !wanted.is_empty()).map(|(code, ..)| *code)
}

/// The form of an option's value.
pub(super) fn form(code: u8) -> Form {
    let found = OPTIONS.iter().find(|(number, ..)| *number == code);
    found.map_or(Form::Bytes, |(_, form, ..)| *form)
}

/// Whether the client alone sends an option.
pub(super) fn is_of_protocol(code: u8) -> bool {
    PROTOCOL.contains(&code)
}

/// Lower case, with one hyphen for whatever is no letter and no digit.
fn joined(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_has_the_names_of_the_registry_and_of_the_manual() {
        for (name, code) in [
            ("Subnet Mask", 1),
            ("routers", 3),
            ("Router", 3),
            ("Domain Server", 6),
            ("SrcRte On/Off", 20),
            ("NETBIOS Name Srv", 44),
            ("vendor-class-identifier", 60),
            ("Class Id", 60),
            ("Client FQDN", 81),
            ("IEEE 802.1Q VLAN ID", 132),
            ("OPTION_V4_ACCESS_DOMAIN", 213),
            ("224", 224),
        ] {
            assert_eq!(number(name), Some(code), "{name}");
        }
        for name in ["0", "255", "256", "-1", "", " ", "no-such"] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn no_name_is_that_of_two_options() {
        let mut names: Vec<&str> = OPTIONS
            .iter()
            .flat_map(|(_, _, iana, other)| [*iana, *other])
            .filter(|name| !name.is_empty())
            .collect();
        assert!(names.iter().all(|name| joined(name) == *name));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
