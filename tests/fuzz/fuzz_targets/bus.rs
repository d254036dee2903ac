//! Any bytes on the cluster bus: nothing panics, and a packet that is taken is written and read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::cluster::framing::Framing;
use ringfold::cluster::packet::Packet;

fuzz_target!(|input: &[u8]| {
    let _ = Packet::read(input);
    let mut framing = Framing::default();
    for piece in input.chunks(977) {
        framing.push(piece);
        while let Ok(Some(bytes)) = framing.next(false) {
            let Ok(packet) = Packet::read(&bytes) else { continue };
            let mut written = Vec::new();
            packet.write(&mut written);
            let again = Packet::read(&written).expect("it was taken before");
            assert_eq!(again.body, packet.body);
        }
    }
});
