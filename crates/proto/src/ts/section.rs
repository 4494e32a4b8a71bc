//! Sections: what tables are sent in (§2.4.4).

/// Longest section of the tables that are read here.
const MAX_SECTION: usize = 1024;

/// CRC of annex A, which is zero over a section with its own CRC.
pub(super) fn crc(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

/// Collects the packets of a section.
#[derive(Debug, Default)]
pub(super) struct Collector {
    bytes: Vec<u8>,
    /// A section has begun.
    open: bool,
}

impl Collector {
    /// Take a packet's payload; the body of a whole and sound section of this table, without header
    /// and CRC, behind its id extension (program number, transport stream).
    pub(super) fn push(&mut self, payload: &[u8], starts: bool, table: u8) -> Option<Vec<u8>> {
        let mut payload = payload;
        if starts {
            let (&pointer, rest) = payload.split_first()?;
            payload = rest.get(usize::from(pointer)..)?;
            self.bytes.clear();
            self.open = true;
        }
        if !self.open {
            return None;
        }
        let room = MAX_SECTION - self.bytes.len();
        self.bytes
            .extend_from_slice(&payload[..payload.len().min(room)]);
        let head = self.bytes.first_chunk::<3>()?;
        let len = 3 + (usize::from(head[1] & 0x0f) << 8 | usize::from(head[2]));
        if len > MAX_SECTION || head[0] != table {
            self.open = false;
            return None;
        }
        let section = self.bytes.get(..len)?;
        self.open = false;
        // Header 8, CRC 4; the bit says that the table is in force now.
        let sound = len >= 12 && crc(section) == 0 && section[5] & 1 == 1;
        sound.then(|| section[8..len - 4].to_vec())
    }
}

/// A section of a table, whole.
pub(super) fn write(table: u8, id: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() + 9) as u16;
    let mut section = vec![table];
    section.extend_from_slice(&(0xb000 | len).to_be_bytes());
    section.extend_from_slice(&id.to_be_bytes());
    section.extend_from_slice(&[0xc1 | version << 1 & 0x3e, 0, 0]);
    section.extend_from_slice(body);
    let crc = crc(&section);
    section.extend_from_slice(&crc.to_be_bytes());
    section
}
