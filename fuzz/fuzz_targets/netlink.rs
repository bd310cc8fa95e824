#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cni_common::netlink::replies::read(data));
