//! Messages that steer the connection (§5.4, §7.1.7), and aggregates (§7.1.6).

use super::{Message, kind};

/// A stream has begun (§7.1.7).
pub const STREAM_BEGIN: u16 = 0;
/// A stream is over.
pub const STREAM_EOF: u16 = 1;
/// Is the peer there?
pub const PING_REQUEST: u16 = 6;
/// It is.
pub const PING_RESPONSE: u16 = 7;

fn protocol(kind: u8, payload: Vec<u8>) -> Message {
    Message {
        kind,
        stream: 0,
        timestamp: 0,
        payload,
    }
}

/// Our chunk size from now on.
pub fn set_chunk_size(size: u32) -> Message {
    protocol(
        kind::SET_CHUNK_SIZE,
        (size & 0x7fff_ffff).to_be_bytes().into(),
    )
}

/// Bytes received so far, modulo 2^32.
pub fn acknowledgement(received: u32) -> Message {
    protocol(kind::ACKNOWLEDGEMENT, received.to_be_bytes().into())
}

/// We want an acknowledgement after so many bytes.
pub fn window_size(bytes: u32) -> Message {
    protocol(kind::WINDOW_SIZE, bytes.to_be_bytes().into())
}

/// The peer may send so many bytes unacknowledged; limit type 2, dynamic.
pub fn peer_bandwidth(bytes: u32) -> Message {
    let mut payload = bytes.to_be_bytes().to_vec();
    payload.push(2);
    protocol(kind::SET_PEER_BANDWIDTH, payload)
}

/// A user control event with one number.
pub fn user_control(event: u16, number: u32) -> Message {
    let payload = [&event.to_be_bytes()[..], &number.to_be_bytes()].concat();
    protocol(kind::USER_CONTROL, payload)
}

/// A user control event and its first number.
pub fn read_user_control(payload: &[u8]) -> Option<(u16, u32)> {
    let (event, rest) = payload.split_first_chunk()?;
    let number = rest.first_chunk()?;
    Some((u16::from_be_bytes(*event), u32::from_be_bytes(*number)))
}

/// The number in a chunk size, acknowledgement or window message.
pub fn read_number(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// The messages of an aggregate: FLV tags, each with its length behind it. Their times count from
/// the first, which stands at the aggregate's own. Ends at the first that does not fit.
pub fn split_aggregate(aggregate: &Message) -> impl Iterator<Item = Message> {
    let mut rest = &aggregate.payload[..];
    let mut base = None;
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<11>()?;
        let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let at = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let (payload, after) = after.split_at_checked(len)?;
        rest = after.get(4..).unwrap_or_default();
        let first = *base.get_or_insert(at);
        Some(Message {
            kind: head[0] & 0x1f,
            stream: aggregate.stream,
            timestamp: aggregate.timestamp.wrapping_add(at.wrapping_sub(first)),
            payload: payload.to_vec(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, at: u32, body: &[u8]) -> Vec<u8> {
        let [extended, high, middle, low] = at.to_be_bytes();
        let len = (body.len() as u32).to_be_bytes();
        let head = [
            kind, len[1], len[2], len[3], high, middle, low, extended, 0, 0, 0,
        ];
        let behind = (11 + body.len() as u32).to_be_bytes();
        [&head[..], body, &behind].concat()
    }

    #[test]
    fn an_aggregate_is_split_and_timed_from_its_first_tag() {
        let tags = [tag(9, 0x0100_0000, b"v"), tag(8, 0x0100_0017, b"au")].concat();
        let aggregate = Message {
            kind: kind::AGGREGATE,
            stream: 1,
            timestamp: 5000,
            payload: tags,
        };
        let parts: Vec<_> = split_aggregate(&aggregate).collect();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].kind, parts[0].timestamp), (kind::VIDEO, 5000));
        assert_eq!((parts[1].kind, parts[1].timestamp), (kind::AUDIO, 5023));
        assert_eq!(parts[1].payload, b"au");
    }

    #[test]
    fn a_cut_aggregate_gives_what_is_whole() {
        let mut payload = [tag(9, 0, b"one"), tag(9, 40, b"two")].concat();
        payload.truncate(payload.len() - 5);
        let aggregate = Message {
            kind: kind::AGGREGATE,
            stream: 1,
            timestamp: 0,
            payload,
        };
        assert_eq!(split_aggregate(&aggregate).count(), 1);
    }
}
