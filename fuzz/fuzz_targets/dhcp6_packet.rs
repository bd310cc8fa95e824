#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dhcp_ipam::corpus::packet6(data));
