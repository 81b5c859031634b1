//! Packets that never contain their end: COBS and SLIP.

pub(super) const SLIP_END: u8 = 0xC0;
const SLIP_ESC: u8 = 0xDB;
const SLIP_ESC_END: u8 = 0xDC;
const SLIP_ESC_ESC: u8 = 0xDD;

pub(super) fn from_cobs(packet: &[u8]) -> Option<Vec<u8>> {
    cobs::decode_vec(packet).ok()
}

pub(super) fn from_slip(packet: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(packet.len());
    let mut rest = packet.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match *byte {
            SLIP_ESC => match *rest.next()? {
                SLIP_ESC_END => SLIP_END,
                SLIP_ESC_ESC => SLIP_ESC,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(bytes)
}
