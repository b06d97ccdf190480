#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kenning_fuzz::filter::run(bytes);
});
