//! Commands and their answers (§7.2), and what both sides can do beyond classic RTMP.

use stagecast_proto::amf::{AmfError, Value, amf0};
use stagecast_proto::codec::Codec;
use stagecast_proto::flv::FourCc;
use stagecast_proto::rtmp::{Message, kind};

/// What the server can do (Enhanced RTMP v2, `capsEx`): multitrack, `ModEx`, nanoseconds. Not
/// reconnect requests.
const CAPABILITIES: f64 = 14.0;
/// Of a codec: passed on as it is.
const CAN_FORWARD: f64 = 4.0;
const VIDEO: [FourCc; 5] = [
    FourCc::AVC,
    FourCc::HEVC,
    FourCc::AV1,
    FourCc::VP9,
    FourCc::VP8,
];
const AUDIO: [FourCc; 2] = [FourCc::AAC, FourCc::OPUS];

/// The codec of four characters, if Stagecast carries it.
pub(super) fn codec(four: FourCc) -> Option<Codec> {
    Some(match four {
        FourCc::AVC => Codec::H264,
        FourCc::HEVC => Codec::H265,
        FourCc::AV1 => Codec::Av1,
        FourCc::VP9 => Codec::Vp9,
        FourCc::VP8 => Codec::Vp8,
        FourCc::AAC => Codec::Aac,
        FourCc::OPUS => Codec::Opus,
        _ => return None,
    })
}

/// The four characters of a codec.
pub(super) fn four_cc(codec: Codec) -> FourCc {
    match codec {
        Codec::H264 => FourCc::AVC,
        Codec::H265 => FourCc::HEVC,
        Codec::Av1 => FourCc::AV1,
        Codec::Vp9 => FourCc::VP9,
        Codec::Vp8 => FourCc::VP8,
        Codec::Aac => FourCc::AAC,
        Codec::Opus => FourCc::OPUS,
    }
}

/// A command of the peer.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) transaction: f64,
    /// The command object first, then the arguments.
    arguments: Vec<Value>,
}

impl Command {
    pub(super) fn read(message: &Message) -> Result<Self, AmfError> {
        let mut payload = &message.payload[..];
        if message.kind == kind::COMMAND_AMF3 {
            // A zero that says: AMF 0 follows, until a marker says otherwise.
            payload = payload.split_first().ok_or(AmfError::Truncated)?.1;
        }
        let mut values = amf0::read(payload)?.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Err(AmfError::Truncated);
        };
        let transaction = values.next().and_then(|value| value.as_number());
        Ok(Self {
            name,
            transaction: transaction.unwrap_or_default(),
            arguments: values.collect(),
        })
    }

    /// A member of the command object.
    pub(super) fn property(&self, name: &str) -> Option<&Value> {
        self.arguments.first()?.get(name)
    }

    /// The text of an argument behind the command object, the first being 1.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.as_str()
    }

    /// Its number.
    pub(super) fn number(&self, index: usize) -> Option<f64> {
        self.arguments.get(index)?.as_number()
    }
}

/// Which codecs a player takes beyond H.264 and AAC, as its `connect` says.
#[derive(Debug, Clone, Default)]
pub struct Capabilities(Vec<String>);

impl Capabilities {
    pub(super) fn read(connect: &Command) -> Self {
        let mut known = Vec::new();
        if let Some(Value::Array(list)) = connect.property("fourCcList") {
            known.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        for name in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
            let members = connect.property(name).map_or(&[][..], Value::members);
            known.extend(members.iter().map(|(four, _)| four.clone()));
        }
        Self(known)
    }

    /// Whether it takes this codec.
    pub fn takes(&self, codec: Codec) -> bool {
        let four = four_cc(codec).to_string();
        matches!(codec, Codec::H264 | Codec::Aac)
            || self.0.iter().any(|known| *known == four || known == "*")
    }
}

pub(super) fn command(stream: u32, values: &[Value]) -> Message {
    Message {
        kind: kind::COMMAND,
        stream,
        timestamp: 0,
        payload: amf0::write(values),
    }
}

pub(super) fn data(stream: u32, values: &[Value]) -> Message {
    Message {
        kind: kind::DATA,
        ..command(stream, values)
    }
}

/// The answer to a command.
pub(super) fn result(transaction: f64, object: Value, value: Value) -> Message {
    let values = [Value::string("_result"), transaction.into(), object, value];
    command(0, &values)
}

/// The answer to `connect`: accepted, with what we can do.
pub(super) fn connected(transaction: f64, object_encoding: f64) -> Message {
    let forwards = |codecs: &[FourCc]| {
        let forward = |four: &FourCc| (four.to_string(), CAN_FORWARD.into());
        Value::Object(codecs.iter().map(forward).collect())
    };
    let list = VIDEO
        .iter()
        .chain(&AUDIO)
        .map(|four| Value::string(four.to_string()));
    let enhanced = vec![
        ("capsEx".to_owned(), Value::Number(CAPABILITIES)),
        ("fourCcList".to_owned(), Value::Array(list.collect())),
        ("videoFourCcInfoMap".to_owned(), forwards(&VIDEO)),
        ("audioFourCcInfoMap".to_owned(), forwards(&AUDIO)),
    ];
    let mut object = vec![
        ("fmsVer".to_owned(), Value::string("FMS/4,5,0,297")),
        ("capabilities".to_owned(), Value::Number(31.0)),
        ("mode".to_owned(), Value::Number(1.0)),
    ];
    let mut value = vec![
        ("level".to_owned(), Value::string("status")),
        (
            "code".to_owned(),
            Value::string("NetConnection.Connect.Success"),
        ),
        (
            "description".to_owned(),
            Value::string("Connection succeeded."),
        ),
        ("objectEncoding".to_owned(), Value::Number(object_encoding)),
    ];
    // The specification puts them here or there; clients look here and there.
    object.extend(enhanced.clone());
    value.extend(enhanced);
    result(transaction, Value::Object(object), Value::Object(value))
}

/// A `connect` refused.
pub(super) fn connect_refused(transaction: f64, description: &str) -> Message {
    let info = info("error", "NetConnection.Connect.Rejected", description);
    let values = [
        Value::string("_error"),
        transaction.into(),
        Value::Null,
        info,
    ];
    command(0, &values)
}

/// What became of a stream (§7.2.2).
pub(super) fn status(stream: u32, level: &str, code: &str, description: &str) -> Message {
    let info = info(level, code, description);
    let values = [
        Value::string("onStatus"),
        Value::Number(0.0),
        Value::Null,
        info,
    ];
    command(stream, &values)
}

fn info(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", Value::string(level)),
        ("code", Value::string(code)),
        ("description", Value::string(description)),
    ])
}
